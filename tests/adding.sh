#!/usr/bin/env bash
# Proves what CONTRIBUTING.md says of adding operators and kernels: applies its examples to a copy of the project, counts
# the files that they touch, and builds and runs the tests of the table of cases there.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p "${CARGO_TARGET_DIR:-target}"
CARGO_TARGET_DIR=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
export CARGO_TARGET_DIR
copy=$CARGO_TARGET_DIR/adding
rm -rf "$copy"
mkdir "$copy"
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null --files-from=- --create --file=- | tar --extract --file=- --directory="$copy"
awk -v to="$copy/example" '/^```diff$/ { n++; on = 1; next } /^```$/ { on = 0 } on { print > (to n) }' CONTRIBUTING.md

cd "$copy"
export GIT_CEILING_DIRECTORIES=$CARGO_TARGET_DIR # the copy is no part of this repository
most=(0 5 4)
for example in 1 2; do
    files=$(grep -c '^+++ ' "example$example")
    echo "example $example touches $files files"
    [ "$files" -le "${most[$example]}" ] || { echo "at most ${most[$example]} are promised" >&2; exit 1; }
    git apply "example$example"
done
[ ! -e example3 ] || { echo "CONTRIBUTING.md has another diff, which nothing tests" >&2; exit 1; }
cargo fmt --all --check
cargo test --release -p unet-wgpu --test suite -- cases::pooling cases::every cases::names networks:: shaders::
