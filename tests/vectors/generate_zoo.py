"""Makes zoo/: U-Nets of many families as both exporters of PyTorch write them, without their weights.

    pip install torch==2.9.1 torchvision==0.24.1 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2 safetensors==0.8.0 \
        segmentation-models-pytorch==0.6.0 timm==1.0.22 monai==1.6.1 dynamic-network-architectures==0.4.4 diffusers==0.42.1
    python generate_zoo.py [--check] [part of a name ...]

Every float tensor of more than 64 elements is external data in `weights.bin`, which is not kept: element i is
`shift + scale * u[i]`, u being `Tensor::random` with the tensor's seed (see README.md). Scale and shift repeat the
spread and mean of what was exported. `--check` runs the exported file as well, before the weights are replaced, and
compares it with PyTorch. Networks that a package has are taken from it; the others are written here from the papers'
descriptions, narrower than the published ones.
"""

import collections
import io
import json
import logging
import math
import pathlib
import re
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from generate import Random, random

HERE = pathlib.Path(__file__).parent / "zoo"
INLINE = 64
INPUT_SEED = 7

# ---- networks no package has ----


def conv_bn_relu(ins, outs, bias=False):
    return [nn.Conv2d(ins, outs, 3, padding=1, bias=bias), nn.BatchNorm2d(outs), nn.ReLU(inplace=True)]


def double(ins, outs, middle=None):
    return nn.Sequential(*conv_bn_relu(ins, middle or outs), *conv_bn_relu(middle or outs, outs))


class Milesial(nn.Module):
    """Double convolutions, four max pools, the upsampled map padded to the skip's size; concatenated [skip, up]."""

    def __init__(self, ins=3, outs=2, base=8, bilinear=False):
        super().__init__()
        w = [base * 2**i for i in range(5)]
        half = 2 if bilinear else 1
        self.first = double(ins, w[0])
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), double(a, b // (half if b == w[4] else 1)))
                                  for a, b in zip(w, w[1:]))
        if bilinear:
            self.up = nn.ModuleList(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True) for _ in range(4))
            self.dec = nn.ModuleList(double(w[i + 1], w[i] // (2 if i else 1), w[i + 1] // 2) for i in reversed(range(4)))
        else:
            self.up = nn.ModuleList(nn.ConvTranspose2d(w[i + 1], w[i], 2, 2) for i in reversed(range(4)))
            self.dec = nn.ModuleList(double(w[i + 1], w[i]) for i in reversed(range(4)))
        self.head = nn.Conv2d(w[0], outs, 1)

    def forward(self, x):
        skips = [self.first(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up, dec in zip(self.up, self.dec):
            x, skip = up(x), skips.pop()
            dy, dx = skip.size()[2] - x.size()[2], skip.size()[3] - x.size()[3]
            x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            x = dec(torch.cat([skip, x], dim=1))
        return self.head(x)


class Brain(nn.Module):
    """The plain network of mateuszbuda/brain-segmentation-pytorch: [up, skip], sigmoid in the graph."""

    def __init__(self, base=8):
        super().__init__()
        w = [base * 2**i for i in range(5)]
        self.enc = nn.ModuleList(double(a, b) for a, b in zip([3] + w, w))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * a, a, 2, 2) for a in w[3::-1])
        self.dec = nn.ModuleList(double(2 * a, a) for a in w[3::-1])
        self.head = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        skips = []
        for enc in self.enc:
            x = enc(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = skips.pop()
        for up, dec in zip(self.up, self.dec):
            x = dec(torch.cat((up(x), skips.pop()), 1))
        return torch.sigmoid(self.head(x))


class Reb(nn.Sequential):
    def __init__(self, ins, outs, dilation=1):
        super().__init__(nn.Conv2d(ins, outs, 3, padding=dilation, dilation=dilation), nn.BatchNorm2d(outs), nn.ReLU(True))


class Rsu(nn.Module):
    """A residual U-block of U2-Net: `depth` levels with pools, or dilations in their place."""

    def __init__(self, depth, ins, middle, outs, dilated=False):
        super().__init__()
        self.dilated = dilated
        rate = (lambda i: 2**i) if dilated else (lambda i: 1)
        self.first = Reb(ins, outs)
        self.enc = nn.ModuleList(Reb(middle if i else outs, middle, rate(i)) for i in range(depth - 1))
        self.bottom = Reb(middle, middle, rate(depth - 1) if dilated else 2)
        self.dec = nn.ModuleList(Reb(2 * middle, middle if i else outs, rate(i)) for i in reversed(range(depth - 1)))

    def forward(self, x):
        first = x = self.first(x)
        skips = []
        for i, enc in enumerate(self.enc):
            if i and not self.dilated:
                x = F.max_pool2d(x, 2, stride=2, ceil_mode=True)
            x = enc(x)
            skips.append(x)
        x = self.bottom(x)
        for dec in self.dec:
            skip = skips.pop()
            x = dec(torch.cat((to_size(x, skip), skip), 1))
        return x + first


def to_size(x, like):
    return F.interpolate(x, size=like.shape[2:], mode="bilinear") if x.shape[2:] != like.shape[2:] else x


class U2Net(nn.Module):
    """U2-Net, the small one: six stages of residual U-blocks, seven sigmoid maps."""

    def __init__(self, middle=4, width=16):
        super().__init__()
        m, w = middle, width
        kinds = [(7, False), (6, False), (5, False), (4, False), (4, True), (4, True)]
        self.enc = nn.ModuleList(Rsu(d, w if i else 3, m, w, f) for i, (d, f) in enumerate(kinds))
        self.dec = nn.ModuleList(Rsu(d, 2 * w, m, w, f) for d, f in kinds[4::-1])
        self.side = nn.ModuleList(nn.Conv2d(w, 1, 3, padding=1) for _ in range(6))
        self.out = nn.Conv2d(6, 1, 1)

    def forward(self, x):
        skips, maps = [], []
        for i, enc in enumerate(self.enc):
            x = enc(F.max_pool2d(x, 2, stride=2, ceil_mode=True) if i else x)
            skips.append(x)
        maps = [skips.pop()]
        for dec in self.dec:
            skip = skips.pop()
            maps.append(dec(torch.cat((to_size(maps[-1], skip), skip), 1)))
        maps = [side(m) for side, m in zip(self.side, reversed(maps))]
        maps = [maps[0]] + [to_size(m, maps[0]) for m in maps[1:]]
        return tuple(torch.sigmoid(m) for m in [self.out(torch.cat(maps, 1))] + maps)


class Oidn(nn.Module):
    """The filter of Open Image Denoise: ReLU after every convolution, nearest upsampling, the input concatenated last."""

    def __init__(self, ins=9, enc=(8, 8, 12, 16, 20, 24), dec=(28, 24, 24, 16, 16), last=(16, 8)):
        super().__init__()
        conv = lambda a, b: nn.Conv2d(a, b, 3, padding=1)
        self.first = conv(ins, enc[0])
        self.enc = nn.ModuleList(conv(a, b) for a, b in zip(enc, enc[1:]))
        self.bottom = conv(enc[5], enc[5])
        self.dec = nn.ModuleList()
        x = enc[5]
        for skip, out in zip([enc[3], enc[2], enc[1], ins], [dec[0], dec[1], dec[2], last[0]]):
            self.dec.append(nn.ModuleList([conv(x + skip, out), conv(out, out)]))
            x = out
        self.last = nn.ModuleList([conv(x, last[1]), conv(last[1], 3)])

    def forward(self, x):
        pool = lambda t: F.max_pool2d(t, 2, 2)
        skips = [x]
        y = F.relu(self.first(x))
        y = pool(F.relu(self.enc[0](y)))
        for enc in self.enc[1:4]:
            skips.append(y)
            y = pool(F.relu(enc(y)))
        y = F.relu(self.bottom(F.relu(self.enc[4](y))))
        for a, b in self.dec:
            y = F.interpolate(y, scale_factor=2, mode="nearest")
            y = F.relu(b(F.relu(a(torch.cat((y, skips.pop()), 1)))))
        return F.relu(self.last[1](F.relu(self.last[0](y))))


class Residual(nn.Module):
    def __init__(self, width, bias=False):
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, 1, 1, bias=bias), nn.Conv2d(width, width, 3, 1, 1, bias=bias)

    def forward(self, x):
        return x + self.b(F.relu(self.a(x)))


class DrUNet(nn.Module):
    """DRUNet: residual blocks without norm, 2x2 strided and transposed convolutions, sums for skips."""

    def __init__(self, w=(8, 16, 24, 32), blocks=2):
        super().__init__()
        body = lambda c: [Residual(c) for _ in range(blocks)]
        self.head = nn.Conv2d(4, w[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(nn.Sequential(*body(a), nn.Conv2d(a, b, 2, 2, bias=False)) for a, b in zip(w, w[1:]))
        self.body = nn.Sequential(*body(w[3]))
        self.up = nn.ModuleList(nn.Sequential(nn.ConvTranspose2d(w[i + 1], w[i], 2, 2, bias=False), *body(w[i]))
                                for i in (2, 1, 0))
        self.tail = nn.Conv2d(w[0], 3, 3, padding=1, bias=False)

    def forward(self, x):
        skips = [self.head(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = self.body(skips[-1])
        for up in self.up:
            x = up(x + skips.pop())
        return self.tail(x + skips.pop())


class LayerNorm2d(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        y = (x - mean) / (variance + 1e-6).sqrt()
        return self.weight.view(1, -1, 1, 1) * y + self.bias.view(1, -1, 1, 1)


class NafBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm2d(c), LayerNorm2d(c)
        self.wide, self.deep = nn.Conv2d(c, 2 * c, 1), nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c)
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1))
        self.narrow, self.ffn1, self.ffn2 = nn.Conv2d(c, c, 1), nn.Conv2d(c, 2 * c, 1), nn.Conv2d(c, c, 1)
        self.beta, self.gamma = nn.Parameter(torch.ones(1, c, 1, 1)), nn.Parameter(torch.ones(1, c, 1, 1))

    @staticmethod
    def gate(x):
        a, b = x.chunk(2, dim=1)
        return a * b

    def forward(self, x):
        y = self.gate(self.deep(self.wide(self.norm1(x))))
        x = x + self.narrow(y * self.attention(y)) * self.beta
        return x + self.ffn2(self.gate(self.ffn1(self.norm2(x)))) * self.gamma


class NafNet(nn.Module):
    """NAFNet: no activation functions, gates and channel attention; padded to a multiple and cropped."""

    def __init__(self, width=16, enc=(1, 1, 2), dec=(1, 1, 1)):
        super().__init__()
        w = [width * 2**i for i in range(len(enc) + 1)]
        self.intro, self.ending = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        self.enc = nn.ModuleList(nn.Sequential(*(NafBlock(c) for _ in range(n))) for c, n in zip(w, enc))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in zip(w, w[1:]))
        self.middle = NafBlock(w[-1])
        self.up = nn.ModuleList(nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)) for c in w[:0:-1])
        self.dec = nn.ModuleList(nn.Sequential(*(NafBlock(c) for _ in range(n))) for c, n in zip(w[-2::-1], dec))
        self.multiple = 2 ** len(enc)

    def forward(self, x):
        _, _, h, w = x.size()
        m = self.multiple
        x = F.pad(x, (0, (m - w % m) % m, 0, (m - h % m) % m))
        y, skips = self.intro(x), []
        for enc, down in zip(self.enc, self.down):
            y = enc(y)
            skips.append(y)
            y = down(y)
        y = self.middle(y)
        for up, dec in zip(self.up, self.dec):
            y = dec(up(y) + skips.pop())
        return (self.ending(y) + x)[:, :, :h, :w]


class Squeeze(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b = nn.Conv2d(c, c // 8, 1), nn.Conv2d(c // 8, c, 1)

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.b(F.relu(self.a(y))))


class CuNet(nn.Module):
    """The cascade of waifu2x and Real-CUGAN: valid convolutions, negative pads, squeeze and excitation."""

    class Part(nn.Module):
        def __init__(self, ins, outs, depth, deconv, w=(8, 16, 16, 32)):
            super().__init__()
            act = lambda: nn.LeakyReLU(0.1)
            conv = lambda a, b, c, se: nn.Sequential(nn.Conv2d(a, b, 3), act(), nn.Conv2d(b, c, 3), act(),
                                                     *([Squeeze(c)] if se else []))
            self.enc = nn.ModuleList([conv(ins, w[0], w[1], False), conv(w[1], w[2], w[1] if depth == 1 else w[2], True)])
            self.down = nn.ModuleList([nn.Conv2d(w[1], w[1], 2, 2)])
            self.up = nn.ModuleList([nn.ConvTranspose2d(w[1], w[1], 2, 2)])
            self.dec = nn.ModuleList()
            if depth == 2:
                self.enc.append(conv(w[2], w[3], w[2], True))
                self.down.append(nn.Conv2d(w[2], w[2], 2, 2))
                self.up.insert(0, nn.ConvTranspose2d(w[2], w[2], 2, 2))
                self.dec.append(conv(w[2], w[2], w[1], True))
            self.last = nn.Conv2d(w[1], w[1], 3)
            self.bottom = nn.ConvTranspose2d(w[1], outs, 4, 2, 3) if deconv else nn.Conv2d(w[1], outs, 3)

        def forward(self, x):
            leaky = lambda t: F.leaky_relu(t, 0.1)
            skips = [self.enc[0](x)]
            for down, enc in zip(self.down, list(self.enc)[1:]):
                skips.append(enc(leaky(down(skips[-1]))))
            x = skips.pop()
            for i, up in enumerate(self.up):
                skip = skips.pop()
                x = leaky(up(x))
                crop = (4, 16)[i]
                x = F.pad(skip, (-crop, -crop, -crop, -crop)) + x
                if i < len(self.dec):
                    x = self.dec[i](x)
            return self.bottom(leaky(self.last(x)))

    def __init__(self):
        super().__init__()
        self.a, self.b = self.Part(3, 3, 1, True), self.Part(3, 3, 2, False)

    def forward(self, x):
        x = self.a(x)
        y = self.b(x)
        return torch.clamp(F.pad(x, (-20, -20, -20, -20)) + y, min=-3, max=3)


class Pix2Pix(nn.Module):
    """The pix2pix generator: 4x4 strided convolutions down to 1x1 and transposed ones up, tanh."""

    def __init__(self, downs=6, width=8, norm=nn.BatchNorm2d):
        super().__init__()
        w = [width * min(8, 2**i) for i in range(downs)]
        bias = norm is nn.InstanceNorm2d
        normed = lambda c, on: [norm(c)] if on else []
        self.enc = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 4, 2, 1, bias=bias), *normed(b, 0 < i < downs - 1))
                                 for i, (a, b) in enumerate(zip([3] + w, w)))
        self.dec = nn.ModuleList()
        for i in reversed(range(downs)):
            ins, outs = w[i] * (1 if i == downs - 1 else 2), w[i - 1] if i else 3
            self.dec.append(nn.Sequential(nn.ConvTranspose2d(ins, outs, 4, 2, 1, bias=bias or not i), *normed(outs, i),
                                          *([nn.Dropout(0.5)] if 1 < i < downs - 1 else [])))

    def forward(self, x):
        skips = []
        for i, enc in enumerate(self.enc):
            x = enc(F.leaky_relu(x, 0.2) if i else x)
            skips.append(x)
        x = skips.pop()
        for i, dec in enumerate(self.dec):
            x = dec(F.relu(torch.cat([skips.pop(), x], 1) if i else x))
        return torch.tanh(x)


class Ddpm(nn.Module):
    """Blocks of the diffusion U-Nets: GroupNorm and SiLU, attention at the bottom, one time step built in."""

    class Block(nn.Module):
        def __init__(self, ins, outs, time):
            super().__init__()
            self.norm1, self.norm2 = nn.GroupNorm(4, ins), nn.GroupNorm(4, outs)
            self.conv1, self.conv2 = nn.Conv2d(ins, outs, 3, padding=1), nn.Conv2d(outs, outs, 3, padding=1)
            self.time = nn.Linear(time, outs) if time else None
            self.skip = nn.Conv2d(ins, outs, 1) if ins != outs else nn.Identity()

        def forward(self, x, time):
            y = self.conv1(F.silu(self.norm1(x)))
            if self.time is not None:
                y = y + self.time(F.silu(time))[:, :, None, None]
            return self.skip(x) + self.conv2(F.silu(self.norm2(y)))

    class Attention(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.norm, self.qkv, self.out = nn.GroupNorm(4, c), nn.Conv2d(c, 3 * c, 1), nn.Conv2d(c, c, 1)

        def forward(self, x):
            n, c, h, w = x.shape
            q, k, v = self.qkv(self.norm(x)).reshape(n, 3, c, h * w).unbind(1)
            weight = torch.softmax(torch.bmm(q.transpose(1, 2), k) * c**-0.5, dim=-1)
            return x + self.out(torch.bmm(v, weight.transpose(1, 2)).reshape(n, c, h, w))

    def __init__(self, w=(16, 24, 32), time=0):
        super().__init__()
        if time:
            angle = 50.0 * torch.exp(-math.log(10000) * torch.arange(8) / 8)
            self.register_buffer("step", torch.cat([angle.sin(), angle.cos()])[None])
            self.embed = nn.Sequential(nn.Linear(16, time), nn.SiLU(), nn.Linear(time, time))
        self.time = time
        self.first = nn.Conv2d(3, w[0], 3, padding=1)
        self.enc = nn.ModuleList(self.Block(a, b, time) for a, b in zip((w[0],) + w, w))
        self.down = nn.ModuleList(nn.Conv2d(c, c, 3, 2, 1) for c in w[:2])
        self.middle1, self.attention, self.middle2 = self.Block(w[2], w[2], time), self.Attention(w[2]), self.Block(w[2], w[2], time)
        self.up = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in w[:0:-1])
        self.dec = nn.ModuleList(self.Block(a + b, b, time) for a, b in zip(w[:0:-1] , w[-2::-1]))
        self.norm, self.last = nn.GroupNorm(4, w[0]), nn.Conv2d(w[0], 3, 3, padding=1)

    def forward(self, x):
        time = self.embed(self.step) if self.time else None
        x, skips = self.first(x), []
        for i, enc in enumerate(self.enc):
            x = enc(x, time)
            if i < 2:
                skips.append(x)
                x = self.down[i](x)
        x = self.middle2(self.attention(self.middle1(x, time)), time)
        for up, dec in zip(self.up, self.dec):
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = dec(torch.cat([x, skips.pop()], 1), time)
        return self.last(F.silu(self.norm(x)))


class Diffusion(nn.Module):
    """UNet2DModel of diffusers at one time step."""

    def __init__(self):
        super().__init__()
        import diffusers
        self.net = diffusers.UNet2DModel(
            in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(16, 32, 32), norm_num_groups=8,
            attention_head_dim=8, down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"))

    def forward(self, x):
        return self.net(x, 50).sample


class Style(nn.Module):
    """Fast neural style: reflection padding and instance norm everywhere, residual blocks, nearest upsampling."""

    def __init__(self, w=(8, 16, 32), blocks=2):
        super().__init__()

        def conv(a, b, kernel, stride=1):
            return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(a, b, kernel, stride))

        norm = lambda c: nn.InstanceNorm2d(c, affine=True)
        self.enc = nn.Sequential(conv(3, w[0], 9), norm(w[0]), nn.ReLU(), conv(w[0], w[1], 3, 2), norm(w[1]), nn.ReLU(),
                                 conv(w[1], w[2], 3, 2), norm(w[2]), nn.ReLU())
        self.body = nn.ModuleList(nn.Sequential(conv(w[2], w[2], 3), norm(w[2]), nn.ReLU(), conv(w[2], w[2], 3), norm(w[2]))
                                  for _ in range(blocks))
        self.dec = nn.Sequential(nn.Upsample(scale_factor=2), conv(w[2], w[1], 3), norm(w[1]), nn.ReLU(),
                                 nn.Upsample(scale_factor=2), conv(w[1], w[0], 3), norm(w[0]), nn.ReLU(), conv(w[0], 3, 9))

    def forward(self, x):
        x = self.enc(x)
        for body in self.body:
            x = x + body(x)
        return self.dec(x)


class DnCnn(nn.Sequential):
    """Plain convolutions that predict the noise."""

    def __init__(self, width=16, depth=6):
        super().__init__(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(True), *(m for _ in range(depth) for m in conv_bn_relu(width, width)),
                         nn.Conv2d(width, 1, 3, padding=1, bias=False))

    def forward(self, x):
        return x - super().forward(x)


class Noise2Noise(nn.Module):
    """The U-Net of Noise2Noise: one convolution a level, leaky ReLU, nearest upsampling, the input concatenated last."""

    def __init__(self, width=12):
        super().__init__()
        w = width
        conv = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.LeakyReLU(0.1))
        self.first = conv(3, w)
        self.enc = nn.ModuleList(nn.Sequential(conv(w, w), nn.MaxPool2d(2)) for _ in range(5))
        self.bottom = conv(w, w)
        self.dec = nn.ModuleList(nn.Sequential(conv(a, 2 * w), conv(2 * w, 2 * w)) for a in (2 * w, 3 * w, 3 * w, 3 * w))
        self.last = nn.Sequential(conv(2 * w + 3, 16), conv(16, 8), nn.Conv2d(8, 3, 3, padding=1))

    def forward(self, x):
        skips, y = [x], self.first(x)
        for i, enc in enumerate(self.enc):
            y = enc(y)
            if i < 4:
                skips.append(y)
        y = self.bottom(y)
        for dec in [*self.dec, self.last]:
            y = dec(torch.cat([F.interpolate(y, scale_factor=2, mode="nearest"), skips.pop()], 1))
        return y


class CellPose(nn.Module):
    """Cellpose 1 to 3: norms before the convolutions, a normalised style vector added to every decoder level."""

    class Part(nn.Sequential):
        def __init__(self, ins, outs, kernel=3, relu=True):
            super().__init__(nn.BatchNorm2d(ins, eps=1e-5), *([nn.ReLU(True)] if relu else []),
                             nn.Conv2d(ins, outs, kernel, padding=kernel // 2))

    class Down(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            part = CellPose.Part
            self.skip, self.conv = part(a, b, 1, False), nn.ModuleList(part(a if i == 0 else b, b) for i in range(4))

        def forward(self, x):
            x = self.skip(x) + self.conv[1](self.conv[0](x))
            return x + self.conv[3](self.conv[2](x))

    class Up(nn.Module):
        def __init__(self, a, b, style):
            super().__init__()
            part = CellPose.Part
            self.skip, self.first, self.conv = part(a, b, 1, False), part(a, b), nn.ModuleList(part(b, b) for _ in range(3))
            self.full = nn.ModuleList(nn.Linear(style, b) for _ in range(3))

        def style(self, i, x, style):
            return self.conv[i](x + self.full[i](style).unsqueeze(-1).unsqueeze(-1))

        def forward(self, x, skip, style):
            x = self.skip(x) + self.style(0, self.first(x) + skip, style)
            return x + self.style(2, self.style(1, x, style), style)

    def __init__(self, w=(2, 8, 16, 32)):
        super().__init__()
        self.down = nn.ModuleList(self.Down(a, b) for a, b in zip(w, w[1:]))
        self.up = nn.ModuleList(self.Up(a, b, w[-1]) for a, b in reversed(list(zip(w[2:] + (w[-1],), w[1:]))))
        self.out = self.Part(w[1], 3, 1)

    def forward(self, x):
        skips = []
        for i, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2, 2) if i else x)
            skips.append(x)
        style = F.avg_pool2d(x, kernel_size=(x.shape[-2], x.shape[-1])).flatten(1)
        style = style / torch.sum(style**2, dim=1, keepdim=True) ** 0.5
        for i, up in enumerate(self.up):
            x = up(F.interpolate(x, scale_factor=2, mode="nearest") if i else x, skips.pop(), style)
        return self.out(x), style


class Old(nn.Module):
    """Features of files from 2018 or 2019: nearest upsampling, norms in the graph, dropout, a clip, a crop."""

    def __init__(self, width=8):
        super().__init__()
        w = width
        self.a, self.b, self.c = double(3, w), double(w, 2 * w), double(2 * w, 4 * w)
        self.d, self.e, self.head = double(6 * w, 2 * w), double(3 * w, w), nn.Conv2d(w, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = F.dropout(self.c(F.max_pool2d(b, 2)), 0.5, self.training)
        y = self.d(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        y = self.e(torch.cat([F.interpolate(y, scale_factor=2), a], 1))
        y = F.relu6(F.pad(y, (1, 1, 1, 1)))[:, :, 1:-1, 1:-1]
        return F.softmax(self.head(y), dim=1)


# ---- the table of families ----

FAMILIES = []
Family = collections.namedtuple("Family", "name source make shape example exporters options")


def family(name, source, make, shape, example=None, exporters=("ts", "dynamo"), **options):
    FAMILIES.append(Family(name, source, make, shape, example, exporters, options))


def smp(kind, encoder="resnet18", classes=1, **options):
    import segmentation_models_pytorch
    return getattr(segmentation_models_pytorch, kind)(encoder, encoder_weights=None, in_channels=3, classes=classes, **options)


def monai(kind, *args, **options):
    import monai.networks.nets
    return getattr(monai.networks.nets, kind)(*args, **options)


def nnunet(kind, **options):
    import dynamic_network_architectures.architectures.unet as unet
    return getattr(unet, kind)(
        1, 4, (8, 16, 32, 64), nn.Conv2d, [[3, 3]] * 4, [[1, 1], [2, 2], [2, 2], [2, 2]], num_classes=3,
        n_conv_per_stage_decoder=2, conv_bias=True, norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, **options)


def families():
    own = "written here"
    dynamic = (1, 3, 64, 64)
    family("milesial_transposed", own, lambda: Milesial(), (2, 3, 64, 48))
    family("milesial_bilinear", own, lambda: Milesial(bilinear=True), (1, 3, 64, 64), exporters=("ts", "dynamo", "dynamoraw"))
    family("milesial_half", own, lambda: Milesial(ins=1, outs=1), (1, 1, 48, 64), exporters=("ts",), half=True)
    family("milesial_odd", own, lambda: Milesial(), (1, 3, 61, 83))
    family("milesial_dynamic", own, lambda: Milesial(), (1, 3, 61, 83), dynamic)
    family("milesial_bilinear_dynamic", own, lambda: Milesial(bilinear=True), (1, 3, 75, 50), (2, 3, 64, 64), axes=(0, 2, 3))
    family("mateuszbuda", own, lambda: Brain(), (1, 3, 64, 64))
    package = "segmentation-models-pytorch 0.6.0"
    narrow = dict(decoder_channels=(64, 48, 32, 16, 16))
    family("smp_unet_resnet18", package, lambda: smp("Unet", classes=2, **narrow), (1, 3, 64, 64))
    family("smp_unet_efficientnet_b0", package, lambda: smp("Unet", "efficientnet-b0", **narrow), (1, 3, 64, 64))
    family("smp_unet_mobilenet_v2", package, lambda: smp("Unet", "mobilenet_v2", **narrow), (1, 3, 64, 64))
    family("smp_unet_mobilenet_v3", package + ", timm 1.0.22", lambda: smp("Unet", "tu-mobilenetv3_small_100", **narrow), (1, 3, 64, 64))
    family("smp_unetplusplus_resnet18", package, lambda: smp("UnetPlusPlus", **narrow), (1, 3, 64, 64))
    family("smp_linknet_resnet18", package, lambda: smp("Linknet"), (1, 3, 64, 64))
    family("smp_manet_resnet18", package, lambda: smp("MAnet", **narrow), (1, 3, 64, 64))
    family("smp_fpn_resnet18", package, lambda: smp("FPN", decoder_pyramid_channels=64, decoder_segmentation_channels=64), (1, 3, 64, 96))
    family("smp_unet_scse", package, lambda: smp("Unet", decoder_attention_type="scse", **narrow), (1, 3, 64, 64))
    family("smp_unet_odd", package, lambda: smp("Unet", **narrow), (1, 3, 61, 83))
    family("smp_unet_dynamic", package, lambda: smp("Unet", **narrow), (1, 3, 64, 96), dynamic)
    family("smp_deeplabv3plus_resnet18", package, lambda: smp("DeepLabV3Plus", decoder_channels=64), (1, 3, 64, 64))
    package = "monai 1.6.1"
    family("monai_unet", package, lambda: monai("UNet", 2, 1, 3, (8, 16, 32, 64), (2, 2, 2)), (1, 1, 48, 40))
    family("monai_unet_residual", package, lambda: monai("UNet", 2, 1, 3, (8, 16, 32, 64), (2, 2, 2), num_res_units=2), (1, 1, 40, 48))
    family("monai_basic_unet", package, lambda: monai("BasicUNet", 2, 1, 2, (8, 8, 16, 32, 64, 8)), (1, 1, 48, 64))
    family("monai_basic_unet_odd", package, lambda: monai("BasicUNet", 2, 1, 2, (8, 8, 16, 32, 64, 8)), (1, 1, 50, 61))
    family("monai_attention_unet", package, lambda: monai("AttentionUnet", 2, 1, 2, (8, 16, 32, 64), (2, 2, 2)), (1, 1, 48, 40))
    family("monai_dynunet", package, lambda: monai("DynUNet", 2, 1, 3, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=(8, 16, 32, 64)), (1, 1, 48, 40))
    family("monai_segresnet", package, lambda: monai("SegResNet", 2, 8, 1, 2, blocks_down=(1, 2, 2, 2), blocks_up=(1, 1, 1)), (1, 1, 48, 40), exporters=("ts", "dynamo", "dynamo23"))
    package = "dynamic-network-architectures 0.4.4"
    family("nnunet_plain", package, lambda: nnunet("PlainConvUNet", n_conv_per_stage=2), (1, 1, 48, 40))
    family("nnunet_residual", package, lambda: nnunet("ResidualEncoderUNet", n_blocks_per_stage=(1, 2, 2, 2)), (1, 1, 40, 48))
    family("u2netp", own, lambda: U2Net(), (1, 3, 56, 72), all=("ts",))
    family("u2netp_dynamic", own, lambda: U2Net(), (1, 3, 45, 70), dynamic, all=())
    family("oidn", own, lambda: Oidn(), (1, 9, 48, 64))
    family("drunet", own, lambda: DrUNet(), (1, 4, 48, 40))
    family("nafnet", own, lambda: NafNet(), (1, 3, 45, 50), exporters=("ts", "dynamo", "dynamoraw"))
    family("nafnet_dynamic", own, lambda: NafNet(), (1, 3, 37, 50), dynamic)
    family("cunet", own, lambda: CuNet(), (1, 3, 52, 60))
    family("pix2pix", own, lambda: Pix2Pix(), (1, 3, 64, 64))
    family("pix2pix_instance", own, lambda: Pix2Pix(5, norm=nn.InstanceNorm2d), (1, 3, 32, 64))
    family("ddpm", own, lambda: Ddpm(), (1, 3, 32, 24), exporters=("ts", "dynamo", "dynamo23", "dynamoraw"))
    family("ddpm_time", own, lambda: Ddpm(time=32), (1, 3, 32, 32))
    family("diffusers_unet", "diffusers 0.42.1", Diffusion, (1, 3, 32, 24), exporters=("ts", "dynamo", "dynamo23"))
    family("fast_style", own, lambda: Style(), (1, 3, 40, 48))
    family("dncnn", own, lambda: DnCnn(), (1, 1, 61, 47))
    family("noise2noise", own, lambda: Noise2Noise(), (1, 3, 32, 64))
    family("cellpose", own, lambda: CellPose(), (1, 2, 48, 40))
    family("old", own, lambda: Old(), (1, 3, 32, 48), exporters=("ts9", "ts11"))
    family("keras", own, keras, (1, 64, 64, 1), exporters=("written",))


def keras():
    """Imitates tf2onnx: transposes at both ends, auto_pad, an unnamed batch extent, nearest Resize."""
    nodes, weights = [], []
    generator = torch.Generator().manual_seed(1)

    def node(op, inputs, **attributes):
        name = f"model/{op.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name + ":0"], name, **attributes))
        return name + ":0"

    def constant(name, values, dtype=np.float32):
        weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def conv(x, ins, outs, kernel=3, relu=True, **pads):
        pads = pads or {"auto_pad": "SAME_UPPER"}
        weight = (torch.rand(outs, ins, kernel, kernel, generator=generator) * 2 - 1) * (6 / (ins * kernel**2)) ** 0.5
        bias = torch.rand(outs, generator=generator) * 0.2 - 0.1
        name = f"model/conv2d_{len(nodes)}/"
        x = node("Conv", [x, constant(name + "weights_fused_bn", weight.numpy()), constant(name + "bias_fused_bn", bias.numpy())],
                 dilations=[1, 1], strides=[1, 1], kernel_shape=[kernel, kernel], group=1, **pads)
        return node("Relu", [x]) if relu else x

    roi, scales = constant("roi__16", []), constant("scales__17", [1, 1, 2, 2])

    def up(x, ins, outs, **pads):
        x = node("Resize", [x, roi, scales], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        return conv(x, ins, outs, 2, **pads)

    x = node("Transpose", ["input_1"], perm=[0, 3, 1, 2])
    skips, w = [], [8, 16, 32]
    for a, b in zip([1] + w, w):
        x = conv(conv(x, a, b), b, b)
        if b < 32:
            skips.append(x)
            x = node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID" if b == 8 else "SAME_UPPER")
    # The two spellings of one below and one to the right.
    x = node("Concat", [skips.pop(), up(x, 32, 16)], axis=1)
    x = conv(conv(x, 32, 16), 16, 16)
    x = node("Concat", [skips.pop(), up(x, 16, 8, pads=[0, 0, 1, 1])], axis=1)
    x = conv(conv(conv(x, 16, 8), 8, 8), 8, 2)
    # TensorFlow adds the bias as its own operation, after the channels.
    x = node("Transpose", [conv(x, 2, 1, 1, relu=False, auto_pad="VALID")], perm=[0, 2, 3, 1])
    x = node("Sigmoid", [node("Add", [x, constant("const_fold_opt__21", [0.25])])])
    nodes.append(helper.make_node("Identity", [x], ["conv2d_11"], "Identity"))
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "tf2onnx", [value("input_1", ["unk__30", 64, 64, 1])], [value("conv2d_11", ["unk__31", 64, 64, 1])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 2)], ir_version=7, producer_name="tf2onnx")


# ---- weights, exports, results ----


def prepare(net, x):
    """Seeds every parameter, then scales each convolution and matrix so that its outputs have a size near 1."""
    generator = torch.Generator().manual_seed(2026)
    uniform = lambda t, low, high: t.data.copy_(torch.rand(t.shape, generator=generator) * (high - low) + low)
    hooks = []
    for module in net.modules():
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            uniform(module.weight, -1, 1)
            if module.bias is not None:
                uniform(module.bias, -0.2, 0.2)
            hooks.append(module.register_forward_hook(rescale))
        elif isinstance(module, nn.PReLU):
            uniform(module.weight, 0.1, 0.4)
        else:
            for name, value in own.items():
                uniform(value, *((-0.2, 0.2) if name == "bias" else (0.8, 1.2)))
            if getattr(module, "running_mean", None) is not None:
                uniform(module.running_mean, -0.1, 0.1)
                uniform(module.running_var, 0.7, 1.3)
    y = net.eval()(x)
    for hook in hooks:
        hook.remove()
    return y


def rescale(module, _, y):
    if getattr(module, "rescaled", False):
        return y
    module.rescaled = True
    bias = 0 if module.bias is None else module.bias.reshape([-1] + [1] * (y.dim() - 2) if y.dim() == 4 else [-1])
    size = (y - bias).pow(2).mean().sqrt()
    if size < 1e-6:
        return y
    module.weight.data /= size
    return (y - bias) / size + bias


def export(family, exporter, net):
    x = torch.zeros(family.example or family.shape)
    axes = {0: "batch", 2: "height", 3: "width"}
    dynamic = {axis: axes[axis] for axis in family.options.get("axes", (2, 3))} if family.example else {}
    if exporter.startswith("dynamo"):
        shapes = ({axis: torch.export.Dim.DYNAMIC for axis in dynamic},) if dynamic else None
        opset = int(re.sub(r"\D", "", exporter) or 20)
        return torch.onnx.export(net, (x,), dynamo=True, opset_version=opset, optimize="raw" not in exporter,
                                 dynamic_shapes=shapes, verbose=False).model_proto
    buffer = io.BytesIO()
    options = dict(opset_version=17)
    if exporter != "ts":
        options = dict(opset_version=int(exporter[2:]), keep_initializers_as_inputs=True, do_constant_folding=False,
                       training=torch.onnx.TrainingMode.PRESERVE)
    if dynamic:
        options["dynamic_axes"] = {"input": dynamic, "output": dynamic}
    torch.onnx.export(net, (x,), buffer, dynamo=False, input_names=["input"], output_names=["output"], **options)
    return onnx.load_from_string(buffer.getvalue())


def strip(message):
    """Removes stack traces and other paths of the machine that made the file."""
    if isinstance(message, (onnx.ModelProto, onnx.GraphProto, onnx.NodeProto, onnx.FunctionProto, onnx.ValueInfoProto, onnx.TensorProto)):
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
    for field, value in message.ListFields():
        if field.message_type:
            for part in value if isinstance(value, collections.abc.Iterable) else [value]:
                strip(part)


def short(value):
    return float(f"{value:.4g}")


def externalise(model):
    """Makes the large float tensors external; returns the sidecar's list of them."""
    tensors, offset = [], 0
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size <= INLINE:
            continue
        mean, spread = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        shift = 0.0 if abs(mean) < 0.1 * spread else short(mean)
        tensors.append({"name": tensor.name, "offset": offset, "count": values.size, "seed": 100 + len(tensors),
                        "scale": short(spread * 3**0.5), "shift": shift})
        for field in ("raw_data", "float_data"):
            tensor.ClearField(field)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in [("location", "weights.bin"), ("offset", offset), ("length", values.nbytes)]:
            tensor.external_data.add(key=key, value=str(value))
        offset += values.nbytes
    return tensors


def fill(tensors, half=False):
    """The bytes of weights.bin. Every operation is in float32; 16-bit tensors are rounded at the end."""
    blocks = [np.float32(t["shift"]) + np.float32(t["scale"]) * Random(t["seed"]).uniform(t["count"], -1.0, 1.0)
              for t in tensors]
    return b"".join((b.astype(np.float16).astype(np.float32) if half else b).tobytes() for b in blocks)


def halve(model):
    """The model in 16 bits, as converters make it: weights, inputs, outputs and intermediate values."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    for value in [*half.graph.input, *half.graph.output, *half.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for tensor in half.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.data_type = TensorProto.FLOAT16
            for entry in tensor.external_data:
                if entry.key != "location":
                    entry.value = str(int(entry.value) // 2)
        else:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    return half


def rounded(model):
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.data_location != TensorProto.EXTERNAL:
            values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def level(model, tensors, x):
    """Rescales weights, beginning at the input, until the results of every convolution have a size near 1."""
    scaled = {t["name"]: t for t in tensors}
    nodes = [n for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose") and n.input[1] in scaled]
    for _ in range(len(nodes)):
        values = run(model, fill(tensors), x, extra=[n.output[0] for n in nodes])[-len(nodes):]
        sizes = [float(np.sqrt((v**2).mean())) for v in values]
        wrong = [i for i, size in enumerate(sizes) if not 0.5 < size < 2]
        if not wrong:
            break
        weight = scaled[nodes[wrong[0]].input[1]]
        weight["scale"], weight["shift"] = (short(weight[k] / sizes[wrong[0]]) for k in ("scale", "shift"))


def run(model, weights, x, optimised=False, extra=()):
    """ONNX Runtime's results, with those of the named values after the outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name in extra:
        copy.graph.output.add(name=name)
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.onnx")
        path.write_bytes(copy.SerializeToString())
        pathlib.Path(folder, "weights.bin").write_bytes(weights)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: x})


def difference(a, b):
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(a, b))


def make(family, exporter, check):
    x = random(family.shape, INPUT_SEED)
    checked = None
    if exporter == "written":
        model = family.make()
    else:
        torch.manual_seed(0)
        net = family.make()
        expected = prepare(net, torch.from_numpy(x))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = export(family, exporter, net)
        if check:
            expected = expected if isinstance(expected, (tuple, list)) else [expected]
            checked = difference(run(model, b"", x), [y.numpy() for y in expected])
    strip(model)
    if not family.name.startswith(("milesial", "smp_unet_dynamic")):
        model.graph.ClearField("value_info")
    onnx.checker.check_model(model)
    tensors = externalise(model)
    level(model, tensors, x)
    half = family.options.get("half", False)
    if half:
        # 32-bit arithmetic on the numbers that the 16-bit file holds.
        x = x.astype(np.float16).astype(np.float32)
        rounded(model)
    weights = fill(tensors, half)
    made = {o: n for n in model.graph.node for o in n.output}
    outputs = run(model, weights, x)
    optimised = difference(run(model, weights, x, True), outputs)
    # Convolutions' results, and what goes into a last sigmoid, should be neither small nor large.
    bounded = ("Sigmoid", "Tanh", "Softmax", "Clip", "Relu", "Identity")
    heads = [made[o.name].input[0] if made[o.name].op_type in bounded else o.name for o in model.graph.output]
    names = [o for o, n in made.items() if n.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")]
    own = [o.name for o in model.graph.output]
    extra = [n for n in dict.fromkeys(heads + names) if n not in own]
    found = dict(zip(own + extra, run(model, weights, x, extra=extra)))
    values = [found[n] for n in heads + names]
    spread = [float(v.std()) for v in values[:len(heads)]]
    places = [float(v.std(axis=(2, 3)).min()) for v in values[:len(heads)] if v.ndim == 4]
    inner = [float(v.std()) for v in values[len(heads):] if v.size > 1]
    name = f"{family.name}.{exporter}"
    keep = list(zip([o.name for o in model.graph.output], outputs))
    if exporter not in family.options.get("all", [exporter]):
        keep = keep[:1]
    element = "f32"
    if half:
        element, model = "f16", halve(model)
        for t in tensors:
            t["offset"] //= 2
    size = len(weights) // (2 if half else 1)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    lines = ",\n".join(f"    {json.dumps(t)}" for t in tensors)
    head = {"input": {"name": model.graph.input[0].name, "type": element, "shape": list(family.shape), "seed": INPUT_SEED}}
    tail = {"external_bytes": size, "outputs": [{"name": n, "shape": list(y.shape)} for n, y in keep]}
    sidecar = "{" + json.dumps(head)[1:-1] + ',\n  "tensors": [\n' + lines + "\n  ],\n  " + json.dumps(tail)[1:-1] + "}\n"
    json.loads(sidecar)
    (HERE / f"{name}.json").write_text(sidecar)
    ops = collections.Counter(n.op_type for n in model.graph.node)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    print(f"{name}: {len(model.graph.node)} nodes, {size // 1000} KB weights, output std "
          f"{min(spread):.2g}..{max(spread):.2g}, in a channel from {min(places):.2g}, inside {min(inner):.2g}..{max(inner):.2g}, optimised {optimised:.1e}"
          + ("" if checked is None else f", torch {checked:.1e}") + ("" if not model.functions else ", FUNCTIONS"), flush=True)
    assert all(np.isfinite(y).all() for y in outputs)
    row = f"| {family.name} | {family.source} | {exporter} | {opset} | {len(model.graph.node)} | " + ", ".join(
        f"{o} {c}" for o, c in sorted(ops.items())) + " |"
    return row, {f"{name}/{n}": y for n, y in keep}


HEAD = """# Zoo

`../generate_zoo.py` makes these files. `../README.md` says how the weights are made and where the results are.
`ts` is `torch.onnx.export(dynamo=False)`, with opset 17 or the number. `dynamo` is `dynamo=True`, with opset 20 or the
number. `dynamoraw` also has `optimize=False`. `written` imitates another exporter by hand. TorchScript cannot write
`old` for opset 8 or less (upsample_nearest2d). MONAI's BasicUNet with a dynamic extent is missing, because both
exporters freeze the padding of the example's size.

| Family | From | Exporter | Opset | Nodes | Operators |
|---|---|---|---|---|---|
"""


def main():
    words = [a for a in sys.argv[1:] if not a.startswith("-")]
    logging.disable(logging.WARNING)
    families()
    table = HERE / "README.md"
    rows, goldens = {}, {}
    if table.exists():
        for line in table.read_text().splitlines():
            if match := re.match(r"\| (\w+) \|.*?\| (ts\d*|dynamo\w*|written) \|", line):
                rows[match.groups()] = line
    for path in HERE.glob("*.safetensors"):
        goldens |= load_file(path)
    order = [(f, e) for f in FAMILIES for e in f.exporters]
    for f, e in order:
        if not words or any(w in f"{f.name}.{e}" for w in words):
            key = (f.name, e)
            goldens = {k: v for k, v in goldens.items() if not k.startswith(f"{f.name}.{e}/")}
            try:
                rows[key], made = make(f, e, "--check" in sys.argv)
                goldens |= made
            except Exception as error:
                print(f"{f.name}.{e}: FAILED {type(error).__name__}: {str(error)[:2000]}", flush=True)
                if "--raise" in sys.argv:
                    raise
                first = re.sub(r"\s+", " ", str(error)).strip()[:120].replace("|", "/")
                rows[key] = f"| {f.name} | {f.source} | {e} | | | none: {type(error).__name__}: {first} |"
    table.write_text(HEAD + "\n".join(rows[f.name, e] for f, e in order if (f.name, e) in rows) + "\n")
    for exporter in ("ts", "dynamo"):
        part = {k: np.ascontiguousarray(v) for k, v in goldens.items() if ("dynamo" in k.split("/")[0]) == (exporter == "dynamo")}
        path = HERE / f"{exporter}.safetensors"
        save_file(part, path)
        path.chmod(0o644)
        print(f"{path.name}: {len(part)} results, {path.stat().st_size // 1000} KB")


if __name__ == "__main__":
    with torch.no_grad():
        main()
