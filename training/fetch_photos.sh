#!/bin/sh
# Unpacks the Debian 12 packages that hold the training photographs of photos.txt into the folder $1.
set -eu
mkdir -p "$1"
cd "$1"
apt-get download lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds plasma-workspace-wallpapers
for package in ./*.deb; do
    dpkg -x "$package" .
    rm "$package"
done
