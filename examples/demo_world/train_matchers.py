"""Train the two matchers of the demonstration world, and write them as ONNX files that carry their specification.

    python train_matchers.py drawn-arcface runs
    python train_matchers.py drawn-sphereface runs

People are those of the population "matcher-training", who are in no other set. The folder receives ``NAME.csv`` (the
log), ``NAME.safetensors`` (the weights as they were trained) and ``NAME.onnx``; the portraits are drawn once and kept
in a file there. It runs on one thread, and equal options give equal weights on one kind of processor.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import augment
import numpy as np
import torch  # noqa: TID253 - a script
from export_matcher import export
from margin_losses import MarginHead
from matcher_networks import NETWORKS, fed
from safetensors.torch import save_file
from torch import Tensor, nn  # noqa: TID253

from idsim.demo_world import person, portrait

POPULATION = "matcher-training"
COLUMNS = ["epoch", "seconds", "loss", "right", "margin", "rate"]


@dataclass(frozen=True)
class Settings:
    """What a training depends on."""

    network: str
    loss: str
    margin: float
    scale: float
    seed: int
    people: int = 4000
    images: int = 10
    epochs: int = 5
    batch: int = 128
    rate: float = 2e-3
    decay: float = 0.02
    grow: float = 0.4  # Share of the training in which the margin grows to its full size.


MATCHERS = {
    "drawn-arcface": Settings("plain", "additive", margin=0.35, scale=24.0, seed=1),
    "drawn-sphereface": Settings("residual", "multiplicative", margin=1.4, scale=24.0, seed=2),
}


def drawn(people: int, images: int, cache: Path) -> np.ndarray:
    """Portraits of everyone, uint8 ``[people, images, 3, 32, 32]``, drawn once and memory-mapped."""
    shape = (people, images, 3, 32, 32)
    if not cache.exists():
        part = cache.with_suffix(".part")
        array = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        for number in range(people):
            somebody = person(POPULATION, number)
            for image in range(images):
                array[number, image] = portrait(somebody, image).transpose(2, 0, 1)
        array.flush()
        os.replace(part, cache)  # noqa: PTH105 - atomic, unlike a rename on every system
    return np.load(cache, mmap_mode="r", allow_pickle=False)


def groups(network: nn.Module, head: nn.Module, decay: float) -> list[dict[str, object]]:
    """Parameters with and without weight decay: filters and maps, but not what scales or shifts a channel."""
    everything = [*network.parameters(), *head.parameters()]
    return [
        {"params": [value for value in everything if value.ndim > 1], "weight_decay": decay},
        {"params": [value for value in everything if value.ndim == 1], "weight_decay": 0.0},
    ]


def rate_of(done: float, settings: Settings) -> float:
    """Learning rate after a share of the training: a short linear rise, then half a cosine down to 0."""
    rise = 0.05
    if done < rise:
        return settings.rate * done / rise
    return settings.rate * (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2


def train(settings: Settings, pictures: np.ndarray, log: Path) -> nn.Module:
    """Return the trained network, ready for use; one line of the log for every pass over the pictures."""
    torch.manual_seed(settings.seed)
    network = NETWORKS[settings.network]().to(memory_format=torch.channels_last)
    head = MarginHead(settings.loss, len(pictures), network.dim, settings.scale)
    optimiser = torch.optim.AdamW(groups(network, head, settings.decay))
    people, images = pictures.shape[:2]
    flat = pictures.reshape(people * images, *pictures.shape[2:])
    steps = len(flat) // settings.batch
    started = time.monotonic()
    with log.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for epoch in range(settings.epochs):
            random = torch.Generator().manual_seed(1000 * settings.seed + epoch)
            order = torch.randperm(len(flat), generator=random).numpy()
            losses, right = 0.0, 0
            for step in range(steps):
                done = (epoch + step / steps) / settings.epochs
                for group in optimiser.param_groups:
                    group["lr"] = rate_of(done, settings)
                rows = np.sort(order[step * settings.batch : (step + 1) * settings.batch])
                labels = torch.from_numpy(rows // images)
                loss, hits = one_step(network, head, optimiser, flat[rows], labels, random, done, settings)
                losses, right = losses + loss, right + hits
            shown = [
                losses / steps,
                right / steps / settings.batch,
                min(1, done / settings.grow),
                rate_of(done, settings),
            ]
            writer.writerow(
                [epoch + 1, round(time.monotonic() - started), *(f"{value:.5g}" for value in shown)]
            )
            file.flush()
    return network.eval()


def one_step(
    network: nn.Module,
    head: MarginHead,
    optimiser: torch.optim.Optimizer,
    pictures: np.ndarray,
    labels: Tensor,
    random: torch.Generator,
    done: float,
    settings: Settings,
) -> tuple[float, int]:
    """Return the loss of a batch and how many of it are nearest to their own class, and learn from it."""
    batch = fed(augment.augmented(torch.from_numpy(pictures), random))
    embeddings = network(batch.to(memory_format=torch.channels_last))
    loss, hits = head(embeddings, labels, min(1.0, done / settings.grow), settings.margin)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item(), int(hits)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(MATCHERS))
    parser.add_argument("folder", type=Path)
    for key in ("people", "images", "epochs", "seed"):
        parser.add_argument(f"--{key}", type=int)
    options = parser.parse_args()
    given = {key: getattr(options, key) for key in ("people", "images", "epochs", "seed")}
    settings = replace(
        MATCHERS[options.name], **{key: value for key, value in given.items() if value is not None}
    )
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    cache = options.folder / f"portraits-{settings.people}x{settings.images}.npy"
    pictures = drawn(settings.people, settings.images, cache)
    network = train(settings, pictures, options.folder / f"{options.name}.csv")
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, options.folder / f"{options.name}.safetensors", {"settings": repr(asdict(settings))})
    export(network, options.name, options.folder / f"{options.name}.onnx")


if __name__ == "__main__":
    main()
