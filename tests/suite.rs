//! The one test binary of the library: every module runs on every backend that the machine has.

mod cases; // one table of operator cases: what each operator is, where it is tested, how a random network draws it
mod cutouts; // opacity, colours at soft edges, what lies behind
mod device; // the GPU that tests run on
mod diffusion; // schedulers, noise and tokens of diffusion models
mod docs; // README and docs: links, lengths of lines
mod families; // checkpoints and state dicts of further code bases; files that are no model
mod fixtures; // pictures, recipes and model files that the tests of the command make too
mod formats; // pictures that go in and come out as bytes
mod holes; // networks that fill holes: what they get, what stays, masks of every kind
mod hostile; // damaged files of every format, and ONNX files that ask for the impossible
mod import; // model files: state dicts of other code bases, and headers that do not add up
mod inputs; // ONNX files of several inputs and outputs, and states
mod layers; // the source: what each module may name
mod light; // light of any range: curves, exposure, float pictures that come back
mod masks; // masks: their files, components, statistics, drawings and scores; likeness of pictures
mod meaning; // recipes that follow from the graph: layouts, sizes, outputs, labels, measurements
mod ncnn; // ncnn files
mod networks; // random networks of all operators, with rewrites on and off
mod onnx; // ONNX files: results, and what is refused
mod oracle; // graphs in plain f64 loops: what the cases are compared with
mod pickle; // what PyTorch saves, and other code bases' networks: results, and what is refused
mod picture_files; // picture files of every format, depth and layout: whole, in bands, page by page
mod pictures; // reading, decoding and writing of pictures and arrays
mod pipeline; // the pipeline: batches, threads, bands
mod plan; // plans without a GPU: memory, limits, budgets
mod ports; // networks of several inputs and outputs, and states that go from run to run
mod quality; // the shipped models against what models/README.md promises
mod rasters; // GeoTIFF and GIF: pages that are none, bands, places on the earth, pixels without data, frames
mod recipes; // recipes: their arithmetic, the files they come from, which wins, what is refused
mod scenes; // masks of many classes: what stands for nothing, references, labels of a real network
mod session; // sessions on a GPU: numbers, sharing, faults
mod shaders; // every WGSL permutation, parsed and validated without a GPU
mod snapshots; // what is drawn for people, against pictures that someone looked at
mod spellings; // ways of writing a network in ONNX
mod support; // backends, tolerances, vectors
mod tasks; // networks of other people for super-resolution and style transfer
mod tiles; // large pictures in parts
mod tune; // measured kernel choices, compiled pipelines, and the files that keep them
mod tza; // Open Image Denoise's weights: results, and what is refused
mod unet; // whole networks: configuration, optimisation, PyTorch
mod video; // streams of frames in and out: y4m and raw samples
mod writers; // picture files out: depths, opacity, bands, pages, leftovers
mod zoo; // families and operators of ONNX
