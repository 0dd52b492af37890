"""What the training scripts share: options, photographs, and a loop that goes on from its last checkpoint.

A run saves everything that its next step depends on (weights, their average, optimiser, random numbers) beside the
model as `NAME.checkpoint`. Start the same command again and it goes on from there. The file is removed at the end.
"""

import argparse
import math
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from unet import Average, UNet

ROOT = Path(__file__).resolve().parent.parent

# What `photos.txt` lists, for the models' metadata.
PHOTOS = (
    "33 photographs from the Debian 12 packages lomiri-wallpapers (CC0-1.0, CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0), "
    "mate-backgrounds (GPL-2+) and plasma-workspace-wallpapers (GPL-2+, LGPL-3)"
)


def photo_recipe(task, description, training, **of_input):
    """The recipe of a network that makes a picture of a photograph, with colours in 0..1."""
    return {
        "task": task,
        "description": description,
        "license": "MIT OR Apache-2.0",
        "training": training,
        "input": {"channels": "rgb", "scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]} | of_input,
        "output": {"decode": "image", "scale": 255.0},
        "pad": "reflect",
    }


def options(name, steps, batch, crop, rate=1e-3):
    """A parser of the options that every training has. `name` is the model's file in models/."""
    parser = argparse.ArgumentParser(description=f"Trains models/{name}.safetensors.")
    parser.add_argument("--out", type=Path, default=ROOT / "models" / f"{name}.safetensors")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--crop", type=int, default=crop, help="side of the crops in pixels of the target")
    parser.add_argument("--rate", type=float, default=rate, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=1000, help="steps between exports and checkpoints")
    return parser


def read_photos(folder, longer_sides):
    """Each photograph of photos.txt at several sizes: a list of lists of HxWx3 bytes."""
    photos = []
    for line in tqdm(Path(__file__).with_name("photos.txt").read_text().split(), desc="photos"):
        photo = Image.open(folder / line).convert("RGB")
        sizes = [min(1, side / max(photo.size)) for side in longer_sides]
        photos.append([
            np.array(photo.resize([round(size * n) for n in photo.size], Image.Resampling.LANCZOS)) for size in sizes
        ])
    return photos


def detailed_crop(rng, photos, crop):
    """The more detailed of two random crops of one photograph, turned and mirrored at random: HxWx3 bytes."""
    sizes = photos[rng.integers(len(photos))]
    photo = sizes[rng.integers(len(sizes))]

    def random_crop():
        y, x = rng.integers(photo.shape[0] - crop + 1), rng.integers(photo.shape[1] - crop + 1)
        return photo[y : y + crop, x : x + crop]

    picture = max((random_crop() for _ in range(2)), key=np.std)
    return np.rot90(picture, rng.integers(4))[:: rng.choice([-1, 1])]


def planes(picture):
    """HxWxC bytes as a CxHxW tensor in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32) / 255)


def charbonnier(a, b):
    """A mean distance that is smooth at zero."""
    return ((a - b).square() + 1e-6).sqrt().mean()


def train(config, args, loss_of, report, freeze_norms_at=None, start_from=None):
    """Trains a U-Net of `config` with Adam and a cosine schedule.

    `loss_of(net, rng)` draws a batch and gives its loss. `report(net, step)` exports the averaged network and gives a
    table of its figures. `start_from` changes the network before the first step. `freeze_norms_at` is the part of the steps after which batch norms keep their statistics.
    """
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    net = UNet(config).to(memory_format=torch.channels_last).train()
    if start_from:
        start_from(net)
    average = Average(net, decay=0.998)
    optimizer = torch.optim.Adam(net.parameters(), lr=args.rate, betas=(0.9, 0.99))
    checkpoint, start = args.out.with_suffix(".checkpoint"), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        start = state["step"]
        net.load_state_dict(state["net"])
        average.net.load_state_dict(state["average"])
        average.updates = start
        optimizer.load_state_dict(state["optimizer"])
        rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch_rng"])
        print(f"goes on after step {start}, from {checkpoint}")
    bar = tqdm(range(start + 1, args.steps + 1), initial=start, total=args.steps, mininterval=10)
    for step in bar:
        if freeze_norms_at and step >= freeze_norms_at * args.steps:
            net.freeze_norms()
        rate = min(step / 100, 0.5 + 0.5 * math.cos(math.pi * step / args.steps))
        optimizer.param_groups[0]["lr"] = args.rate * rate
        loss = loss_of(net, rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update(net)
        bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
        if step % args.save_every == 0 or step == args.steps:
            state = {
                "step": step, "net": net.state_dict(), "average": average.net.state_dict(),
                "optimizer": optimizer.state_dict(), "rng": rng.bit_generator.state,
                "torch_rng": torch.get_rng_state(),
            }
            torch.save(state, f"{checkpoint}.part")
            os.replace(f"{checkpoint}.part", checkpoint)
            bar.write(f"step {step}\n{report(average.net, step)}")
    checkpoint.unlink(missing_ok=True)
