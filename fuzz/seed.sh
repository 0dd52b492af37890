#!/usr/bin/env bash
# Copies the small test vectors of each format to the folders where cargo-fuzz looks for its first inputs.
set -euo pipefail
cd "$(dirname "$0")"
vectors=../tests/vectors
mkdir -p corpus/{model,ncnn,onnx,pickle,picture,safetensors,tza,video}
cp seeds/model/*.json corpus/model/
cp $vectors/onnx_*.onnx $vectors/spellings/*.onnx corpus/onnx/
find $vectors/zoo -name '*.onnx' -size -24k -exec cp {} corpus/onnx/ \;
cp $vectors/state_dicts/small* $vectors/state_dicts/{views,milesial}.pth corpus/pickle/
cp $vectors/named.safetensors $vectors/state_dicts/smp/model.safetensors corpus/safetensors/
cp $vectors/state_dicts/*.tza corpus/tza/
for param in $vectors/ncnn/*.param; do
    { cat "$param"; printf '\0'; cat "${param%.param}.bin"; } >"corpus/ncnn/$(basename "$param")"
done
cp $vectors/snapshots/overlay.png corpus/picture/
for extension in jpg tiff bmp webp exr pfm ppm; do
    cargo run --release --quiet --manifest-path ../Cargo.toml -- run $vectors/snapshots/overlay.png \
        -m ../models/denoise.safetensors -o corpus/picture/overlay.$extension --device cpu --quiet
done
printf 'YUV4MPEG2 W2 H2 F25:1 C444\nFRAME\n123456789012' >corpus/video/444.y4m
printf 'YUV4MPEG2 W2 H2 F25:1 C420p10 XCOLORRANGE=FULL\nFRAME\n123456789012' >corpus/video/420p10.y4m
