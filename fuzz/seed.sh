#!/usr/bin/env bash
# Copies the small test vectors of each format to where cargo-fuzz looks for its first inputs.
set -euo pipefail
cd "$(dirname "$0")"
vectors=../tests/vectors
mkdir -p corpus/{onnx,pickle,safetensors,tza}
cp $vectors/onnx_*.onnx corpus/onnx/
find $vectors/zoo -name '*.onnx' -size -24k -exec cp {} corpus/onnx/ \;
cp $vectors/state_dicts/small* $vectors/state_dicts/{views,milesial}.pth corpus/pickle/
cp $vectors/named.safetensors $vectors/state_dicts/smp/model.safetensors corpus/safetensors/
cp $vectors/state_dicts/*.tza corpus/tza/
