"""Makes the vectors in this folder: results of PyTorch that every backend is checked against.

Made with Python 3.11, torch 2.9.1, numpy 2.4.6, onnx 1.23.2 (its reference implementation, for the ways of resizing that
PyTorch lacks), safetensors 0.8.0:

    python generate.py

The cases of single operators are those of the table in `tests/cases` that ask for PyTorch: cargo runs a test that writes
them to a folder. Inputs and weights of whole networks come from SplitMix64, written again here after `Random` and
`RandomWeights` of the Rust crate, so that weights too large to be committed are the same numbers on both sides. PyTorch
computes in float64 and the results are rounded to float32 once: the vectors hold the true values, not one library's
rounding.
"""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator
from safetensors import safe_open
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


def activate(x, activation):
    """A pointwise function as Rust writes it: its name, or its name and numbers."""
    name, numbers = (activation, None) if isinstance(activation, str) else next(iter(activation.items()))
    match name:
        case "LeakyRelu":
            return F.leaky_relu(x, f32(numbers))
        case "Elu":
            return F.elu(x, f32(numbers))
        case "Pow":
            return torch.pow(x, f32(numbers))
        case "Clip":
            return torch.clamp(x, bits(numbers["min"]), bits(numbers["max"]))
        case "IsInfinite":
            return torch.isinf(x)
        case "HardSigmoid":
            return torch.clamp(f32(numbers["alpha"]) * x + f32(numbers["beta"]), 0, 1)
        case "HardSwish":
            return F.hardswish(x)
        case "GeluTanh":
            return F.gelu(x, approximate="tanh")
        case "None":
            return x
    for module in (torch, F):
        if hasattr(module, name.lower()):
            return getattr(module, name.lower())(x)
    raise ValueError(activation)


def f32(number):
    return float(np.float32(number))


def bits(number):
    """A number that JSON may not be able to spell."""
    return np.array(number, np.uint32).view(np.float32).item()


def pad_zero(x, padding):
    """The order of padding is top, left, bottom, right everywhere in this project."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom))


# ---- operators ----

BINARIES = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Min": torch.minimum,
            "Max": torch.maximum, "Pow": torch.pow, "Less": torch.lt, "LessOrEqual": torch.le, "Equal": torch.eq,
            "Quotient": lambda a, b: torch.div(a, b, rounding_mode="trunc"), "Remainder": torch.fmod,
            "Modulo": torch.remainder}
REDUCTIONS = {"Mean": torch.mean, "Sum": torch.sum, "Max": torch.amax, "Min": torch.amin,
              "L2": lambda x, dim, keepdim: torch.sqrt(torch.sum(x * x, dim, keepdim))}
AXES = {"C": 1, "H": 2, "W": 3}


def operator(kind, a, weights, *inputs):
    """An operator of `src/graph` in PyTorch. `a` holds its attributes, places in `weights` among them."""

    def weight(part, vector=True):
        if a[part] is None:
            return None
        tensor = double(weights[a[part]])
        return tensor.reshape(-1) if vector else tensor

    x = inputs[0] if inputs else None
    match kind:
        case "Conv":
            x = pad_zero(torch.cat(inputs, 1), a["padding"])
            y = F.conv2d(x, weight("weight", False), weight("bias"), a["stride"], 0, a["dilation"], a["groups"])
        case "ConvTranspose":
            top, left, bottom, right = a["padding"]
            symmetric = (top, left) == (bottom, right)
            y = F.conv_transpose2d(x, weight("weight", False), weight("bias"), a["stride"],
                                   (top, left) if symmetric else 0, a["output_padding"], a["groups"], a["dilation"])
            if not symmetric:
                y = y[:, :, top:y.shape[2] - bottom, left:y.shape[3] - right]
        case "Pool":
            top, left, bottom, right = a["padding"]
            assert (top, left) == (bottom, right)
            window = a["kernel"], a["stride"], (top, left)
            if a["kind"] == "Max":
                return F.max_pool2d(x, *window, a["dilation"], a["ceil"])
            assert a["dilation"] == [1, 1]
            return F.avg_pool2d(x, *window, a["ceil"], a["kind"] == "AverageWithPadding")
        case "Reduce":
            return REDUCTIONS[a["kind"]](x, [axis + 1 for axis in range(3) if a["axes"][axis]], keepdim=True)
        case "Norm":
            gamma, beta = weight("scale"), weight("shift")
            if a["over"] == "Channels":
                y = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], gamma, beta, f32(a["eps"])).permute(0, 3, 1, 2)
            else:
                y = F.group_norm(x, a["over"]["Groups"], gamma, beta, f32(a["eps"]))
        case "Activation":
            return activate(x, a)
        case "PRelu":
            return F.prelu(x, weight("slope"))
        case "Binary":
            y = BINARIES[a["kind"]](*inputs)
        case "Constant":
            return double(weights[a])
        case "MatMul":
            return inputs[0] @ inputs[1]
        case "Concat":
            return torch.cat(inputs, AXES[a["axis"]])
        case "Resize":
            return resize(x, a)
        case "Pad":
            [(amount, numbers)] = a["amount"].items()
            top, left, bottom, right = numbers if amount == "Fixed" else (0, 0, *(-size % numbers for size in x.shape[2:]))
            if isinstance(a["mode"], dict):
                return F.pad(x, (left, right, top, bottom), value=bits(a["mode"]["value"]))
            mode = {"zero": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}[a["mode"]]
            return F.pad(x, (left, right, top, bottom), mode=mode)
        case "Crop":
            return x[:, :, :inputs[1].shape[2], :inputs[1].shape[3]]
        case "Softmax":
            return torch.softmax(x, AXES[a["axis"]])
        case "ArgMax":
            return torch.argmax(x, 1, keepdim=True)
        case _:
            raise ValueError(f"{kind} has no form here: say in the case what it is in PyTorch")
    return activate(y, a["activation"])


def resize(x, a):
    """By ONNX's rules, and by PyTorch's where it has the rule: then both must agree."""
    [(kind, extents)] = a["to"].items()
    name, detail = (a["interpolation"], None) if a["interpolation"] == "Linear" else next(iter(a["interpolation"].items()))
    y = onnx_resize(x, kind, extents, name, detail, a["coordinates"])
    mode = {("Nearest", "Floor", "Asymmetric"): "nearest", ("Nearest", "PreferCeil", "HalfPixel"): "nearest-exact",
            ("Linear", None, "HalfPixel"): "bilinear", ("Linear", None, "AlignCorners"): "bilinear",
            ("Cubic", -0.75, "HalfPixel"): "bicubic", ("Cubic", -0.75, "AlignCorners"): "bicubic"}
    mode = mode.get((name, detail, a["coordinates"]))
    # A factor that gives whole sizes is those sizes: PyTorch otherwise steps by the factor, not by the ratio.
    size = extents if kind == "Size" else [s * f for s, f in zip(x.shape[2:], extents)]
    whole = all(s == int(s) for s in size)
    align = a["coordinates"] == "AlignCorners"
    if mode is None:
        return y
    by = {"size": [int(s) for s in size]} if whole else {"scale_factor": tuple(f32(f) for f in extents)}
    if mode in ("bilinear", "bicubic"):
        by["align_corners"] = align
    theirs = F.interpolate(x, mode=mode, **by)
    assert torch.allclose(theirs, y, atol=1e-6), (a, theirs - y)
    return theirs


def onnx_resize(x, kind, extents, name, detail, coordinates):
    if coordinates == "AlignCorners" and kind == "Scale":
        # ONNX's reference does not round the new size down, ONNX Runtime and PyTorch do.
        extents, kind = [int(np.float32(s) * np.float32(f)) for s, f in zip(x.shape[2:], extents)], "Size"
    dtype = np.float32 if kind == "Scale" else np.int64
    extents = np.array([*([1, 1] if kind == "Scale" else x.shape[:2]), *extents], dtype)
    mode = {"Nearest": "nearest", "Linear": "linear", "Cubic": "cubic"}[name]
    rounding = {"Floor": "floor", "Ceil": "ceil", "PreferFloor": "round_prefer_floor",
                "PreferCeil": "round_prefer_ceil"}.get(detail, "round_prefer_floor")
    rule = {"Asymmetric": "asymmetric", "HalfPixel": "half_pixel", "PytorchHalfPixel": "pytorch_half_pixel",
            "HalfPixelSymmetric": "half_pixel_symmetric", "TfHalfPixel": "tf_half_pixel_for_nn",
            "AlignCorners": "align_corners"}[coordinates]
    inputs = ["x", "", "", "extents"] if kind == "Size" else ["x", "", "extents"]
    node = onnx.helper.make_node("Resize", inputs, ["y"], mode=mode, coordinate_transformation_mode=rule,
                                 nearest_mode=rounding, cubic_coeff_a=detail if name == "Cubic" else -0.75)
    infos = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, None),
             onnx.helper.make_tensor_value_info("extents", onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)]
    made = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, None)
    graph = onnx.helper.make_graph([node], "resize", infos, [made])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    [y] = ReferenceEvaluator(model).run(None, {"x": x.numpy(), "extents": extents})
    return torch.from_numpy(np.asarray(y)).double()


def vector(length, low, high):
    """`vector` in tests/cases/mod.rs."""
    return double(random((length,), length, low, high))


def batch_norm(x, channels, low, high, eps):
    """The statistics of the cases in tests/cases/norms.rs; `low` and `high` are the variances'."""
    gamma, beta, mean = (vector(channels, -most, most) for most in (0.5, 1.0, 0.75))
    return F.batch_norm(x, mean, vector(channels, low, high), gamma, beta, eps=f32(eps))


def cases():
    """The results of the cases in `tests/cases` that ask for them, by name."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        run = ["cargo", "test", "--release", "--test", "suite", "--", "--ignored", "cases::written_for_pytorch"]
        subprocess.run(run, check=True, env={**os.environ, "UNET_CASES": folder}, cwd=HERE)
        for path in sorted(pathlib.Path(folder).glob("*.json")):
            case = json.loads(path.read_text())
            inputs = [double(np.load(file)) for file in sorted(path.parent.glob(f"{path.stem}.*.npy"))]
            if case["pytorch"]:
                y = eval(case["pytorch"], {"x": inputs[0], "torch": torch, "F": F, "batch_norm": batch_norm})
            else:
                y = graph(path.with_suffix(".safetensors"), inputs)
            assert case["name"] not in results, case["name"]
            results[case["name"]] = single(y)
    return results


def graph(path, inputs):
    """The result of a graph that the Rust crate has written. Its values are the inputs, then the result of each node."""
    with safe_open(path, "np") as file:
        graph = json.loads(json.loads(file.metadata()["unet.model"])["network"]["Graph"])
        weights = [file.get_tensor(str(i)) for i in range(len(file.keys()))]
    values = inputs
    for node in graph["nodes"]:
        [(kind, attributes)] = node["op"].items()
        values.append(operator(kind, attributes, weights, *(values[i] for i in node["inputs"])))
    return values[graph["outputs"][0][1]]


# ---- whole networks ----


def unet(config, weights, x):
    """src/unet.rs in PyTorch. Requests the weights in the same order."""

    def vector(name, length):
        return weights(name, (length, 1, 1, 1)).reshape(length)

    def conv(name, x, out, kernel, bias, dilation=1):
        weight = weights(f"{name}.weight", (out, x.shape[1], kernel, kernel))
        mode = {"zero": "constant", "reflect": "reflect", "edge": "replicate"}[config.get("padding_mode", "zero")]
        x = F.pad(x, (kernel // 2 * dilation,) * 4, mode=mode)
        return F.conv2d(x, weight, vector(f"{name}.bias", out) if bias else None, dilation=dilation)

    def norm(name, x, width):
        match config.get("norm", "batch"):
            case "batch":
                parts = ("weight", "bias", "running_mean", "running_var")
                gamma, beta, mean, var = (vector(f"{name}.{part}", width) for part in parts)
                return F.batch_norm(x, mean, var, gamma, beta, False, 0.0, 1e-5)
            case "instance":
                gamma, beta = (vector(f"{name}.{part}", width) for part in ("weight", "bias"))
                return F.instance_norm(x, None, None, gamma, beta, eps=1e-5)
            case "none":
                return x

    def block(stage, x, width, dilation=1):
        for i in (1, 2):
            x = conv(f"{stage}.conv{i}", x, width, 3, config.get("bias", True), dilation)
            x = norm(f"{stage}.norm{i}", x, width)
            activation = config.get("activation", "relu")
            x = F.relu(x) if activation == "relu" else F.leaky_relu(x, f32(activation["leaky_relu"]))
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

    def filled(x, levels):
        known = 1 - x[:, -1:]
        pyramid = [(x[:, :-1] * known, known)]
        for _ in range(levels):
            colours, known = (F.avg_pool2d(part, 2) for part in pyramid[-1])
            factor = (1 / known.clamp(min=1e-4)).clamp(max=4)
            pyramid.append((colours * factor, known * factor))
        colours, known = (F.avg_pool2d(part, 7, stride=1, padding=3) for part in pyramid.pop())
        y = colours / known.clamp(min=1e-4)
        for colours, known in reversed(pyramid):
            y = colours + (1 - known) * F.interpolate(y, scale_factor=2, mode="bilinear")
            for _ in range(2):
                y = colours + (1 - known) * F.avg_pool2d(y, 3, stride=1, padding=1, count_include_pad=False)
        return torch.cat([y, x[:, -1:]], 1)

    depth, (height, width), given = len(config["encoder"]), x.shape[2:], x
    fill = config.get("fill", 0)
    stride = 2 ** max(depth, fill)
    channels_out, scale = config["out_channels"], config.get("scale", 1)
    mode = {"reflect": "reflect", "edge": "replicate", "zero": "constant"}[config.get("pad", "reflect")]
    x = F.pad(x, (0, -width % stride, 0, -height % stride), mode=mode)
    if fill:
        x = filled(x, fill)
        given = x[:, :, :height, :width]
    y, skips = x, []
    for i, channels in enumerate(config["encoder"]):
        skips.append(block(f"enc{i + 1}", y, channels))
        y = F.max_pool2d(skips[-1], 2)
    y = block("bottleneck", y, config["bottleneck"], config.get("dilation", 1))
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
        if scale == 1:
            y = conv("output", y, channels_out, 1, True)
        else:
            # The transposed convolution is a 3x3 convolution and a pixel shuffle.
            weight = weights("output.weight", (y.shape[1], channels_out, 3 * scale, 3 * scale))
            taps = weight.reshape(-1, channels_out, 3, scale, 3, scale).flip(2, 4)
            kernel = taps.permute(1, 3, 5, 0, 2, 4).reshape(channels_out * scale**2, -1, 3, 3)
            bias = vector("output.bias", channels_out).repeat_interleave(scale**2)
            y = F.pixel_shuffle(F.conv2d(y, kernel, bias, padding=1), scale)
        y = y[:, :, : height * scale, : width * scale]
        if config.get("residual"):
            base = given[:, :channels_out]
            y = y + (F.interpolate(base, scale_factor=scale, mode="bicubic") if scale > 1 else base)
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
    "residual_of_the_first_channels": (small(2, residual=True, in_channels=4), (1, 25, 19)),
    "dilated_bottleneck": (small(2, dilation=3, activation={"leaky_relu": 0.1}, norm="none"), (1, 25, 19)),
    "instance_norm": (small(2, norm="instance", pad="edge"), (2, 25, 19)),
    "twice_as_large": (small(2, scale=2, norm="none", residual=True), (1, 25, 19)),
    "three_times_as_large": (small(1, scale=3, out_channels=2, residual=True), (1, 13, 18)),
    "filled_holes": (small(2, in_channels=4, fill=3, residual=True, norm="none"), (2, 25, 19)),
    "padding_by_reflection": (small(2, padding_mode="reflect", norm="instance"), (1, 25, 19)),
    "dilated_padding_by_edges": (small(2, padding_mode="edge", dilation=2, upsample="nearest_conv"), (1, 25, 19)),
    "four_times_without_residual": (small(1, scale=4, out_channels=1, output="sigmoid"), (1, 13, 18)),
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
    files = {
        # One metadata entry a file: safetensors writes several in any order, and the same run should give the same bytes.
        "cases": (cases(), None),
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
