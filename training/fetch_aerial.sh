#!/bin/sh
# Fetches the aerial pictures of train_scene.py into the folder $1: "Semantic segmentation of aerial imagery" by Humans in
# the Loop and the Mohammed Bin Rashid Space Centre, CC0-1.0, in the copy of a GitHub repository.
set -eu
git clone --quiet https://github.com/Kaarti22/satellite-imagery "$1.git"
git -C "$1.git" checkout --quiet 4943c52
mv "$1.git/Semantic segmentation dataset" "$1"
rm -r "$1.git"
