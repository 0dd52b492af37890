"""PyTorch: mode `cpu`, `eager` (CUDA, channels last) or `compile` (CUDA, channels last, max-autotune)."""

import sys
from pathlib import Path

from protocol import absent, engine

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "training"))


def main(args):
    import torch
    from unet import load

    info = {"version": f"torch {torch.__version__}", "adapter": "cpu"}
    torch.set_num_threads(args.threads)
    net, _ = load(args.models / "weights.safetensors")
    x = torch.from_numpy(args.input)
    if args.mode == "cpu":
        info["version"] += ", traced and frozen"
        with torch.no_grad():
            net = torch.jit.freeze(torch.jit.trace(net, x))

        def run():
            with torch.inference_mode():
                return net(x).numpy()

        return info, run
    if not torch.cuda.is_available():
        absent("no CUDA device")
    info |= {"adapter": torch.cuda.get_device_name(), "driver": f"CUDA {torch.version.cuda}"}
    # f32 means f32: TF32 has only 10 bits of mantissa.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    kind = torch.float16 if args.f16 else torch.float32
    layout = {"dtype": kind, "memory_format": torch.channels_last}
    net, x = net.cuda().to(**layout), x.pin_memory()
    if args.mode == "compile":
        net = torch.compile(net, mode="max-autotune")

    def run():
        with torch.inference_mode():
            return net(x.cuda().to(**layout)).float().cpu().numpy()

    return info, run


engine(main)
