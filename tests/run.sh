#!/usr/bin/env bash
# Runs all tests and requires a GPU. If the machine has no Vulkan driver, installs Mesa's software driver (lavapipe,
# packages of Debian and Ubuntu). On other systems, install one first.
set -euo pipefail
cd "$(dirname "$0")/.."

have_driver() {
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] ||
        compgen -G "/usr/share/vulkan/icd.d/*.json" >/dev/null ||
        compgen -G "/etc/vulkan/icd.d/*.json" >/dev/null
}
if [ "$(uname -s)" = Linux ] && { ! have_driver || ! ldconfig -p | grep -q libvulkan; }; then
    if ! command -v apt-get >/dev/null; then
        echo "no Vulkan driver: install Mesa's lavapipe (mesa-vulkan-drivers) and the Vulkan loader, then run again" >&2
        exit 1
    fi
    root=$([ "$(id -u)" = 0 ] || echo sudo)
    echo "installing the software Vulkan driver (lavapipe)"
    $root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq mesa-vulkan-drivers libvulkan1 >/dev/null
fi

export UNET_REQUIRE_GPU=1
cargo test --release "$@"
cargo run --release --quiet --example embed
