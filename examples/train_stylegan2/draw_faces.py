"""Draw a folder of made-up cartoon faces: coloured ellipses whose sizes, places and colours are random.

    python draw_faces.py faces --count 4000 --size 64

No photograph and no person stands behind them. They show whether a training works, at sizes that a CPU can train.
"""

from __future__ import annotations

import argparse
import colorsys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw  # noqa: TID253 - a script

SCALE = 4  # Drawn larger and shrunk, for smooth edges.


def colour(hue: float, saturation: float, value: float) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def ellipse(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radii: tuple[float, float], fill) -> None:
    (x, y), (across, down) = centre, radii
    draw.ellipse((x - across, y - down, x + across, y + down), fill=fill)


def face(rng: np.random.Generator, size: int) -> Image.Image:
    """Background, hair, head, two eyes, nose and mouth; the head turns and the mouth smiles or not."""
    side = size * SCALE
    picture = Image.new(
        "RGB", (side, side), colour(rng.uniform(0.45, 0.75), rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.95))
    )
    draw = ImageDraw.Draw(picture)
    x, y = side * rng.normal(0.5, 0.02), side * rng.normal(0.53, 0.02)
    across, down = side * rng.uniform(0.24, 0.32), side * rng.uniform(0.32, 0.40)
    turn = across * rng.uniform(-0.25, 0.25)
    hair = colour(rng.uniform(0.03, 0.13), rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.8))
    ellipse(draw, (x, y - 0.22 * down), (across * 1.18, down * rng.uniform(0.9, 1.1)), hair)
    skin = colour(rng.uniform(0.04, 0.09), rng.uniform(0.25, 0.6), rng.uniform(0.45, 0.98))
    ellipse(draw, (x, y), (across, down), skin)
    iris = colour(rng.uniform(0.05, 0.65), rng.uniform(0.3, 0.8), rng.uniform(0.2, 0.7))
    apart, open_ = across * rng.uniform(0.36, 0.46), down * rng.uniform(0.07, 0.12)
    for direction in (-1, 1):
        eye = (x + turn + direction * apart, y - 0.18 * down)
        ellipse(draw, eye, (0.2 * across, open_), (245, 245, 245))
        ellipse(draw, eye, (0.11 * across, 0.9 * open_), iris)
    shade = tuple(round(0.75 * part) for part in skin)
    ellipse(draw, (x + 1.2 * turn, y + 0.15 * down), (0.09 * across, 0.13 * down), shade)
    lips = colour(rng.uniform(0.95, 1.02), rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.85))
    wide, high = across * rng.uniform(0.3, 0.5), down * rng.uniform(0.06, 0.16)
    mouth = (x + turn - wide, y + 0.5 * down - high, x + turn + wide, y + 0.5 * down + high)
    draw.chord(mouth, 0, 180, fill=lips) if rng.random() < 0.6 else draw.ellipse(mouth, fill=lips)
    return picture.resize((size, size), Image.Resampling.BOX)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--size", type=int, default=64, help="pixels of a side")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for number in range(options.count):
        picture = face(np.random.default_rng([options.seed, number]), options.size)
        picture.save(options.folder / f"{number:06}.png")


if __name__ == "__main__":
    main()
