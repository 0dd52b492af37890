"""Makes state_dicts/: small random networks of other code bases as PyTorch saves them, and what PyTorch computes.

Python 3.11, torch 2.9.1, numpy 2.4, safetensors 0.8, segmentation_models_pytorch 0.6.0, monai 1.6.1 and
dynamic_network_architectures 0.4.4. Run in this folder: python generate_state_dicts.py

The legacy files hold memory addresses, so that a second run gives the same numbers but not the same bytes.
Networks whose code is not a package are written here anew from the shapes and names of their state dicts.
"""

import argparse
import json
import pathlib

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn as nn
import torch.nn.functional as F
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import BasicUNet, UNet
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "state_dicts"


# ---- milesial/Pytorch-UNet ----

class DoubleConv(nn.Module):
    def __init__(self, ins, outs, mid=None):
        super().__init__()
        mid = mid or outs
        self.double_conv = nn.Sequential(
            nn.Conv2d(ins, mid, 3, padding=1, bias=False), nn.BatchNorm2d(mid), nn.ReLU(),
            nn.Conv2d(mid, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU())

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, ins, outs):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(ins, outs))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, ins, outs, bilinear):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True) if bilinear else \
            nn.ConvTranspose2d(ins, ins // 2, 2, stride=2)
        self.conv = DoubleConv(ins, outs, ins // 2 if bilinear else None)

    def forward(self, low, skip):
        low = self.up(low)
        missing_h, missing_w = skip.shape[2] - low.shape[2], skip.shape[3] - low.shape[3]
        low = F.pad(low, [missing_w // 2, missing_w - missing_w // 2, missing_h // 2, missing_h - missing_h // 2])
        return self.conv(torch.cat([skip, low], dim=1))


class Out(nn.Module):
    def __init__(self, ins, outs):
        super().__init__()
        self.conv = nn.Conv2d(ins, outs, 1)

    def forward(self, x):
        return self.conv(x)


class Milesial(nn.Module):
    def __init__(self, channels, classes, width, bilinear):
        super().__init__()
        w, half = [width << i for i in range(5)], 2 if bilinear else 1
        self.inc = DoubleConv(channels, w[0])
        self.down1, self.down2 = Down(w[0], w[1]), Down(w[1], w[2])
        self.down3, self.down4 = Down(w[2], w[3]), Down(w[3], w[4] // half)
        self.up1, self.up2 = Up(w[4], w[3] // half, bilinear), Up(w[3], w[2] // half, bilinear)
        self.up3, self.up4 = Up(w[2], w[1] // half, bilinear), Up(w[1], w[0], bilinear)
        self.outc = Out(w[0], classes)

    def forward(self, x):
        a = self.inc(x)
        b = self.down1(a)
        c = self.down2(b)
        d = self.down3(c)
        return self.outc(self.up4(self.up3(self.up2(self.up1(self.down4(d), d), c), b), a))


# ---- mateuszbuda/brain-segmentation-pytorch ----

def named_block(name, ins, outs):
    block = nn.Sequential()
    for i, channels in ((1, ins), (2, outs)):
        block.add_module(f"{name}conv{i}", nn.Conv2d(channels, outs, 3, padding=1, bias=False))
        block.add_module(f"{name}norm{i}", nn.BatchNorm2d(outs))
        block.add_module(f"{name}relu{i}", nn.ReLU())
    return block


class Brain(nn.Module):
    def __init__(self, channels, classes, width):
        super().__init__()
        ins = channels
        for i in range(1, 5):
            outs = width << (i - 1)
            setattr(self, f"encoder{i}", named_block(f"enc{i}", ins, outs))
            setattr(self, f"upconv{i}", nn.ConvTranspose2d(2 * outs, outs, 2, stride=2))
            setattr(self, f"decoder{i}", named_block(f"dec{i}", 2 * outs, outs))
            ins = outs
        self.bottleneck = named_block("bottleneck", ins, 2 * ins)
        self.conv = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = []
        for i in range(1, 5):
            x = getattr(self, f"encoder{i}")(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for i in range(4, 0, -1):
            x = getattr(self, f"decoder{i}")(torch.cat([getattr(self, f"upconv{i}")(x), skips.pop()], 1))
        return torch.sigmoid(self.conv(x))


# ---- joeylitalien/noise2noise-pytorch ----

class Noise2Noise(nn.Module):
    def __init__(self, width):
        super().__init__()
        w, ww, three = width, 2 * width, dict(padding=1)
        up = dict(stride=2, padding=1, output_padding=1)
        self._block1 = nn.Sequential(nn.Conv2d(3, w, 3, **three), nn.ReLU(), nn.Conv2d(w, w, 3, **three), nn.ReLU(),
                                     nn.MaxPool2d(2))
        self._block2 = nn.Sequential(nn.Conv2d(w, w, 3, **three), nn.ReLU(), nn.MaxPool2d(2))
        self._block3 = nn.Sequential(nn.Conv2d(w, w, 3, **three), nn.ReLU(), nn.ConvTranspose2d(w, w, 3, **up))
        self._block4 = nn.Sequential(nn.Conv2d(ww, ww, 3, **three), nn.ReLU(), nn.Conv2d(ww, ww, 3, **three), nn.ReLU(),
                                     nn.ConvTranspose2d(ww, ww, 3, **up))
        self._block5 = nn.Sequential(nn.Conv2d(3 * w, ww, 3, **three), nn.ReLU(), nn.Conv2d(ww, ww, 3, **three),
                                     nn.ReLU(), nn.ConvTranspose2d(ww, ww, 3, **up))
        self._block6 = nn.Sequential(nn.Conv2d(ww + 3, 6, 3, **three), nn.ReLU(), nn.Conv2d(6, 5, 3, **three), nn.ReLU(),
                                     nn.Conv2d(5, 3, 3, **three), nn.LeakyReLU(0.1))

    def forward(self, x):
        pools = [x, self._block1(x)]
        for _ in range(4):
            pools.append(self._block2(pools[-1]))
        y = self._block3(pools.pop())
        y = self._block4(torch.cat([y, pools.pop()], 1))
        for _ in range(3):
            y = self._block5(torch.cat([y, pools.pop()], 1))
        return self._block6(torch.cat([y, pools.pop()], 1))


# ---- cszn/KAIR: DRUNet ----

class ResBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.res = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU(),
                                 nn.Conv2d(width, width, 3, padding=1, bias=False))

    def forward(self, x):
        return x + self.res(x)


class Drunet(nn.Module):
    def __init__(self, ins, outs, widths, blocks):
        super().__init__()
        def several(width):
            return [ResBlock(width) for _ in range(blocks)]
        self.m_head = nn.Conv2d(ins, widths[0], 3, padding=1, bias=False)
        for i in range(1, 4):
            a, b = widths[i - 1], widths[i]
            setattr(self, f"m_down{i}", nn.Sequential(*several(a), nn.Conv2d(a, b, 2, stride=2, bias=False)))
            setattr(self, f"m_up{i}", nn.Sequential(nn.ConvTranspose2d(b, a, 2, stride=2, bias=False), *several(a)))
        self.m_body = nn.Sequential(*several(widths[3]))
        self.m_tail = nn.Conv2d(widths[0], outs, 3, padding=1, bias=False)

    def forward(self, x):
        h, w = x.shape[2:]
        x = F.pad(x, (0, -w % 8, 0, -h % 8), mode="replicate")
        a = self.m_head(x)
        b = self.m_down1(a)
        c = self.m_down2(b)
        d = self.m_down3(c)
        y = self.m_up2(self.m_up3(self.m_body(d) + d) + c)
        return self.m_tail(self.m_up1(y + b) + a)[..., :h, :w]


# ---- segmentation_models.pytorch, narrower ----

def narrow(net, by, keep):
    """The same network with divided channels, except those of the picture and of the result."""
    for name, module in list(net.named_modules()):
        def less(channels, last):
            return channels if name == keep[last] else channels // by
        parent = net.get_submodule(name.rpartition(".")[0])
        if isinstance(module, nn.Conv2d):
            groups = max(module.groups // by * 2, 1)
            new = nn.Conv2d(less(module.in_channels, 0), less(module.out_channels, 1), module.kernel_size, module.stride,
                            module.padding, groups=groups, bias=module.bias is not None)
        elif isinstance(module, nn.BatchNorm2d):
            new = nn.BatchNorm2d(module.num_features // by)
        else:
            continue
        setattr(parent, name.rpartition(".")[2], new)
    return net


def smp_unet(encoder, channels, classes, activation=None):
    net = smp.Unet(encoder, encoder_weights=None, in_channels=channels, classes=classes, activation=activation,
                   decoder_channels=(256, 160, 128, 96, 96))
    net = randomise(narrow(net, 32, ("encoder.conv1", "segmentation_head.0")))
    # Residual sums grow; a sigmoid of large logits would show the rounding of their differences.
    head = net.segmentation_head[0]
    with torch.no_grad():
        head.weight /= net.decoder(net.encoder(torch.rand(1, channels, 64, 64))).std() + 1e-3
    return net


# ---- nnU-Net v2 ----

def nnunet(kind, channels, classes, features, strides, **options):
    return kind(channels, len(features), features, nn.Conv2d, 3, strides, 2, classes, 1, conv_bias=True,
                norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
                nonlin_kwargs={"inplace": True}, **options)


# ---- this project's own names, one level ----

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        def block(ins, outs):
            return nn.ModuleDict({"conv1": nn.Conv2d(ins, outs, 3, padding=1), "conv2": nn.Conv2d(outs, outs, 3, padding=1)})
        self.enc1, self.bottleneck, self.dec1 = block(1, 2), block(2, 3), block(4, 2)
        self.dec1["up"], self.output = nn.ConvTranspose2d(3, 2, 2, stride=2), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        def run(block, x):
            return F.relu(block["conv2"](F.relu(block["conv1"](x))))
        skip = run(self.enc1, x)
        y = self.dec1["up"](run(self.bottleneck, F.max_pool2d(skip, 2)))
        return self.output(run(self.dec1, torch.cat([y, skip], 1)))


# ---- the files ----

def randomise(net):
    """Weights that keep the scale of the signal, and non-trivial norms."""
    for name, tensor in list(net.named_parameters()) + list(net.named_buffers()):
        if tensor.dim() > 1:
            fan_in = tensor[0].numel() if "up" not in name or tensor.shape[2] == 3 else tensor.shape[0]
            nn.init.uniform_(tensor, -(6 / fan_in) ** 0.5, (6 / fan_in) ** 0.5)
        elif name.endswith("running_var") or name.endswith("weight"):
            nn.init.uniform_(tensor, 0.5, 1.5)
        elif tensor.is_floating_point():
            nn.init.uniform_(tensor, -0.1, 0.1)
    return net.eval()


def main():
    torch.manual_seed(2026)
    OUT.mkdir(exist_ok=True)
    tensors = {}

    def result(case, net, shape):
        """The network's result for random numbers, in f64."""
        x = torch.rand(shape)
        with torch.no_grad():
            y = net.double()(x.double())
        net.float()
        tensors[f"{case}/input"], tensors[f"{case}/output"] = x, y.float().contiguous()

    def save(name, value, **options):
        torch.save(value, OUT / name, **options)

    def export(case, net):
        """The same network as ONNX."""
        torch.onnx.export(net, tensors[f"{case}/input"], OUT / f"{case}.onnx", opset_version=17, dynamo=False)

    # A state dict with its extra key, odd sizes.
    net = randomise(Milesial(3, 2, 1, False))
    result("milesial", net, (1, 3, 45, 62))
    export("milesial", net)
    save("milesial.pth", net.state_dict() | {"mask_values": [0, [255, 0, 7]]})

    # The same, before 1.6.
    save("milesial_legacy.pth", net.state_dict() | {"mask_values": [0, 255]}, _use_new_zipfile_serialization=False)

    # A training checkpoint around a wrapped network, with what such dicts hold beside it.
    net = randomise(Milesial(1, 1, 2, True))
    result("milesial_bilinear", net, (2, 1, 33, 50))
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(2))])
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    save("milesial_bilinear.ckpt", {
        "epoch": 7, "best_loss": torch.tensor(0.25), "path": pathlib.PurePosixPath("a/b"), "score": np.float64(0.5),
        "history": np.arange(3, dtype=np.float32), "args": argparse.Namespace(lr=0.1), "device": torch.device("cuda:0"),
        "state_dict": {f"module.model.{k}": v for k, v in net.state_dict().items()},
        "optimizer": optimizer.state_dict(),
    })

    # 16-bit numbers.
    net = randomise(Brain(3, 1, 1)).half().float()
    result("mateuszbuda", net, (1, 3, 32, 48))
    export("mateuszbuda", net)
    save("mateuszbuda_f16.pt", net.half().state_dict())
    net = randomise(Noise2Noise(4)).bfloat16().float()
    result("noise2noise", net, (1, 3, 64, 32))
    save("noise2noise_bf16.pt", net.bfloat16().state_dict(), _use_new_zipfile_serialization=False)

    # Small enough to damage a hundred thousand times; a whole module too.
    net = randomise(Small())
    result("small", net, (1, 1, 6, 8))
    save("small.pth", net.state_dict())
    save("small_legacy.pth", net.state_dict(), _use_new_zipfile_serialization=False)
    save("small_module.pt", net)
    torch.jit.trace(net, torch.rand(1, 1, 6, 8)).save(OUT / "small_script.pt")

    net = randomise(Drunet(4, 3, [4, 5, 6, 7], 2))
    with torch.no_grad():
        for tensor in net.parameters():
            tensor *= 0.6
    result("drunet", net, (1, 4, 19, 30))
    save("drunet.pth", net.state_dict())

    # As save_pretrained writes it, and two plain files.
    net = smp_unet("resnet34", 3, 1, "sigmoid")
    result("smp", net, (1, 3, 45, 61))
    (OUT / "smp").mkdir(exist_ok=True)
    save_file(net.state_dict(), OUT / "smp" / "model.safetensors")
    config = {"_model_class": "Unet", "encoder_name": "resnet34", "encoder_depth": 5, "encoder_weights": "imagenet",
              "decoder_interpolation": "nearest", "in_channels": 3, "classes": 1, "activation": "sigmoid"}
    (OUT / "smp" / "config.json").write_text(json.dumps(config) + "\n")
    for encoder in ("resnet50", "resnext50_32x4d"):
        net = smp_unet(encoder, 3, 4).half().float()
        result(f"smp_{encoder}", net, (1, 3, 32, 35))
        save_file(net.half().state_dict(), OUT / f"smp_{encoder}.safetensors")

    # Norms of the picture's own, and trained slopes.
    net = randomise(BasicUNet(2, 2, 3, features=(2, 4, 4, 6, 8, 4)))
    result("monai_basic", net, (1, 2, 37, 50))
    save("monai_basic.pt", {"net": net.state_dict()})
    net = randomise(UNet(2, 1, 2, channels=(3, 4, 6), strides=(2, 2)))
    result("monai_unet", net, (1, 1, 24, 20))
    save("monai_unet.pth", net.state_dict())
    net = randomise(UNet(2, 1, 2, channels=(3, 4, 6, 8), strides=(2, 2, 2), num_res_units=2, norm="batch"))
    result("monai_unet_residual", net, (1, 1, 32, 24))
    save("monai_unet_residual.pth", net.state_dict())

    # A checkpoint as nnU-Net's trainer writes it, and weights with the plans beside them.
    labels = {"labels": {"background": 0, "nucleus": 1, "edge": 2}, "channel_names": {"0": "fluorescence"}}
    plans = {"configurations": {"2d": {"normalization_schemes": ["ZScoreNormalization"], "patch_size": [32, 64]}}}
    net = randomise(nnunet(PlainConvUNet, 1, 3, [3, 4, 5, 6], [1, 2, 2, (1, 2)]))
    result("nnunet", net, (1, 1, 24, 32))
    export("nnunet", net)
    save("nnunet.pth", {
        "network_weights": {f"_orig_mod.{k}": v for k, v in net.state_dict().items()}, "current_epoch": 1000,
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.ones(3)}}}, "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float64(0.75)]}, "_best_ema": np.float64(0.7),
        "init_args": {"plans": plans, "configuration": "2d", "fold": 0, "dataset_json": labels,
                      "device": torch.device("cuda")},
        "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": (0, 1),
    })
    net = randomise(nnunet(ResidualEncoderUNet, 3, 3, [3, 4, 5], [1, 2, 2]))
    result("nnunet_residual", net, (1, 3, 24, 32))
    (OUT / "nnunet" / "fold_0").mkdir(parents=True, exist_ok=True)
    save("nnunet/fold_0/checkpoint_final.pth", {"network_weights": net.state_dict()})
    plans["configurations"]["2d"]["normalization_schemes"] = ["RGBTo01Normalization"] * 3
    (OUT / "nnunet" / "plans.json").write_text(json.dumps(plans) + "\n")
    (OUT / "nnunet" / "dataset.json").write_text(json.dumps(labels) + "\n")

    # Views: one storage for all, an offset each, some transposed, some repeated without storage; one in f64, one a
    # parameter.
    net = randomise(Milesial(1, 2, 1, False))
    with torch.no_grad():
        net.inc.double_conv[3].weight[:] = net.inc.double_conv[3].weight[:, :, :1, :1]
    result("views", net, (1, 1, 16, 17))
    state = net.state_dict()
    store, at, views = torch.zeros(sum(t.numel() for t in state.values())), 0, {}
    for name, t in state.items():
        flat = store[at:at + t.numel()]
        at += t.numel()
        backwards = tuple(reversed(t.shape))
        view = flat.view(backwards).permute(*reversed(range(t.dim()))) if t.dim() else flat[0]
        views[name] = view.copy_(t)
    views["inc.double_conv.3.weight"] = views["inc.double_conv.3.weight"][:, :, :1, :1].expand(-1, -1, 3, 3)
    views["outc.conv.weight"] = nn.Parameter(views["outc.conv.weight"].clone())
    views["outc.conv.bias"] = views["outc.conv.bias"].double()
    save("views.pth", views)

    save_file(tensors, OUT / "results.safetensors")


if __name__ == "__main__":
    main()
