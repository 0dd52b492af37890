"""TensorRT from the same ONNX file, strongly typed: f32 without TF32, or the f16 file."""

from protocol import absent, engine


def main(args):
    import tensorrt as trt
    import torch

    if not torch.cuda.is_available():
        absent("no CUDA device")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    if not parser.parse((args.models / ("seed.f16.onnx" if args.f16 else "seed.onnx")).read_bytes()):
        absent(f"the ONNX file is not read: {parser.get_error(0)}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    profile.set_shape("x", *[args.input.shape] * 3)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    context.set_input_shape("x", args.input.shape)
    host = torch.from_numpy(args.input)
    x, y = host.cuda(), torch.empty_like(host).cuda()
    context.set_tensor_address("x", x.data_ptr())
    context.set_tensor_address("y", y.data_ptr())
    stream = torch.cuda.current_stream()

    def run():
        x.copy_(host)
        context.execute_async_v3(stream.cuda_stream)
        return y.cpu().numpy()

    return {"version": f"TensorRT {trt.__version__}", "adapter": torch.cuda.get_device_name()}, run


engine(main)
