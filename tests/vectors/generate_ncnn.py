"""Makes ncnn/: small random networks as ncnn files, and what ncnn computes.

Python 3.11, ncnn 1.0.20261020, numpy 2.4, safetensors 0.8. Run in this folder: python generate_ncnn.py
"""

import pathlib
import struct

import ncnn
import numpy as np
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parent / "ncnn"
RESULTS = {}


class Net:
    def __init__(self, name, half=False):
        self.name, self.half, self.lines, self.bin, self.count = name, half, [], b"", 0
        self.random = np.random.default_rng(len(RESULTS) + 11)

    def draw(self, count, low=-0.5, high=0.5):
        return self.random.uniform(low, high, count).astype(np.float32)

    def weights(self, count, scale=1.0):
        values = self.draw(count) * scale
        if self.half:
            raw = values.astype(np.float16).tobytes()
            self.bin += struct.pack("<I", 0x01306B47) + raw + b"\0" * (-len(raw) % 4)
        else:
            self.bin += struct.pack("<I", 0) + values.tobytes()

    def plain(self, count, low=-0.5, high=0.5):
        self.bin += self.draw(count, low, high).tobytes()

    def add(self, op, inputs, params="", outs=1):
        self.count += 1
        names = [f"b{self.count}"] if outs == 1 else [f"b{self.count}_{i}" for i in range(outs)]
        self.lines.append(f"{op:24} {op.lower()}{self.count} {len(inputs)} {outs} {' '.join(inputs + names)} {params}")
        return names[0] if outs == 1 else names

    def input(self, channels, size=None):
        self.channels = channels
        return self.add("Input", [], f"0={size[1]} 1={size[0]} 2={channels}" if size else "")

    def conv(self, x, ins, outs, kernel=3, params="", group=1, op="Convolution"):
        size = ins * outs * kernel * kernel // group
        kind = op + ("DepthWise" if group > 1 else "")
        more = f" 7={group}" if group > 1 else ""
        y = self.add(kind, [x], f"0={outs} 1={kernel} 5=1 6={size}{more} {params}")
        self.weights(size, 2.4 / (ins * kernel * kernel / group) ** 0.5)
        self.plain(outs)
        return y

    def finish(self, shape):
        blobs = {name for line in self.lines for name in line.split()[4:] if "=" not in name}
        text = f"7767517\n{len(self.lines)} {len(blobs)}\n" + "\n".join(self.lines) + "\n"
        (OUT / f"{self.name}.param").write_text(text)
        (OUT / f"{self.name}.bin").write_bytes(self.bin)
        net = ncnn.Net()
        net.opt.use_vulkan_compute = False
        for option in ["use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage",
                       "use_winograd_convolution", "use_sgemm_convolution", "use_packing_layout"]:
            setattr(net.opt, option, False)
        assert net.load_param(str(OUT / f"{self.name}.param")) == 0 and net.load_model(str(OUT / f"{self.name}.bin")) == 0
        x = np.random.default_rng(3).uniform(0, 1, (self.channels, *shape)).astype(np.float32)
        extractor = net.create_extractor()
        extractor.input("b1", ncnn.Mat(x))
        code, y = extractor.extract(f"b{self.count}")
        assert code == 0
        y = np.array(y)
        y = y.reshape(y.shape if y.ndim == 3 else (-1, 1, 1))
        assert np.isfinite(y).all() and y.std() > 0, self.name
        RESULTS[f"{self.name}/input"], RESULTS[f"{self.name}/output"] = x[None], y[None].copy()
        print(self.name, y.shape, y.std())


def cunet(name, half):
    """As waifu2x's and Real-CUGAN's: valid convolutions, skips that are cut, gates of channels."""
    net = Net(name, half)
    x = net.input(3)
    y = net.conv(x, 3, 8, params="9=2 -23310=1,1.000000e-01")
    y = net.conv(y, 8, 8, params="9=2 -23310=1,1.000000e-01")
    y, skip = net.add("Split", [y], outs=2)
    z = net.conv(y, 8, 8, 2, "3=2 9=2 -23310=1,1.000000e-01")
    z, pooled = net.add("Split", [z], outs=2)
    gate = net.add("Pooling", [pooled], "0=1 4=1")
    gate = net.conv(gate, 8, 4, 1, "9=1")
    gate = net.conv(gate, 4, 8, 1, "9=4")
    z = net.add("BinaryOp", [z, gate], "0=2")
    z = net.conv(z, 8, 8, 2, "3=2", op="Deconvolution")
    z = net.add("ReLU", [z], "0=1.000000e-01")
    skip = net.add("Crop", [skip], "-23309=2,2,2 -23310=2,-2,-2 -23311=2,1,2")
    z2 = net.add("Crop", [z], "-23309=2,2,2 -23310=2,-2,-2 -23311=2,1,2")
    y = net.add("Eltwise", [skip, z2], "0=1 -23301=2,1.000000e+00,5.000000e-01")
    net.conv(y, 8, 3)
    net.finish((20, 24))


def esrgan():
    net = Net("esrgan", True)
    x, base = net.add("Split", [net.input(3)], outs=2)
    y = net.conv(x, 3, 8, params="4=1")
    for _ in range(2):
        y = net.add("PReLU", [y], "0=8")
        net.plain(8, 0, 0.4)
        y = net.conv(y, 8, 8, params="4=1")
    y = net.conv(y, 8, 12, params="4=1")
    y = net.add("PixelShuffle", [y], "0=2")
    base = net.add("Interp", [base], "0=1 1=2.000000e+00 2=2.000000e+00")
    net.add("BinaryOp", [y, base], "0=0")
    net.finish((9, 12))


def single(name, build, shape=(8, 12), channels=4, is_fixed=False):
    net = Net(name)
    x = net.conv(net.input(channels, shape if is_fixed else None), channels, 4, params="4=1")
    build(net, x)
    net.finish(shape)


def many():
    def chain(net, x, *steps):
        for op, params in steps:
            x = net.add(op, [x], params)
        return x

    single("functions", lambda n, x: chain(n, x, ("TanH", ""), ("ELU", "0=0.5"), ("Power", "0=2 1=0.5 2=1"),
        ("Mish", ""), ("Swish", ""), ("GELU", ""), ("HardSwish", "0=0.16666667 1=0.5"), ("HardSigmoid", "0=0.3 1=0.4"),
        ("BinaryOp", "0=7 1=1 2=1.5"), ("UnaryOp", "0=4"), ("UnaryOp", "0=5"), ("Sigmoid", ""), ("Clip", "0=0.2 1=0.7"),
        ("AbsVal", ""), ("Dropout", "0=0.7"), ("BinaryOp", "0=2 1=1 2=100"), ("Noop", "")))
    single("shapes", lambda n, x: chain(n, x, ("Padding", "0=1 1=2 2=3 3=1 4=2"), ("Padding", "0=1 1=0 2=0 3=1 4=1"),
        ("Padding", "0=1 1=1 2=1 3=1 4=0 5=0.5"), ("Interp", "0=2 1=2.0 2=1.5 6=0"), ("Interp", "0=2 3=16 4=20 6=1"),
        ("Interp", "0=3 3=24 4=20"), ("Reorg", "0=2"), ("PixelShuffle", "0=2 1=1"), ("Permute", "0=1"),
        ("Crop", "0=1 1=2 2=0 3=10 4=9 5=4")), is_fixed=True)

    def branches(n, x):
        a, b, c = n.add("Split", [x], outs=3)
        a0, a1 = n.add("Slice", [a], "-23300=2,1,-233 1=0", outs=2)
        b0, b1 = n.add("Slice", [b], "-23300=2,-233,-233 1=1", outs=2)
        b = n.add("Concat", [b1, b0], "0=1")
        d = n.add("Concat", [a1, b, a0], "0=0")
        d = n.add("Reduction", [d], "0=3 1=0 -23303=1,0 4=1 5=1")
        c0, c1 = n.add("Split", [c], outs=2)
        big = n.add("Interp", [c0], "0=2 1=2.0 2=2.0")
        small = n.add("Crop", [big, c1], "0=3 1=2 2=0")
        y = n.add("Eltwise", [small, n.add("Softmax", [n.conv(d, 1, 4, 1)], "0=0 1=1")], "0=0")
        n.add("BinaryOp", [y, y], "0=0")
    single("branches", branches)

    def norms(n, x):
        x = n.add("BatchNorm", [x], "0=4 1=1e-3")
        n.plain(4, 0.5, 1.5), n.plain(4), n.plain(4, 0.5, 1.5), n.plain(4)
        x = n.add("Scale", [x], "0=4 1=1")
        n.plain(4, 0.5, 1.5), n.plain(4)
        x = n.add("InstanceNorm", [x], "0=4 1=1e-5")
        n.plain(4, 0.5, 1.5), n.plain(4)
        x = n.add("GroupNorm", [x], "0=2 1=4 2=1e-5")
        n.plain(4, 0.5, 1.5), n.plain(4)
        x = n.add("Pooling", [x], "0=0 1=3 2=2 3=1 5=1")
        n.add("Pooling", [x], "0=1 1=3 2=2 5=0")
    single("norms", norms, (12, 16))

    def convs(n, x):
        x = n.conv(x, 4, 4, params="4=1 3=2 9=3 -23310=2,-1.0,1.0", group=4)
        x = n.conv(x, 4, 6, params="4=-233 3=2 9=5", group=2)
        x = n.conv(x, 6, 6, params="4=2 2=2")
        x = n.conv(x, 6, 4, 4, "3=2 4=1 18=1 9=1", op="Deconvolution")
        x = n.conv(x, 4, 4, 2, "3=2", group=4, op="Deconvolution")
        memory = n.add("MemoryData", [], "0=4")
        n.plain(4)
        x = n.add("BinaryOp", [x, memory], "0=0")
        x = n.add("Reshape", [x], "0=-1")
        size = 4 * 10 * 14
        x = n.add("InnerProduct", [x], f"0=5 1=1 2={5 * size} 9=4")
        n.weights(5 * size, 0.1)
        n.plain(5)
    single("convs", convs, (8, 12), is_fixed=True)

    def further(n, x):
        x = n.add("Permute", [x], "0=3")
        x = n.add("LayerNorm", [x], "0=4 1=1e-5 2=1")
        n.plain(4, 0.5, 1.5), n.plain(4)
        x = n.add("Permute", [x], "0=4")
        x = n.add("LayerNorm", [x], "0=12 1=1e-6 2=0")
        x = n.conv(x, 4, 6, 1)
        x = n.add("ShuffleChannel", [x], "0=2")
        x = n.conv(x, 6, 6, 1, group=2)
        x = n.add("ShuffleChannel", [x], "0=3 1=1")
        memory = n.add("MemoryData", [], "0=8 1=6")
        n.plain(48)
        x = n.add("BinaryOp", [x, memory], "0=2")
        a, b, c, d = n.add("Split", [x], outs=4)
        a = n.add("Pooling", [a], "0=1 7=1 8=5 18=3")
        b = n.add("Pooling", [b], "0=1 7=1 8=5 18=-233")
        b = n.add("Interp", [b], "0=2 3=3 4=5")
        c = n.add("Pooling", [c], "0=0 7=1 8=1")
        d = n.add("Pooling", [d], "0=1 7=1 8=1")
        n.add("BinaryOp", [n.add("BinaryOp", [n.add("BinaryOp", [a, b], "0=0"), c], "0=0"), d], "0=0")
    single("further", further, (8, 12), is_fixed=True)


def main():
    OUT.mkdir(exist_ok=True)
    cunet("cunet", False)
    cunet("cunet_half", True)
    esrgan()
    many()
    save_file(RESULTS, OUT / "results.safetensors")


if __name__ == "__main__":
    main()
