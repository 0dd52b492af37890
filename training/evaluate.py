"""Measures the two shipped models on pictures that they were not trained on, and prints Markdown tables.

python evaluate.py denoise [--model FILE] [--pictures DIR]
python evaluate.py cells --data DIR [--model FILE] [--pictures DIR]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import skimage.metrics
import sklearn.datasets
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from unet import load

ROOT = Path(__file__).resolve().parent.parent
CELLS_TRAIN, CELLS_HELD_OUT = range(24), range(24, 30)
SIGMAS = (15, 25, 50)


def run(net, x):
    """Runs `net` on a CxHxW array, padded by reflection on the right and below to the size that the network needs."""
    step = net.stride
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (0, -height % step), (0, -width % step)), mode="reflect")
    with torch.inference_mode():
        y = net(torch.from_numpy(padded.astype(np.float32))[None])[0].numpy()
    return y[:, : height * net.scale, : width * net.scale]


def apply(net, picture):
    """The picture that `net` makes of an HxWx3 picture; both in bytes, values / 255 in the network."""
    y = run(net, picture.transpose(2, 0, 1) / 255).transpose(1, 2, 0)
    return np.clip(np.rint(y * 255), 0, 255).astype(np.uint8)


def table(heads, rows, digits=2):
    """A Markdown table with a last row of means."""
    mean = ("**mean**", *np.mean([row[1:] for row in rows], axis=0))
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    return "\n".join(lines + [f"| {row[0]} | " + " | ".join(f"{v:.{digits}f}" for v in row[1:]) + " |" for row in [*rows, mean]])


def held_out_photos():
    """Photographs inside the scikit-image and scikit-learn wheels: name -> HxWx3 bytes."""
    photos = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    photos |= {name: sklearn.datasets.load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    return photos


def add_noise(image, sigma, seed=0):
    """Gaussian noise of standard deviation `sigma` (on the scale 0..255), rounded and clipped to bytes."""
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2))


# Super-resolution


def halved(picture):
    """Half the height and width, by Pillow's bicubic filter."""
    height, width = picture.shape[:2]
    small = Image.fromarray(np.ascontiguousarray(picture)).resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    return np.array(small)


def enlarged(picture, large):
    """The picture at the size of `large`, by Pillow's bicubic filter."""
    return np.array(Image.fromarray(picture).resize(large.shape[1::-1], Image.Resampling.BICUBIC))


def upscale_figures(net, pictures=None):
    """Rows (photo, PSNR of bicubic enlargement, PSNR of the result); writes bicubic | result | photo if asked."""
    rows = []
    for name, photo in held_out_photos().items():
        photo = photo[: photo.shape[0] // 2 * 2, : photo.shape[1] // 2 * 2]
        small = halved(photo)
        bicubic = enlarged(small, photo)
        result = apply(net, small)
        rows.append((name, psnr(bicubic, photo), psnr(result, photo)))
        if pictures:
            Image.fromarray(np.hstack([bicubic, result, photo])).save(pictures / f"upscale2x-{name}.png")
    return rows


# Inpainting


def random_strokes(rng, height, width, widths=(6, 22)):
    """A mask, 1 in the hole: one to three broken lines, often a rectangle as well. Lines are `widths` pixels wide."""
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    for _ in range(rng.integers(1, 4)):
        points = [rng.integers((width, height))]
        for _ in range(4):
            points.append((points[-1] + rng.integers(-60, 61, 2)).clip(0, (width - 1, height - 1)))
        draw.line([tuple(map(int, p)) for p in points], fill=1, width=int(rng.integers(*widths)), joint="curve")
    if rng.random() < 0.6:
        largest = min(56, height // 2)
        (x, y), (w, h) = rng.integers(0, (width - 20, height - 20)), rng.integers(largest // 3, largest, 2)
        draw.rectangle((int(x), int(y), int(x + w), int(y + h)), fill=1)
    return np.array(mask)


def inpaint(net, picture, mask):
    """HxWx3 bytes and HxW, not 0 in the hole -> HxWx3 bytes. Known pixels do not change."""
    hole = mask[..., None] > 0
    x = np.concatenate([np.where(hole, 0, picture / 255), hole], axis=2).transpose(2, 0, 1)
    result = np.clip(np.rint(run(net, x).transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8)
    return np.where(hole, result, picture)


def held_out_mask(number, photo):
    """The mask of the held-out photograph of that number: six times `random_strokes`."""
    rng = np.random.default_rng(number)
    return np.bitwise_or.reduce([random_strokes(rng, *photo.shape[:2]) for _ in range(6)])


def telea(picture, mask):
    """The hole filled by Telea's method (2004) of OpenCV."""
    return cv2.inpaint(np.ascontiguousarray(picture[..., ::-1]), mask, 5, cv2.INPAINT_TELEA)[..., ::-1]


def inpaint_figures(net, pictures=None):
    """Rows (photo, PSNR inside the holes of Telea's method, PSNR of the result there).

    Writes picture with holes | Telea | result | photo if asked.
    """
    rows = []
    for number, (name, photo) in enumerate(held_out_photos().items()):
        photo = photo[:384, :384]
        mask = held_out_mask(number, photo)
        rival, result, hole = telea(photo, mask), inpaint(net, photo, mask), mask > 0
        rows.append((name, psnr(rival[hole], photo[hole]), psnr(result[hole], photo[hole])))
        if pictures:
            holes = np.where(hole[..., None], 255, photo)
            Image.fromarray(np.hstack([holes, rival, result, photo])).save(pictures / f"inpaint-{name}.png")
    return rows


# Aerial scenes


SCENE_CLASSES = {
    # name: (colour in the data set's masks, colour in ours)
    "water": ((226, 169, 41), (56, 135, 214)),
    "land": ((132, 41, 246), (222, 200, 160)),
    "road": ((110, 193, 228), (90, 90, 100)),
    "building": ((60, 16, 152), (208, 66, 60)),
    "vegetation": ((254, 221, 58), (76, 160, 70)),
}
SCENE_VOID = 255
SCENE_HELD_OUT = (3, 7)  # parts of each of the eight tiles


def read_scenes(data, held_out):
    """[(name, HxWx3 bytes, HxW class numbers)] of the aerial pictures in `data`, held out or for training."""
    scenes = []
    for tile in range(1, 9):
        for part in range(1, 10):
            if (part in SCENE_HELD_OUT) == held_out:
                folder, name = data / f"Tile {tile}", f"image_part_{part:03}"
                picture = np.array(Image.open(folder / "images" / f"{name}.jpg").convert("RGB"))
                mask = np.array(Image.open(folder / "masks" / f"{name}.png").convert("RGB"))
                labels = np.full(mask.shape[:2], SCENE_VOID, np.uint8)
                for number, (color, _) in enumerate(SCENE_CLASSES.values()):
                    labels[(mask == color).all(axis=2)] = number
                scenes.append((f"tile{tile}-part{part}", picture, labels))
    return scenes


def confusion(labels, predicted, classes):
    """Counts [true class, predicted class] of the pixels that have a class."""
    known = labels < classes
    pairs = labels[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def ious(counts):
    """Intersection over union of each class of a confusion matrix."""
    hits = np.diag(counts)
    return hits / np.maximum(1, counts.sum(axis=0) + counts.sum(axis=1) - hits)


def scene_rows(counts):
    """Rows (class, IoU of the majority class everywhere, IoU) of a confusion matrix."""
    majority = np.zeros_like(counts)
    majority[:, counts.sum(axis=1).argmax()] = counts.sum(axis=1)
    return list(zip(SCENE_CLASSES, ious(majority), ious(counts), strict=True))


def scene_figures(net, recipe, data, pictures=None):
    """Rows (class, IoU of the majority class everywhere, IoU) over all held-out pictures; writes picture | result |
    truth if asked."""
    colors = np.array([ours for _, ours in SCENE_CLASSES.values()] + [(155, 155, 155)], np.uint8)
    spec, classes = recipe["input"], len(SCENE_CLASSES)
    counts = np.zeros((classes, classes), np.int64)
    for name, picture, labels in tqdm(read_scenes(data, held_out=True), desc="held out", leave=False):
        x = (picture * spec["scale"] - spec["mean"]) / spec["std"]
        predicted = run(net, x.transpose(2, 0, 1)).argmax(axis=0)
        counts += confusion(labels, predicted, classes)
        if pictures:
            panels = [picture, colors[predicted], colors[np.minimum(labels, classes)]]
            Image.fromarray(np.hstack(panels)).save(pictures / f"scene-{name}.jpg")
    return scene_rows(counts)


# Style transfer


def luminance_similarity(a, b):
    """SSIM of two RGB pictures' luminance."""
    return skimage.metrics.structural_similarity(*(np.array(Image.fromarray(picture).convert("L")) for picture in (a, b)))


def style_figures(net, pictures=None):
    """Rows (photo, SSIM of the result's luminance to the photo's); writes photo | result if asked."""
    rows = []
    for name, photo in held_out_photos().items():
        result = apply(net, photo)
        rows.append((name, luminance_similarity(photo, result)))
        if pictures:
            Image.fromarray(np.hstack([photo, result])).save(pictures / f"style-{name}.png")
    return rows


# Denoising


def denoise_figures(net, pictures=None):
    """Rows (photo, sigma, PSNR of the noisy picture, PSNR of the result); writes noisy | result | clean if asked."""
    rows = []
    for name, clean in held_out_photos().items():
        for sigma in SIGMAS:
            noisy = add_noise(clean, sigma)
            result = apply(net, noisy)
            rows.append((name, sigma, psnr(noisy, clean), psnr(result, clean)))
            if pictures:
                Image.fromarray(np.hstack([noisy, result, clean])).save(pictures / f"{name}-{sigma}.png")
    return rows


def denoise_table(rows):
    lines = ["| photo | sigma | noisy, dB | denoised, dB | gain, dB |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [f"| {name} | {sigma} | {a:.2f} | {b:.2f} | {b - a:.2f} |" for name, sigma, a, b in rows]
    for sigma in SIGMAS:
        a, b = np.mean([row[2:] for row in rows if row[1] == sigma], axis=0)
        lines.append(f"| **mean** | {sigma} | {a:.2f} | {b:.2f} | {b - a:.2f} |")
    return "\n".join(lines)


# Cells


def read_cells(data, numbers):
    """(images NxHxW bytes, membrane masks NxHxW bool). In the files white is cell, black is membrane."""
    images = [np.array(Image.open(data / "image" / f"{n}.png").convert("L")) for n in numbers]
    labels = [np.array(Image.open(data / "label" / f"{n}.png").convert("L")) for n in numbers]
    return np.stack(images), np.stack(labels) < 128


def membrane(net, recipe, image):
    """HxW bytes -> HxW probability of membrane."""
    spec = recipe["input"]
    return run(net, ((image * spec["scale"] - spec["mean"][0]) / spec["std"][0])[None])[0]


def scores(predicted, truth):
    """(F1, IoU, precision, recall) of the membrane class, over all pixels given."""
    hits = np.count_nonzero(predicted & truth)
    precision, recall = hits / max(1, np.count_nonzero(predicted)), hits / np.count_nonzero(truth)
    f1 = 2 * hits / (np.count_nonzero(predicted) + np.count_nonzero(truth))
    return f1, f1 / (2 - f1), precision, recall


def cells_figures(net, recipe, data, pictures=None):
    """Rows (picture number, F1, IoU, precision, recall); writes image | mask | label if asked."""
    rows = []
    for number, image, truth in zip(CELLS_HELD_OUT, *read_cells(data, CELLS_HELD_OUT), strict=True):
        mask = membrane(net, recipe, image) > recipe["output"]["threshold"]
        rows.append((number, *scores(mask, truth)))
        if pictures:
            panels = [image, np.where(mask, 0, 255), np.where(truth, 0, 255)]
            Image.fromarray(np.hstack(panels).astype(np.uint8)).save(pictures / f"cells-{number}.png")
    return rows


def cells_table(rows):
    lines = ["| picture | F1 | IoU | precision | recall |", "| --- | ---: | ---: | ---: | ---: |"]
    mean = ("**mean**", *np.mean([row[1:] for row in rows], axis=0))
    lines += [f"| {row[0]} | " + " | ".join(f"{v:.3f}" for v in row[1:]) + " |" for row in [*rows, mean]]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Measures a model on held-out pictures.")
    parser.add_argument("task", choices=["denoise", "cells"])
    parser.add_argument("--model", type=Path, help="default: models/TASK.safetensors")
    parser.add_argument("--data", type=Path, help="folder with image/ and label/ (cells)")
    parser.add_argument("--pictures", type=Path, help="write comparison pictures into this folder")
    args = parser.parse_args()
    net, recipe = load(args.model or ROOT / "models" / f"{args.task}.safetensors")
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    if args.task == "denoise":
        print(denoise_table(denoise_figures(net, args.pictures)))
    elif args.data:
        print(cells_table(cells_figures(net, recipe, args.data, args.pictures)))
    else:
        parser.error("cells needs --data")


if __name__ == "__main__":
    main()
