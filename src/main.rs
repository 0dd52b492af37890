//! The command `unet`. All of it is in the library's `cli` module.

fn main() -> std::process::ExitCode {
    unet_wgpu::cli::main()
}
