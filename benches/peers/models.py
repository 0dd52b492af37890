"""Makes the model files of a prepared folder: the seed preset with seeded weights, for every engine.

    python models.py DIR                  writes weights.safetensors, seed.onnx, seed.f16.onnx and seed.ncnn.bin
    python models.py DIR --ncnn-graph     writes seed.ncnn.param; needs pnnx

Weights are drawn so that a signal of ordinary size reaches the output and batch norm does something. pnnx converts
the graph for ncnn; ncnn's weights are written here, in the order of its layers, so that no large file has to travel
with the prepared folder.
"""

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training"))
from unet import SEED, UNet, parameters  # noqa: E402

warnings.filterwarnings("ignore")


def seeded():
    net = UNet(SEED).eval()
    assert parameters(net) == 14_789_059
    random = torch.Generator().manual_seed(2026)
    for name, tensor in net.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if name.endswith("running_var") or (name.endswith("weight") and tensor.dim() == 1):
            low, high = 0.5, 1.5
        elif name.endswith("weight"):
            fan_in = tensor.shape[0] if "up" in name else tensor[0].numel()
            low, high = -((6 / fan_in) ** 0.5), (6 / fan_in) ** 0.5
        else:
            low, high = -0.1, 0.1
        tensor.uniform_(low, high, generator=random)
    return net


class Half(torch.nn.Module):
    """f16 inside, f32 outside."""

    def __init__(self, net):
        super().__init__()
        self.net = net.half()

    def forward(self, x):
        return self.net(x.half()).float()


def onnx(net, path):
    axes = {2: "h", 3: "w"}
    torch.onnx.export(
        net, (torch.zeros(1, 3, 64, 64),), str(path), dynamo=False, opset_version=17,
        input_names=["x"], output_names=["y"], dynamic_axes={"x": axes, "y": axes},
    )


def ncnn_param(net, path):
    """pnnx's graph; it keeps no size."""
    with tempfile.TemporaryDirectory() as folder:
        torch.jit.trace(net, torch.zeros(1, 3, 64, 64)).save(f"{folder}/seed.pt")
        pnnx = Path(sys.executable).parent / "pnnx"
        command = [pnnx, "seed.pt", "inputshape=[1,3,64,64]", "fp16=0"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        path.write_bytes(Path(folder, "seed.ncnn.param").read_bytes())


def ncnn_weights(net, path):
    """For each layer in running order a tag (0: f32), the weights and the bias, with batch norm folded in."""
    modules = dict(net.named_modules())
    with path.open("wb") as file:

        def write(weight, bias):
            file.write(bytes(4))
            for tensor in (weight, bias):
                file.write(tensor.detach().contiguous().numpy().tobytes())

        for name, module in modules.items():
            if not isinstance(module, torch.nn.Conv2d):
                continue
            stage, _, part = name.partition(".")
            if part == "conv1" and f"{stage}.up" in modules:
                up = modules[f"{stage}.up"]
                write(up.weight.transpose(0, 1), up.bias)
            weight, bias = module.weight, module.bias
            if part:
                norm = modules[f"{stage}.{part.replace('conv', 'norm')}"]
                statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                weight, bias = torch.nn.utils.fuse_conv_bn_weights(weight, bias, *statistics)
            write(weight, bias)


def main(folder, graph):
    folder.mkdir(parents=True, exist_ok=True)
    net = seeded()
    if graph:
        ncnn_param(net, folder / "seed.ncnn.param")
        return
    ncnn_weights(net, folder / "seed.ncnn.bin")
    onnx(net, folder / "seed.onnx")
    net.export(folder / "weights.safetensors", {})
    onnx(Half(net), folder / "seed.f16.onnx")


if __name__ == "__main__":
    with torch.no_grad():
        main(Path(sys.argv[1]), "--ncnn-graph" in sys.argv)
