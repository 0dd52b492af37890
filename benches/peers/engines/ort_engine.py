"""ONNX Runtime: mode `cpu`, `webgpu` (its WebGPU wheel) or `plugin` (the WebGPU provider as a plug-in).

Dawn, inside the WebGPU provider, takes the adapter of the Vulkan driver that driver.py leaves it. A provider that
finds none silently runs on the CPU, so the fallback is switched off and the providers are looked at.
"""

from protocol import absent, engine


def main(args):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = args.threads
    for side in "hw":
        options.add_free_dimension_override_by_name(side, args.size)
    providers, info = ["CPUExecutionProvider"], {"version": f"onnxruntime {ort.__version__}", "adapter": args.adapter}
    if args.mode == "plugin":
        import onnxruntime_ep_webgpu as webgpu

        ort.register_execution_provider_library("webgpu", webgpu.get_library_path())
        devices = [d for d in ort.get_ep_devices() if d.ep_name == webgpu.get_ep_name()]
        if not devices:
            absent("the plug-in offers no device: it looks for hardware GPUs only")
        options.add_provider_for_devices(devices[:1], {})
        providers = None
        info["version"] += f", plug-in {devices[0].ep_metadata.get('version', '')}"
    elif args.mode == "webgpu":
        providers = ["WebGpuExecutionProvider"]
    if args.mode != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    file = args.models / ("seed.f16.onnx" if args.f16 else "seed.onnx")
    try:
        session = ort.InferenceSession(str(file), options, providers=providers, enable_fallback=0)
    except RuntimeError as e:
        absent("Dawn accepts no adapter of this Vulkan driver" if "RequestAdapter" in str(e) else e)
    if args.mode != "cpu" and "WebGpuExecutionProvider" not in session.get_providers():
        absent("ONNX Runtime would run on the CPU instead")
    return info, lambda: session.run(None, {"x": args.input})[0]


engine(main)
