#!/usr/bin/env bash
# Measures everything that needs a hardware GPU, in one command: first the correctness of every kernel variant, then
# speed, then the other engines on the same work. Writes its files to a folder.
#
#   benches/gpu.sh OUT [UNET] [PREPARED] [MAKER]
#
# OUT: folder for the results (commit it under benches/results/ with adapter, driver and date in its name). UNET: a
# built binary, for machines without Rust; by default it is built. PREPARED: a folder made by benches/peers/prepare.sh,
# for machines without network; without it the other engines are left out. MAKER: the built example `big_picture`, for
# machines without Rust.
set -uo pipefail
out=${1:?usage: benches/gpu.sh OUT [UNET] [PREPARED] [MAKER]}
cd "$(dirname "$0")/.."
unet=${2:-target/release/unet}
[ -n "${2:-}" ] || cargo build --release
mkdir -p "$out"
failed=0
run() {
    echo "== $*"
    "$@" || { echo "FAILED ($?): $*"; failed=1; }
}

common=(--require-gpu --no-cache)
run "$unet" devices --json >"$out/devices.json"
run "$unet" devices

# 1. Every variant against the CPU reference; cooperative only if the device lists it.
for size in 64 100x75 256; do
    for kernel in auto direct tiled winograd2 winograd4; do
        run "$unet" verify --preset seed --size $size --kernel $kernel --precision f32 "${common[@]}"
    done
    for kernel in auto direct tiled cooperative; do
        run "$unet" verify --preset seed --size $size --kernel $kernel --precision f16 "${common[@]}"
    done
done >"$out/verify.txt" 2>&1
grep -E "^==|agree|differ|FAILED" "$out/verify.txt"

# 2. Speed of every variant for each layer, with the measured ceilings.
for kernel in auto direct tiled winograd2 winograd4; do
    run "$unet" bench --preset seed --size 128,256,512,1024 --kernel $kernel --precision f32 --layers \
        --json "$out/f32-$kernel.json" "${common[@]}" >"$out/f32-$kernel.txt" 2>&1
done
for kernel in auto direct tiled cooperative; do
    run "$unet" bench --preset seed --size 128,256,512,1024 --kernel $kernel --precision f16 --layers \
        --json "$out/f16-$kernel.json" "${common[@]}" >"$out/f16-$kernel.txt" 2>&1
    run "$unet" bench --preset seed --size 512 --batch 1,2,4,8,16 --kernel $kernel --precision f16 \
        --json "$out/f16-$kernel-batch.json" "${common[@]}" >"$out/f16-$kernel-batch.txt" 2>&1
done
run "$unet" tune --preset seed --size 512 --precision f32 --require-gpu >"$out/tune-f32.txt" 2>&1
run "$unet" tune --preset seed --size 512 --precision f16 --require-gpu >"$out/tune-f16.txt" 2>&1
run "$unet" bench --preset seed --size 64,128,256,512,1024 --chart "$out/scaling.svg" "${common[@]}" >"$out/scaling.txt" 2>&1
head -4 "$out"/f*-*.txt

# 3. A folder of pictures against the bare network, and a picture of 400 megapixels.
run benches/pipeline.sh gpu "$unet" 200 >"$out/pipeline.json" 2>"$out/pipeline.txt"
run benches/big_picture.sh 20000 gpu "$unet" ${4:+"$4"} >"$out/big_picture.json" 2>"$out/big_picture.txt"

# 4. The other engines.
if [ -n "${3:-}" ]; then
    run benches/peers/run.sh --prepared "$3" --size 512 --precision f16 --json "$out/peers-512-f16.json"
    run benches/peers/run.sh --prepared "$3" --size 512 --precision f32 --json "$out/peers-512-f32.json"
    run benches/peers/run.sh --prepared "$3" --size 128 --precision f16 --json "$out/peers-128-f16.json"
else
    echo "peers were not run: no prepared folder given"
fi
exit $failed
