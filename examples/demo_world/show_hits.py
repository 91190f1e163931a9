"""Draw the generated pictures that reach people of the training set, each beside the portrait that it is nearest to.

    idsim demo -o demo
    python show_hits.py demo demo.png

The best match of every training person, best people first: upper row generated, lower row from the training set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # noqa: TID253 - a script
from PIL import Image  # noqa: TID253

from idsim.generators.stylegan2 import StyleGan2

ZOOM, GAP, WHITE = 3, 6, 255


def nearest_pairs(run: Path, matcher: str) -> list[tuple[int, str]]:
    """Return seed and training picture of the best match of every person, best first."""
    columns = ["rank", "gallery", "score", "synthetic", "image"]
    rows = pq.read_table(run / "matchers" / matcher / "pairs.parquet", columns=columns).to_pylist()
    best: dict[str, tuple[int, str]] = {}
    for row in sorted(rows, key=lambda row: -row["score"]):
        if row["gallery"] == "training" and row["rank"] == 1:
            seed = int(row["synthetic"].removeprefix("seed"))
            best.setdefault(Path(row["image"]).parts[0], (seed, row["image"]))
    return list(best.values())


def sheet(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Image.Image:
    """Return pairs as columns, enlarged without smoothing."""
    side = ZOOM * pairs[0][0].shape[0]
    page = Image.new("RGB", (len(pairs) * (side + GAP) + GAP, 2 * (side + GAP) + GAP), (WHITE,) * 3)
    for column, pair in enumerate(pairs):
        for row, pixels in enumerate(pair):
            picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
            page.paste(picture, (GAP + column * (side + GAP), GAP + row * (side + GAP)))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path, help="folder of idsim demo")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("--matcher", default="drawn-arcface")
    parser.add_argument("--people", type=int, default=8)
    arguments = parser.parse_args()
    chosen = nearest_pairs(arguments.demo / "runs" / "few", arguments.matcher)[: arguments.people]
    network = StyleGan2.open(arguments.demo / "weights" / "few.safetensors", device="cpu")
    drawn = network.sample([seed for seed, _ in chosen])
    portraits = arguments.demo / "pictures" / "training-few"
    pairs = [
        (pixels, np.asarray(Image.open(portraits / name)))
        for pixels, (_, name) in zip(drawn, chosen, strict=True)
    ]
    sheet(pairs).save(arguments.picture, optimize=True)


if __name__ == "__main__":
    main()
