"""Makes meaning/*.onnx and meaning.safetensors: small networks whose ends, types, sizes and layouts tell what their
numbers mean, with ONNX Runtime's results.

Python 3.11, numpy 2.4, onnx 1.23, onnxruntime 1.32, safetensors 0.8. Run in this folder: python generate_meaning.py
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

FOLDER = Path("meaning")
TENSORS = {}
FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64


class Net:
    """A graph in progress."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants, self.count = [], [], 0

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"v{self.count + i}" for i in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def const(self, values, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def conv(self, x, into, out, size=3, stride=1, pad=None):
        weight = self.random.normal(0, 1 / (size * into**0.5), (out, into, size, size))
        bias = self.random.normal(0, 0.3, out)
        pad = size // 2 if pad is None else pad
        parts = self.const(weight), self.const(bias)
        return self.op("Conv", x, *parts, kernel_shape=[size] * 2, pads=[pad] * 4, strides=[stride] * 2)

    def body(self, x, into, out):
        return self.conv(self.op("Relu", self.conv(x, into, 6)), 6, out)

    def half(self, x):
        return self.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def save(self, name, inputs, outputs, metadata=None, run=None):
        """`run` is the input's array in the file's own layout, or the arrays of all inputs by name."""
        info = lambda port: helper.make_tensor_value_info(*port)
        for made, (wanted, _, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [made], [wanted]))
        graph = helper.make_graph(
            self.nodes, name, [info(port) for port in inputs], [info(port) for port in outputs.values()], self.constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model)
        onnx.save(model, FOLDER / f"{name}.onnx")
        if run is not None:
            session = onnxruntime.InferenceSession(model.SerializeToString())
            names = [port[0] for port in outputs.values()]
            arrays = run if isinstance(run, dict) else {inputs[0][0]: run}
            given = arrays if isinstance(run, dict) else {"input": run}
            for key, value in [*zip(names, session.run(names, arrays)), *given.items()]:
                TENSORS[f"{name}/{key}"] = np.ascontiguousarray(value).astype(np.float32)


def picture(net, *shape):
    return net.random.random(shape, np.float32)


NCHW = [1, 3, "h", "w"]
NHWC = [1, "h", "w", 3]


def main():
    FOLDER.mkdir(exist_ok=True)

    net = Net(1)  # Keras: Rescaling, channels last all the way, ArgMax over the last axis, probabilities beside it
    x = net.op("Add", net.op("Mul", "image", net.const(1 / 127.5)), net.const(-1.0))
    y = net.body(net.op("Transpose", x, perm=[0, 3, 1, 2]), 3, 5)
    y = net.op("Softmax", net.op("Transpose", y, perm=[0, 2, 3, 1]), axis=-1)
    net.save("argmax_last", [("image", FLOAT, NHWC)], {
        net.op("ArgMax", y, axis=-1, keepdims=0): ("classes", INT64, [1, "h", "w"]),
        y: ("scores", FLOAT, [1, "h", "w", 5]),
    }, run=picture(net, 1, 16, 24, 3) * 255)

    net = Net(2)  # class numbers at half of the size
    y = net.op("ArgMax", net.conv(net.half(net.conv("x", 3, 6)), 6, 4), axis=1, keepdims=1)
    net.save("argmax_half", [("x", FLOAT, NCHW)], {y: ("y", INT64, [1, 1, "a", "b"])}, run=picture(net, 1, 3, 16, 24))

    net = Net(3)  # probabilities of three classes, channels last
    y = net.op("Transpose", net.op("Softmax", net.body("x", 3, 3), axis=1), perm=[0, 2, 3, 1])
    net.save("softmax_last", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, "h", "w", 3])}, run=picture(net, 1, 3, 16, 24))

    net = Net(4)  # two labels that may overlap
    y = net.op("Sigmoid", net.body("x", 3, 2))
    notes = {"class_names": '{"0": "hand", "1": "ring"}'}
    net.save("labels", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 2, "h", "w"])}, notes, picture(net, 1, 3, 16, 24))

    net = Net(5)  # grey logits of a network that looks coarsely
    y = net.conv(net.half(net.conv("x", 1, 6)), 6, 4)
    y = net.op("Resize", y, "", net.const([1, 1, 2, 2]), mode="nearest")
    y = net.conv(y, 4, 1)
    net.save("grey_logits", [("x", FLOAT, [1, 1, "h", "w"])], {y: ("y", FLOAT, [1, 1, "h", "w"])},
             run=picture(net, 1, 1, 16, 24))

    net = Net(6)  # depth: one channel that is not negative
    y = net.op("Relu", net.op("Add", net.body("x", 3, 1), net.const(1.0)))
    net.save("depth", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 1, "h", "w"])}, run=picture(net, 1, 3, 16, 24))

    net = Net(7)  # grey restoration: the picture less its noise
    y = net.op("Sub", "x", net.body("x", 1, 1))
    net.save("grey_residual", [("x", FLOAT, [1, 1, "h", "w"])], {y: ("y", FLOAT, [1, 1, "h", "w"])},
             run=picture(net, 1, 1, 16, 24))

    net = Net(8)  # bytes, channels last
    x = net.op("Mul", net.op("Cast", "x", to=FLOAT), net.const(1 / 255))
    y = net.op("Sigmoid", net.body(net.op("Transpose", x, perm=[0, 3, 1, 2]), 3, 1))
    net.save("bytes_last", [("x", UINT8, NHWC)], {y: ("y", FLOAT, [1, 1, "h", "w"])},
             run=(picture(net, 1, 16, 24, 3) * 255).astype(np.uint8))

    net = Net(9)  # exported for 32x32 pixels; runs at any size, but sees less there
    wide = net.op("AveragePool", "x", kernel_shape=[9, 9], pads=[4] * 4, strides=[1, 1])
    y = net.op("Sigmoid", net.op("Mul", net.op("Sub", net.op("ReduceMean", wide, axes=[1], keepdims=1),
                                               net.const(0.5)), net.const(40.0)))
    net.save("portrait", [("x", FLOAT, [1, 3, 32, 32])], {y: ("matte", FLOAT, [1, 1, 32, 32])})

    net = Net(10)  # the same with a fixed size in the graph itself, and a picture as its result
    y = net.op("Reshape", net.body("x", 3, 3), net.const([1, 3, 32, 32], np.int64))
    y = net.op("Add", y, "x")
    net.save("restore_fixed", [("x", FLOAT, [1, 3, 32, 32])], {y: ("y", FLOAT, [1, 3, 32, 32])})

    net = Net(90)  # a constant for each pixel of 32x32, so that no other size runs
    y = net.op("Add", net.body("x", 3, 3), net.const(np.linspace(0, 0.1, 32 * 32).reshape(1, 1, 32, 32)))
    net.save("restore_places", [("x", FLOAT, [1, 3, 32, 32])], {y: ("y", FLOAT, [1, 3, 32, 32])})

    net = Net(11)  # convolutions without padding
    y = net.op("Sigmoid", net.conv(net.conv("x", 3, 6, pad=0), 6, 1, pad=0))
    net.save("valid", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 1, "a", "b"])}, run=picture(net, 1, 3, 16, 24))

    net = Net(12)  # twice the size, without padding
    y = net.conv(net.op("Resize", net.conv("x", 3, 3, pad=0), "", net.const([1, 1, 2, 2]), mode="nearest"), 3, 3, pad=0)
    y = net.conv(y, 3, 3, pad=0)
    net.save("valid_double", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 3, "a", "b"])}, run=picture(net, 1, 3, 16, 24))

    net = Net(13)  # a slice of constant ends
    y = net.op("Slice", net.op("Sigmoid", net.body("x", 3, 1)), net.const([0, 0], np.int64),
               net.const([24, 20], np.int64), net.const([2, 3], np.int64))
    net.save("cut", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 1, "a", "b"])})

    net = Net(14)  # sides of 16k + 8 only
    size = net.op("Slice", net.op("Shape", "x"), net.const([2], np.int64), net.const([4], np.int64))
    inner = net.op("Div", net.op("Sub", size, net.const([8], np.int64)), net.const([16], np.int64))
    x = net.op("Slice", "x", net.const([8, 8], np.int64), net.const([10**6] * 2, np.int64), net.const([2, 3], np.int64))
    rows, columns = net.op("Split", inner, outputs=2, axis=0)
    one = lambda *v: net.const(v, np.int64)
    blocks = net.op("Concat", one(1, 3), rows, one(16), net.op("Mul", columns, one(16)), axis=0)
    x = net.op("Reshape", x, blocks)
    whole = net.op("Concat", one(1, 3), net.op("Mul", rows, one(16)), net.op("Mul", columns, one(16)), axis=0)
    x = net.op("Reshape", x, whole)
    x = net.op("Pad", x, one(0, 0, 8, 8, 0, 0, 0, 0), mode="constant")
    y = net.op("Sigmoid", net.body(x, 3, 1))
    net.save("sixteen_and_eight", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 1, "h", "w"])},
             run=picture(net, 1, 3, 24, 40))

    for name, axes, dims in (("rows_columns", [0, 1], ["h", "w"]), ("channels_rows", [0], [2, "h", "w"])):
        net = Net(15)  # results without the axes of one
        y = net.op("Squeeze", net.op("Sigmoid", net.body("x", 3, 3 - len(axes))), net.const(axes, np.int64))
        net.save(name, [("x", FLOAT, NCHW)], {y: ("y", FLOAT, dims)}, run=picture(net, 1, 3, 16, 24))
    net = Net(16)
    y = net.op("Transpose", net.op("Squeeze", net.op("Sigmoid", net.body("x", 3, 2)), net.const([0], np.int64)),
               perm=[1, 2, 0])
    net.save("rows_columns_channels", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, ["h", "w", 2])},
             run=picture(net, 1, 3, 16, 24))
    net = Net(17)  # one picture, channels last, without the axis of pictures
    x = net.op("Unsqueeze", net.op("Transpose", "x", perm=[2, 0, 1]), net.const([0], np.int64))
    y = net.op("Sigmoid", net.body(x, 3, 1))
    net.save("one_last", [("x", FLOAT, ["h", "w", 3])], {y: ("y", FLOAT, [1, 1, "h", "w"])},
             run=picture(net, 16, 24, 3))

    net = Net(18)  # deep supervision at one size: the last is computed from all others
    a = net.conv("x", 3, 6)
    b = net.conv(net.op("Relu", a), 6, 6)
    heads = [net.op("Sigmoid", net.conv(value, 6, 1)) for value in (a, b)]
    last = net.op("Sigmoid", net.conv(net.op("Concat", *heads, axis=1), 2, 1))
    net.save("supervised", [("x", FLOAT, NCHW)], {
        value: (name, FLOAT, [1, 1, "h", "w"]) for value, name in zip((*heads, last), ("p", "q", "r"))
    }, run=picture(net, 1, 3, 16, 24))
    net = Net(19)  # the same, but the name of the first tells
    heads = [net.op("Sigmoid", value) for value in (net.conv("x", 3, 1), net.body("x", 3, 1))]
    net.save("named", [("x", FLOAT, NCHW)], {
        value: (name, FLOAT, [1, 1, "h", "w"]) for value, name in zip(heads, ("mask", "edge"))
    }, run=picture(net, 1, 3, 16, 24))

    net = Net(20)  # a regressor of QGIS deepness
    y = net.body("x", 3, 1)
    notes = {"model_type": '"Regressor"', "reg_output_scaling": "2.5", "tiles_size": "64", "tiles_overlap": "25"}
    net.save("regressor", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 1, "h", "w"])}, notes)
    net = Net(21)
    net.save("detector", [("x", FLOAT, NCHW)], {net.body("x", 3, 5): ("y", FLOAT, [1, 5, "h", "w"])},
             {"model_type": '"Detector"'})

    net = Net(22)  # a picture that is far too bright
    y = net.op("Add", net.op("Mul", "x", net.const(3.0)), net.op("Mul", net.body("x", 3, 3), net.const(0.01)))
    net.save("bright", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 3, "h", "w"])})

    net = Net(23)  # logits of the mean brightness: class 1 above 0.6
    y = net.op("Conv", "x", net.const(np.full((1, 3, 1, 1), 4.0)), net.const([-7.2]), kernel_shape=[1, 1])
    net.save("logits", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 1, "h", "w"])})
    net = Net(24)  # red and blue change places, channels last
    weight = np.zeros((3, 3, 1, 1))
    weight[0, 2], weight[1, 1], weight[2, 0] = 1, 1, 1
    y = net.op("Transpose", net.op("Conv", "x", net.const(weight), kernel_shape=[1, 1]), perm=[0, 2, 3, 1])
    net.save("swap_last", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, "h", "w", 3])})

    # One size, whatever the picture's. At 256x256 it is in proportion by chance.
    net = Net(40)
    y = net.op("Resize", net.body("x", 3, 1), "", "", net.const([1, 1, 9, 10], np.int64), mode="linear")
    net.save("fixed_result", [("x", FLOAT, NCHW)], {y: ("y", FLOAT, [1, 1, 9, 10])})

    # A picture and a mask, which comes first. The network itself empties the hole and keeps what is known.
    net = Net(50)
    known = net.op("Sub", net.const(1.0), "mask")
    emptied = net.op("Mul", "image", known)
    filled = net.op("Sigmoid", net.body(net.op("Concat", emptied, "mask", axis=1), 4, 3))
    y = net.op("Add", net.op("Mul", filled, "mask"), net.op("Mul", "image", known))
    hole = (net.random.random((1, 1, 16, 24)) < 0.3).astype(np.float32)
    net.save("fill_two", [("mask", FLOAT, [1, 1, "h", "w"]), ("image", FLOAT, NCHW)], {y: ("y", FLOAT, NCHW)},
             run={"image": picture(net, 1, 3, 16, 24), "mask": hole})
    net = Net(51)  # the same with channels last and a mask of bytes
    x, mask = net.op("Transpose", "image", perm=[0, 3, 1, 2]), net.op("Transpose", "mask", perm=[0, 3, 1, 2])
    mask = net.op("Div", net.op("Cast", mask, to=FLOAT), net.const(255.0))
    y = net.op("Sigmoid", net.body(net.op("Concat", mask, x, axis=1), 4, 3))
    hole = (255 * (net.random.random((1, 16, 24, 1)) < 0.3)).astype(np.uint8)
    net.save("fill_last", [("image", FLOAT, [1, "h", "w", 3]), ("mask", UINT8, [1, "h", "w", 1])],
             {y: ("y", FLOAT, NCHW)}, run={"image": picture(net, 1, 16, 24, 3), "mask": hole})
    net = Net(52)  # the mask is a fourth channel
    net.save("fill_one", [("x", FLOAT, [1, 4, "h", "w"])], {net.body("x", 4, 3): ("y", FLOAT, NCHW)},
             run=picture(net, 1, 4, 16, 24))

    # Pictures that become 1.5, 1.6 or 2.5 times as large, and 1.25 times as small.
    def enlarging(seed, name, enlarge, size=("h", "w"), run=(1, 3, 20, 30)):
        net = Net(seed)
        y = net.body(enlarge(net, net.op("Relu", net.conv("x", 3, 6))), 6, 3)
        net.save(name, [("x", FLOAT, [1, 3, *size])], {y: ("y", FLOAT, [1, 3, "a", "b"])}, run=picture(net, *run))

    def scaled(factor, **attributes):
        return lambda net, x: net.op("Resize", x, "", net.const([1, 1, factor, factor]), **attributes)

    def sized(net, x):  # As exporters write a size that is computed from the picture's.
        shape = net.op("Cast", net.op("Shape", "x", start=2), to=FLOAT)
        sides = net.op("Cast", net.op("Floor", net.op("Mul", shape, net.const(1.5))), to=INT64)
        sizes = net.op("Concat", net.op("Shape", x, end=2), sides, axis=0)
        return net.op("Resize", x, "", "", sizes, mode="linear")

    def up_and_down(net, x):
        weight = net.const(net.random.normal(0, 0.3, (6, 6, 5, 5)))
        x = net.op("ConvTranspose", x, weight, kernel_shape=[5, 5], strides=[5, 5])
        return net.conv(x, 6, 6, 2, 2, 0)

    def shuffled(net, x):  # Learned for each pixel of 3x3, then halved by the mean.
        x = net.op("DepthToSpace", net.conv(x, 6, 54), blocksize=3, mode="CRD")
        return net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])

    enlarging(41, "half_more", scaled(1.5, mode="linear"))
    enlarging(42, "half_more_odd", scaled(1.5, mode="cubic"), run=(1, 3, 21, 33))
    enlarging(43, "half_more_by_size", sized, run=(1, 3, 22, 32))
    enlarging(44, "half_more_fixed", scaled(1.5, mode="linear"), (32, 32), (1, 3, 32, 32))
    enlarging(45, "half_more_shuffled", shuffled)
    enlarging(46, "eight_fifths", scaled(1.6, mode="nearest", coordinate_transformation_mode="asymmetric",
                                         nearest_mode="floor"))
    enlarging(47, "eight_fifths_fixed", scaled(1.6, mode="linear"), (30, 30), (1, 3, 30, 30))
    enlarging(48, "up_and_down", up_and_down)
    enlarging(49, "four_fifths", scaled(0.8, mode="linear"))
    enlarging(50, "aligned", scaled(1.5, mode="linear", coordinate_transformation_mode="align_corners"))

    save_file(TENSORS, "meaning.safetensors")


main()
