"""Makes runtime.safetensors: small graphs with ONNX Runtime's results, laid out like operators.safetensors.

    pip install onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 safetensors==0.8.0
    python generate_runtime.py

They are what people's files have and ONNX's own cases lack: pads with any number, comparisons and choices that depend on
the picture, casts of computed tensors, whole numbers, dilated transposed convolutions, and resizing by fractions.
"""

import itertools
import json
import pathlib

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from generate import random

HERE = pathlib.Path(__file__).parent
FLOAT, BOOL, INT32, INT64, UINT8 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8
CASES = {}


class Net:
    """A graph in the making: `net.Relu(x)` appends a node and returns the name of its result."""

    def __init__(self, name, shape, x=None, opset=19):
        self.name, self.opset, self.nodes, self.constants = name, opset, [], []
        self.x = random(shape, 1 + sum(shape)) if x is None else x

    def constant(self, value):
        value = np.asarray(value)
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        self.constants.append(numpy_helper.from_array(value, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def __getattr__(self, op):
        def node(*inputs, **attributes):
            names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
            name = f"{op.lower()}{len(self.nodes)}"
            self.nodes.append(helper.make_node(op, names, [name], name, **attributes))
            return name

        return node

    def ends(self, y, kind=FLOAT):
        made = helper.make_tensor_value_info(y, kind, None)
        x = helper.make_tensor_value_info("x", FLOAT, self.x.shape)
        graph = helper.make_graph(self.nodes, "graph", [x], [made], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        [y] = session.run(None, {"x": self.x})
        assert self.name not in CASES, self.name
        CASES[self.name] = model, self.x, y


def sixteenths(shape):
    """Numbers that every device compares alike."""
    return np.round(random(shape, 3 + sum(shape)) * 16) / np.float32(16)


def pads():
    values = {"minus_infinity": -np.inf, "lowest": np.finfo(np.float32).min, "e9": 1e9, "half": 0.5, "minus_e9": -1e9}
    for (name, value), shape in itertools.product(values.items(), [(1, 3, 5, 6), (2, 4, 4, 5)]):
        net = Net(f"pad_{name}_{shape[1]}", shape)
        net.ends(net.Pad("x", [0, 0, 1, 2, 0, 0, 3, 0], np.float32(value)))
        net = Net(f"pad_{name}_{shape[1]}_max_pool", shape)
        padded = net.Pad("x", [0, 0, 1, 0, 0, 0, 1, 1], np.float32(value))
        net.ends(net.MaxPool(padded, kernel_shape=[3, 3], strides=[2, 2]))
    for name, shape, amounts in [
        ("channels", (1, 3, 4, 5), [0, 2, 0, 0, 0, 3, 0, 0]), ("three_axes", (1, 3, 4, 5), [0, 1, 2, 1, 0, 2, 0, 3]),
        ("four_axes", (2, 3, 4, 5), [1, 1, 2, 1, 0, 2, 0, 3]), ("negative", (1, 3, 6, 7), [0, -1, 2, -3, 0, 1, -2, 4]),
        ("rank_3", (3, 4, 5), [1, 0, 2, 0, 1, 1]), ("one_axis", (1, 2, 3, 4), [0, 0, 0, 2, 0, 0, 0, 0]),
    ]:
        for mode in ("constant", "edge", "reflect", "wrap"):
            if mode != "constant" and name == "negative" or mode in ("reflect", "wrap") and name == "four_axes":
                continue
            if mode in ("reflect", "wrap"):
                amounts = [min(amount, 1) for amount in amounts]
            net = Net(f"pad_{name}_{mode}", shape)
            net.ends(net.Pad("x", amounts, *([np.float32(-2.5)] if mode == "constant" else []), mode=mode))
    net = Net("pad_axes", (1, 3, 4, 5))
    net.ends(net.Pad("x", [1, 2, 0, 3], np.float32(7), np.array([-1, 1])))
    net = Net("pad_channels_last", (1, 3, 4, 5))
    last = net.Transpose("x", perm=[0, 2, 3, 1])
    net.ends(net.Transpose(net.Pad(last, [0, 1, 1, 0, 0, 2, 3, 0], np.float32(-np.inf)), perm=[0, 3, 1, 2]))
    net = Net("pad_five_axes", (1, 4, 4, 6))
    five = net.Reshape("x", np.array([1, 2, 2, 4, 6]))
    net.ends(net.Reshape(net.Pad(five, [0, 0, 1, 0, 2, 0, 1, 0, 1, 0], np.float32(3)), np.array([1, 9, 5, 8])))
    net = Net("pad_attributes", (1, 2, 3, 4), opset=9)
    net.ends(net.Pad("x", pads=[0, 0, 1, 1, 0, 0, 1, 1], value=-3.5))
    net = Net("pad_average_pool", (1, 3, 6, 6))
    net.ends(net.AveragePool(net.Pad("x", [0, 0, 1, 1, 0, 0, 1, 1], np.float32(2)), kernel_shape=[3, 3]))


def truths():
    shape = (2, 3, 4, 5)
    others = {"number": np.float32(0.25), "channels": sixteenths((3, 1, 1)), "all": sixteenths(shape)}
    for op, (name, other) in itertools.product(["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"], others.items()):
        net = Net(f"{op.lower()}_{name}", shape, sixteenths(shape))
        net.ends(net.Cast(getattr(net, op)("x", other), to=FLOAT))
        net = Net(f"{op.lower()}_{name}_swapped", shape, sixteenths(shape))
        net.ends(net.Cast(getattr(net, op)(other, "x"), to=FLOAT))
    for op in ("And", "Or", "Xor"):
        net = Net(op.lower(), shape, sixteenths(shape))
        positive, small = net.Greater("x", np.float32(0)), net.Less("x", others["channels"])
        net.ends(net.Not(getattr(net, op)(positive, small)), BOOL)
    net = Net("threshold", (1, 1, 5, 7))
    net.ends(net.Cast(net.Greater(net.Sigmoid("x"), np.float32(0.5)), to=UINT8), UINT8)
    net = Net("threshold_channels_last", (1, 3, 4, 5), sixteenths((1, 3, 4, 5)))
    last = net.Transpose("x", perm=[0, 2, 3, 1])
    net.ends(net.Transpose(net.Greater(last, sixteenths((3,))), perm=[0, 3, 1, 2]), BOOL)
    net = Net("threshold_scaled", (1, 2, 5, 7), sixteenths((1, 2, 5, 7)))
    net.ends(net.Mul(net.Cast(net.GreaterOrEqual("x", np.float32(0.5)), to=FLOAT), np.float32(255)))
    # NaN and both infinities by division.
    shares = np.array([0, 1, -1, 0, 1, -2], np.float32).reshape(1, 1, 2, 3)
    by = np.array([0, 0, 0, 1, 1, 1], np.float32).reshape(1, 1, 2, 3)
    for op, attributes in [("IsNaN", {}), ("IsInf", {}), ("IsInf", {"detect_positive": 0}), ("IsInf", {"detect_negative": 0})]:
        net = Net(op.lower() + "".join(attributes), by.shape, shares)
        net.ends(getattr(net, op)(net.Div("x", by), **attributes), BOOL)
    net = Net("nan_to_num", by.shape, shares)
    noisy = net.Div("x", by)
    net.ends(net.Where(net.IsNaN(noisy), np.float32(0), noisy))


def choices():
    shape = (2, 3, 4, 5)
    x = sixteenths(shape)
    mask = sixteenths((1, 1, 4, 5)) > 0
    for name, build in {
        "live": lambda net: net.Where(net.Greater("x", np.float32(0)), "x", net.Neg("x")),
        "constant_condition": lambda net: net.Where(mask, "x", net.Mul("x", "x")),
        "constant_first": lambda net: net.Where(net.Less("x", np.float32(0)), np.float32(-1), "x"),
        "constant_second": lambda net: net.Where(net.Less("x", np.float32(0)), "x", sixteenths((3, 1, 1))),
        "constants": lambda net: net.Where(net.Less("x", np.float32(0.25)), np.float32(2), np.float32(-3)),
        "by_channel_mean": lambda net: net.Where(
            net.Greater(net.ReduceMax("x", np.array([2, 3]), keepdims=1), np.float32(0.9)), "x", np.float32(0)),
        "whole": lambda net: net.Cast(net.Where(net.Less("x", np.float32(0)), np.int64(3), np.int64(-2)), to=FLOAT),
        "masked_softmax": lambda net: net.Softmax(net.Where(mask, np.float32(-np.inf), "x"), axis=-1),
        "broadcast_branches": lambda net: net.Where(
            net.Less("x", np.float32(0)), sixteenths((4, 1)), sixteenths((1, 5))),
    }.items():
        net = Net(f"where_{name}", shape, x)
        net.ends(build(net))
    net = Net("where_channels_last", (1, 3, 4, 5), sixteenths((1, 3, 4, 5)))
    last = net.Transpose("x", perm=[0, 2, 3, 1])
    net.ends(net.Transpose(net.Where(net.Less(last, np.float32(0)), sixteenths((3,)), last), perm=[0, 3, 1, 2]))
    net = Net("where_tokens", (1, 3, 4, 5), sixteenths((1, 3, 4, 5)))
    tokens = net.Transpose(net.Reshape("x", np.array([1, 3, 20])), perm=[0, 2, 1])
    net.ends(net.Where(net.Less(tokens, np.float32(0)), sixteenths((3,)), tokens))


def casts():
    shape = (2, 3, 4, 5)
    x = np.round(random(shape, 9) * 80) / np.float32(8)
    for name, kinds in {"int32": [INT32], "int64": [INT64], "bool": [BOOL], "int32_bool": [INT32, BOOL],
                        "bool_int64": [BOOL, INT64], "float16_like": [FLOAT]}.items():
        net = Net(f"cast_{name}", shape, x)
        y = "x"
        for kind in [*kinds, FLOAT]:
            y = net.Cast(y, to=kind)
        net.ends(y)
    net = Net("cast_uint8", shape, np.abs(x) * 25)
    net.ends(net.Cast("x", to=UINT8), UINT8)
    for op, divisor in itertools.product(["Div", "Mod", "Fmod", "Mul", "Sub"], [3, -4]):
        net = Net(f"whole_{op.lower()}_{abs(divisor)}", shape, x)
        whole = net.Cast("x", to=INT32)
        attributes = {"fmod": 1} if op == "Fmod" else {}
        y = getattr(net, "Mod" if op == "Fmod" else op)(whole, np.int32(divisor), **attributes)
        net.ends(net.Cast(y, to=FLOAT))
    net = Net("whole_swapped", shape, np.abs(x) + 1)
    net.ends(net.Cast(net.Div(np.int64(17), net.Cast("x", to=INT64)), to=FLOAT))
    net = Net("float_mod", shape, x)
    net.ends(net.Mod("x", np.float32(1.5), fmod=1))
    for keep in (0, 1):
        net = Net(f"argmax_uint8_{keep}", (1, 4, 5, 6))
        net.ends(net.Cast(net.ArgMax("x", axis=1, keepdims=keep), to=UINT8), UINT8)
    net = Net("argmax_equal", (1, 4, 5, 6))
    net.ends(net.Cast(net.Equal(net.ArgMax("x", axis=1, keepdims=1), np.int64(2)), to=FLOAT))
    net = Net("argmax_scaled", (1, 4, 5, 6))
    net.ends(net.Mul(net.Cast(net.ArgMax("x", axis=1, keepdims=1), to=INT32), np.int32(63)), INT32)
    net = Net("argmax_colours", (1, 2, 5, 6))
    net.ends(net.Where(net.Equal(net.ArgMax("x", axis=1, keepdims=1), np.int64(1)), np.array([255, 0, 9]).reshape(3, 1, 1),
                       np.array([0, 128, 7]).reshape(3, 1, 1)), INT64)
    # The last of equal ones.
    equal = np.floor(random((1, 4, 5, 6), 4) * 3).astype(np.float32)
    for op, along, keep in itertools.product(["ArgMax", "ArgMin"], [1, 2], [0, 1]):
        net = Net(f"{op.lower()}_last_{along}_{keep}", equal.shape, equal)
        net.ends(net.Cast(getattr(net, op)("x", axis=along, keepdims=keep, select_last_index=1), to=INT32), INT32)
    # Tables of what each class stands for.
    tables = {"colours": np.array([[0, 0, 0], [255, 9, 1], [7, 128, 3], [2, 5, 77]], np.uint8),
              "numbers": np.array([0.5, -2, 7, 1e6], np.float32), "labels": np.array([0, 7, 11, 26], np.int64),
              "more": random((4, 2, 3), 5)}
    for (name, table), keep in itertools.product(tables.items(), [0, 1]):
        if (name, keep) == ("colours", 0):
            continue  # Channels come last, and the library turns them; the same in planes is below.
        net = Net(f"lookup_{name}_{keep}", (1, 4, 5, 6))
        y = net.Gather(table, net.ArgMax("x", axis=1, keepdims=keep), axis=0)
        net.ends(net.Cast(y, to=FLOAT))
    net = Net("lookup_colours_planar", (1, 4, 5, 6))
    y = net.Gather(tables["colours"], net.ArgMax("x", axis=1, keepdims=0), axis=0)
    net.ends(net.Transpose(y, perm=[0, 3, 1, 2]), UINT8)
    net = Net("lookup_negative", (1, 1, 5, 6), np.floor(random((1, 1, 5, 6), 4) * 4).astype(np.float32))
    net.ends(net.Gather(tables["numbers"], net.Cast("x", to=INT64)))
    net = Net("round_to_uint8", (1, 3, 4, 5))
    net.ends(net.Cast(net.Clip(net.Round(net.Mul("x", np.float32(255))), np.float32(0), np.float32(255)), to=UINT8), UINT8)


def transposed():
    for name, shape, weight, attributes in [
        ("2", (1, 4, 5, 6), (4, 3, 3, 3), {"dilations": [2, 2]}),
        ("2_stride_2", (1, 4, 5, 6), (4, 3, 3, 3), {"dilations": [2, 2], "strides": [2, 2], "pads": [2, 2, 2, 2], "output_padding": [1, 1]}),
        ("2_stride_3", (2, 5, 4, 3), (5, 6, 3, 2), {"dilations": [2, 2], "strides": [3, 3]}),
        ("3_stride_2", (1, 3, 4, 5), (3, 7, 2, 3), {"dilations": [3, 3], "strides": [2, 2], "pads": [1, 0, 2, 3]}),
        ("4_stride_6", (1, 2, 3, 3), (2, 2, 3, 3), {"dilations": [4, 4], "strides": [6, 6]}),
        ("1x3_stride_2x1", (1, 4, 4, 5), (4, 4, 3, 3), {"dilations": [1, 3], "strides": [2, 1], "pads": [1, 3, 0, 2]}),
        ("2_groups", (1, 8, 4, 5), (8, 3, 3, 3), {"dilations": [2, 2], "strides": [2, 2], "group": 2}),
        ("2_depthwise", (1, 6, 4, 5), (6, 1, 3, 3), {"dilations": [2, 2], "strides": [2, 2], "group": 6}),
        ("2_one_tap", (1, 3, 4, 5), (3, 2, 1, 1), {"dilations": [2, 2], "strides": [2, 2]}),
        ("kernel_below_stride", (1, 3, 4, 5), (3, 2, 2, 1), {"strides": [3, 2], "output_padding": [1, 1]}),
        ("2_same_upper", (1, 3, 4, 5), (3, 2, 3, 3), {"dilations": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ("2_output_shape", (1, 3, 4, 5), (3, 2, 3, 3), {"dilations": [2, 2], "strides": [2, 2], "output_shape": [9, 11]}),
    ]:
        outs = weight[1] * attributes.get("group", 1)
        net = Net(f"conv_transpose_dilated_{name}", shape)
        net.ends(net.ConvTranspose("x", random(weight, 5), random((outs,), 6), **attributes))


def resizes():
    factors = [0.3, 0.45, 0.5, 0.7, 0.77, 0.9, 1.1, 1.25, 1.3, 1.37, 1.5, 1.7, 2.3, 2.5, 2.7, 3.3]
    rules = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]
    for rule, mode in itertools.product(rules, ["linear", "cubic"]):
        for i, factor in enumerate(factors):
            if mode == "cubic" and i % 3:
                continue
            net = Net(f"resize_{mode}_{rule}_{factor}", (1, 2, 7, 10))
            scales = np.array([1, 1, factor, factors[-1 - i]], np.float32)
            net.ends(net.Resize("x", "", scales, mode=mode, coordinate_transformation_mode=rule))
    roundings = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
    for rule, rounding in itertools.product(rules, roundings):
        for i, factor in enumerate(factors[::3]):
            if (rule, rounding, factor) == ("half_pixel_symmetric", "ceil", 3.3):
                continue  # The middle pixel lies at a whole number, which ONNX Runtime's f32 misses.
            net = Net(f"resize_{rounding}_{rule}_{factor}", (1, 1, 7, 10))
            scales = np.array([1, 1, factor, factors[-1 - i]], np.float32)
            net.ends(net.Resize("x", "", scales, mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=rule))
    for rule in rules:
        for mode in ("linear", "cubic", "nearest"):
            net = Net(f"resize_{mode}_{rule}_sizes", (1, 2, 7, 10))
            net.ends(net.Resize("x", "", "", np.array([1, 2, 4, 23]), mode=mode, coordinate_transformation_mode=rule))
    for rule, factor in itertools.product(["half_pixel", "asymmetric", "align_corners"], [0.6, 1.7, 2.0]):
        net = Net(f"resize_inside_{rule}_{factor}", (1, 2, 7, 10))
        net.ends(net.Resize("x", "", np.array([1, 1, factor, factor], np.float32), mode="cubic", exclude_outside=1,
                            coordinate_transformation_mode=rule))
    for policy, rule, sizes in itertools.product(
            ["not_larger", "not_smaller"], ["half_pixel", "align_corners"], [[14, 30], [14, 20], [21, 25], [11, 20]]):
        if rule == "half_pixel" and policy == "not_larger" and sizes in ([21, 25], [11, 20]):
            continue  # A side that is rounded up is refused.
        net = Net(f"resize_{policy}_{rule}_{sizes[0]}x{sizes[1]}", (1, 2, 7, 10))
        net.ends(net.Resize("x", "", "", np.array(sizes), mode="linear", coordinate_transformation_mode=rule,
                            keep_aspect_ratio_policy=policy, axes=[2, 3]))
    net = Net("resize_tf_half_pixel_for_nn", (1, 2, 7, 10), opset=11)
    net.ends(net.Resize("x", np.array([], np.float32), np.array([1, 1, 1.7, 0.6], np.float32), mode="nearest",
                        coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor"))


def main():
    for make in (pads, truths, choices, casts, transposed, resizes):
        make()
    tensors, index = {}, {}
    for name, (model, x, y) in sorted(CASES.items()):
        op = model.graph.node[-1].op_type
        index[name] = {"op": op, "opset": model.opset_import[0].version, "inputs": ["x"],
                       "outputs": [model.graph.output[0].name], "rtol": 1e-4, "atol": 1e-5}
        tensors[f"{name}/model"] = np.frombuffer(model.SerializeToString(deterministic=True), np.uint8)
        tensors[f"{name}/input0"], tensors[f"{name}/output0"] = x, np.ascontiguousarray(y).reshape(y.shape)
    path = HERE / "runtime.safetensors"
    save_file(tensors, path, {"cases": json.dumps(index)})
    path.chmod(0o644)
    print(f"{path.name}: {len(index)} cases, {path.stat().st_size // 1000} KB")


if __name__ == "__main__":
    main()
