"""Makes the vectors in this folder: results of PyTorch that every backend is checked against.

Made with Python 3.11, torch 2.9.1, numpy 2.4.6, onnx 1.23.2 (its reference implementation, for the ways of resizing that
PyTorch lacks), safetensors 0.8.0:

    python generate.py

All inputs and weights come from SplitMix64, written again here after `Random` and `RandomWeights` of the Rust
crate, so that weights too large to be committed are the same numbers on both sides. PyTorch computes in float64 and
the results are rounded to float32 once: the vectors hold the true values, not one library's rounding.
"""

import json
import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
GAMMA = np.uint64(0x9E3779B97F4A7C15)


class Random:
    """SplitMix64, `Random` in src/tensor.rs."""

    def __init__(self, seed):
        self.state = np.uint64(seed)

    def bits(self, count):
        with np.errstate(over="ignore"):
            z = self.state + GAMMA * np.arange(1, count + 1, dtype=np.uint64)
            self.state = self.state + GAMMA * np.uint64(count)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def uniform(self, count, low, high):
        """Every operation in float32, in the order of the Rust code."""
        low, high = np.float32(low), np.float32(high)
        unit = (self.bits(count) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
        return low + unit * (high - low)

    def below(self, count, n):
        return (self.bits(count) % np.uint64(n)).astype(np.uint32)


class RandomWeights:
    """`RandomWeights` in src/unet.rs: tensors must be requested in the order of `UnetConfig::build`."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.made = {}

    def __call__(self, name, shape):
        elements = int(np.prod(shape))
        fan_in = shape[0] if name.endswith("up.weight") else elements // shape[0]
        part = name.rsplit(".", 1)[1]
        if part == "running_var" or (part == "weight" and elements == shape[0]):
            low, high = 0.5, 1.5
        elif part == "weight":
            high = np.sqrt(np.float32(6.0) / np.float32(fan_in))
            low = -high
        else:
            # -0.1 is the negated float32, as in Rust.
            low, high = -np.float32(0.1), np.float32(0.1)
        self.made[name] = self.random.uniform(elements, low, high).reshape(shape)
        return double(self.made[name])


def double(array):
    return torch.from_numpy(np.ascontiguousarray(array)).double()


def single(tensor):
    return np.ascontiguousarray(tensor.float().numpy())


def random(shape, seed, low=-1.0, high=1.0):
    """`Tensor::random` for the range -1..1."""
    return Random(seed).uniform(int(np.prod(shape)), low, high).reshape(shape)


# Pointwise functions with the numbers that tests/support.rs gives them.
FUNCTIONS = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, float(np.float32(0.1))),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
    "elu": lambda x: F.elu(x, 1.5),
    "selu": F.selu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "mish": F.mish,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "clip": lambda x: torch.clamp(x, max=6.0),
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "reciprocal": torch.reciprocal,
    "abs": torch.abs,
    "neg": torch.neg,
    "square": torch.square,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "sign": torch.sign,
    "pow_scalar": lambda x: torch.pow(x, 1.5),
}
POSITIVE = ("log", "sqrt", "reciprocal", "pow_scalar")

BINARIES = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "min": torch.minimum,
            "max": torch.maximum, "pow": torch.pow}

REDUCTIONS = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax, "min": torch.amin,
              "l2": lambda x, dim, keepdim: torch.sqrt(torch.sum(x * x, dim, keepdim))}


def activate(x, activation):
    match activation:
        case "none":
            return x
        case str():
            return FUNCTIONS[activation](x)
        case {"leaky_relu": slope}:
            return F.leaky_relu(x, float(np.float32(slope)))
    raise ValueError(activation)


def pad_zero(x, padding):
    """The order of padding is top, left, bottom, right everywhere in this project."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom))


# ---- one operator a case ----


class Cases:
    def __init__(self):
        self.tensors = {}
        self.attributes = {}
        self.seed = 1000

    def random(self, *shape, low=-1.0, high=1.0):
        self.seed += 1
        return random(shape, self.seed, low, high)

    def add(self, name, op, output, inputs, weights=None, **attributes):
        assert name not in self.attributes, name
        self.attributes[name] = {"op": op, **attributes}
        for i, x in enumerate(inputs):
            self.tensors[f"{name}/input{i}"] = x
        for part, value in (weights or {}).items():
            self.tensors[f"{name}/{part}"] = value
        self.tensors[f"{name}/output"] = single(output)

    def conv(self, name, x, out, kernel, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1, bias=True,
             activation="none"):
        x = self.random(*x)
        fan_in = x.shape[1] // groups * kernel[0] * kernel[1]
        weights = {"weight": self.random(out, x.shape[1] // groups, *kernel) * np.float32((3 / fan_in) ** 0.5)}
        if bias:
            weights["bias"] = self.random(out)
        y = F.conv2d(pad_zero(double(x), padding), double(weights["weight"]),
                     double(weights["bias"]) if bias else None, stride, 0, dilation, groups)
        self.add(name, "conv", activate(y, activation), [x], weights, stride=stride, padding=padding,
                 dilation=dilation, groups=groups, activation=activation)

    def conv_transpose(self, name, x, out, kernel, stride, padding=(0, 0, 0, 0), output_padding=(0, 0), groups=1,
                       bias=True, activation="none"):
        x = self.random(*x)
        weights = {"weight": self.random(x.shape[1], out // groups, *kernel)}
        if bias:
            weights["bias"] = self.random(out)
        symmetric = padding[:2] == padding[2:]
        y = F.conv_transpose2d(double(x), double(weights["weight"]), double(weights["bias"]) if bias else None, stride,
                               padding[:2] if symmetric else 0, output_padding, groups)
        if not symmetric:
            top, left, bottom, right = padding
            y = y[:, :, top:y.shape[2] - bottom, left:y.shape[3] - right]
        self.add(name, "conv_transpose", activate(y, activation), [x], weights, stride=stride, padding=padding,
                 output_padding=output_padding, groups=groups, activation=activation)

    def pool(self, name, x, kind, kernel, stride, padding=(0, 0), ceil=False):
        x = self.random(*x)
        if kind == "max":
            y = F.max_pool2d(double(x), kernel, stride, padding, ceil_mode=ceil)
        else:
            y = F.avg_pool2d(double(x), kernel, stride, padding, ceil, count_include_pad=kind == "average_with_padding")
        self.add(name, "max_pool" if kind == "max" else "average_pool", y, [x], kind=kind, kernel=kernel,
                 stride=stride, padding=(*padding, *padding), ceil=ceil)

    def batch_norm(self, name, channels, var_low, var_high, eps):
        x = self.random(2, channels, 4, 5)
        parts = {part: self.random(channels) for part in ("gamma", "beta", "mean")}
        parts["var"] = self.random(channels, low=var_low, high=var_high)
        gamma, beta, mean, var = (double(parts[p]) for p in ("gamma", "beta", "mean", "var"))
        y = F.batch_norm(double(x), mean, var, gamma, beta, False, 0.0, eps)
        self.add(name, "batch_norm", y, [x], parts, eps=eps)

    def resize(self, name, x, interpolation, scale):
        x = self.random(*x)
        # By size, not by factor: PyTorch otherwise steps by the factor itself, not by the ratio of the sizes.
        size = [int(s * f) for s, f in zip(x.shape[2:], scale)]
        if interpolation == "nearest":
            y = F.interpolate(double(x), size, mode="nearest")
        else:
            y = F.interpolate(double(x), size, mode="bilinear", align_corners=interpolation == "bilinear_align_corners")
        op = "resize_nearest" if interpolation == "nearest" else "resize_bilinear"
        self.add(name, op, y, [x], interpolation=interpolation, scale=scale)

    def resize_to(self, name, x, y, interpolation, coordinates, **to):
        op = {"linear": "resize_bilinear", "cubic": "resize_bicubic"}.get(interpolation, "resize_nearest")
        self.add(name, op, y, [x], interpolation=interpolation, coordinates=coordinates, to=to)

    def onnx_resize(self, name, x, mode, coordinates, rounding="round_prefer_floor", a=-0.75, **to):
        x = self.random(*x)
        [(kind, extents)] = to.items()
        dtype = np.float32 if kind == "scale" else np.int64
        extents = np.array([*([1, 1] if kind == "scale" else x.shape[:2]), *extents], dtype)
        node = onnx.helper.make_node("Resize", ["x", "", "scale", "size"] if kind == "size" else ["x", "", "scale"],
                                     ["y"], mode=mode, coordinate_transformation_mode=coordinates,
                                     nearest_mode=rounding, cubic_coeff_a=a)
        if kind == "size":
            node.input[2] = ""
        infos = [onnx.helper.make_tensor_value_info(part, kind_, None) for part, kind_ in
                 [("x", onnx.TensorProto.DOUBLE), (kind, onnx.TensorProto.FLOAT if kind == "scale" else onnx.TensorProto.INT64)]]
        made = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, None)
        graph = onnx.helper.make_graph([node], "resize", infos, [made])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
        [y] = ReferenceEvaluator(model).run(None, {"x": x.astype(np.float64), kind: extents})
        names = {"floor": "floor", "ceil": "ceil", "round_prefer_floor": "prefer_floor",
                 "round_prefer_ceil": "prefer_ceil"}
        interpolation = names[rounding] if mode == "nearest" else mode
        self.resize_to(name, x, torch.from_numpy(np.asarray(y)).double(), interpolation, coordinates, **{kind: to[kind]})

    def norm(self, name, x, groups=None, affine=True, activation="none", eps=1e-5):
        x = self.random(*x)
        parts = {part: self.random(x.shape[1]) for part in ("gamma", "beta")} if affine else {}
        gamma, beta = (double(parts[p]) if affine else None for p in ("gamma", "beta"))
        if groups is None:
            y = F.layer_norm(double(x).permute(0, 2, 3, 1), x.shape[1:2], gamma, beta, eps).permute(0, 3, 1, 2)
            self.add(name, "layer_norm", activate(y, activation), [x], parts, eps=eps, activation=activation)
        else:
            y = F.group_norm(double(x), groups, gamma, beta, eps)
            self.add(name, "group_norm", activate(y, activation), [x], parts, eps=eps, groups=groups,
                     activation=activation)

    def rearrange(self, name, x, f, **attributes):
        x = self.random(*x)
        self.add(name, "rearrange", f(double(x)), [x], **attributes)

    def pad(self, name, x, mode, fixed=None, multiple=None):
        x = self.random(*x)
        if fixed is None:
            h, w = x.shape[2:]
            top, left, bottom, right = 0, 0, -h % multiple, -w % multiple
        else:
            top, left, bottom, right = fixed
        torch_mode = {"zero": "constant", "edge": "replicate", "reflect": "reflect"}[mode]
        y = F.pad(double(x), (left, right, top, bottom), mode=torch_mode)
        amount = {"multiple": multiple} if fixed is None else {"fixed": fixed}
        self.add(name, "pad", y, [x], mode=mode, **amount)


def operators():
    c = Cases()
    c.conv("conv_1x1", (2, 5, 4, 3), 7, (1, 1))
    c.conv("conv_1x1_stride_2", (1, 4, 7, 6), 4, (1, 1), stride=(2, 2))
    c.conv("conv_3x3_same", (1, 3, 9, 7), 6, (3, 3), padding=(1, 1, 1, 1))
    c.conv("conv_3x3_valid_no_bias", (1, 3, 9, 7), 5, (3, 3), bias=False)
    c.conv("conv_3x3_stride_2", (1, 4, 9, 8), 5, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    c.conv("conv_3x3_one_pixel", (2, 3, 1, 1), 4, (3, 3), padding=(1, 1, 1, 1))
    c.conv("conv_7x7_stride_2", (1, 3, 15, 13), 4, (7, 7), stride=(2, 2), padding=(3, 3, 3, 3))
    c.conv("conv_asymmetric_padding", (1, 3, 6, 7), 4, (3, 3), padding=(0, 2, 1, 3))
    c.conv("conv_asymmetric_padding_stride_2", (1, 3, 8, 8), 4, (3, 3), stride=(2, 2), padding=(0, 0, 1, 1))
    c.conv("conv_2x4_stride_1x3", (1, 3, 7, 11), 4, (2, 4), stride=(1, 3), padding=(1, 0, 0, 2))
    c.conv("conv_dilation_2", (1, 3, 9, 9), 4, (3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))
    c.conv("conv_dilation_1x3_stride_2", (1, 3, 9, 11), 4, (3, 3), stride=(2, 1), padding=(1, 3, 1, 3), dilation=(1, 3))
    c.conv("conv_groups_aligned", (1, 16, 5, 6), 16, (3, 3), padding=(1, 1, 1, 1), groups=4)
    c.conv("conv_groups_misaligned", (2, 6, 5, 6), 9, (3, 3), padding=(1, 1, 1, 1), groups=3)
    c.conv("conv_depthwise", (1, 17, 6, 5), 17, (3, 3), padding=(1, 1, 1, 1), groups=17)
    c.conv("conv_depthwise_stride_2", (1, 5, 6, 5), 5, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1), groups=5)
    c.conv("conv_depthwise_multiplier_2", (1, 3, 6, 5), 6, (3, 3), padding=(1, 1, 1, 1), groups=3)
    same = {"padding": (1, 1, 1, 1)}
    c.conv("conv_relu", (1, 3, 5, 5), 4, (3, 3), **same, activation="relu")
    c.conv("conv_leaky_relu", (1, 3, 5, 5), 4, (3, 3), **same, activation={"leaky_relu": 0.1})
    c.conv("conv_sigmoid", (1, 3, 5, 5), 4, (3, 3), **same, activation="sigmoid")

    c.conv_transpose("conv_transpose_2x2_s2", (2, 5, 3, 4), 6, (2, 2), (2, 2))
    c.conv_transpose("conv_transpose_2x2_s2_no_bias", (1, 3, 3, 4), 4, (2, 2), (2, 2), bias=False)
    c.conv_transpose("conv_transpose_3x3_s2_p1", (1, 3, 4, 5), 4, (3, 3), (2, 2), (1, 1, 1, 1))
    c.conv_transpose("conv_transpose_3x3_s2_p1_op1", (1, 3, 4, 5), 4, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1))
    c.conv_transpose("conv_transpose_3x3_s2_p1_op1x0", (1, 3, 4, 5), 4, (3, 3), (2, 2), (1, 1, 1, 1), (1, 0))
    c.conv_transpose("conv_transpose_4x4_s2_p1", (1, 3, 4, 5), 4, (4, 4), (2, 2), (1, 1, 1, 1))
    c.conv_transpose("conv_transpose_3x3_s1_p1", (1, 3, 4, 5), 4, (3, 3), (1, 1), (1, 1, 1, 1))
    c.conv_transpose("conv_transpose_2x3_s2x3", (1, 3, 4, 3), 4, (2, 3), (2, 3))
    c.conv_transpose("conv_transpose_3x3_s2_asymmetric", (1, 3, 4, 5), 4, (3, 3), (2, 2), (0, 1, 1, 0))
    c.conv_transpose("conv_transpose_groups_aligned", (1, 16, 3, 3), 16, (2, 2), (2, 2), groups=4)
    c.conv_transpose("conv_transpose_groups_misaligned", (1, 6, 3, 3), 9, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), groups=3)
    c.conv_transpose("conv_transpose_relu", (1, 3, 3, 3), 4, (2, 2), (2, 2), activation="relu")

    c.pool("max_pool_2x2", (2, 5, 6, 7), "max", (2, 2), (2, 2))
    c.pool("max_pool_3x3_s2_p1", (1, 3, 7, 8), "max", (3, 3), (2, 2), (1, 1))
    c.pool("max_pool_3x3_s2_floor", (1, 3, 6, 8), "max", (3, 3), (2, 2))
    c.pool("max_pool_3x3_s2_ceil", (1, 3, 6, 8), "max", (3, 3), (2, 2), ceil=True)
    # The last window would begin in the padding after the picture; PyTorch drops it.
    c.pool("max_pool_2x2_s2_p1_ceil", (1, 3, 5, 6), "max", (2, 2), (2, 2), (1, 1), ceil=True)
    c.pool("max_pool_2x3_s1x2", (1, 3, 5, 6), "max", (2, 3), (1, 2), (0, 1))
    for kind in ("average", "average_with_padding"):
        c.pool(f"{kind}_2x2", (1, 3, 6, 7), kind, (2, 2), (2, 2))
        c.pool(f"{kind}_3x3_s2_p1", (1, 3, 7, 8), kind, (3, 3), (2, 2), (1, 1))
        c.pool(f"{kind}_3x3_s2_p1_ceil", (1, 3, 6, 8), kind, (3, 3), (2, 2), (1, 1), ceil=True)
    x = c.random(2, 5, 7, 3)
    c.add("global_average_pool", "reduce_mean", double(x).mean((2, 3), keepdim=True), [x])

    c.batch_norm("batch_norm", 6, 0.5, 1.5, 1e-5)
    c.batch_norm("batch_norm_var_near_0", 5, 0.0, 1e-5, 1e-5)
    c.batch_norm("batch_norm_eps_1e-3", 5, 0.0, 1e-2, 1e-3)

    x = c.random(1, 5, 4, 3, low=-8.0, high=8.0)
    c.add("relu", "relu", activate(double(x), "relu"), [x])
    c.add("leaky_relu", "leaky_relu", activate(double(x), {"leaky_relu": 0.1}), [x], slope=0.1)
    c.add("sigmoid", "sigmoid", activate(double(x), "sigmoid"), [x])
    c.add("softmax", "softmax", torch.softmax(double(x), 1), [x])
    x = c.random(1, 4, 2, 2, low=-100.0, high=100.0)
    c.add("softmax_far_apart", "softmax", torch.softmax(double(x), 1), [x])

    a, b = c.random(1, 5, 3, 4), c.random(1, 5, 3, 4)
    c.add("add", "add", double(a) + double(b), [a, b], activation="none")
    c.add("add_relu", "add", F.relu(double(a) + double(b)), [a, b], activation="relu")
    a, b, d = c.random(2, 3, 3, 4), c.random(2, 6, 3, 4), c.random(2, 1, 3, 4)
    c.add("concat", "concat", torch.cat([double(a), double(b)], 1), [a, b])
    c.add("concat_three", "concat", torch.cat([double(a), double(b), double(d)], 1), [a, b, d])

    for interpolation in ("nearest", "bilinear", "bilinear_align_corners"):
        c.resize(f"{interpolation}_by_2", (1, 3, 4, 5), interpolation, (2, 2))
        c.resize(f"{interpolation}_by_3", (1, 3, 3, 2), interpolation, (3, 3))
        c.resize(f"{interpolation}_by_1.5_and_0.5", (1, 3, 6, 6), interpolation, (1.5, 0.5))
        c.resize(f"{interpolation}_one_pixel", (1, 3, 1, 1), interpolation, (2, 2))

    for mode in ("zero", "edge", "reflect"):
        c.pad(f"pad_{mode}", (1, 3, 5, 6), mode, fixed=(1, 2, 3, 4))
        c.pad(f"pad_{mode}_to_4", (1, 3, 5, 6), mode, multiple=4)
    c.pad("pad_zero_negative", (1, 3, 5, 6), "zero", fixed=(-1, 2, 3, -2))

    # What the crop is cut to is the input, max-pooled 2x2.
    x = c.random(1, 5, 5, 7)
    c.add("crop", "crop", double(x)[:, :, :2, :3], [x])

    for name, f in FUNCTIONS.items():
        if name not in c.attributes:
            low = 0.1 if name in POSITIVE else -6.0
            x = c.random(1, 5, 4, 3, low=low, high=6.0)
            if name in ("floor", "ceil", "round", "sign"):
                # In float16 as in float32, on both sides of every step and on it.
                x = np.round(x * 4) / 4
            c.add(name, name, f(double(x)), [x])
    for name in ("silu", "gelu", "hard_swish", "tanh"):
        c.conv(f"conv_{name}", (1, 3, 5, 5), 6, (3, 3), **same, activation=name)
    x, slope = c.random(2, 5, 4, 3), c.random(5)
    c.add("prelu", "prelu", F.prelu(double(x), double(slope)), [x], {"slope": slope})

    c.norm("group_norm", (2, 6, 4, 5), groups=3)
    c.norm("group_norm_silu", (1, 16, 7, 5), groups=4, activation="silu")
    c.norm("group_norm_one_group", (2, 5, 3, 4), groups=1, affine=False)
    c.norm("instance_norm", (2, 5, 7, 6), groups=5)
    c.norm("instance_norm_large", (1, 3, 60, 70), groups=3, affine=False)
    c.norm("layer_norm", (2, 7, 3, 4), eps=1e-6)
    c.norm("layer_norm_wide", (1, 130, 2, 3), affine=False)

    # The second operand is a constant of the network.
    for name, f in BINARIES.items():
        low = 0.5 if name in ("div", "pow") else -1.0
        for what, shape in (("same", (2, 5, 3, 4)), ("channels", (1, 5, 1, 1)), ("plane", (2, 1, 3, 4)), ("row", (4,))):
            x, operand = c.random(2, 5, 3, 4, low=low), c.random(*shape, low=low)
            y = f(double(x), double(operand))
            c.add(f"{name}_{what}", name, y, [x], {"operand": operand.reshape((1,) * (4 - operand.ndim) + operand.shape)},
                  activation="none")
    # A constant alone has no input: here it is added to one.
    x, operand = c.random(1, 5, 3, 4), c.random(1, 5, 3, 4)
    c.add("constant", "constant", double(x) + double(operand), [x], {"operand": operand})

    for name, f in REDUCTIONS.items():
        for what, axes in (("channels", (1,)), ("plane", (2, 3)), ("rows", (2,)), ("columns", (3,)), ("all", (1, 2, 3))):
            x = c.random(2, 5, 3, 4)
            c.add(f"reduce_{name}_{what}", f"reduce_{name}", f(double(x), axes, keepdim=True), [x],
                  axes=[axis in axes for axis in (1, 2, 3)])
    x = c.random(1, 3, 50, 41)
    c.add("reduce_mean_large", "reduce_mean", double(x).mean((2, 3), keepdim=True), [x], axes=[False, True, True])

    for what, a, b in (("planes", (2, 5, 3, 4), (2, 5, 4, 6)), ("one", (1, 1, 9, 17), (1, 1, 17, 5)),
                       ("broadcast", (2, 6, 3, 4), (1, 1, 4, 2))):
        a, b = c.random(*a), c.random(*b)
        c.add(f"matmul_{what}", "matmul", double(a) @ double(b), [a], {"operand": b})

    for axis, dim in (("rows", 2), ("columns", 3)):
        x = c.random(1, 5, 4, 3, low=-8.0, high=8.0)
        c.add(f"softmax_{axis}", "softmax", torch.softmax(double(x), dim), [x], axis=axis)
    x = np.round(c.random(2, 7, 4, 3, low=-3.0, high=3.0))
    c.add("argmax", "argmax", torch.argmax(double(x), 1, keepdim=True), [x])
    for axis, dim in (("rows", 2), ("columns", 3)):
        a, b = c.random(2, 3, 3, 4), c.random(*((2, 3, 2, 4) if dim == 2 else (2, 3, 3, 5)))
        c.add(f"concat_{axis}", "concat", torch.cat([double(a), double(b)], dim), [a], {"operand": b}, axis=axis)

    x = c.random(2, 3, 9, 8)
    c.add("max_pool_dilation", "max_pool", F.max_pool2d(double(x), 3, 2, 1, 2), [x], kind="max", kernel=[3, 3],
          stride=[2, 2], padding=[1] * 4, dilation=[2, 2], ceil=False)

    c.rearrange("reshape", (2, 6, 3, 4), lambda x: x.reshape(2, 3, 8, 3), to=[2, 3, 8, 3])
    for permutation in ([0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [0, 1, 3, 2]):
        name = "".join(map(str, permutation))
        c.rearrange(f"transpose_{name}", (2, 5, 3, 4), lambda x: x.permute(permutation), transpose=permutation)
    c.rearrange("slice_channels", (2, 9, 3, 4), lambda x: x[:, 4:9], slice=[[0, 2, 1], [4, 5, 1], [0, 3, 1], [0, 4, 1]])
    c.rearrange("slice_steps", (2, 5, 7, 8), lambda x: x[1:, ::2, 1:6:2].flip(3)[:, :, :, ::3],
                slice=[[1, 1, 1], [0, 3, 2], [1, 3, 2], [7, 3, -3]])
    c.rearrange("expand", (1, 5, 1, 3), lambda x: x.expand(2, 5, 4, 3), expand=[2, 5, 4, 3])
    c.rearrange("pixel_shuffle", (2, 12, 3, 4), lambda x: F.pixel_shuffle(x, 2), depth_to_space=2, order="crd")
    c.rearrange("pixel_unshuffle", (2, 3, 4, 6), lambda x: F.pixel_unshuffle(x, 2), space_to_depth=2, order="crd")
    # As the formulas in ONNX's documentation have them.
    c.rearrange("depth_to_space", (1, 18, 2, 3), depth_to_space=3, order="dcr",
                f=lambda x: x.reshape(1, 3, 3, 2, 2, 3).permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 6, 9))
    c.rearrange("space_to_depth", (1, 2, 4, 6), space_to_depth=2, order="dcr",
                f=lambda x: x.reshape(1, 2, 2, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 3))
    c.rearrange("channel_shuffle", (1, 6, 3, 4), lambda x: F.channel_shuffle(x, 3), extents=[1, 3, 2, 12],
                permutation=[0, 2, 1, 3])

    # PyTorch by factors that are no ratio of whole sizes, and by sizes.
    for scale in ((1.37, 2.3), (0.6, 0.45)):
        x = c.random(1, 3, 6, 7)
        by = {"scale_factor": tuple(float(np.float32(s)) for s in scale)}
        c.resize_to(f"nearest_by_{scale}", x, F.interpolate(double(x), **by, mode="nearest"), "floor", "asymmetric", scale=scale)
        c.resize_to(f"nearest_exact_by_{scale}", x, F.interpolate(double(x), **by, mode="nearest-exact"), "prefer_ceil",
                    "half_pixel", scale=scale)
        c.resize_to(f"bilinear_by_{scale}", x, F.interpolate(double(x), **by, mode="bilinear"), "linear", "half_pixel", scale=scale)
        c.resize_to(f"bicubic_by_{scale}", x, F.interpolate(double(x), **by, mode="bicubic"), "cubic", "half_pixel", scale=scale)
    for size in ((9, 4), (1, 20)):
        x = c.random(1, 3, 6, 7)
        for mode, interpolation in (("bilinear", "linear"), ("bicubic", "cubic")):
            for align, coordinates in ((True, "align_corners"), (False, "half_pixel")):
                y = F.interpolate(double(x), size, mode=mode, align_corners=align)
                c.resize_to(f"{mode}_{coordinates}_to_{size}", x, y, interpolation, coordinates, size=size)
    for coordinates in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"):
        for to in ({"scale": (2.0, 3.0)}, {"scale": (0.65, 0.7)}, {"size": (3, 10)}):
            [(kind, extents)] = to.items()
            what = f"{coordinates}_{kind}_{extents}"
            for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
                c.onnx_resize(f"onnx_{rounding}_{what}", (1, 2, 4, 5), "nearest", coordinates, rounding, **to)
            c.onnx_resize(f"onnx_linear_{what}", (1, 2, 4, 5), "linear", coordinates, **to)
            c.onnx_resize(f"onnx_cubic_{what}", (1, 2, 4, 5), "cubic", coordinates, **to)
    return c


# ---- whole networks ----


def unet(config, weights, x):
    """src/unet.rs in PyTorch. Requests the weights in the same order."""

    def vector(name, length):
        return weights(name, (length, 1, 1, 1)).reshape(length)

    def conv(name, x, out, kernel, bias):
        weight = weights(f"{name}.weight", (out, x.shape[1], kernel, kernel))
        return F.conv2d(x, weight, vector(f"{name}.bias", out) if bias else None, padding=kernel // 2)

    def block(stage, x, width):
        for i in (1, 2):
            x = conv(f"{stage}.conv{i}", x, width, 3, config.get("bias", True))
            if config.get("norm", "batch") == "batch":
                parts = ("weight", "bias", "running_mean", "running_var")
                gamma, beta, mean, var = (vector(f"{stage}.norm{i}.{part}", width) for part in parts)
                x = F.batch_norm(x, mean, var, gamma, beta, False, 0.0, 1e-5)
            x = activate(x, config.get("activation", "relu"))
        return x

    def up(stage, x, out):
        match config.get("upsample", "conv_transpose"):
            case "conv_transpose":
                weight = weights(f"{stage}.up.weight", (x.shape[1], out, 2, 2))
                return F.conv_transpose2d(x, weight, vector(f"{stage}.up.bias", out), stride=2)
            case "nearest_conv":
                return conv(f"{stage}.up", F.interpolate(x, scale_factor=2, mode="nearest"), out, 3, True)
            case "bilinear_conv1x1":
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
                return conv(f"{stage}.up", x, out, 1, True)

    depth, (height, width) = len(config["encoder"]), x.shape[2:]
    mode = {"reflect": "reflect", "edge": "replicate", "zero": "constant"}[config.get("pad", "reflect")]
    x = F.pad(x, (0, -width % 2**depth, 0, -height % 2**depth), mode=mode)
    y, skips = x, []
    for i, channels in enumerate(config["encoder"]):
        skips.append(block(f"enc{i + 1}", y, channels))
        y = F.max_pool2d(skips[-1], 2)
    y = block("bottleneck", y, config["bottleneck"])
    if not config["decoder"]:
        y = conv("classifier", y.mean((2, 3), keepdim=True), config["out_channels"], 1, True)
    else:
        for i, channels in enumerate(config["decoder"]):
            stage = f"dec{depth - i}"
            y = up(stage, y, config["up"][i] if config.get("up") else y.shape[1])
            parts = [y, skips.pop()]
            if config.get("concat", "up_skip") == "skip_up":
                parts.reverse()
            y = block(stage, torch.cat(parts, 1), channels)
        y = conv("output", y, config["out_channels"], 1, True)
        if config.get("residual"):
            y = x + y
        y = y[:, :, :height, :width]
    match config.get("output", "none"):
        case "sigmoid":
            y = torch.sigmoid(y)
        case "softmax":
            y = torch.softmax(y, 1)
    return y


def small(depth, base=8, **options):
    widths = [base << i for i in range(depth + 1)]
    config = {"in_channels": 3, "out_channels": 3, "encoder": widths[:depth], "bottleneck": widths[depth],
              "decoder": widths[:depth][::-1]}
    return {**config, **options}


SMALL = {
    "depth2": (small(2), (1, 32, 32)),
    "depth3": (small(3), (1, 32, 32)),
    "depth2_odd": (small(2), (1, 25, 19)),
    "depth3_odd": (small(3), (1, 25, 19)),
    "batch2_one_channel": (small(2, in_channels=1, out_channels=1), (2, 16, 24)),
    "narrowing_up": (small(2, up=[16, 8]), (1, 25, 19)),
    "nearest_conv": (small(2, upsample="nearest_conv"), (1, 25, 19)),
    "bilinear_conv1x1": (small(2, upsample="bilinear_conv1x1", up=[16, 8]), (1, 25, 19)),
    "skip_up": (small(2, concat="skip_up", up=[12, 5]), (1, 25, 19)),
    "leaky_relu": (small(2, activation={"leaky_relu": 0.1}), (1, 32, 32)),
    "no_norm": (small(2, norm="none"), (1, 25, 19)),
    "no_bias": (small(2, bias=False), (1, 25, 19)),
    "residual": (small(2, residual=True, norm="none"), (1, 25, 19)),
    "sigmoid": (small(2, output="sigmoid", out_channels=1), (1, 32, 32)),
    "softmax": (small(2, output="softmax", out_channels=4), (1, 25, 19)),
    "pad_edge": (small(2, pad="edge"), (1, 25, 19)),
    "pad_zero": (small(2, pad="zero"), (1, 25, 19)),
    "encoder_only": (small(3, decoder=[], out_channels=10), (2, 32, 32)),
    "encoder_only_odd_softmax": (small(2, decoder=[], out_channels=5, output="softmax"), (1, 25, 19)),
}


def networks():
    """Small networks: config and seeds in the metadata, only the results as tensors."""
    tensors, metadata = {}, {}
    for seed, (name, (config, (n, h, w))) in enumerate(SMALL.items()):
        shape = (n, config["in_channels"], h, w)
        metadata[name] = {"config": config, "input": shape, "input_seed": 100 + seed, "weight_seed": 200 + seed}
        y = unet(config, RandomWeights(200 + seed), double(random(shape, 100 + seed)))
        tensors[f"{name}/output"] = single(y)
    return tensors, {"cases": json.dumps(metadata)}


def named():
    """One network with its weights by name, as a trained model's file would have them."""
    config = small(2, base=4, up=[8, 4])
    weights = RandomWeights(300)
    x = random((1, 3, 13, 18), 301)
    y = unet(config, weights, double(x))
    tensors = {name: w.reshape(w.shape[0]) if w[0].size == 1 else w for name, w in weights.made.items()}
    return {**tensors, "input": x, "output": single(y)}, {"unet.config": json.dumps(config)}


def seed_preset():
    """The 14.8 million parameter preset: a few thousand positions in its result at each size."""
    config = {"in_channels": 3, "out_channels": 3, "encoder": [64, 128, 256, 512], "bottleneck": 512,
              "decoder": [256, 128, 64, 64]}
    tensors = {
        "generator/uniform": random((64,), 1),
        "generator/weight": single(RandomWeights(1)("a.weight", (4, 3, 3, 3))),
        "generator/bias": single(RandomWeights(2)("a.bias", (16, 1, 1, 1))),
    }
    weights = RandomWeights(42)
    unet(config, weights, torch.zeros(1, 3, 16, 16, dtype=torch.float64))
    assert sum(w.size for n, w in weights.made.items() if "running" not in n) == 14_789_059
    for seed, (h, w) in enumerate([(64, 64), (96, 160), (100, 75), (128, 128)]):
        x = double(random((1, 3, h, w), 43 + seed))
        y = single(unet(config, lambda name, _: double(weights.made[name]), x)).reshape(-1)
        index = Random(50 + seed).below(2000, y.size)
        tensors[f"{h}x{w}/index"], tensors[f"{h}x{w}/value"] = index, y[index]
    return tensors, None


def main():
    cases = operators()
    files = {
        # One entry a file: safetensors writes several in any order, and the same run should give the same bytes.
        "ops": (cases.tensors, {"cases": json.dumps(cases.attributes)}),
        "unets": networks(),
        "named": named(),
        "seed": seed_preset(),
    }
    for name, (tensors, metadata) in files.items():
        path = HERE / f"{name}.safetensors"
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata)
        path.chmod(0o644)
        print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size // 1000} KB")


if __name__ == "__main__":
    with torch.no_grad():
        main()
