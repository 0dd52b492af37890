#!/usr/bin/env bash
# Makes everything that a comparison needs, with network: prepare.sh DIR
# DIR/bin: the engines in Rust. DIR/wheels: the others. DIR/models: ncnn's graph; run.sh makes the large files.
# PEERS_PYTHON: a Python with requirements.txt and pnnx, instead of the venv that is made in DIR.
# PEERS_TARGET: the version of the Python that will run the engines (3.12, say), when it is another one.
# PEERS_WHEELS: which wheels, when not all of them (spaces between).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "${1:?a folder}" && cd "$1" && pwd)
mkdir -p "$dir"/{bin,wheels,models}

build() { # crate, name of the binary, features
    cargo build --release --quiet --manifest-path "$here/$1/Cargo.toml" --features "$3"
    cp "${CARGO_TARGET_DIR:-$here/$1/target}/release/peer-$1" "$dir/bin/$2"
}
git -C "$here" describe --always --dirty --tags >"$dir/bin/commit" 2>/dev/null || true
build unet peer-unet ""
build burn peer-burn-wgsl ""
build burn peer-burn-spirv spirv

python=${PEERS_PYTHON:-$dir/venv/bin/python}
if [ -z "${PEERS_PYTHON:-}" ] && [ ! -e "$python" ]; then
    python3 -m venv "$dir/venv"
    "$python" -m pip install --quiet -r "$here/requirements.txt" pnnx==20261020
fi
target=${PEERS_TARGET:-$("$python" -c 'import platform; print(".".join(platform.python_version_tuple()[:2]))')}
platforms=()
for version in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${version}_x86_64"); done
rm -f "$dir"/wheels/*
for wheel in ${PEERS_WHEELS:-ncnn==1.0.20261020 onnxruntime==1.32.0 onnxruntime-webgpu==1.27.0 onnxruntime-ep-webgpu==0.4.0}; do
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version "$target" \
        "${platforms[@]}" --dest "$dir/wheels" "$wheel"
done
"$python" "$here/models.py" "$dir/models" --ncnn-graph
du -sh "$dir/bin" "$dir/wheels" "$dir/models"
