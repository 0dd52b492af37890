"""Makes onnx_time.onnx, onnx_three.onnx, onnx_recurrent.onnx and inputs.safetensors: small random networks of several
inputs and outputs, with ONNX Runtime's results.

Python 3.11, torch 2.9.1, onnx 1.23, onnxruntime 1.32, safetensors 0.8. Run in this folder: python generate_inputs.py
"""

import io

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file

FRAMES = 10


class Time(nn.Module):
    """A denoiser of one level with a whole-number time step, embedded as diffusion networks do it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.down, self.up = nn.Conv2d(8, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 2, 2)
        self.embed = nn.Sequential(nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 8))

    def forward(self, sample, timestep):
        rates = torch.exp(torch.arange(8, dtype=torch.float32) * -0.8)
        angles = timestep.float()[:, None] * rates[None]
        time = self.embed(torch.cat([angles.sin(), angles.cos()], -1))
        x = self.first(sample)
        y = F.silu(self.down(x) + time[:, :, None, None])
        return self.last(x + self.up(y))


class Three(nn.Module):
    """Deep supervision: the outputs of a half and a quarter of the size come before the result."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 6), (6, 8), (8, 8)))
        self.head_c, self.head_b, self.head_a = nn.Conv2d(8, 2, 1), nn.Conv2d(16, 2, 1), nn.Conv2d(22, 2, 1)

    def forward(self, picture):
        up = lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest")
        a = F.relu(self.a(picture))
        b = F.relu(self.b(F.max_pool2d(a, 2)))
        c = F.relu(self.c(F.max_pool2d(b, 2)))
        b = torch.cat([up(c), b], 1)
        a = torch.cat([up(b), a], 1)
        return self.head_c(c), self.head_b(b), torch.sigmoid(self.head_a(a))


class Cell(nn.Module):
    """A convolutional GRU on half of the channels, as Robust Video Matting has it. Its state begins as one zero."""

    def __init__(self, channels):
        super().__init__()
        self.half = channels // 2
        self.gates = nn.Conv2d(channels, channels, 3, padding=1)
        self.candidate = nn.Conv2d(channels, self.half, 3, padding=1)

    def forward(self, x, state):
        kept, x = x.split(self.half, 1)
        state = state.expand_as(x)
        reset, update = torch.sigmoid(self.gates(torch.cat([x, state], 1))).split(self.half, 1)
        candidate = torch.tanh(self.candidate(torch.cat([x, reset * state], 1)))
        state = (1 - update) * state + update * candidate
        return torch.cat([kept, state], 1), state


class Recurrent(nn.Module):
    """Four scales with a state each; gives a foreground and its opacity."""

    def __init__(self):
        super().__init__()
        widths = (4, 6, 8, 8)
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in zip((3,) + widths, widths))
        self.cells = nn.ModuleList(Cell(width) for width in widths)
        self.up = nn.ModuleList(nn.Conv2d(i + o, o, 3, padding=1) for i, o in zip(widths[1:], widths))
        self.head = nn.Conv2d(4 + 3, 4, 3, padding=1)

    def forward(self, src, r1i, r2i, r3i, r4i):
        features, x = [], src
        for down in self.down:
            x = F.relu(down(x))
            features.append(x)
        states = [None] * 4
        x, states[3] = self.cells[3](features[3], r4i)
        for scale, state in ((2, r3i), (1, r2i), (0, r1i)):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = F.relu(self.up[scale](torch.cat([x, features[scale]], 1)))
            x, states[scale] = self.cells[scale](x, state)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        y = self.head(torch.cat([x, src], 1))
        return (src + y[:, :3], torch.sigmoid(y[:, 3:]), *states)


def export(name, network, inputs, names, outputs, axes):
    file = io.BytesIO()
    torch.onnx.export(network, inputs, file, input_names=names, output_names=outputs, dynamic_axes=axes,
                      opset_version=17, dynamo=False)
    model = onnx.load_from_string(file.getvalue())
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    onnx.save(model, f"onnx_{name}.onnx")
    options = onnxruntime.SessionOptions()
    # As in Robust Video Matting's files, extents of one name are not equal, which reuse of memory rests on.
    options.enable_mem_reuse = False
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main():
    torch.manual_seed(7)
    noise = np.random.default_rng(7)
    picture = lambda *shape: noise.random(shape, dtype=np.float32)
    tensors = {}

    sides = {2: "height", 3: "width"}
    session = export("time", Time().eval(), (torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64)),
                     ["sample", "timestep"], ["noise"], {"sample": sides, "noise": sides})
    sample = tensors["time/sample"] = picture(1, 3, 24, 40)
    for step in (0, 37, 981):
        result, = session.run(None, {"sample": sample, "timestep": np.array([step], np.int64)})
        tensors[f"time/noise{step}"] = result

    outputs = ["quarter", "half", "mask"]
    session = export("three", Three().eval(), (torch.zeros(1, 3, 32, 32),), ["picture"], outputs,
                     {name: sides for name in ["picture", *outputs]})
    tensors["three/picture"] = picture(1, 3, 24, 40)
    for name, result in zip(outputs, session.run(outputs, {"picture": tensors["three/picture"]})):
        tensors[f"three/{name}"] = result

    spatial = {0: "batch_size", 2: "height", 3: "width"}
    names = ["src", "r1i", "r2i", "r3i", "r4i"]
    outputs = ["fgr", "pha", "r1o", "r2o", "r3o", "r4o"]
    axes = {"src": spatial, "fgr": spatial, "pha": spatial}
    axes |= {name: {**spatial, 1: "channels"} for name in names[1:]} | {name: spatial for name in outputs[2:]}
    zero = torch.zeros(1, 1, 1, 1)
    session = export("recurrent", Recurrent().eval(), (torch.zeros(1, 3, 32, 32), zero, zero, zero, zero), names,
                     outputs, axes)
    states = {name: np.zeros((1, 1, 1, 1), np.float32) for name in names[1:]}
    frames = tensors["recurrent/src"] = picture(FRAMES, 3, 32, 48)
    results = []
    for frame in frames:
        results.append(session.run(outputs, {"src": frame[None], **states}))
        states = dict(zip(names[1:], results[-1][2:]))
    for place, name in enumerate(outputs[:2]):
        tensors[f"recurrent/{name}"] = np.concatenate([result[place] for result in results])
    for place, name in enumerate(outputs[2:], 2):
        tensors[f"recurrent/{name}"] = results[-1][place]
    save_file(tensors, "inputs.safetensors")


if __name__ == "__main__":
    main()
