#!/usr/bin/env bash
# Measures how busy a folder of pictures keeps the device: pictures per second of `unet run FOLDER -o FOLDER`, including
# files, divided by those of the bare network with overlapping runs. Prints one JSON line for each size and batch, with
# medians of interleaved rounds.
#
#   benches/pipeline.sh [DEVICE] [UNET] [PICTURES] [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/.."
device=${1:-auto}
unet=${2:-target/release/unet}
pictures=${3:-100}
rounds=${4:-3}
[ -n "${2:-}" ] || cargo build --release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=models/denoise.safetensors

# The demo picture, 384x256, under many names, so files are really read and written.
mkdir "$work/in"
for i in $(seq "$pictures"); do cp demo/noisy.png "$work/in/$i.png"; done

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
field() { grep -o "\"$1\": *[0-9.]*" | head -1 | sed 's/.*: *//'; }

for batch in 1 auto; do
    : >"$work/bare"
    : >"$work/folder"
    for _ in $(seq "$rounds"); do
        "$unet" bench $model --size 256x384 --device "$device" --runs 10 --no-check --json "$work/bench.json" >/dev/null 2>&1
        field pictures_per_s <"$work/bench.json" >>"$work/bare"
        rm -rf "$work/out"
        "$unet" run "$work/in" -m $model -o "$work/out" --device "$device" --batch $batch 2>&1 |
            sed -n 's/.*(\([0-9.]*\)\/s).*/\1/p' >>"$work/folder"
    done
    bare=$(median <"$work/bare")
    folder=$(median <"$work/folder")
    echo "{\"device\": \"$device\", \"pictures\": $pictures, \"height\": 256, \"width\": 384, \"batch\": \"$batch\"," \
        "\"bare_per_s\": $bare, \"folder_per_s\": $folder," \
        "\"ratio\": $(awk "BEGIN { printf \"%.3f\", $folder / $bare }"), \"rounds\": $rounds, \"date\": \"$(date -u +%F)\"}"
done
