"""Makes spellings/*.onnx and spellings.safetensors: one way of writing a network in each file, with its result.

    pip install onnx==1.23.0 onnxruntime==1.32.0 numpy==2.4.6 safetensors==0.8.0
    python generate_spellings.py

Results are those of ONNX Runtime with all graph optimisations off. Where it has no kernel for a processor (operators
that only its optimiser for graphics cards writes), they are those of the same function in ONNX's own operators. The
metadata entry `cases` has a `step` for quantised networks: the width of a quantisation step of the result.
"""

import json
import os
import pathlib
import shutil
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static)
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
OUT = HERE / "spellings"
random = np.random.default_rng(11)
ort.set_default_logger_severity(4)


def normal(*shape):
    return random.standard_normal(shape).astype(np.float32)


W, B, W2 = normal(8, 3, 3, 3) * 0.3, normal(8) * 0.3, normal(3, 8, 1, 1) * 0.4
X = normal(1, 3, 10, 12)
DEFAULT = {"w": W, "b": B, "w2": W2}
tensors, cases = {}, {}


def n(op, inputs, outputs, domain="", **attributes):
    return h.make_node(op, inputs.split(), outputs.split(), domain=domain, **attributes)


def ms(op, inputs, outputs, **attributes):
    return n(op, inputs, outputs, domain="com.microsoft", **attributes)


FIRST = n("Conv", "x w b", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
LAST = n("Conv", "u w2", "y", kernel_shape=[1, 1])


def tensor(name, value):
    if isinstance(value, onnx.TensorProto):
        value.name = name
        return value
    return numpy_helper.from_array(np.asarray(value), name)


def ints(*values):
    return np.array(values, np.int64)


def run(model, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def make(nodes, constants, opset, functions=(), dims=None, out=T.FLOAT):
    used = {name for node in nodes for name in used_in(node)} | {"b"}
    everything = {**DEFAULT, **constants}
    graph = h.make_graph(
        nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, dims or list(X.shape))],
        [h.make_tensor_value_info("y", out, None)],
        [tensor(name, value) for name, value in everything.items() if name in used])
    domains = {"": opset, "com.microsoft": 1, **{f.domain: 1 for f in functions}}
    used_domains = {node.domain for node in nodes} | {f.domain for f in functions} | {""} | (
        {"com.microsoft"} if "com.microsoft" in str(nodes) else set())
    model = h.make_model(graph, opset_imports=[h.make_opsetid(d, v) for d, v in domains.items() if d in used_domains],
                         functions=functions, ir_version=10)
    return model


def used_in(node):
    yield from node.input
    for a in node.attribute:
        if a.type == onnx.AttributeProto.GRAPH:
            for inner in a.g.node:
                yield from used_in(inner)
            yield from (o.name for o in a.g.output)


def save(name, model, result, step=0.0, x=None):
    assert np.isfinite(result).all() and result.size and result.std() > 0, name
    onnx.save(model, OUT / f"{name}.onnx")
    result = np.asarray(result, np.float32)
    while result.ndim > 4:
        result = result.reshape((-1,) + result.shape[2:])
    tensors[f"{name}/input"] = X if x is None else x
    tensors[f"{name}/output"] = result.reshape((1,) * (4 - result.ndim) + result.shape)
    cases[name] = {"step": float(step)}


def case(name, nodes, constants=None, opset=17, functions=(), dims=None, like=None, step=0.0, out=T.FLOAT, reverse=False,
         x=None):
    """`like` are nodes that ONNX Runtime computes in place of those that it cannot."""
    constants = {k: np.asarray(v) if not isinstance(v, onnx.TensorProto) else v for k, v in (constants or {}).items()}
    model = make(nodes, constants, opset, functions, dims, out)
    reference = make(like, constants, opset, (), dims, out) if like else model
    result = run(reference, X if x is None else x)
    if reverse:
        nodes = list(model.graph.node)[::-1]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    save(name, model, result, step, x)


def between(name, *nodes, constants=None, **rest):
    """A case whose nodes make u of c."""
    like = rest.pop("like", None)
    case(name, [FIRST, *nodes, LAST], constants, like=[FIRST, *like, LAST] if like else None, **rest)


def order():
    case("order_reversed", [FIRST, n("Relu", "c", "r"), n("Add", "c r", "u"), LAST], reverse=True)
    then = h.make_graph([n("Mul", "r k", "t")], "then", [], [h.make_tensor_value_info("t", T.FLOAT, None)])
    other = h.make_graph([n("Identity", "c", "e")], "else", [], [h.make_tensor_value_info("e", T.FLOAT, None)])
    case("order_branch_before_its_captures",
         [FIRST, n("Relu", "c", "r"), n("If", "yes", "u", then_branch=then, else_branch=other), LAST],
         {"yes": np.array(True), "k": np.float32(2)}, reverse=True)


def functions():
    def reference(own, name):
        return onnx.AttributeProto(name=own, type=onnx.AttributeProto.FLOAT, ref_attr_name=name)

    leaky = n("LeakyRelu", "t", "o")
    leaky.attribute.append(reference("alpha", "slope"))
    conv = n("Conv", "a w b", "t", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    block = h.make_function("local", "Block", ["a", "w", "b"], ["o"], [conv, leaky], [h.make_opsetid("", 17)],
                            attribute_protos=[h.make_attribute("slope", 0.25)])
    case("functions_defaults", [n("Block", "x w b", "u", "local"), LAST], functions=[block])
    case("functions_attributes", [n("Block", "x w b", "u", "local", slope=0.75), LAST], functions=[block])
    inner = n("Block", "a w", "t", "local")
    inner.attribute.append(reference("slope", "steepness"))
    outer = h.make_function("local", "Outer", ["a", "w", "scale"], ["o", "t"],
                            [inner, n("Sigmoid", "t", "s"), n("Mul", "s t", "o")],
                            [h.make_opsetid("", 17), h.make_opsetid("local", 1)], attributes=["steepness"])
    case("functions_nested", [n("Outer", "x w", "u v", "local", steepness=0.3), n("Outer", "x w", "u2 v2", "local", steepness=2.0),
                              n("Add", "u v2", "p"), n("Conv", "p w2", "y", kernel_shape=[1, 1])], functions=[block, outer])
    # Before opset 13, softmax joined its axis and all that follow.
    old = h.make_function("old", "Soft", ["a"], ["o"], [n("Softmax", "a", "o", axis=1)], [h.make_opsetid("", 11)])
    # ONNX Runtime demands one opset in a file; the same in operators of the newer one.
    flat = [n("Shape", "c", "s"), n("Flatten", "c", "f", axis=1), n("Softmax", "f", "g", axis=1), n("Reshape", "g s", "u")]
    between("functions_of_an_older_opset", n("Soft", "c", "u", "old"), functions=[old], like=flat)
    passes = h.make_function("local", "Pass", ["a", "b"], ["a", "s"], [n("Add", "a b", "s")], [h.make_opsetid("", 17)])
    between("functions_that_pass_an_input_on", n("Pass", "c c", "d e", "local"), n("Mul", "d e", "u"), functions=[passes],
            like=[n("Add", "c c", "e"), n("Mul", "c e", "u")])
    body = h.make_graph([n("Block", "x w b", "t", "local")], "then", [], [h.make_tensor_value_info("t", T.FLOAT, None)])
    other = h.make_graph([n("Relu", "x", "e")], "else", [], [h.make_tensor_value_info("e", T.FLOAT, None)])
    case("functions_in_a_branch", [n("If", "yes", "u", then_branch=body, else_branch=other), LAST],
         {"yes": np.array(True)}, functions=[block])
    unused = h.make_function("local", "Strange", ["a"], ["o"], [n("NoSuchOperator", "a", "o", "nowhere")],
                             [h.make_opsetid("", 17), h.make_opsetid("nowhere", 1)])
    case("functions_never_called", [FIRST, n("Relu", "c", "u"), LAST], functions=[unused], like=[FIRST, n("Relu", "c", "u"), LAST])


def folding():
    size = [n("Shape", "c", "s"), n("Gather", "s i3", "wd"), n("Cast", "wd", "wf", to=T.FLOAT), n("Mul", "wf half", "e"),
            n("Ceil", "e", "e2"), n("Sub", "e2 k100", "e3"), n("Clip", "e3 zero seven", "e4"), n("Cast", "e4", "p1", to=T.INT64),
            n("Unsqueeze", "p1 ax0", "pr"), n("Concat", "z3 pr z3 pr", "pads", axis=0), n("Pad", "c pads", "u")]
    between("fold_clip_of_a_size", *size, constants={
        "i3": np.int64(3), "half": np.float32(0.5), "k100": np.float32(3), "zero": np.float32(0), "seven": np.float32(7),
        "ax0": ints(0), "z3": ints(0, 0, 0)})
    # Weight standardisation as F.batch_norm in training mode writes it.
    standard = [n("Reshape", "w r3", "wr"), n("BatchNormalization", "wr g z z o", "wn m v", training_mode=1, epsilon=1e-6),
                n("Reshape", "wn r4", "ws"), n("Conv", "x ws b", "u", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), LAST]
    # ONNX Runtime 1.32 reads memory that it has given away where nothing reads the statistics.
    like = [*standard[:1], n("InstanceNormalization", "wr g z", "wn", epsilon=1e-6), *standard[2:]]
    case("fold_batch_norm_in_training", standard, like=like, constants={
        "r3": ints(1, 8, 27), "r4": ints(8, 3, 3, 3), "g": normal(8), "z": np.zeros(8, np.float32), "o": np.ones(8, np.float32)})
    conv = n("Conv", "x wk b", "u", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    mixed = {"k": normal(3, 3, 1, 1), "m": normal(8, 8)}
    case("fold_conv_of_weights", [n("Conv", "w k", "wk", kernel_shape=[1, 1]), conv, LAST], mixed)
    case("fold_matmul_of_weights", [n("Reshape", "w r", "wr"), n("MatMul", "m wr", "wm"), n("Reshape", "wm r4", "wk"), conv, LAST],
         {**mixed, "r": ints(8, 27), "r4": ints(8, 3, 3, 3)})
    case("fold_gemm_of_weights", [n("Flatten", "w", "wr"), n("Gemm", "m wr", "wm", transA=1, alpha=0.5), n("Reshape", "wm r4", "wk"),
                                  conv, LAST], {**mixed, "r4": ints(8, 3, 3, 3)})
    case("fold_einsum_of_weights", [n("Einsum", "m w", "wk", equation="ij,jkhw->ikhw"), conv, LAST], mixed)
    case("fold_softmax_of_weights", [n("Softmax", "w", "wk", axis=1), conv, LAST])
    case("fold_norm_of_weights", [n("ReduceL2", "w ax", "l"), n("Div", "w l", "wk"), conv, LAST], {"ax": ints(1, 2, 3)}, opset=18)
    case("fold_layer_norm_of_weights", [n("LayerNormalization", "w g", "wk"), conv, LAST], {"g": normal(3)})
    case("fold_resize_of_weights", [n("Resize", "w5 e e2 sz", "wk", mode="cubic"), conv, LAST],
         {"w5": normal(8, 3, 5, 5) * 0.2, "e": np.zeros(0, np.float32), "e2": np.zeros(0, np.float32), "sz": ints(8, 3, 3, 3)})
    case("fold_pool_of_weights", [n("AveragePool", "w5", "wk", kernel_shape=[3, 3]), conv, LAST], {"w5": normal(8, 3, 5, 5)})
    case("fold_transposed_conv_of_weights", [n("ConvTranspose", "w1 k", "wk", kernel_shape=[3, 3]), conv, LAST],
         {"w1": normal(8, 5, 1, 1), "k": normal(5, 3, 3, 3) * 0.2})
    for op, constants, node in [
        ("gather_nd", {"i": ints(*range(8))[::-1].reshape(8, 1)}, n("GatherND", "w i", "wk")),
        ("gather_elements", {"i": random.integers(0, 3, (8, 3, 3, 3))}, n("GatherElements", "w i", "wk", axis=1)),
        ("scatter_nd", {"i": ints(1, 4).reshape(2, 1), "v": normal(2, 3, 3, 3)}, n("ScatterND", "w i v", "wk")),
        ("scatter_elements", {"i": random.integers(0, 3, (8, 1, 3, 3)), "v": normal(8, 1, 3, 3)},
         n("ScatterElements", "w i v", "wk", axis=1)),
        ("cum_sum", {"i": np.int64(2)}, n("CumSum", "w i", "wk", exclusive=1, reverse=1)),
        ("trilu", {"i": np.int64(-1)}, n("Trilu", "w i", "wk", upper=0)),
        ("pad_reflect", {"w1": normal(8, 3, 2, 2), "i": ints(0, 0, 1, 0, 0, 0, 0, 1)}, n("Pad", "w1 i", "wk", mode="reflect")),
        ("quantise", {"i": np.float32(0.05), "v": np.int8(3)}, [n("QuantizeLinear", "w i v", "q"), n("DequantizeLinear", "q i v", "wk")]),
    ]:
        case(f"fold_{op}", [*(node if isinstance(node, list) else [node]), conv, LAST], constants, opset=18)
    # Tables of positions: where the numbers that are picked, sorted or counted come from constants.
    table = {"m": normal(4, 8), "k3": ints(8), "depth": np.int64(8), "oo": np.array([0, 1], np.float32)}
    between("fold_top_k", n("TopK", "t k3", "v i", axis=0), n("Gather", "c i", "u", axis=1), constants={"t": normal(8), "k3": ints(8)})
    between("fold_arg_max_one_hot", n("ArgMax", "m", "i", axis=0, keepdims=0), n("OneHot", "i depth oo", "hot"), n("ReduceSum", "hot ax", "p"),
            n("Reshape", "p r", "q"), n("Mul", "c q", "u"), constants={**table, "ax": ints(0), "r": ints(1, 8, 1, 1)})
    case("fold_non_zero", [FIRST, n("Greater", "t zero", "g"), n("NonZero", "g", "i"), n("Squeeze", "i ax", "j"), n("Gather", "c j", "d", axis=1),
            n("ReduceMean", "d", "u", axes=[1]), n("Conv", "u w1", "y", kernel_shape=[1, 1])],
            {"t": normal(8), "zero": np.float32(0), "ax": ints(0), "w1": normal(3, 1, 1, 1)})


def empty():
    between("empty_part_in_concat", n("ConstantOfShape", "zs", "z"), n("Concat", "z c z", "u", axis=1), constants={"zs": ints(1, 0, 10, 12)})
    between("empty_slice_in_concat", n("Slice", "c z z a", "e"), n("Concat", "e c", "u", axis=1), constants={"z": ints(0), "a": ints(1)})
    between("empty_gather_in_concat", n("Gather", "c i", "e", axis=1), n("Relu", "e", "r"), n("Concat", "r c", "u", axis=1), constants={"i": ints()})
    between("empty_slice_computed_on", n("Slice", "c z z a", "e"), n("Mul", "e k", "f"), n("Add", "f f", "g"), n("Concat", "c g", "u", axis=1),
            constants={"z": ints(0), "a": ints(1), "k": np.float32(2)})
    between("empty_part_of_a_split", n("Split", "c s", "d e f", axis=1), n("Concat", "f e d", "u", axis=1), constants={"s": ints(3, 0, 5)})


def ranks():
    five = n("Reshape", "c r5", "a")
    between("rank_5_split_attention", five, n("ReduceMean", "a", "g", axes=[3, 4]), n("Softmax", "g", "s", axis=1),
            n("Mul", "a s", "m"), n("ReduceSum", "m ax", "v", keepdims=0), n("Concat", "v v", "u", axis=1),
            constants={"r5": ints(1, 2, 4, 10, 12), "ax": ints(1)})
    between("rank_5_selective_kernels", n("Unsqueeze", "c ax1", "p"), n("Relu", "p", "q"), n("Concat", "p q", "a", axis=1),
            n("ReduceSum", "a ax1", "z", keepdims=0), n("GlobalAveragePool", "z", "g"), n("Concat", "g gate", "gg", axis=2),
            n("Transpose", "gg", "gt", perm=[0, 2, 1, 3]), n("Unsqueeze", "gt ax4", "gu"), n("Softmax", "gu", "s", axis=1),
            n("Mul", "a s", "m"), n("ReduceSum", "m ax1", "u", keepdims=0),
            constants={"ax1": ints(1), "ax4": ints(4), "gate": normal(1, 8, 1, 1)})
    between("rank_6_unshuffle", n("Reshape", "c r6", "a"), n("Transpose", "a", "t", perm=[0, 1, 3, 5, 2, 4]), n("Mul", "t k", "m"),
            n("Transpose", "m", "v", perm=[0, 1, 4, 2, 5, 3]), n("Reshape", "v r4", "u"),
            constants={"r6": ints(1, 8, 5, 2, 6, 2), "r4": ints(1, 8, 10, 12), "k": normal(1, 1, 2, 2, 1, 1)})
    between("rank_5_alternating", five, n("ReduceMean", "a", "g", axes=[1, 3]), n("Add", "a g", "m"), n("Reshape", "m r4", "u"),
            constants={"r5": ints(1, 2, 4, 10, 12), "r4": ints(1, 8, 10, 12)})
    between("rank_6_both_broadcast", n("Reshape", "c r6", "a"), n("ReduceMax", "a", "g", axes=[1, 3, 5]), n("ReduceMin", "a", "k", axes=[2, 4]),
            n("Sub", "g k", "m"), n("Div", "a m", "d"), n("Reshape", "d r4", "u"),
            constants={"r6": ints(1, 8, 5, 2, 6, 2), "r4": ints(1, 8, 10, 12)})
    # Windows of heads: (1, windows, heads, positions, depth).
    heads = [n("Reshape", "c r", "a"), n("Transpose", "a", "q", perm=[0, 3, 1, 4, 2]), n("Transpose", "q", "k", perm=[0, 1, 2, 4, 3]),
             n("MatMul", "q k", "s"), n("Add", "s bias", "sb"), n("Softmax", "sb", "p", axis=-1), n("MatMul", "p q", "o"),
             n("Transpose", "o", "v", perm=[0, 2, 4, 1, 3]), n("Reshape", "v r4", "u")]
    between("rank_5_attention", *heads, constants={"r": ints(1, 2, 4, 10, 12), "r4": ints(1, 8, 10, 12), "bias": normal(2, 12, 12)})
    between("rank_5_shared_keys", n("Reshape", "c r", "a"), n("MatMul", "a k", "s"), n("Reshape", "s r4", "u"),
            constants={"r": ints(1, 2, 4, 10, 12), "r4": ints(1, 8, 10, 12), "k": normal(1, 1, 4, 12, 12)})
    between("rank_5_reduction_of_two_axes", five, n("ReduceMean", "a", "g", axes=[1, 4]), n("Expand", "g r5", "e"), n("Reshape", "e r4", "u"),
            constants={"r5": ints(1, 2, 4, 10, 12), "r4": ints(1, 8, 10, 12)})
    between("rank_5_choice", five, n("ReduceMean", "a", "g", axes=[3, 4]), n("Greater", "a g", "m"), n("Where", "m a k", "v"), n("Reshape", "v r4", "u"),
            constants={"r5": ints(1, 2, 4, 10, 12), "r4": ints(1, 8, 10, 12), "k": normal(1, 2, 1, 1, 12)})
    between("rank_1_product", n("Transpose", "c", "t", perm=[0, 2, 3, 1]), n("MatMul", "t v", "m"), n("Unsqueeze", "m a", "s"), n("Mul", "c s", "u"),
            constants={"v": normal(8), "a": ints(1)})


def lines():
    # Efficient channel attention: a convolution over the channels as a line.
    between("line_channel_attention", n("ReduceMean", "c", "g", axes=[2, 3], keepdims=0), n("Unsqueeze", "g a1", "l"),
            n("Conv", "l k", "m", kernel_shape=[3], pads=[1, 1]), n("Sigmoid", "m", "s"), n("Reshape", "s r", "t"), n("Mul", "c t", "u"),
            constants={"a1": ints(1), "k": normal(1, 1, 3), "r": ints(1, 8, 1, 1)})
    between("line_dilated", n("Reshape", "c r", "l"), n("Conv", "l k", "m", kernel_shape=[3], pads=[4, 0], dilations=[2], strides=[2], group=2), n("Reshape", "m r4", "u"),
            constants={"r": ints(1, 8, 120), "k": normal(8, 4, 3), "r4": ints(1, 8, 5, 12)})


def picks():
    nhwc = dict(perm=[1, 0, 2, 3])
    case("pick_bgr", [n("Transpose", "x", "t", **nhwc), n("GatherND", "t i", "g"), n("Transpose", "g", "v", **nhwc),
                      n("Conv", "v w b", "u", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), LAST], {"i": ints(2, 1, 0).reshape(3, 1)})
    between("pick_shuffle", n("Gather", "c i", "u", axis=1), constants={"i": ints(0, 4, 1, 5, 2, 6, 3, 7)})
    between("pick_scattered_rows", n("Gather", "c i", "u", axis=2), constants={"i": ints(3, 9, 0, 7, 7, 1)})
    between("pick_many_scattered", n("Reshape", "c r", "f"), n("Gather", "f i", "g", axis=2), n("Reshape", "g r4", "u"),
            constants={"r": ints(1, 8, 120), "r4": ints(1, 8, 10, 12), "i": random.permutation(120)})
    between("pick_flip_by_elements", n("GatherElements", "c i", "u", axis=3),
            constants={"i": np.broadcast_to(np.arange(11, -1, -1), (1, 8, 10, 12)).copy()})
    between("pick_points", n("GatherND", "c i", "g", batch_dims=1), n("Reshape", "g r", "u"),
            constants={"i": random.permutation(8).reshape(1, 8, 1), "r": ints(1, 8, 10, 12)})
    # x[:, 2] = ..., as PyTorch's newer exporter writes it; x[..., ::2] = ... of zeros, as the older one does.
    between("pick_scatter_channels", n("Transpose", "c", "t", **nhwc), n("Relu", "t", "r"), n("Slice", "r st en", "p"), n("ScatterND", "t i p", "s"),
            n("Transpose", "s", "u", **nhwc), constants={"i": ints(2, 5).reshape(2, 1), "st": ints(3), "en": ints(5)})
    places = np.stack(np.meshgrid([0], range(8), range(10), range(0, 12, 2), indexing="ij"), -1)
    between("pick_scatter_columns", n("MaxPool", "c", "p", kernel_shape=[1, 2], strides=[1, 2]), n("ScatterND", "k i p", "u"),
            constants={"i": places.astype(np.int64), "k": np.zeros((1, 8, 10, 12), np.float32)})
    between("pick_scatter_elements", n("Slice", "c st en ax", "p"), n("ScatterElements", "c i p", "u", axis=2),
            constants={"i": np.broadcast_to(ints(7, 1).reshape(1, 1, 2, 1), (1, 8, 2, 12)).copy(), "st": ints(4), "en": ints(6), "ax": ints(2)})
    between("pick_nothing_new", n("Identity", "c", "d"), n("Identity", "d", "e"), n("Dropout", "e", "u"))


def pointwise():
    case("log_softmax", [FIRST, n("Conv", "c w2", "l", kernel_shape=[1, 1]), n("Mul", "l k", "m"), n("LogSoftmax", "m", "y", axis=1)],
         {"k": np.float32(60)})
    case("log_softmax_of_opset_11", [FIRST, n("LogSoftmax", "c", "y", axis=1)], opset=11)
    for name, node, constants, opset in [
        ("celu", n("Celu", "c", "u", alpha=0.7), {}, 17), ("shrink", n("Shrink", "c", "u", lambd=0.4, bias=0.15), {}, 17),
        ("thresholded", n("ThresholdedRelu", "c", "u", alpha=0.3), {}, 17), ("lp_2", n("LpNormalization", "c", "u", axis=1, p=2), {}, 17),
        ("lp_1", n("LpNormalization", "c", "u", axis=1, p=1), {}, 17), ("mean_variance", n("MeanVarianceNormalization", "c", "u"), {}, 17),
        ("cum_sum", n("CumSum", "c i", "u"), {"i": np.int64(3)}, 17), ("cum_sum_back", n("CumSum", "c i", "u", reverse=1, exclusive=1), {"i": np.int64(1)}, 17),
        ("trilu", n("Trilu", "c i", "u", upper=0), {"i": np.int64(1)}, 17), ("swish", n("Swish", "c", "u", alpha=1.5), {}, 24),
        ("hardmax", n("Hardmax", "c", "u", axis=1), {}, 17), ("rms_norm", n("RMSNormalization", "c g", "u", axis=-1), {"g": normal(12)}, 23)]:
        like = None
        if name == "swish":
            like, constants = [n("Mul", "c a", "ac"), n("Sigmoid", "ac", "s"), n("Mul", "c s", "u")], {"a": np.float32(1.5)}
        if name == "rms_norm":
            like = [n("Mul", "c c", "q"), n("ReduceMean", "q ax", "m"), n("Add", "m e", "me"), n("Sqrt", "me", "s"), n("Div", "c s", "d"), n("Mul", "d g", "u")]
            constants = {**constants, "ax": ints(-1), "e": np.float32(1e-5)}
        between(f"function_{name}", node, constants=constants, opset=opset if not like else 18, like=like)
    for op in ("ReduceLogSumExp", "ReduceLogSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"):
        before = [n("Abs", "c", "d")] if op == "ReduceLogSum" else [n("Identity", "c", "d")]
        between(f"function_{op.lower()}", *before, n(op, "d", "r", axes=[1]), n("Mul", "c r", "u"))
    between("function_clip_by_computed", n("ReduceMin", "c", "lo", keepdims=0), n("Mul", "lo half", "lh"), n("ReduceMax", "c", "hi", keepdims=0),
            n("Mul", "hi half", "hh"), n("Clip", "c lh hh", "u"), constants={"half": np.float32(0.5)})
    for name, text, other, back in [
        ("product", "bchw,dc->bdhw", normal(8, 8), ""), ("permuted_product", "bchw,cd->dwbh", normal(8, 8), [2, 0, 3, 1]),
        ("outer", "bchw,c->bchw", normal(8), ""), ("rest", "...w,wv->...v", normal(12, 12), ""), ("batched", "bchw,bcwv->bchv", normal(1, 8, 12, 12), "")]:
        tail = [n("Transpose", "e", "u", perm=back)] if back else [n("Identity", "e", "u")]
        between(f"einsum_{name}", n("Einsum", "c k", "e", equation=text), *tail, constants={"k": other})
    between("einsum_sum", n("Einsum", "c", "s", equation="bchw->wb"), n("Transpose", "s", "t", perm=[1, 0]), n("Unsqueeze", "t a", "v"),
            n("Mul", "c v", "u"), constants={"a": ints(1, 2)})
    between("einsum_attention", n("Reshape", "c r", "q"), n("Einsum", "q q", "s", equation="bcn,bcm->bnm"), n("Softmax", "s", "p", axis=-1),
            n("Einsum", "p q", "o", equation="bnm,bcm->bcn"), n("Reshape", "o r4", "u"), constants={"r": ints(1, 8, 120), "r4": ints(1, 8, 10, 12)})


def control():
    trips = h.make_graph(
        [n("Mul", "v k", "m"), n("Add", "m c", "vo"), n("Identity", "cond", "co"), n("GlobalAveragePool", "vo", "scan")],
        "body", [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("cond", T.BOOL, []), h.make_tensor_value_info("v", T.FLOAT, None)],
        [h.make_tensor_value_info(name, kind, None) for name, kind in [("co", T.BOOL), ("vo", T.FLOAT), ("scan", T.FLOAT)]])
    between("control_loop", n("Loop", "three yes c", "l s", body=trips), n("ReduceMean", "s", "sm", axes=[0], keepdims=0), n("Mul", "l sm", "u"),
            constants={"three": np.int64(3), "yes": np.array(True), "k": np.float32(0.5)})
    between("control_sequence", n("SequenceConstruct", "c c", "q"), n("Relu", "c", "r"), n("SequenceInsert", "q r one", "q2"),
            n("SequenceLength", "q2", "len"), n("Cast", "len", "lf", to=T.FLOAT), n("ConcatFromSequence", "q2", "z", axis=0, new_axis=1),
            n("ReduceSum", "z ax", "zz", keepdims=0), n("Div", "zz lf", "u"), constants={"one": np.int64(1), "ax": ints(0)})
    between("control_split_sequence", n("SplitToSequence", "c two", "q", axis=1), n("ConcatFromSequence", "q", "z", axis=0), n("SequenceAt", "q one", "a"),
            n("ReduceMean", "z", "zm", axes=[0]), n("Concat", "zm a zm a", "u", axis=1), constants={"two": np.int64(2), "one": np.int64(1)})


def microsoft():
    nhwc, nchw = dict(perm=[0, 2, 3, 1]), dict(perm=[0, 3, 1, 2])
    base = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    for act, params in [("Relu", []), ("LeakyRelu", [0.3]), ("Sigmoid", []), ("Tanh", []), ("Clip", [-0.2, 0.4]), ("HardSigmoid", [0.3, 0.4])]:
        extra = {"activation_params": params} if params else {}
        case(f"microsoft_fused_conv_{act.lower()}", [ms("FusedConv", "x w b", "u", activation=act, **base, **extra), LAST])
    case("microsoft_fused_conv_sum", [n("Conv", "x wz", "z", kernel_shape=[1, 1]), ms("FusedConv", "x w b z", "u", activation="Relu", **base), LAST], {"wz": normal(8, 3, 1, 1)})
    case("microsoft_nhwc_fused_conv", [n("Transpose", "x", "t", **nhwc), ms("NhwcFusedConv", "t w b", "v", activation="Relu", **base), n("Transpose", "v", "u", **nchw), LAST],
         like=[FIRST, n("Relu", "c", "u"), LAST])
    between("microsoft_nhwc_max_pool", n("Transpose", "c", "t", **nhwc), ms("NhwcMaxPool", "t", "v", kernel_shape=[2, 2], strides=[2, 2]), n("Transpose", "v", "u", **nchw),
            like=[n("MaxPool", "c", "u", kernel_shape=[2, 2], strides=[2, 2])])
    tokens = [n("Reshape", "c r", "f"), n("Transpose", "f", "t", perm=[0, 2, 1])]
    back = [n("Transpose", "v", "o", perm=[0, 2, 1]), n("Reshape", "o r4", "u")]
    shapes = {"r": ints(1, 8, 120), "r4": ints(1, 8, 10, 12)}
    def on_tokens(name, *nodes, constants=None, like=None, **rest):
        between(name, *tokens, *nodes, *back, constants={**shapes, **(constants or {})}, like=[*tokens, *like, *back] if like else None, **rest)
    on_tokens("microsoft_fused_matmul", ms("FusedMatMul", "t t", "s", transB=1, alpha=0.25), n("Softmax", "s", "p", axis=-1), ms("FusedMatMul", "p f", "v", transB=1, alpha=2.0))
    on_tokens("microsoft_fused_matmul_batch", n("Reshape", "c r43", "g"), ms("FusedMatMul", "g g", "s", transBatchA=1, transBatchB=1, transB=1, alpha=0.1), n("ReduceMean", "s", "sm"), n("Mul", "t sm", "v"),
              constants={"r43": ints(10, 8, 12)})
    on_tokens("microsoft_bias_gelu", ms("BiasGelu", "t k", "v"), constants={"k": normal(8)})
    on_tokens("microsoft_fast_gelu", ms("FastGelu", "t k", "v"), constants={"k": normal(8)})
    on_tokens("microsoft_gelu", ms("Gelu", "t", "v"))
    on_tokens("microsoft_quick_gelu", ms("QuickGelu", "t", "v", alpha=1.702))
    on_tokens("microsoft_bias_add", ms("BiasAdd", "t k t", "v"), constants={"k": normal(8)}, like=[n("Add", "t k", "tk"), n("Add", "tk t", "v")])
    on_tokens("microsoft_bias_split_gelu", n("Concat", "t t", "tt", axis=2), ms("BiasSplitGelu", "tt k", "v"), constants={"k": normal(16), "sp": ints(8, 8)},
              like=[n("Concat", "t t", "tt", axis=2), n("Add", "tt k", "tk"), n("Split", "tk sp", "l g", axis=2), ms("Gelu", "g", "gg"), n("Mul", "l gg", "v")])
    on_tokens("microsoft_skip_layer_norm", h.make_node("SkipLayerNormalization", ["t", "t", "g", "k", "k2"], ["a", "", "", "sum"], domain="com.microsoft", epsilon=1e-5), n("Add", "a sum", "v"),
              constants={"g": normal(8), "k": normal(8), "k2": normal(8)})
    on_tokens("microsoft_skip_rms_norm", h.make_node("SkipSimplifiedLayerNormalization", ["t", "t", "g"], ["a", "", "", "sum"], domain="com.microsoft", epsilon=1e-5), n("Add", "a sum", "v"),
              constants={"g": normal(8)})
    on_tokens("microsoft_fused_gemm", n("Squeeze", "t a0", "t2"), ms("FusedGemm", "t2 m k", "g", activation="LeakyRelu", activation_alpha=0.2, transB=1, alpha=0.5, beta=2.0), n("Unsqueeze", "g a0", "v"),
              constants={"a0": ints(0), "m": normal(8, 8), "k": normal(8)})
    group = [n("Reshape", "c rg", "g1"), n("InstanceNormalization", "g1 one zero", "g2"), n("Reshape", "g2 r4", "g3"), n("Mul", "g3 gs", "g4"), n("Add", "g4 bs", "g5"), n("Sigmoid", "g5", "g6"), n("Mul", "g5 g6", "u")]
    gamma, beta = normal(8), normal(8)
    between("microsoft_group_norm", n("Transpose", "c", "t", **nhwc), ms("GroupNorm", "t g k", "v", groups=4, activation=1, epsilon=1e-5), n("Transpose", "v", "u", **nchw),
            constants={"g": gamma, "k": beta, "rg": ints(1, 4, -1), "r4": ints(1, 8, 10, 12), "one": np.ones(4, np.float32), "zero": np.zeros(4, np.float32),
                       "gs": gamma.reshape(1, 8, 1, 1), "bs": beta.reshape(1, 8, 1, 1)}, like=group)
    for bits, with_zero in [(4, False), (4, True), (8, True)]:
        packed = random.integers(0, 256, (8, 1, 16 * bits // 8), dtype=np.uint8)
        zeros = {"zp": random.integers(0, 256, (8, 1), dtype=np.uint8)} if with_zero else {}
        on_tokens(f"microsoft_matmul_{bits}_bits" + ("_zeros" if with_zero else ""),
                  ms("MatMulNBits", "t q s" + (" zp" if with_zero else ""), "v", K=8, N=8, bits=bits, block_size=16),
                  constants={"q": packed, "s": np.abs(normal(8, 1)) * 0.05, **zeros})


class Data(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": X}, {"x": X * 0.5}]

    def get_next(self):
        return self.left.pop() if self.left else None


def quantised():
    q8 = lambda a, s, z=0, t=np.int8: np.clip(np.round(a / s) + z, np.iinfo(t).min, np.iinfo(t).max).astype(t)
    net = [FIRST, n("Relu", "c", "r"), n("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]), n("Conv", "p w3 b", "d", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
           n("Sigmoid", "d", "g"), n("Mul", "d g", "s"), n("Resize", "s e sc", "up"), n("Concat", "up r", "k", axis=1), n("Add", "k k", "kk"), n("AveragePool", "kk", "ap", kernel_shape=[3, 3]),
           n("Conv", "ap w4", "y", kernel_shape=[1, 1])]
    constants = {"w3": normal(8, 8, 3, 3) * 0.15, "w4": normal(3, 16, 1, 1) * 0.3, "e": np.zeros(0, np.float32), "sc": np.array([1, 1, 2, 2], np.float32)}
    model = make(net, constants, 17)
    result = run(model, X)
    def by_tool(name, convert):
        with tempfile.TemporaryDirectory() as folder:
            source, target = os.path.join(folder, "a.onnx"), os.path.join(folder, "b.onnx")
            onnx.save(model, source)
            convert(source, target)
            made = onnx.load(target)
        del made.metadata_props[:]
        made.producer_name = ""
        quant = run(made, X)
        scales = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
        save(name, made, quant, step=float(scales.get("y_scale", np.ptp(quant) / 255)))
    for form, label in [(QuantFormat.QDQ, "qdq"), (QuantFormat.QOperator, "qoperator")]:
        for act, weight in [(QuantType.QUInt8, QuantType.QInt8), (QuantType.QInt8, QuantType.QInt8), (QuantType.QUInt8, QuantType.QUInt8)]:
            for channels in (False, True):
                if channels and weight == QuantType.QUInt8:
                    continue
                kinds = f"{'s8' if act == QuantType.QInt8 else 'u8'}{'s8' if weight == QuantType.QInt8 else 'u8'}"
                by_tool(f"quantised_{label}_{kinds}{'_channels' if channels else ''}", lambda a, b: quantize_static(
                    a, b, Data(), quant_format=form, activation_type=act, weight_type=weight, per_channel=channels))
    by_tool("quantised_qdq_u16s8", lambda a, b: quantize_static(a, b, Data(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt16,
                                                               weight_type=QuantType.QInt8))
    by_tool("quantised_dynamic", lambda a, b: quantize_dynamic(a, b, weight_type=QuantType.QUInt8, op_types_to_quantize=["Conv", "MatMul"]))
    by_tool("quantised_dynamic_channels", lambda a, b: quantize_dynamic(a, b, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["Conv", "MatMul"]))

    # Bilinear resizing of whole numbers, and operators that only move them.
    moves = [FIRST, n("MaxPool", "c", "p", kernel_shape=[2, 2], strides=[2, 2]),
             h.make_node("Resize", ["p", "", "sc"], ["up"], mode="linear", coordinate_transformation_mode="half_pixel"),
             n("Concat", "up c", "k", axis=1), n("LeakyRelu", "k", "k1", alpha=0.1), n("Pad", "k1 pd", "k2", mode="reflect"), n("Split", "k2", "s1 s2", axis=1),
             n("Add", "s1 s2", "k3"), n("Transpose", "k3", "k4", perm=[0, 2, 3, 1]), n("MatMul", "k4 mm", "k5"), n("Transpose", "k5", "k6", perm=[0, 3, 1, 2]),
             n("ConvTranspose", "k6 wt", "y", kernel_shape=[2, 2], strides=[2, 2])]
    model = make(moves, {"sc": constants["sc"], "pd": ints(0, 0, 1, 1, 0, 0, 1, 1), "mm": normal(8, 8), "wt": normal(8, 2, 2, 2)}, 17)
    for act, label in [(QuantType.QUInt8, "u8"), (QuantType.QInt8, "s8")]:
        by_tool(f"quantised_qoperator_{label}_bilinear", lambda a, b: quantize_static(
            a, b, Data(), quant_format=QuantFormat.QOperator, activation_type=act, weight_type=QuantType.QInt8))

    conv = n("Conv", "x wk b", "u", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    s8 = (np.abs(W).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    case("quantised_weights", [n("DequantizeLinear", "q s z", "wk", axis=0), conv, LAST],
         {"q": q8(W, s8.reshape(8, 1, 1, 1)), "s": s8, "z": np.zeros(8, np.int8)})
    case("quantised_weights_of_16_bits", [n("DequantizeLinear", "q s", "wk"), conv, LAST], {"q": q8(W, 1e-4, 0, np.int16), "s": np.float32(1e-4)}, opset=21)
    four = random.integers(-8, 8, 8 * 27).astype(np.int8)
    packed = h.make_tensor("q", T.INT4, [8, 27], four.tolist())
    case("quantised_weights_of_4_bits_in_blocks", [n("DequantizeLinear", "q s", "wd", axis=1, block_size=9), n("Reshape", "wd r", "wk"), conv, LAST],
         {"q": packed, "s": np.abs(normal(8, 3)) * 0.05, "r": ints(8, 3, 3, 3)}, opset=21)
    between("quantised_float_pair_per_channel", n("QuantizeLinear", "c s z", "q", axis=1), n("DequantizeLinear", "q s z", "u", axis=1),
            constants={"s": np.abs(normal(8)) * 0.05 + 0.01, "z": random.integers(-20, 20, 8).astype(np.int8)}, step=0.06)
    between("quantised_default_type", n("QuantizeLinear", "c s", "q"), n("DequantizeLinear", "q s", "u"), constants={"s": np.float32(0.02)}, step=0.02)
    between("quantised_signed_4_bits", n("QuantizeLinear", "c s", "q", output_dtype=T.INT4), n("DequantizeLinear", "q s", "u"), constants={"s": np.float32(0.2)}, opset=21, step=0.2)
    # Halves, where rounding to even shows: sums of two steps over two.
    between("quantised_ties", n("QuantizeLinear", "c s z", "q"), n("DequantizeLinear", "q s z", "d"), n("AveragePool", "d", "p", kernel_shape=[1, 2]),
            n("QuantizeLinear", "p s z", "q2"), n("DequantizeLinear", "q2 s z", "u"), constants={"s": np.float32(0.3), "z": np.uint8(100)}, step=0.3)
    tokens = [n("Reshape", "c r", "f"), n("Transpose", "f", "t", perm=[0, 2, 1])]
    back = [n("Transpose", "v", "o", perm=[0, 2, 1]), n("Reshape", "o r4", "u")]
    shapes = {"r": ints(1, 8, 120), "r4": ints(1, 8, 10, 12)}
    q = {**shapes, "xs": np.float32(0.0307), "xz": np.uint8(120), "m": random.integers(0, 255, (8, 8)).astype(np.uint8), "msc": np.float32(0.0113), "mz": np.uint8(127),
         "ys": np.float32(0.0419), "yz": np.uint8(125), "bf": normal(8), "bi": random.integers(-3000, 3000, 8).astype(np.int32)}
    quantise, level = n("QuantizeLinear", "t xs xz", "tq"), n("DequantizeLinear", "vq ys yz", "v")
    def on_tokens(name, *nodes, step=0.04, constants=None):
        between(name, *tokens, *nodes, *back, constants={**q, **(constants or {})}, step=step)
    on_tokens("quantised_matmul", quantise, n("QLinearMatMul", "tq xs xz m msc mz ys yz", "vq"), level)
    on_tokens("quantised_matmul_of_two", quantise, n("Transpose", "tq", "tt", perm=[0, 2, 1]), n("QLinearMatMul", "tq xs xz tt xs xz ks yz", "sq"),
              n("DequantizeLinear", "sq ks yz", "s"), n("Softmax", "s", "p", axis=-1), n("MatMul", "p t", "v"), constants={"ks": np.float32(0.2)}, step=0.2)
    on_tokens("quantised_matmul_integer", n("DynamicQuantizeLinear", "t", "tq ts tz"), n("MatMulInteger", "tq m tz mz", "acc"), n("Cast", "acc", "af", to=T.FLOAT),
              n("Mul", "ts msc", "sc"), n("Mul", "af sc", "v"))
    on_tokens("quantised_dynamic_matmul", ms("DynamicQuantizeMatMul", "t m msc mz bf", "v"))
    on_tokens("quantised_matmul_to_float", n("DynamicQuantizeLinear", "t", "tq ts tz"), ms("MatMulIntegerToFloat", "tq m ts msc tz mz bf", "v"))
    on_tokens("quantised_gemm", n("Squeeze", "t a0", "t2"), n("QuantizeLinear", "t2 xs xz", "tq"), ms("QGemm", "tq xs xz m msc mz bi ys yz", "gq", transB=1), n("DequantizeLinear", "gq ys yz", "g"),
              n("Unsqueeze", "g a0", "v"), constants={"a0": ints(0)})
    for op, extra in [("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.2}), ("QLinearSoftmax", {"axis": -1, "opset": 17})]:
        small = {"ks": np.float32(1 / 256), "kz": np.uint8(0)} if op != "QLinearLeakyRelu" else {"ks": np.float32(0.03), "kz": np.uint8(128)}
        on_tokens(f"quantised_{op.lower()}", quantise, ms(op, "tq xs xz ks kz", "vq", **extra), n("DequantizeLinear", "vq ks kz", "v"), constants=small, step=float(small["ks"]))
    pair = [n("QuantizeLinear", "c xs xz", "cq"), n("Relu", "c", "rr"), n("QuantizeLinear", "rr rs rz", "rq")]
    level = n("DequantizeLinear", "uq ys yz", "u")
    more = {"rs": np.float32(0.0211), "rz": np.uint8(10)}
    for op in ("QLinearAdd", "QLinearMul"):
        between(f"quantised_{op.lower()}", *pair, ms(op, "cq xs xz rq rs rz ys yz", "uq"), level, constants={**q, **more}, step=0.04)
    between("quantised_concat", *pair, ms("QLinearConcat", "ys yz cq xs xz rq rs rz", "uq", axis=2), level, constants={**q, **more}, step=0.04)
    between("quantised_global_average", *pair, ms("QLinearGlobalAveragePool", "cq xs xz ys yz", "uq", channels_last=0), level, constants={**q, **more}, step=0.04)
    between("quantised_average_last", *pair, n("Transpose", "cq", "ct", perm=[0, 2, 3, 1]), ms("QLinearAveragePool", "ct xs xz ys yz", "ut", kernel_shape=[2, 2], channels_last=1),
            n("Transpose", "ut", "uq", perm=[0, 3, 1, 2]), level, constants={**q, **more}, step=0.04)
    between("quantised_conv_last", *pair, n("Transpose", "cq", "ct", perm=[0, 2, 3, 1]), ms("QLinearConv", "ct xs xz wq ws wz ys yz", "ut", kernel_shape=[3, 3], channels_last=1),
            n("Transpose", "ut", "uq", perm=[0, 3, 1, 2]), level, constants={**q, **more, "wq": random.integers(-128, 128, (8, 8, 3, 3)).astype(np.int8), "ws": np.abs(normal(8)) * 0.002 + 1e-4,
                                                                            "wz": np.zeros(8, np.int8)}, step=0.04)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for part in (order, functions, folding, empty, ranks, lines, picks, pointwise, control, microsoft, quantised):
        part()
    save_file(tensors, HERE / "spellings.safetensors", {"cases": json.dumps(cases)})
    print(len(cases), "cases,", sum(f.stat().st_size for f in OUT.iterdir()) // 1024, "KB")


if __name__ == "__main__":
    main()
