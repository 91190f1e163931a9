"""Train the two small StyleGAN2 generators of the demonstration world, and export them as package data.

    python train_generators.py train few work       # draws the pictures, trains, goes on where it stopped
    python train_generators.py train many work
    python train_generators.py export few work ../../python/idsim/demo_world

Both use ../train_stylegan2/train.py with the settings below; docs/demo-world.md says how long that took. A training
that is stopped early can be exported: the log says after how many pictures. Equal machines, versions of torch and
thread counts give equal bytes.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch  # noqa: TID253 - a script

from idsim.demo_world import draw
from idsim.generators.stylegan2 import load_checkpoint, save_checkpoint

TRAINER = Path(__file__).parents[1] / "train_stylegan2" / "train.py"
LOGS = Path(__file__).parent
LOG_STEP = 10_000  # Pictures that a row of the small log averages over.
COLUMNS = ["generator", "path", "path_mean", "discriminator", "r1", "real", "fake"]


@dataclass(frozen=True)
class Recipe:
    """A training set and how it is learnt.

    Parameters
    ----------
    population : str
        Of `idsim.demo_world.person`; the first people of it.
    people, pictures : int
        People, and pictures of each.
    seed : int
        Of the training.
    shown : int
        Pictures that the discriminator sees in all.
    options : tuple of str
        For train.py, beside those of `SHARED`.
    """

    population: str
    people: int
    pictures: int
    seed: int
    shown: int
    options: tuple[str, ...]


SHARED = (
    "--resolution", "32", "--channel-base", "512", "--channel-max", "64", "--latent", "64", "--batch", "16",
    "--rate", "0.0025", "--ema-images", "10000",
)  # fmt: skip
RECIPES = {
    "few": Recipe("training-few", 32, 12, 1, 200_000, ("--mixing", "0")),
    "many": Recipe("training-many", 2000, 1, 2, 150_000, ()),
}


def arguments(recipe: Recipe) -> list[str]:
    """What train.py is told beside folders and length."""
    return [*SHARED, *recipe.options, "--seed", str(recipe.seed)]


def train(name: str, work: Path) -> None:
    recipe = RECIPES[name]
    pictures = work / f"{name}-pictures"
    if not pictures.exists():
        draw(pictures.with_suffix(".part"), recipe.population, recipe.people, recipe.pictures)
        pictures.with_suffix(".part").rename(pictures)
    command = [sys.executable, str(TRAINER), str(pictures), str(work / name), *SHARED, *recipe.options]
    subprocess.run(
        [*command, "--seed", str(recipe.seed), "--images", str(recipe.shown), "--save-every", "10000"],
        check=True,
    )


def export(name: str, work: Path, folder: Path) -> None:
    """The generator with its origin in its provenance, and a log with one row for 10,000 pictures."""
    recipe = RECIPES[name]
    trained = load_checkpoint(work / name / "generator.safetensors")
    origin = trained.provenance.origin() | {
        "licence": "Apache-2.0, as idsim",
        "training_set": f"{recipe.people} people of the population {recipe.population!r} of idsim.demo_world, "
        f"{recipe.pictures} drawn portrait(s) each; no photographs",
        "training": "examples/demo_world/train_generators.py with " + " ".join(arguments(recipe)),
        "made_with": f"torch {torch.__version__} on {platform.machine()}",
    }
    provenance = dataclasses.replace(trained.provenance, converted_from=origin)
    save_checkpoint(
        dataclasses.replace(trained, provenance=provenance), folder / f"{name}.safetensors", replace=True
    )
    seen = round(1000 * origin["kimg"])
    write_log(work / name / "losses.csv", LOGS / f"generator-{name}.csv", seen)


def write_log(losses: Path, log: Path, seen: int) -> None:
    """Means of the columns of losses.csv over every `LOG_STEP` pictures; steps without regularisation are left out."""
    with losses.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["images"]) <= seen]
    with log.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["images", *COLUMNS])
        for first in range(0, seen, LOG_STEP):
            part = [row for row in rows if first < int(row["images"]) <= first + LOG_STEP]
            values = ([float(row[name]) for row in part if row[name]] for name in COLUMNS)
            means = (f"{sum(column) / len(column):.4g}" if column else "" for column in values)
            writer.writerow([part[-1]["images"], *means])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("train", "export"):
        options = commands.add_parser(command)
        options.add_argument("name", choices=RECIPES)
        options.add_argument("work", type=Path, help="folder of pictures and runs; some 20 MB")
    options.add_argument("folder", type=Path, help="where NAME.safetensors is written")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    if chosen.command == "train":
        train(chosen.name, chosen.work)
    else:
        export(chosen.name, chosen.work, chosen.folder)


if __name__ == "__main__":
    main()
