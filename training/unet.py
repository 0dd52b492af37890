"""The U-Net family that this project runs, in PyTorch, and its file format.

A network is described by a small configuration (a dict, stored as JSON in the file). Encoder level 1 is the
full-resolution level; decoder level N is joined with encoder level N. State-dict names are part of the format:
`enc1.conv1.weight`, `enc1.norm1.running_mean`, `bottleneck.conv2.bias`, `dec3.up.weight`, `output.bias`, ...

The configuration's fields are those of `UnetConfig` in src/unet.rs. Only the options that a trained model needs are
here.
"""

import json

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

DENOISE = {
    "in_channels": 3, "out_channels": 3, "encoder": [32, 64, 96], "bottleneck": 96, "decoder": [96, 64, 32],
    "upsample": "conv_transpose", "norm": "batch", "activation": "relu", "concat": "up_skip",
    "output": "none", "residual": True,
}
CELLS = DENOISE | {
    "in_channels": 1, "out_channels": 1, "encoder": [24, 48, 64, 96], "bottleneck": 96, "decoder": [96, 64, 48, 24],
    "output": "sigmoid", "residual": False,
}
SEED = DENOISE | {
    "encoder": [64, 128, 256, 512], "bottleneck": 512, "decoder": [256, 128, 64, 64], "residual": False,
}
UPSCALE2X = DENOISE | {
    "encoder": [48, 64], "bottleneck": 96, "decoder": [64, 48], "up": [64, 48], "norm": "none", "scale": 2,
}
INPAINT = DENOISE | {"in_channels": 4, "dilation": 2, "fill": 5}
SCENE = DENOISE | {
    "out_channels": 5, "encoder": [24, 48, 72, 96], "bottleneck": 112, "decoder": [96, 72, 48, 24],
    "output": "softmax", "residual": False,
}

STYLE = DENOISE | {
    "encoder": [24, 48, 64], "bottleneck": 96, "decoder": [64, 48, 24], "up": [64, 48, 24],
    "upsample": "nearest_conv", "norm": "instance", "output": "sigmoid", "residual": False, "padding_mode": "reflect",
}


class ConvBlock(nn.Module):
    """Two times 3x3 convolution, norm, activation. The size does not change."""

    def __init__(self, config, inputs, outputs, dilation=1):
        super().__init__()
        norm = {
            "batch": lambda: nn.BatchNorm2d(outputs, eps=1e-5),
            "instance": lambda: nn.InstanceNorm2d(outputs, eps=1e-5, affine=True),
            "none": nn.Identity,
        }[config["norm"]]
        mode = {"zero": "zeros", "reflect": "reflect"}[config.get("padding_mode", "zero")]
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, padding_mode=mode)
        self.norm1 = norm()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation, padding_mode=mode)
        self.norm2 = norm()
        activation = config["activation"]
        self.act = nn.ReLU() if activation == "relu" else nn.LeakyReLU(activation["leaky_relu"])

    def forward(self, x):
        x = self.act(self.norm1(self.conv1(x)))
        return self.act(self.norm2(self.conv2(x)))


class UpBlock(ConvBlock):
    """Doubles the size, appends the encoder's features, then applies a ConvBlock."""

    def __init__(self, config, inputs, up, skip, outputs):
        super().__init__(config, up + skip, outputs)
        if config["upsample"] == "conv_transpose":
            self.up = nn.ConvTranspose2d(inputs, up, 2, stride=2)
        else:
            self.up = nn.Conv2d(inputs, up, 3, padding=1, padding_mode=self.conv1.padding_mode)

    def forward(self, x, skip):
        if isinstance(self.up, nn.Conv2d):
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        return super().forward(torch.cat([self.up(x), skip], dim=1))


def filled(x, levels):
    """The picture with its holes filled smoothly. The last channel of `x` is 1 in a hole, the others are the picture.

    Known pixels are averaged down a pyramid (a cell is known as soon as a quarter of it is), and each hole takes its
    value from the finest level that knows it and is smoothed there. Known pixels do not change.
    """
    known = 1 - x[:, -1:]
    pyramid = [torch.cat([x[:, :-1] * known, known], dim=1)]
    for _ in range(levels):
        mean = nn.functional.avg_pool2d(pyramid[-1], 2)
        pyramid.append(mean * (1 / mean[:, -1:].clamp(min=1e-4)).clamp(max=4))
    wide = nn.functional.avg_pool2d(pyramid.pop(), 7, stride=1, padding=3)
    y = wide[:, :-1] / wide[:, -1:].clamp(min=1e-4)
    for level in reversed(pyramid):
        colours, hole = level[:, :-1], 1 - level[:, -1:]
        y = colours + hole * nn.functional.interpolate(y, scale_factor=2, mode="bilinear")
        for _ in range(2):
            y = colours + hole * nn.functional.avg_pool2d(y, 3, stride=1, padding=1, count_include_pad=False)
    return y


class UNet(nn.Module):
    """The network of `config`. Height and width of the input are multiples of `stride`."""

    def __init__(self, config):
        super().__init__()
        known = {"upsample": ["conv_transpose", "nearest_conv"], "concat": ["up_skip"]}
        for key, values in known.items():
            if config[key] not in values:
                raise ValueError(f"{key} must be one of {values}, not {config[key]!r}")
        self.config = config
        self.levels = len(config["encoder"])
        self.fill = config.get("fill", 0)
        self.stride = 2 ** max(self.levels, self.fill)
        channels = config["in_channels"]
        for level, width in enumerate(config["encoder"], start=1):
            self.add_module(f"enc{level}", ConvBlock(config, channels, width))
            channels = width
        self.bottleneck = ConvBlock(config, channels, config["bottleneck"], config.get("dilation", 1))
        channels = config["bottleneck"]
        ups = config.get("up") or [channels, *config["decoder"][:-1]]
        for level, up, width in zip(range(self.levels, 0, -1), ups, config["decoder"], strict=True):
            self.add_module(f"dec{level}", UpBlock(config, channels, up, config["encoder"][level - 1], width))
            channels = width
        self.scale = config.get("scale", 1)
        if self.scale == 1:
            self.output = nn.Conv2d(channels, config["out_channels"], 1)
        else:
            # A 3x3 convolution and a pixel shuffle in one layer.
            kernel, scale = 3 * self.scale, self.scale
            self.output = nn.ConvTranspose2d(channels, config["out_channels"], kernel, scale, padding=scale)

    def prepared(self, x):
        """What the first layer sees: the input, its holes filled if the network asks for it."""
        return torch.cat([filled(x, self.fill), x[:, -1:]], dim=1) if self.fill else x

    def logits(self, x):
        """The result before the sigmoid and before the residual sum, of a prepared input."""
        skips = []
        for level in range(1, self.levels + 1):
            x = self.get_submodule(f"enc{level}")(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for level in range(self.levels, 0, -1):
            x = self.get_submodule(f"dec{level}")(x, skips.pop())
        return self.output(x)

    def base(self, x):
        """What a residual network's result is added to: the first channels of its input, at the result's size."""
        x = x[:, : self.config["out_channels"]]
        return x if self.scale == 1 else nn.functional.interpolate(x, scale_factor=self.scale, mode="bicubic")

    def forward(self, x):
        x = self.prepared(x)
        y = self.logits(x)
        if self.config["output"] == "sigmoid":
            y = torch.sigmoid(y)
        elif self.config["output"] == "softmax":
            y = torch.softmax(y, dim=1)
        return self.base(x) + y if self.config["residual"] else y

    def export(self, path, recipe, half=False):
        """Writes weights, configuration and recipe (pre- and post-processing) as safetensors; convolutions in 16 bits if
        `half`."""
        tensors = {
            name: tensor.detach().to(torch.float16 if half and tensor.dim() == 4 else torch.float32).contiguous()
            for name, tensor in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        metadata = {"format": "pt", "unet.config": json.dumps(self.config), "unet.recipe": json.dumps(recipe)}
        save_file(tensors, path, metadata=metadata)

    def freeze_norms(self):
        """Makes batch norm use its running statistics, as in inference, without updating them."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


class Average:
    """An exponential moving average of a network's weights and statistics."""

    def __init__(self, net, decay):
        self.net = UNet(net.config).eval()
        self.net.load_state_dict(net.state_dict())
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net):
        self.updates += 1
        keep = min(self.decay, self.updates / (self.updates + 9))
        for average, value in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - keep)


def load(path):
    """Reads a file that `export` wrote: (network ready to run, recipe)."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    net = UNet(json.loads(metadata["unet.config"]))
    missing, unexpected = net.load_state_dict(tensors, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"{path}: missing {missing}, unexpected {unexpected}")
    return net.eval(), json.loads(metadata["unet.recipe"])


def parameters(net):
    """The number of trained values."""
    return sum(parameter.numel() for parameter in net.parameters())


if __name__ == "__main__":
    assert parameters(UNet(SEED)) == 14_789_059
    shipped = {"denoise": DENOISE, "cells": CELLS, "upscale2x": UPSCALE2X, "inpaint": INPAINT, "scene": SCENE, "style": STYLE, "seed": SEED}
    for name, config in shipped.items():
        net = UNet(config).eval()
        x = torch.rand(1, config["in_channels"], 32, 64)
        scale = config.get("scale", 1)
        with torch.no_grad():
            assert net(x).shape == (1, config["out_channels"], 32 * scale, 64 * scale)
        print(f"{name}: {parameters(net):,} parameters")
