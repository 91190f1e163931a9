"""Measure matchers on drawn people whom they never saw, and write ``FOLDER/matchers.json`` and ``FOLDER/matchers.md``.

    python measure_matchers.py drawn-arcface.onnx drawn-sphereface.onnx -o .

People are those of the population "evaluation". Error rates are those of ``idsim calibrate``, the verdict on the
specification that of ``idsim matcher check``; all intervals are of 95 % and know that pairs share people.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import picture_trials
from agreement import agreement
from matcher_table import table

from idsim.audit.thresholds.calibrating import CalibrationRequest, calibrate
from idsim.audit.thresholds.calibration import Target
from idsim.audit.thresholds.calibration_set import read_calibration_set
from idsim.demo_world import draw, person, portrait
from idsim.demo_world.scenes import scene
from idsim.matchers import RunOptions, open_embedder
from idsim.matchers.checking import check_matcher

if TYPE_CHECKING:
    from idsim.matchers import Embedder

POPULATION = "evaluation"
TARGETS = (0.01, 0.001, 0.0001, 0.00001)
DECIDING = 0.001  # The false match rate at whose threshold colours are tried and agreement is counted.
CHECKED = (60, 5)  # People, and portraits of each, of the check of the specification.


def portraits(people: int, images: int) -> np.ndarray:
    """Portraits, uint8 ``[people, images, 32, 32, 3]``."""
    everyone = (person(POPULATION, number) for number in range(people))
    return np.stack([[portrait(somebody, image) for image in range(images)] for somebody in everyone])


def occluded(people: int, images: int) -> np.ndarray:
    """Whether something is before the face, bool ``[people, images]``."""
    everyone = (person(POPULATION, number) for number in range(people))
    views = [[scene(somebody, image).occlusion for image in range(images)] for somebody in everyone]
    return np.array(views) != "none"


def rates(vectors: np.ndarray, seed: int) -> dict[str, Any]:
    """What ``idsim calibrate`` says of embeddings ``[people, images, dim]``."""
    people, images, dim = vectors.shape
    with tempfile.TemporaryDirectory() as folder:
        rows, labels = (Path(folder) / name for name in ("vectors.npy", "labels.npy"))
        np.save(rows, vectors.reshape(-1, dim))
        np.save(labels, np.repeat(np.arange(people), images))
        data = read_calibration_set(rows, str(labels))
    # No two of the people are one person, so that nobody is to be taken out by a rule: the cut is above all scores.
    targets = tuple(Target("fmr", value) for value in TARGETS)
    request = CalibrationRequest("cosine", targets, cut=1.5, seed=seed)
    entry = calibrate(data, request, lambda *_: True).entry
    return {key: entry[key] for key in ("calibration", "operating_points", "separation")}


def specification_check(file: Path) -> dict[str, Any]:
    """What ``idsim matcher check`` says of a folder of portraits."""
    with tempfile.TemporaryDirectory() as folder:
        draw(folder, POPULATION, *CHECKED)
        found = check_matcher(str(file), folder).plain()
    kept = {
        entry["check"]: entry for entry in found["findings"] if entry["check"] in ("pairs", "flip", "colour")
    }
    return {"verdict": found["verdict"], "sentence": found["sentence"], "findings": kept}


def speed(embedder: Embedder, crops: np.ndarray) -> float:
    """Portraits per second of processor time, the best of three."""
    embedder.embed(crops[:64])
    times = []
    for _ in range(3):
        started = time.process_time()
        embedder.embed(crops)
        times.append(time.process_time() - started)
    return round(len(crops) / min(times))


def measured(file: Path, pictures: np.ndarray, seed: int) -> tuple[dict[str, Any], np.ndarray, float]:
    """Everything about one matcher, its embeddings, and the threshold at `DECIDING`."""
    embedder = open_embedder(str(file), options=RunOptions(threads=1))
    flat = pictures.reshape(-1, *pictures.shape[2:])
    vectors = embedder.embed(flat).reshape(*pictures.shape[:2], -1)
    found = rates(vectors, seed)
    points = {point["target"]: point for point in found["operating_points"]}
    if points[DECIDING]["refused"]:
        raise SystemExit(f"too few people: {points[DECIDING]['refused']}")
    threshold = float(points[DECIDING]["threshold"])
    entry = {
        "name": embedder.name,
        "sha256": next(iter(embedder.describe()["files"].values())),
        "bytes": file.stat().st_size,
        "dim": embedder.dim,
        "portraits_per_second": speed(embedder, flat[:1000]),
        **found,
        "pictures": picture_trials.trials(embedder, pictures, threshold, seed)
        | {"clear": picture_trials.clear_views(vectors, occluded(*pictures.shape[:2]), threshold)},
        "specification": specification_check(file),
    }
    return entry, vectors, threshold


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("matchers", type=Path, nargs=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pictures = portraits(options.people, options.images)
    parts = [measured(file, pictures, options.seed) for file in options.matchers]
    report = {
        "population": POPULATION,
        "people": options.people,
        "images": options.images,
        "matchers": [entry for entry, _, _ in parts],
        "agreement": agreement(*((vectors, threshold) for _, vectors, threshold in parts)),
        "colours_alone": picture_trials.by_colours_alone(pictures),
    }
    text = json.dumps(report, indent=1, sort_keys=True) + "\n"
    (options.output / "matchers.json").write_text(text, encoding="utf-8")
    (options.output / "matchers.md").write_text(table(report), encoding="utf-8")


if __name__ == "__main__":
    main()
