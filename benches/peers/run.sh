#!/usr/bin/env bash
# Compares the engines: run.sh [--prepared DIR] [options of driver.py]. Without DIR it prepares target/prepared once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$here/target/prepared
arguments=()
while [ $# -gt 0 ]; do
    if [ "$1" = --prepared ]; then dir=$(cd "$2" && pwd); shift 2; else arguments+=("$1"); shift; fi
done
[ -e "$dir/models/seed.ncnn.param" ] || "$here/prepare.sh" "$dir" >&2

# The prepared venv only works where it was made. Elsewhere any Python with torch is used.
python=${PEERS_PYTHON:-$dir/venv/bin/python}
"$python" -c 'import torch' 2>/dev/null || python=python3
for wheel in "$dir"/wheels/*.whl; do
    site=$dir/site/$(basename "$wheel" | cut -d- -f1)
    [ -d "$site" ] || "$python" -m zipfile -e "$wheel" "$site"
done
[ -e "$dir/models/weights.safetensors" ] || "$python" "$here/models.py" "$dir/models" >&2
exec "$python" "$here/driver.py" --prepared "$dir" "${arguments[@]}"
