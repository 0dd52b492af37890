"""Makes onnx_*.onnx and onnx.safetensors: small random networks exported by PyTorch, with their results.

Python 3.11, torch 2.9.1, onnx 1.23, safetensors 0.8. Run in this folder: python generate_onnx.py
"""

import io

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import helper as h
from safetensors.torch import save_file


class Block(nn.Sequential):
    def __init__(self, ins, outs, act):
        super().__init__(nn.Conv2d(ins, outs, 3, padding=1), nn.BatchNorm2d(outs), act,
                         nn.Conv2d(outs, outs, 3, padding=1), nn.BatchNorm2d(outs), act)


class Transposed(nn.Module):
    """Two levels, max pool, transposed convolution, batch norm, sigmoid."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = Block(3, 6, nn.ReLU()), Block(6, 8, nn.ReLU()), Block(8, 10, nn.ReLU())
        self.up2, self.dec2 = nn.ConvTranspose2d(10, 8, 2, 2), Block(16, 8, nn.ReLU())
        self.up1, self.dec1 = nn.ConvTranspose2d(8, 6, 3, 2, 1, 1), Block(12, 6, nn.ReLU())
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        y = self.middle(F.max_pool2d(b, 2))
        y = self.dec2(torch.cat([self.up2(y), b], 1))
        y = self.dec1(torch.cat([self.up1(y), a], 1))
        return torch.sigmoid(self.head(y))


class Resized(nn.Module):
    """Strided convolution, average pool, both bilinear rules and nearest, leaky ReLU, a sum, an affine, softmax."""

    def __init__(self):
        super().__init__()
        self.first, self.strided = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1, bias=False)
        self.grouped, self.head = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2), nn.Conv2d(8, 3, 1)
        self.scale = nn.Parameter(torch.rand(1, 4, 1, 1) + 0.5)

    def forward(self, x):
        a = F.leaky_relu(self.first(x * 2 - 1), 0.1)
        b = self.strided(a) + F.avg_pool2d(a, 2)
        c = self.grouped(F.max_pool2d(b, 3, 2, 1))
        c = F.interpolate(c, scale_factor=2, mode="nearest") * self.scale
        c = F.interpolate(c, scale_factor=2, mode="bilinear", align_corners=True)
        b = F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.softmax(self.head(torch.cat([c, b], 1)), 1)


class Classes(nn.Module):
    """An encoder, a global average, a linear layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.linear = Block(3, 6, nn.ReLU()), Block(6, 8, nn.ReLU()), nn.Linear(8, 5)

    def forward(self, x):
        y = self.b(F.max_pool2d(self.a(x), 2))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(y, 1), 1))


def main():
    torch.manual_seed(2026)
    tensors = {}
    cases = {"transposed": (Transposed(), 3, 16, 24), "resized": (Resized(), 1, 16, 24), "classes": (Classes(), 3, 13, 18)}
    for name, (net, channels, h, w) in cases.items():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
        net.eval()
        x = torch.rand(2, channels, h, w)
        with torch.no_grad():
            y = net.double()(x.double()).float()
        net.float()
        # Norms are left in one file, so that they are read too.
        folding = name != "classes"
        buffer = io.BytesIO()
        torch.onnx.export(net, (x,), buffer, dynamo=False, opset_version=17, do_constant_folding=folding,
                          training=torch.onnx.TrainingMode.EVAL if folding else torch.onnx.TrainingMode.PRESERVE,
                          input_names=["x"], output_names=["y"])
        onnx.save(onnx.load_from_string(buffer.getvalue()), f"onnx_{name}.onnx")
        tensors[f"{name}/input"], tensors[f"{name}/output"] = x, y
    save_file(tensors, "onnx.safetensors")


def out_of_scope(name, nodes, constants):
    """Networks that do not run, told by the names of their nodes and tensors."""
    nodes = [h.make_node(op, inputs, [f"v{i}"], path, domain="custom" if op == "Foo" else "") for i, (op, inputs, path) in
             enumerate(nodes)]
    constants = [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in constants.items()]
    ends = [h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, c, 16, 16]) for name, c in
            [("x", 3), (f"v{len(nodes) - 1}", 4)]]
    graph = h.make_graph(nodes, "graph", ends[:1], ends[1:], constants)
    opsets = [h.make_opsetid("", 17), h.make_opsetid("custom", 1)]
    onnx.save(h.make_model(graph, opset_imports=opsets, ir_version=8), f"onnx_{name}.onnx")


main()
table = "bb.layers.0.blocks.0.attn.relative_position_bias_table"
out_of_scope("out_of_scope", [
    ("Conv", ["x", "w"], "/bb/patch_embed/proj/Conv"), ("Foo", ["v0"], "/bb/layers.0/blocks.0/attn/Foo"),
    ("Add", ["v1", table], "/bb/layers.0/blocks.0/attn/Add"), ("Relu", ["v2"], "/decoder/decoder_block4/Relu"),
], {"w": (4, 3, 1, 1), table: (4, 1, 1)})
out_of_scope("out_of_scope_nodes", [
    ("Conv", ["x", "onnx::Conv_1"], "/image_encoder/patch_embed/proj/Conv"), ("Foo", ["v0"], "/prompt_encoder/Foo"),
    ("Relu", ["v1"], "/mask_decoder/Relu"),
], {"onnx::Conv_1": (4, 3, 1, 1)})
