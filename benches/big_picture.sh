#!/usr/bin/env bash
# Runs a network on a grey picture of SIZE x SIZE pixels, as PNG and as TIFF. Prints the memory that the process took,
# and fails above 1.5 GB. This takes long on a CPU: 400 megapixels are about 100 TFLOP.
#
#   benches/big_picture.sh [SIZE] [DEVICE] [UNET] [MAKER]
#
# MAKER: the built example `big_picture`, for machines without Rust.
set -euo pipefail
cd "$(dirname "$0")/.."
size=${1:-20000}
device=${2:-auto}
unet=${3:-target/release/unet}
maker=${4:-target/release/examples/big_picture}
[ -n "${3:-}" ] || cargo build --release
[ -n "${4:-}" ] || cargo build --release --example big_picture
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for format in png tiff; do
    "$maker" "$size" "$work/big.$format"
    /usr/bin/time -v -o "$work/time" "$unet" run "$work/big.$format" -m models/cells.safetensors -o "$work/mask.$format" --device "$device"
    kbytes=$(sed -n 's/.*Maximum resident set size (kbytes): //p' "$work/time")
    wall=$(sed -n 's/.*Elapsed (wall clock) time.*): //p' "$work/time")
    echo "{\"size\": $size, \"format\": \"$format\", \"device\": \"$device\", \"peak_mb\": $((kbytes * 1024 / 1000000)), \"wall\": \"$wall\"}"
    [ "$kbytes" -le $((1500 * 1000 * 1000 / 1024)) ]
done
