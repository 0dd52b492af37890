"""Measures the shipped models by the command `unet` on pictures that they were not trained on, and prints Markdown.

python measure.py [TASK ...] [--unet FILE] [--device cpu] [--cells DIR] [--aerial DIR] [--masks DIR] [--keep DIR]

Each task writes pictures and references into a folder and runs `unet run PICTURES -m MODEL -o RESULTS`. The figures
are computed here from the results, and beside them those of the simplest rival. Tasks without data are left out.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import evaluate
from evaluate import ROOT, held_out_photos, psnr, table


class Bench:
    """Runs the command over folders of pictures."""

    def __init__(self, args, folder):
        self.args, self.folder = args, folder

    def run(self, task, pictures, *options, name="pictures", model=None):
        """The results of `unet run` for pictures by name. The folder keeps both."""
        source, results = self.folder / task / name, self.folder / task / f"{name}-results"
        self.write(source, pictures)
        model = model or ROOT / "models" / f"{task}.safetensors"
        command = [self.args.unet, "run", source, "-m", model, "-o", results, "--device", self.args.device, *options]
        subprocess.run([*map(str, command), "--quiet"], check=True)
        return {name: np.array(Image.open(results / f"{name}.png")) for name in pictures}

    def write(self, folder, pictures):
        folder.mkdir(parents=True, exist_ok=True)
        for name, pixels in pictures.items():
            Image.fromarray(pixels).save(folder / f"{name}.png")


def denoise(bench):
    photos, rows = held_out_photos(), []
    for sigma in evaluate.SIGMAS:
        noisy = {name: evaluate.add_noise(photo, sigma) for name, photo in photos.items()}
        results = bench.run("denoise", noisy, name=f"sigma{sigma}")
        rows += [(name, sigma, psnr(noisy[name], photo), psnr(results[name], photo)) for name, photo in photos.items()]
    return evaluate.denoise_table(rows)


def upscale2x(bench):
    photos = {name: photo[: photo.shape[0] // 2 * 2, : photo.shape[1] // 2 * 2] for name, photo in held_out_photos().items()}
    small = {name: evaluate.halved(photo) for name, photo in photos.items()}
    results, rows = bench.run("upscale2x", small), []
    for name, photo in photos.items():
        before, after = psnr(evaluate.enlarged(small[name], photo), photo), psnr(results[name], photo)
        rows.append((name, before, after, after - before))
    return table(["photo", "bicubic, dB", "upscaled, dB", "gain, dB"], rows)


def inpaint(bench):
    """Telea's method with the radius that does best here, inside the holes."""
    photos = {name: photo[:384, :384] for name, photo in held_out_photos().items()}
    if bench.args.masks:
        read = lambda name: np.array(Image.open(bench.args.masks / f"inpaint_mask_{name}.png").convert("L"))
        masks = {name: (read(name) > 0).astype(np.uint8)[: photo.shape[0], : photo.shape[1]] for name, photo in photos.items()}
    else:
        masks = {name: evaluate.held_out_mask(number, photo) for number, (name, photo) in enumerate(photos.items())}
    holes = bench.folder / "inpaint" / "holes"
    bench.write(holes, {name: mask * 255 for name, mask in masks.items()})
    results, rows = bench.run("inpaint", photos, "--mask", holes), []
    for name, photo in photos.items():
        hole = masks[name] > 0
        assert np.array_equal(results[name][~hole], photo[~hole]), f"{name}: known pixels changed"
        telea = evaluate.telea(photo, masks[name])
        before, after = psnr(telea[hole], photo[hole]), psnr(results[name][hole], photo[hole])
        rows.append((name, before, after, after - before))
        bench.write(bench.folder / "inpaint" / "telea", {name: telea})
    return table(["photo", "Telea, dB", "inpainted, dB", "gain, dB"], rows)


def scene(bench):
    if not bench.args.aerial:
        return None
    scenes, classes = evaluate.read_scenes(bench.args.aerial, held_out=True), len(evaluate.SCENE_CLASSES)
    labels = bench.folder / "scene" / "labels"
    pictures = {name: picture for name, picture, _ in scenes}
    bench.run("scene", pictures, "--labels", f"{labels}/")
    counts = np.zeros((classes, classes), np.int64)
    for name, _, truth in scenes:
        counts += evaluate.confusion(truth, np.array(Image.open(labels / f"{name}.png")), classes)
    return table(["class", "majority class, IoU", "IoU"], evaluate.scene_rows(counts), digits=3)


def style(bench):
    photos = held_out_photos()
    results = bench.run("style", photos).items()
    rows = [(name, evaluate.luminance_similarity(photos[name], result)) for name, result in results]
    return table(["photo", "SSIM to the photo"], rows)


def cells(bench):
    if not bench.args.cells:
        return None
    numbers = evaluate.CELLS_HELD_OUT
    images, truths = evaluate.read_cells(bench.args.cells, numbers)
    results = bench.run("cells", {f"cells-{n}": image for n, image in zip(numbers, images, strict=True)})
    pairs = zip(numbers, results.values(), truths, strict=True)
    return evaluate.cells_table([(n, *evaluate.scores(result > 0, truth)) for n, result, truth in pairs])


TASKS = {task.__name__: task for task in (denoise, upscale2x, inpaint, scene, style, cells)}


def main():
    parser = argparse.ArgumentParser(description="Measures the shipped models by the command unet.")
    parser.add_argument("tasks", nargs="*", choices=[[], *TASKS], help="default: all")
    parser.add_argument("--unet", type=Path, default=ROOT / "target" / "release" / "unet")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cells", type=Path, help="folder with image/ and label/")
    parser.add_argument("--aerial", type=Path, help="folder that fetch_aerial.sh filled")
    parser.add_argument("--masks", type=Path, help="folder of inpaint_mask_NAME.png; default: drawn from seeds")
    parser.add_argument("--keep", type=Path, help="keep pictures and results in this folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.tasks or TASKS:
            if figures := TASKS[name](Bench(args, args.keep or Path(temporary))):
                print(f"\n## {name}\n\n{figures}", flush=True)


if __name__ == "__main__":
    main()
