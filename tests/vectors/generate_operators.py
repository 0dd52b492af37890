"""Makes operators.safetensors: ONNX's own cases for its operators, those that pictures meet.

    pip install onnx==1.23.2 numpy==2.4.6 safetensors==0.8.0
    python generate_operators.py

The cases are made by onnx.backend.test.case.node (Apache-2.0), with the expected outputs its authors give. Taken are
those of the operators below that have float data, ranks of at most 4 (5 where only shapes change) and no randomness.
README.md says how the file is laid out.
"""

import collections
import json
import pathlib
import warnings

import numpy as np
import onnx
import onnx.backend.test.loader
from onnx import numpy_helper
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
SHAPES = set("Concat Transpose Reshape Flatten Squeeze Unsqueeze Slice Split Identity Expand Shape Size Gather Tile "
             "ConstantOfShape Constant".split())
OPERATORS = SHAPES | set(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization InstanceNormalization "
    "GroupNormalization LayerNormalization Resize Upsample Add Sub Mul Div Pow Min Max Sum Mean Relu LeakyRelu PRelu "
    "Sigmoid Tanh Clip HardSwish HardSigmoid Elu Selu Celu ThresholdedRelu Softplus Softsign Mish Swish Gelu Erf Exp "
    "Log Sqrt Abs Neg Reciprocal Floor Ceil Round Sin Cos Pad DepthToSpace SpaceToDepth Gemm MatMul ReduceMean ReduceSum "
    "ReduceMax ReduceMin ReduceL2 ReduceSumSquare Softmax LogSoftmax ArgMax Dropout Cast Where Equal Greater Less".split())
KINDS = (np.float32, np.int64, np.int32, np.bool_)
LARGEST = 1 << 17
# The size after scaling is a fraction: ONNX reckons the corner with the fraction, ONNX Runtime and PyTorch without.
DISPUTED = ("resize_downsample_scales_cubic_align_corners", "resize_downsample_scales_linear_align_corners")


def arrays(values, op):
    """The tensors of a case, or None if it has a sequence, an absent value or an unsupported element type."""
    values = [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]
    values = [v if isinstance(v, (np.ndarray, np.generic)) else None for v in values]
    kinds = KINDS + ((np.float16, np.float64) if op == "Cast" else ())
    if any(v is None or v.dtype.type not in kinds for v in values):
        return None
    return [np.asarray(v) for v in values]


def floated(case):
    """Three Pad cases have integers; the numbers are the same as floats."""
    graph = case.model.graph
    if graph.node[0].op_type == "Pad" and case.data_sets and case.data_sets[0][0][0].dtype == np.int32:
        (x, *rest), (y,) = case.data_sets[0]
        case.data_sets[0] = [x.astype(np.float32), *rest], [y.astype(np.float32)]
        graph.input[0].type.tensor_type.elem_type = graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def refused(case):
    """Why a case is left out, or None."""
    nodes = case.model.graph.node
    op = nodes[0].op_type
    if len(nodes) != 1 or nodes[0].domain or case.model.functions:
        return "expanded"
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in nodes[0].attribute}
    if attributes.get("training_mode") or (op == "Dropout" and len(nodes[0].input) > 2 and nodes[0].input[2]):
        return "training"
    if len(case.data_sets) != 1:
        return "several data sets"
    inputs, outputs = (arrays(part, op) for part in case.data_sets[0])
    if inputs is None or outputs is None:
        return "element type"
    if not any(v.dtype == np.float32 for v in inputs + outputs) or not (inputs and inputs[0].dtype == np.float32 or op in (
            "Where", "Constant", "ConstantOfShape", "Cast")):
        return "no float data"
    if max(v.ndim for v in inputs + outputs) > (5 if op in SHAPES else 4):
        return "rank"
    if sum(v.nbytes for v in inputs + outputs) > LARGEST:
        return "size"
    return None


def strip(model):
    for message in [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output]:
        message.ClearField("doc_string")
    return model.SerializeToString(deterministic=True)


def main():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = onnx.backend.test.loader.load_model_tests(kind="node")
    tensors, index, left, counts = {}, {}, collections.Counter(), collections.Counter()
    for case in sorted(loaded, key=lambda c: c.name):
        op = case.model.graph.node[0].op_type
        if op not in OPERATORS:
            continue
        floated(case)
        if why := refused(case):
            left[why] += 1
            continue
        name = case.name.removeprefix("test_")
        inputs, outputs = (arrays(part, op) for part in case.data_sets[0])
        graph = case.model.graph
        assert len(inputs) == len(graph.input) and len(outputs) == len(graph.output), name
        opset = next(o.version for o in case.model.opset_import if o.domain == "")
        index[name] = {"op": op, "opset": opset, "inputs": [i.name for i in graph.input],
                       "outputs": [o.name for o in graph.output], "rtol": case.rtol, "atol": case.atol}
        if name in DISPUTED:
            index[name]["disputed"] = True
        tensors[f"{name}/model"] = np.frombuffer(strip(case.model), np.uint8)
        for kind, values in (("input", inputs), ("output", outputs)):
            for i, value in enumerate(values):
                tensors[f"{name}/{kind}{i}"] = np.ascontiguousarray(value).reshape(value.shape)
        counts[op] += 1
    path = HERE / "operators.safetensors"
    save_file(tensors, path, {"cases": json.dumps(index)})
    path.chmod(0o644)
    print(f"{path.name}: {len(index)} cases, {path.stat().st_size // 1000} KB; left out: {dict(left)}")
    print(", ".join(f"{o} {c}" for o, c in sorted(counts.items())))
    print("none of:", ", ".join(sorted(OPERATORS - set(counts))) or "-")


if __name__ == "__main__":
    main()
