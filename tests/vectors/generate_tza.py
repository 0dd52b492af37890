"""Makes state_dicts/oidn*: networks as Open Image Denoise has them, much narrower and with random weights, in its file
format, and what PyTorch computes.

Python 3.11, torch 2.9.1, numpy 2.4 and safetensors 0.8. Run in this folder: python generate_tza.py

Written from the format's and the networks' description in src/import/tza.rs and src/import/families/oidn.rs.
"""

import pathlib
import struct

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "state_dicts"

BASE = ["enc_conv0 enc_conv1", "enc_conv2", "enc_conv3", "enc_conv4", "enc_conv5a enc_conv5b",
        "dec_conv4a dec_conv4b", "dec_conv3a dec_conv3b", "dec_conv2a dec_conv2b", "dec_conv1a dec_conv1b dec_conv0"]
LARGE = [f"enc_conv{i}a enc_conv{i}b" for i in range(1, 6)] + \
        [f"dec_conv{i}a dec_conv{i}b" for i in range(4, 1, -1)] + ["dec_conv1a dec_conv1b dec_conv1c"]


def write(path, tensors, dtype):
    """A tensor archive of version 2.0: header, tensors, table, each at a multiple of 64 bytes."""
    file, table = bytearray(struct.pack("<HBBQ", 0x41D7, 2, 0, 0)), struct.pack("<I", len(tensors))
    for name, tensor in tensors.items():
        file += bytes(-len(file) % 64)
        table += struct.pack("<H", len(name)) + name.encode() + struct.pack("<B", tensor.dim())
        table += struct.pack(f"<{tensor.dim()}I", *tensor.shape) + (b"oihw" if tensor.dim() == 4 else b"x")
        table += (b"h" if dtype == np.float16 else b"f") + struct.pack("<Q", len(file))
        file += tensor.numpy().astype(dtype).tobytes()
    file += bytes(-len(file) % 64)
    file[4:12] = struct.pack("<Q", len(file))
    path.write_bytes(file + table)


def weights(levels, channels, widths):
    """Random weights that keep the scale of the signal. `widths` are the output channels of the convolutions."""
    tensors, ins, skips, widths = {}, channels, [channels], iter(widths)
    for i, level in enumerate(levels):
        ins += skips.pop() if i > 4 else 0
        for name in level.split():
            outs, bound = next(widths), (6 / (9 * ins)) ** 0.5
            tensors[f"{name}.weight"] = torch.empty(outs, ins, 3, 3).uniform_(-bound, bound).half().float()
            tensors[f"{name}.bias"] = torch.empty(outs).uniform_(0.0, 0.2).half().float()
            ins = outs
        if i < 3:
            skips.append(ins)
    return tensors


def run(levels, tensors, x):
    tensors, (h, w) = {name: t.double() for name, t in tensors.items()}, x.shape[2:]
    x = F.pad(x.double(), (0, -w % 16, 0, -h % 16))
    skips = []
    for i, level in enumerate(levels):
        if i < 4:
            skips.append(x)
        elif i > 4:
            x = torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skips.pop()], 1)
        for name in level.split():
            x = F.relu(F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1))
        if i < 4:
            x = F.max_pool2d(x, 2)
    return x[..., :h, :w].float().contiguous()


def main():
    torch.manual_seed(2026)
    results = {}
    for case, levels, dtype, shape, widths in [
        ("oidn", BASE, np.float16, (1, 3, 37, 50), [3, 3, 4, 5, 6, 7, 7, 8, 8, 7, 7, 6, 5, 4, 3, 3]),
        ("oidn_large", LARGE, np.float32, (2, 9, 32, 16), [3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 6, 6, 5, 5, 4, 4, 4, 3, 3]),
    ]:
        tensors, x = weights(levels, shape[1], widths), torch.rand(shape)
        write(OUT / f"{case}.tza", tensors, dtype)
        results[f"{case}/input"], results[f"{case}/output"] = x, run(levels, tensors, x)
    save_file(results, OUT / "oidn.safetensors")


if __name__ == "__main__":
    main()
