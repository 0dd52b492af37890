"""ncnn, on the CPU (adapter `cpu`) or through Vulkan."""

from protocol import absent, engine


def main(args):
    import ncnn
    import numpy as np

    info = {"version": f"ncnn {ncnn.__version__}", "adapter": args.adapter}
    net = ncnn.Net()
    net.opt.num_threads = args.threads
    for option in ["use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"]:
        setattr(net.opt, option, args.f16)
    if args.adapter != "cpu":
        names = [ncnn.get_gpu_info(i).device_name() for i in range(ncnn.get_gpu_count())]
        found = [i for i, name in enumerate(names) if args.adapter in name]
        if not found:
            absent(f"ncnn sees no adapter {args.adapter}, only {names}")
        info["adapter"] = names[found[0]]
        net.opt.use_vulkan_compute = True
        net.set_vulkan_device(found[0])
    if net.load_param(str(args.models / "seed.ncnn.param")) or net.load_model(str(args.models / "seed.ncnn.bin")):
        absent("ncnn cannot load the model")

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(args.input[0]))
        return np.array(extractor.extract("out0")[1])

    return info, run


engine(main)
