#!/usr/bin/env bash
# A grey picture of SIZE x SIZE pixels, as PNG and as TIFF, through a network: says how much memory the process took, and
# fails above 1.5 GB. Takes long on a CPU: 400 megapixels are some 100 TFLOP.
#
#   benches/big_picture.sh [SIZE] [DEVICE] [UNET]
set -euo pipefail
cd "$(dirname "$0")/.."
size=${1:-20000}
device=${2:-auto}
unet=${3:-target/release/unet}
[ -x "$unet" ] || cargo build --release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for format in png tiff; do
    cargo run --release --quiet --example big_picture -- "$size" "$work/big.$format"
    /usr/bin/time -v -o "$work/time" "$unet" run "$work/big.$format" -m models/cells.safetensors -o "$work/mask.$format" --device "$device"
    kbytes=$(sed -n 's/.*Maximum resident set size (kbytes): //p' "$work/time")
    wall=$(sed -n 's/.*Elapsed (wall clock) time.*): //p' "$work/time")
    echo "{\"size\": $size, \"format\": \"$format\", \"device\": \"$device\", \"peak_mb\": $((kbytes * 1024 / 1000000)), \"wall\": \"$wall\"}"
    [ "$kbytes" -le $((1500 * 1000 * 1000 / 1024)) ]
done
