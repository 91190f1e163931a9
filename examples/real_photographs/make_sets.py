"""Turn photographs of people into the three sets of a scan, with edited copies that play leaked synthetic faces.

    python make_sets.py people photographs --leak collins --leak obama
    idsim scan photographs/scan.toml

``people`` holds one folder per person. The people are split at random into training, holdout and outsiders. The
"synthetic" set has no generated face in it. It consists of edited copies (crop, brightness, blur, JPEG, mirror, small
warp) of one photograph each: of some training people, who play the leaks, and of all outsiders, who play synthetic
faces that resemble nobody in particular. The six copies of a photograph are one cluster.
"""

from __future__ import annotations

import argparse
import io
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageEnhance, ImageFilter  # noqa: TID253 - a script

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = """\
schema = 1

[run]
name = "run"
dir = "."

[synthetic]
images = "synthetic"
labels = "folder"

[training]
images = "training"
labels = "folder"

[holdout]
images = "holdout"
labels = "folder"

[matcher]
kind = "dlib"

# Some 30 people support no stricter operating points than these. 0.6 is the fixed distance of face_recognition.
[calibration]
fpir = [0.1]
fmr = [0.01]
thresholds = [0.6]
"""


def crop(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((width // 20, height // 25, width - width // 12, height - height // 16))


def brighten(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(1.4)


def blur(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(0.008 * min(picture.size)))


def jpeg(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=20)
    return Image.open(buffer).convert("RGB")


def mirror(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def warp(picture: Image.Image) -> Image.Image:
    """Pull the corners of the picture inwards by up to 5 % of its sides."""
    width, height = picture.size
    corners = (0.03 * width, 0, 0, 0.96 * height, width, height, 0.95 * width, 0.04 * height)
    return picture.transform(picture.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop": crop,
    "brightness": brighten,
    "blur": blur,
    "jpeg": jpeg,
    "mirror": mirror,
    "warp": warp,
}


def copy_people(people: list[Path], folder: Path) -> None:
    for person in people:
        shutil.copytree(person, folder / person.name)


def write_copies(person: Path, cluster: Path) -> None:
    cluster.mkdir(parents=True)
    with Image.open(min(person.iterdir())) as file:
        picture = file.convert("RGB")
    for name, edit in EDITS.items():
        edit(picture).save(cluster / f"{name}.png")


def split(people: list[Path], leaks: list[str], seed: int) -> tuple[list[Path], list[Path], list[Path]]:
    """Return training, holdout and outsiders, a third each; the named people are put into training."""
    named = [person for person in people if person.name in leaks]
    others = [person for person in people if person.name not in leaks]
    random.Random(seed).shuffle(others)
    third = len(people) // 3
    training = named + others[: third - len(named)]
    rest = others[third - len(named) :]
    return training, rest[:third], rest[third:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("people", type=Path, help="folder with one folder of photographs per person")
    parser.add_argument("output", type=Path, help="a new folder")
    parser.add_argument(
        "--leak", action="append", default=[], help="a person to train on and to leak; repeatable"
    )
    parser.add_argument("--leaks", type=int, default=12, help="how many training people leak in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    people = sorted(path for path in options.people.iterdir() if path.is_dir())
    training, holdout, outsiders = split(people, options.leak, options.seed)
    options.output.mkdir(parents=True)
    copy_people(training, options.output / "training")
    copy_people(holdout, options.output / "holdout")
    leaked = training[: options.leaks]
    for person in leaked:
        write_copies(person, options.output / "synthetic" / f"of-training-{person.name}")
    for person in outsiders:
        write_copies(person, options.output / "synthetic" / f"of-nobody-{person.name}")
    (options.output / "scan.toml").write_text(CONFIG)
    print(f"training {len(training)} people, holdout {len(holdout)}, outsiders {len(outsiders)}")
    print(f"leaked: {', '.join(person.name for person in leaked)}")
    print(f"planted: {len(leaked)} of {len(leaked) + len(outsiders)} clusters")


if __name__ == "__main__":
    main()
