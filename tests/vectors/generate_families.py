"""Makes state_dicts/families/: checkpoints as training programs wrap them, and small random networks of further code
bases, with what PyTorch computes.

Python 3.11, torch 2.9.1, safetensors 0.8, segmentation_models_pytorch 0.6.0. Run in this folder:
python generate_families.py

Networks whose code is not a package are written here anew from the shapes and names of their state dicts.
"""

import copy
import pathlib
import warnings

import onnx
import segmentation_models_pytorch as smp
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

OUT = pathlib.Path(__file__).parent / "state_dicts" / "families"
RESULTS = {}


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


def result(case, net, shape):
    """The network's result for random numbers, in f64."""
    x = torch.rand(shape)
    with torch.no_grad():
        y = net.double()(x.double())
    net.float()
    RESULTS[f"{case}/input"], RESULTS[f"{case}/output"] = x, y.float().contiguous()


def save(name, value):
    torch.save(value, OUT / name, _use_new_zipfile_serialization=False)


# ---- checkpoints around a U-Net of milesial/Pytorch-UNet with two levels ----

def double_conv(ins, outs):
    return nn.Sequential(nn.Conv2d(ins, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU(),
                         nn.Conv2d(outs, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU())


class Held(nn.Module):
    def __init__(self, name, inner):
        super().__init__()
        setattr(self, name, inner)


class Small(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.inc = Held("double_conv", double_conv(channels, 2))
        self.down1 = Held("maxpool_conv", nn.Sequential(nn.MaxPool2d(2), Held("double_conv", double_conv(2, 4))))
        self.up1 = Held("up", nn.ConvTranspose2d(4, 2, 2, stride=2))
        self.up1.conv = Held("double_conv", double_conv(4, 2))
        self.outc = Held("conv", nn.Conv2d(2, 2, 1))

    def forward(self, x):
        a = self.inc.double_conv(x)
        b = self.down1.maxpool_conv[1].double_conv(F.max_pool2d(a, 2))
        return self.outc.conv(self.up1.conv.double_conv(torch.cat([a, self.up1.up(b)], 1)))


class Wrapped(nn.Module):
    """As Lightning's modules are: a network, a loss with weights, metrics."""

    def __init__(self, net):
        super().__init__()
        self.model = net
        self.criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
        self.val_iou = Held("inner", nn.Module())
        self.val_iou.register_buffer("confmat", torch.zeros(2, 2))


def under(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def checkpoints():
    net, other = randomise(Small()), randomise(Small())
    result("net", net, (1, 1, 12, 10))
    result("other", other, (1, 1, 12, 10))
    state, ema = net.state_dict(), other.state_dict()
    save("lightning.ckpt", {
        "epoch": 3, "global_step": 10, "pytorch-lightning_version": "2.5", "state_dict": Wrapped(net).state_dict(),
        "loops": {}, "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": [{"params": [0]}]}],
        "lr_schedulers": [], "hyper_parameters": {"lr": 0.1},
    })
    # Averages beside the weights of the last step, as five code bases keep them.
    save("ema_timm.ckpt", {"state_dict": under("model.", state) | under("model_ema.module.", ema)})
    save("ema_basicsr.pth", {"params": state, "params_ema": ema})
    save("ema_lucidrains.pt", {"step": 1, "model": state, "ema": under("online_model.", state) | under("ema_model.", ema)
                               | {"initted": torch.tensor(True), "step": torch.tensor(1)}})
    save("ema_dotless.ckpt", {"state_dict": under("model.", state)
                              | {"model_ema." + f"{n}".replace(".", ""): t for n, t in other.named_parameters()}
                              | {"model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(1)}})
    mixed = copy.deepcopy(net)
    mixed.load_state_dict(state | dict(other.named_parameters()))
    result("mixed", mixed, (1, 1, 12, 10))
    save("ema_shadow.pth", {"model": state, "ema": {"decay": 0.9, "num_updates": 1, "collected_params": None,
                                                    "shadow_params": [t.detach() for t in other.parameters()]}})
    save("swa.pth", torch.optim.swa_utils.AveragedModel(net).state_dict())
    save("compiled.pth", under("module._orig_mod.", state))
    save("list.pth", [{"step": 1}, (None, state)])
    gan = {"generator": state, "discriminator": nn.Sequential(nn.Conv2d(3, 4, 4), nn.Conv2d(4, 1, 4)).state_dict(),
           "optimizer_G": {"state": {0: {"exp_avg": torch.ones(3)}}}}
    save("gan.pth", gan)
    save("twice.pth", {"G_A": state, "G_B": ema})
    save("shared.pth", {"net": state, "model": state})
    save("changed.pth", state | {"attention.0.weight": torch.ones(2, 2, 1, 1)})
    save("outside.pth", {"segment": state, "refine": {"0.weight": torch.ones(2, 2, 1, 1)}})
    # The weights in parts.
    for name, norm in [("weight_norm", weight_norm), ("weight_norm_new", parametrizations.weight_norm),
                       ("spectral_norm", spectral_norm), ("spectral_norm_new", parametrizations.spectral_norm)]:
        torch.manual_seed(5)
        parted = randomise(Small())
        for module in parted.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                norm(module)
        parted.train()
        for _ in range(5):
            parted(torch.rand(2, 1, 12, 10))
        parted.eval()
        for parameter in parted.parameters():
            nn.init.normal_(parameter, std=0.4) if name.startswith("weight") and parameter.dim() > 1 else None
        result(name, parted, (1, 1, 12, 10))
        save(f"{name}.pth", parted.state_dict())


# ---- constantinpape/torch-em ----

def em_block(ins, outs, norm):
    if norm is None:
        return Held("block", nn.Sequential(nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU(),
                                           nn.Conv2d(outs, outs, 3, padding=1), nn.ReLU()))
    return Held("block", nn.Sequential(norm(ins), nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU(),
                                       norm(outs), nn.Conv2d(outs, outs, 3, padding=1), nn.ReLU()))


class TorchEm(nn.Module):
    def __init__(self, norm, last=None, depth=2):
        super().__init__()
        widths = [2 << i for i in range(depth + 1)]
        ins = [1] + widths
        self.encoder = Held("blocks", nn.ModuleList(em_block(a, b, norm) for a, b in zip(ins, widths[:-1])))
        self.base = em_block(widths[-2], widths[-1], norm)
        back = widths[::-1]
        self.decoder = Held("blocks", nn.ModuleList(em_block(a, b, norm) for a, b in zip(back, back[1:])))
        self.decoder.samplers = nn.ModuleList(Held("conv", nn.Conv2d(a, b, 1)) for a, b in zip(back, back[1:]))
        self.out_conv = nn.Conv2d(widths[0], 2, 1)
        self.last = last

    def forward(self, x):
        skips = []
        for block in self.encoder.blocks:
            x = block.block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.base.block(x)
        for block, sampler in zip(self.decoder.blocks, self.decoder.samplers):
            x = sampler.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
            x = block.block(torch.cat([x, skips.pop()], 1))
        x = self.out_conv(x)
        return self.last(x) if self.last else x


# ---- agaldran/lwnet ----

class LwBlock(nn.Module):
    def __init__(self, ins, outs, shortcut):
        super().__init__()
        if shortcut:
            self.shortcut = nn.Sequential(nn.Conv2d(ins, outs, 1, bias=False), nn.BatchNorm2d(outs))
        self.block = nn.Sequential(nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(outs),
                                   nn.Conv2d(outs, outs, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(outs))

    def forward(self, x):
        return self.block(x) + self.shortcut(x) if hasattr(self, "shortcut") else self.block(x)


class LwUp(nn.Module):
    def __init__(self, ins, outs, shortcut, bilinear):
        super().__init__()
        up = [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(ins, outs, 1)] if bilinear \
            else [nn.ConvTranspose2d(ins, outs, 2, stride=2)]
        self.up_layer = Held("block", nn.Sequential(*up))
        self.conv_layer = LwBlock(2 * outs, outs, shortcut)
        self.bridges = not bilinear
        if self.bridges:
            self.conv_bridge_layer = Held("block", nn.Sequential(nn.Conv2d(outs, outs, 3, padding=1), nn.ReLU(),
                                                                 nn.BatchNorm2d(outs)))

    def forward(self, x, skip):
        skip = self.conv_bridge_layer.block(skip) if self.bridges else skip
        return self.conv_layer(torch.cat([self.up_layer.block(x), skip], 1))


class Lw(nn.Module):
    def __init__(self, ins, classes, widths, shortcut=True, bilinear=False):
        super().__init__()
        self.first = LwBlock(ins, widths[0], shortcut)
        self.down_path = nn.ModuleList(LwBlock(a, b, shortcut) for a, b in zip(widths, widths[1:]))
        back = widths[::-1]
        self.up_path = nn.ModuleList(LwUp(a, b, shortcut, bilinear) for a, b in zip(back, back[1:]))
        self.final = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x):
        x = self.first(x)
        skips = []
        for down in self.down_path:
            skips.append(x)
            x = down(F.max_pool2d(x, 2))
        for up in self.up_path:
            x = up(x, skips.pop())
        return self.final(x)


class LwTwo(nn.Module):
    def __init__(self, ins, classes, widths):
        super().__init__()
        self.unet1, self.unet2 = Lw(ins, classes, widths), Lw(ins + classes, classes, widths)

    def forward(self, x):
        return self.unet2(torch.cat([x, self.unet1(x)], 1))


# ---- pytorch/examples: fast neural style ----

class StyleConv(nn.Module):
    def __init__(self, ins, outs, kernel, stride=1, up=False):
        super().__init__()
        self.up, self.pad = up, nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(ins, outs, kernel, stride)

    def forward(self, x):
        return self.conv2d(self.pad(F.interpolate(x, scale_factor=2, mode="nearest") if self.up else x))


class StyleBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.in1 = StyleConv(width, width, 3), nn.InstanceNorm2d(width, affine=True)
        self.conv2, self.in2 = StyleConv(width, width, 3), nn.InstanceNorm2d(width, affine=True)

    def forward(self, x):
        return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x


class Style(nn.Module):
    def __init__(self, w):
        super().__init__()
        convs = {"conv1": (3, w, 9, 1), "conv2": (w, 2 * w, 3, 2), "conv3": (2 * w, 4 * w, 3, 2),
                 "deconv1": (4 * w, 2 * w, 3, 1, True), "deconv2": (2 * w, w, 3, 1, True), "deconv3": (w, 3, 9, 1)}
        for name, args in convs.items():
            setattr(self, name, StyleConv(*args))
        for i, width in enumerate([w, 2 * w, 4 * w, 2 * w, w], 1):
            setattr(self, f"in{i}", nn.InstanceNorm2d(width, affine=True))
        for i in range(1, 6):
            setattr(self, f"res{i}", StyleBlock(4 * w))

    def forward(self, x):
        for conv, norm in [("conv1", "in1"), ("conv2", "in2"), ("conv3", "in3")]:
            x = F.relu(getattr(self, norm)(getattr(self, conv)(x)))
        for i in range(1, 6):
            x = getattr(self, f"res{i}")(x)
        for conv, norm in [("deconv1", "in4"), ("deconv2", "in5")]:
            x = F.relu(getattr(self, norm)(getattr(self, conv)(x)))
        return self.deconv3(x)


# ---- chains of convolutions ----

def chain(ins, outs, width, depth, norm=None, bias=True, dilations=None):
    layers = []
    for i in range(depth):
        a, b = (ins if i == 0 else width), (outs if i == depth - 1 else width)
        d = dilations[i] if dilations else 1
        layers.append(nn.Conv2d(a, b, 3, padding=d, dilation=d, bias=bias))
        if norm and 0 < i < depth - 1:
            layers.append(nn.BatchNorm2d(b, eps=norm))
        if i < depth - 1:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Chain(nn.Module):
    def __init__(self, name, layers, kind="residual"):
        super().__init__()
        setattr(self, name, layers)
        self.layers, self.kind = [layers], kind

    def forward(self, x):
        if self.kind == "residual":
            return x - self.layers[0](x)
        if self.kind == "ffdnet":
            h, w = x.shape[2:]
            x = F.pad(x, (0, w % 2, 0, h % 2), mode="replicate")
            picture, sigma = x[:, :-1], x[:, -1:, ::2, ::2]
            y = self.layers[0](torch.cat([F.pixel_unshuffle(picture, 2), sigma], 1))
            return F.pixel_shuffle(y, 2)[..., :h, :w]
        return self.layers[0](x)


# ---- segmentation_models.pytorch, narrower ----

def narrow(net, by, ins, head):
    """The same network with divided channels, except those of the picture and of the result."""
    def less(channels):
        return max(channels // by, 1)
    for name, module in list(net.named_modules()):
        parent = net.get_submodule(name.rpartition(".")[0])
        if isinstance(module, nn.Conv2d):
            a = module.in_channels if name == ins else less(module.in_channels)
            b = module.out_channels if name == head else less(module.out_channels)
            old, depthwise = copy.copy(module), module.groups == module.in_channels > 1
            groups = a if depthwise else 1
            new = type(module).__new__(type(module))
            new.__dict__.update({k: v for k, v in old.__dict__.items()})
            new._parameters = dict(old._parameters)
            new.in_channels, new.out_channels, new.groups = a, b, groups
            new.weight = nn.Parameter(torch.empty(b, a // groups, *module.kernel_size))
            if module.bias is not None:
                new.bias = nn.Parameter(torch.empty(b))
        elif isinstance(module, nn.ConvTranspose2d):
            new = nn.ConvTranspose2d(less(module.in_channels), less(module.out_channels), module.kernel_size,
                                     module.stride, module.padding)
        elif type(module) is nn.BatchNorm2d:
            new = nn.BatchNorm2d(less(module.num_features), eps=module.eps)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.Linear)):
            # The same object, since timm's norms have an activation of their own.
            for kind, buffers in (("_parameters", nn.Parameter), ("_buffers", lambda tensor: tensor)):
                for part, old in getattr(module, kind).items():
                    if old is not None and old.dim() > 0:
                        getattr(module, kind)[part] = buffers(torch.ones([less(extent) for extent in old.shape]))
            for extent in ("num_features", "num_channels", "in_features", "out_features"):
                if hasattr(module, extent):
                    setattr(module, extent, less(getattr(module, extent)))
            if isinstance(module, nn.LayerNorm):
                module.normalized_shape = tuple(less(extent) for extent in module.normalized_shape)
            continue
        elif type(module).__name__ == "PABBlock":  # MAnet's, which notes its channels
            module.in_channels = less(module.in_channels)
            continue
        else:
            continue
        setattr(parent, name.rpartition(".")[2], new)
    return net


def smp_case(case, kind, encoder, by, shape, **options):
    first = {"mobilenet_v2": "encoder.features.0.0", "efficientnet-b0": "encoder._conv_stem",
             "efficientnet-b1": "encoder._conv_stem", "tu-resnet18": "encoder.model.conv1"}.get(encoder, "encoder.conv1")
    net = kind(encoder, encoder_weights=None, classes=2, **options)
    if by > 1:
        net = narrow(net, by, first, "segmentation_head.0")
    net = randomise(net)
    with torch.no_grad():
        net.segmentation_head[0].weight /= net(torch.rand(1, 3, 64, 64)).std() + 1e-3
    net = net.half().float()
    result(case, net, shape)
    save_file({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()},
              OUT / f"{case}.safetensors")


def families():
    for case, norm in [("torch_em", nn.InstanceNorm2d), ("torch_em_batch", nn.BatchNorm2d), ("torch_em_plain", None)]:
        net = randomise(TorchEm(norm))
        result(case, net, (1, 1, 20, 24))
        save(f"{case}.pt", {"model_state": net.state_dict(), "init": {"model_kwargs": {"final_activation": None}}})
    net = randomise(TorchEm(lambda channels: nn.GroupNorm(min(32, channels), channels), nn.Sigmoid()))
    result("torch_em_group", net, (1, 1, 20, 24))
    save("torch_em_group.pt", {"model_state": net.state_dict(), "init": {"model_kwargs": {"final_activation": "Sigmoid"}}})

    for case, net in [("lwnet", Lw(3, 1, [2, 3, 4])), ("lwnet_plain", Lw(3, 2, [2, 4], shortcut=False, bilinear=True)),
                      ("lwnet_two", LwTwo(3, 1, [2, 3, 4]))]:
        net = randomise(net)
        result(case, net, (1, 3, 16, 24))
        save(f"{case}.pth", {"epoch": 1, "model_state_dict": net.state_dict()})

    net = randomise(Style(2))
    result("style", net, (1, 3, 24, 20))
    save("style.pth", net.state_dict())

    for case, net, shape in [
        ("dncnn", Chain("model", chain(1, 1, 4, 5)), (1, 1, 9, 12)),
        ("dncnn_norm", Chain("model", chain(3, 3, 4, 5, norm=1e-4)), (1, 3, 9, 12)),
        ("dncnn_saoyan", Chain("dncnn", chain(1, 1, 4, 5, norm=1e-5, bias=False)), (1, 1, 9, 12)),
        ("ircnn", Chain("model", chain(1, 1, 4, 7, dilations=[1, 2, 3, 4, 3, 2, 1])), (1, 1, 14, 12)),
        ("fdncnn", Chain("model", chain(2, 1, 4, 5), "plain"), (1, 2, 9, 12)),
        ("ffdnet", Chain("model", chain(5, 4, 4, 5), "ffdnet"), (1, 2, 9, 12)),
        ("ffdnet_color", Chain("model", chain(13, 12, 4, 5), "ffdnet"), (1, 4, 10, 12)),
    ]:
        net = randomise(net)
        state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        result(case, net, shape)
        save(f"{case}.pth", state)

    smp_case("smp_mobilenet", smp.Unet, "mobilenet_v2", 8, (1, 3, 64, 96), decoder_channels=(64, 32, 32, 16, 16))
    smp_case("smp_efficientnet", smp.Unet, "efficientnet-b0", 8, (1, 3, 64, 32), decoder_channels=(64, 32, 32, 16, 16),
             decoder_attention_type="scse")
    smp_case("smp_plus", smp.UnetPlusPlus, "resnet18", 32, (1, 3, 32, 64), decoder_channels=(256, 128, 64, 64, 32))
    smp_case("smp_linknet", smp.Linknet, "resnet18", 16, (1, 3, 64, 32))
    smp_case("smp_timm", smp.Unet, "tu-resnet18", 32, (1, 3, 64, 64), decoder_channels=(256, 128, 64, 64, 32))


# ---- pyimagesearch's tutorial ----

class Pair(nn.Module):
    def __init__(self, ins, outs):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(ins, outs, 3), nn.Conv2d(outs, outs, 3)

    def forward(self, x):
        return self.conv2(F.relu(self.conv1(x)))


class Tutorial(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()
        self.encoder = Held("encBlocks", nn.ModuleList(Pair(a, b) for a, b in zip(widths, widths[1:])))
        back = widths[:0:-1]
        self.decoder = Held("upconvs", nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in zip(back, back[1:])))
        self.decoder.dec_blocks = nn.ModuleList(Pair(a, b) for a, b in zip(back, back[1:]))
        self.head = nn.Conv2d(back[-1], classes, 1)

    def forward(self, x):
        size, skips = x.shape[2:], []
        for i, block in enumerate(self.encoder.encBlocks):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for up, block in zip(self.decoder.upconvs, self.decoder.dec_blocks):
            x = up(x)
            x = block(torch.cat([x, torchvision.transforms.CenterCrop(x.shape[2:])(skips.pop())], 1))
        return F.interpolate(self.head(x), size)


# ---- Zheng222/IMDN ----

class Distilled(nn.Module):
    def __init__(self, width):
        super().__init__()
        quarter = width // 4
        self.c1 = nn.Conv2d(width, width, 3, padding=1)
        self.c2, self.c3 = (nn.Conv2d(width - quarter, width, 3, padding=1) for _ in range(2))
        self.c4, self.c5 = nn.Conv2d(width - quarter, quarter, 3, padding=1), nn.Conv2d(4 * quarter, width, 1)
        self.cca = Held("conv_du", nn.Sequential(nn.Conv2d(width, 2, 1), nn.ReLU(), nn.Conv2d(2, width, 1), nn.Sigmoid()))
        self.quarter = quarter

    def forward(self, x):
        y, kept = x, []
        for conv in (self.c1, self.c2, self.c3):
            y = F.leaky_relu(conv(y), 0.05)
            kept.append(y[:, :self.quarter])
            y = y[:, self.quarter:]
        y = torch.cat([*kept, self.c4(y)], 1)
        mean = y.mean((2, 3), keepdim=True)
        contrast = (y - mean).pow(2).mean((2, 3), keepdim=True).sqrt()
        return self.c5(y * self.cca.conv_du(contrast + mean)) + x


class Imdn(nn.Module):
    def __init__(self, width, blocks, factor):
        super().__init__()
        self.fea_conv, self.LR_conv = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        for i in range(blocks):
            setattr(self, f"IMDB{i + 1}", Distilled(width))
        self.c = nn.Sequential(nn.Conv2d(width * blocks, width, 1), nn.LeakyReLU(0.05))
        self.upsampler = nn.Sequential(nn.Conv2d(width, 3 * factor**2, 3, padding=1), nn.PixelShuffle(factor))
        self.blocks = blocks

    def forward(self, x):
        x = y = self.fea_conv(x)
        parts = []
        for i in range(self.blocks):
            y = getattr(self, f"IMDB{i + 1}")(y)
            parts.append(y)
        return self.upsampler(self.LR_conv(self.c(torch.cat(parts, 1))) + x)


# ---- weights for the graph of an export ----

class Odd(nn.Module):
    """Layers in another order than they run, norms after both convolutions, a linear gate, group norm."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4, eps=1e-3)
        self.up, self.up_norm = nn.ConvTranspose2d(4, 3, 2, stride=2), nn.BatchNorm2d(3)
        self.gate, self.norm = nn.Linear(4, 4, bias=False), nn.GroupNorm(2, 4)
        self.slope, self.last = nn.PReLU(3), nn.Conv2d(3, 1, 1)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        x = self.norm(F.relu(self.bn2(self.conv2(x))))
        return self.last(self.slope(self.up_norm(self.up(x))))


def likes():
    nets = [randomise(Odd()), randomise(Odd())]
    for name, net in zip(["like", "like_other"], nets):
        result(name, net, (1, 2, 8, 12))
        save(f"{name}.pth", {"state_dict": under("model.", net.state_dict()) | {"loss_fn.weight": torch.ones(2)}})
    x = torch.rand(1, 2, 8, 12)
    torch.onnx.export(nets[0], x, OUT / "like.onnx", opset_version=17, dynamo=False, input_names=["x"],
                      dynamic_axes={"x": {2: "h", 3: "w"}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(nets[0], (x,), OUT / "like_dynamo.onnx", dynamo=True, external_data=False, verbose=False)
    # The same without the names that tell the modules.
    model = onnx.load(OUT / "like.onnx")
    renamed = {tensor.name: f"w{i}" for i, tensor in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = renamed[tensor.name]
    for node in model.graph.node:
        node.name = ""
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    onnx.save(model, OUT / "like_nameless.onnx")


def main():
    torch.manual_seed(2027)
    OUT.mkdir(parents=True, exist_ok=True)
    checkpoints()
    families()
    likes()
    net = randomise(Tutorial([3, 2, 4, 8], 1))
    result("tutorial", net, (1, 3, 61, 78))
    save("tutorial.pth", net.state_dict())
    for case, net in [("imdn", Imdn(8, 3, 3)), ("imdn_same", Imdn(12, 2, 1))]:
        result(case, randomise(net), (1, 3, 9, 12))
        save(f"{case}.pth", net.state_dict())
    save_file(RESULTS, OUT / "results.safetensors")


if __name__ == "__main__":
    main()
