"""Makes state_dicts/decoders/: narrow networks of segmentation_models.pytorch, one for each decoder and kind of encoder, with
what PyTorch computes; and ONNX exports of the same code with other weights, for `--like`.

Python 3.11, torch 2.9.1, onnx 1.23, safetensors 0.8, segmentation_models_pytorch 0.6.0, timm 1.0.22. Run in this
folder: python generate_decoders.py
"""

import copy
import json
import pathlib
import warnings

import segmentation_models_pytorch as smp
import torch
import torch.nn as nn
from safetensors.torch import save_file

from generate_families import narrow, randomise

OUT = pathlib.Path(__file__).parent / "state_dicts" / "decoders"
RESULTS = {}
FIRST = {"mobilenet_v2": "encoder.features.0.0", "efficientnet-b0": "encoder._conv_stem", "tu-resnet18": "encoder.model.conv1",
         "tu-efficientnet_b0": "encoder.model.conv_stem", "timm-efficientnet-b0": "encoder.conv_stem",
         "timm-tf_efficientnet_lite0": "encoder.conv_stem"}


def run(net, x):
    with torch.no_grad():
        y = net.double()(x.double())
    net.float()
    return y.float().contiguous()


def settle(net):
    """Results of about 1, and weights that f16 holds."""
    net = randomise(net)
    with torch.no_grad():
        net.segmentation_head[0].weight /= net(torch.rand(1, net.ins, 128, 128)).std() + 1e-3
    return net.half().float()


def case(name, kind, encoder, by, shape, like=None, config=None, **options):
    net = kind(encoder, encoder_weights=None, **{"classes": 1, "in_channels": 1} | options)
    net.ins = options.get("in_channels", 1)
    net = settle(narrow(net, by, FIRST.get(encoder, "encoder.conv1"), "segmentation_head.0"))
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    folder = OUT
    if config is not None:
        folder = OUT / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(state, folder / f"{name}.safetensors")
    if shape is not None:
        x = torch.rand(1, net.ins, *shape)
        RESULTS[f"{name}/input"], RESULTS[f"{name}/output"] = x, run(net, x)
    if like is not None:
        x = torch.rand(1, net.ins, *like)
        RESULTS[f"{name}/like_input"], RESULTS[f"{name}/like_output"] = x, run(net, x)
        other = settle(copy.deepcopy(net))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(other, x, OUT / f"{name}.onnx", opset_version=17, dynamo=False)


def main():
    torch.manual_seed(2028)
    OUT.mkdir(parents=True, exist_ok=True)
    wide = dict(decoder_pyramid_channels=512, decoder_segmentation_channels=512)
    small = (64, 64)
    case("unet", smp.Unet, "resnet18", 32, None, small)
    case("unet_plus", smp.UnetPlusPlus, "resnet18", 32, None, small)
    case("linknet", smp.Linknet, "resnet18", 32, None, small)
    case("fpn", smp.FPN, "resnet18", 16, (64, 96), small, in_channels=3, classes=2, **wide)
    case("fpn_joined", smp.FPN, "mobilenet_v2", 8, (64, 32), decoder_merge_policy="cat",
         decoder_pyramid_channels=256, decoder_segmentation_channels=256)
    case("psp", smp.PSPNet, "resnet18", 32, (64, 80), (48, 48))
    case("psp_deeper", smp.PSPNet, "mobilenet_v2", 8, (112, 64), encoder_depth=4, upsampling=16)
    case("deeplab", smp.DeepLabV3, "resnet18", 32, (64, 104), (48, 48))
    case("deeplab_efficient", smp.DeepLabV3, "efficientnet-b0", 16, (64, 72))
    case("deeplab_plus", smp.DeepLabV3Plus, "mobilenet_v2", 8, (48, 80), (48, 48))
    case("deeplab_plus_50", smp.DeepLabV3Plus, "resnet50", 32, (80, 64))
    case("deeplab_plus_timm", smp.DeepLabV3Plus, "tu-resnet18", 32, (64, 48))
    case("deeplab_rates", smp.DeepLabV3Plus, "resnet18", 32, (64, 72), encoder_output_stride=8, upsampling=4,
         decoder_atrous_rates=(2, 4, 6), config={
             "encoder_name": "resnet18", "encoder_weights": None, "encoder_depth": 5, "encoder_output_stride": 8,
             "decoder_atrous_rates": [2, 4, 6], "activation": None})
    case("pan", smp.PAN, "resnet18", 32, (144, 160), (128, 128), decoder_channels=256)
    case("pan_efficient", smp.PAN, "timm-efficientnet-b0", 16, (128, 144), decoder_channels=64)
    case("manet", smp.MAnet, "resnet18", 32, None, small)
    case("upernet", smp.UPerNet, "resnet18", 32, (64, 96))
    case("upernet_shallow", smp.UPerNet, "resnet18", 32, (40, 56), (48, 48), encoder_depth=3)
    case("segformer", smp.Segformer, "resnet18", 32, (64, 96), small, classes=3)
    case("lite", smp.Unet, "timm-tf_efficientnet_lite0", 16, (45, 62))
    case("efficient", smp.Unet, "timm-efficientnet-b0", 16, (64, 32))
    case("features", smp.Unet, "tu-efficientnet_b0", 16, (64, 32), config={
        "encoder_name": "tu-efficientnet_b0", "encoder_weights": "imagenet", "activation": "sigmoid"},
        activation="sigmoid", in_channels=3)
    save_file(RESULTS, OUT / "results.safetensors")


if __name__ == "__main__":
    main()
