//! The tests of the built command.

mod bench; // `unet bench`: figures, charts, bad requests
mod demo; // `unet demo`: every task of the README
mod desk; // a folder with models and pictures, and the binary run there
#[path = "../../tests/device.rs"]
mod device; // the GPU that tests run on
#[path = "../../tests/fixtures.rs"]
mod fixtures; // pictures and model files that the library's tests make too
mod folders; // `unet run` on folders: resumed and shared work, stacks, streams, devices side by side
mod help; // completions and manual pages
mod holes; // `unet run` with networks that fill holes: masks, transparency, folders, pipes
mod inputs; // networks of several inputs and outputs, and with states
mod kept; // `unet tune` and `unet start`: what is kept between runs
mod larger; // results that are larger than their pictures, or mixed with them
mod pictures; // pictures as people have them: other formats, animations, several files, bands, missing values
mod scenes; // masks of many classes, label maps, legends and cut-outs
mod subcommands; // every subcommand: results, options, and one clear line for every bad input
