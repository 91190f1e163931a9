"""How many pictures a second each stage takes: ``python -m bench.embedding --out bench/results/embedding.json``.

Decoding, detection and alignment of one face at several sizes of the picture; embedding of crops by dlib's network and
by networks of the published sizes with random weights. Every round times each stage once; medians.
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import statistics
import sys
import tempfile
import time
from contextlib import closing
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.run import commit, save_result
from idsim.benchmark import describe_machine, pin_threads
from idsim.images import decode
from idsim.matchers.faces import Alignment
from idsim.matchers.opening import open_detector
from idsim.matchers.options import RunOptions
from idsim.matchers.registry import open_embedder
from idsim.matchers.torch_module import network_shapes
from idsim.sources.decoding import DecoderPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Stage = tuple[Callable[[], Any], int]  # what is timed, and how many pictures it takes

SIDES = (112, 160, 1024)
NETWORKS = {"arcface-torch": "iresnet50", "facenet-pytorch": "inception_resnet_v1"}
PIXELS = 24 << 20  # of the pictures that one measurement decodes
CPU_CROPS, GPU_CROPS = 8, 256
PAUSE_S = 0.02


def photograph(side: int) -> NDArray[np.uint8]:
    """Return a portrait of `side` x `side` pixels; the face takes a third of its width."""
    from PIL import Image
    from skimage import data

    part = Image.fromarray(data.astronaut()[:300, 60:360])
    return np.asarray(part.resize((side, side), Image.Resampling.LANCZOS))


def encoded(pixels: NDArray[np.uint8], kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def decoding(side: int, pool: DecoderPool) -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    count = max(4, min(256, PIXELS // side**2))
    for kind in ("PNG", "JPEG"):
        data = encoded(photograph(side), kind)

        def here(data: bytes = data) -> None:
            for _ in range(count):
                decode(data)

        def outside(data: bytes = data) -> None:
            for content in pool.decode(repeat(lambda: data, count)):
                assert content.picture.pixels is not None, content.picture.reason

        stages[f"decode {kind}, in this process"] = here, count
        stages[f"decode {kind}, {pool.workers} confined processes"] = outside, count
    return stages


def finding(side: int, detectors: dict[str, Any]) -> dict[str, Stage]:
    """Return detection, and alignment of what was found; a detector that finds nothing is timed all the same."""
    image = photograph(side)
    stages: dict[str, Stage] = {}
    for name, detector in detectors.items():
        faces = detector.find(image)
        stages[f"detect {name}{'' if faces else ' (finds none)'}"] = (lambda d=detector: d.find(image)), 1
        if not faces:
            continue
        ways = {"dlib": [Alignment("dlib_chip", (150, 150))]}.get(
            name, [Alignment("similarity5"), Alignment("box_margin", (160, 160), margin=14)]
        )
        for way in ways:
            label = f"align {way.mode} {way.size[0]}, face by {name}"
            stages[label] = (lambda w=way, f=faces[0]: w.crop(image, f)), 1
    stages["align ffhq_fixed 112"] = (lambda: Alignment("ffhq_fixed").crop(image)), 1
    return stages


def random_weights(architecture: str, folder: Path) -> Path:
    import torch

    random = np.random.default_rng(0)
    arrays = {}
    for name, shape in network_shapes(architecture).items():
        scale = 0.5 / max(1, int(np.prod(shape[1:]))) ** 0.5 if len(shape) > 1 else 0.1
        values = scale * random.standard_normal(shape)
        # Variances and scales of normalisations are near one.
        arrays[name] = torch.tensor(np.abs(values) + 1 if len(shape) == 1 else values, dtype=torch.float32)
    path = folder / f"{architecture}.pt"
    torch.save(arrays, path)
    return path


def embedding(folder: Path, device: str, threads: int) -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    count = CPU_CROPS if device == "cpu" else GPU_CROPS
    options = RunOptions(device, device != "cpu", 0, threads)
    embedders = {
        f"{name} ({architecture}, torch)": open_embedder(
            name, model=random_weights(architecture, folder), options=options
        )
        for name, architecture in NETWORKS.items()
    }
    if device == "cpu":
        embedders["dlib"] = open_embedder("dlib")
    for name, embedder in embedders.items():
        crops = np.random.default_rng(0).integers(0, 256, (count, *embedder.size, 3), dtype=np.uint8)
        size = "x".join(map(str, embedder.size))
        stages[f"embed {name} {size}"] = (lambda e=embedder, c=crops: e.embed(c)), count
    return stages


def measure(stages: dict[str, Stage], rounds: int) -> dict[str, dict[str, float]]:
    """Return pictures per second of every stage: the median of the rounds, and the best."""
    rates: dict[str, list[float]] = {name: [] for name in stages}
    for work, _ in stages.values():
        work()
    for _ in range(rounds):
        for name, (work, count) in stages.items():
            started = time.perf_counter()
            work()
            rates[name].append(count / (time.perf_counter() - started))
            time.sleep(PAUSE_S)
    return {
        name: {
            "median_per_second": round(statistics.median(found), 2),
            "best_per_second": round(max(found), 2),
        }
        for name, found in rates.items()
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="file of results, replaced after every size")
    parser.add_argument("--device", default="cpu", help="device of the networks: cpu or cuda")
    parser.add_argument("--detectors", default="dlib,dlib68,mtcnn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that decode; 0: as many as idsim takes"
    )
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    document: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": describe_machine(chosen.threads),
        "device": chosen.device,
        "rounds": chosen.rounds,
        "sides": {},
    }
    detectors = {name: open_detector(name) for name in chosen.detectors.split(",") if name}
    with (
        pin_threads(chosen.threads),
        tempfile.TemporaryDirectory() as folder,
        closing(DecoderPool(chosen.workers)) as pool,
    ):
        for side in SIDES:
            document["sides"][str(side)] = measure(
                decoding(side, pool) | finding(side, detectors), chosen.rounds
            )
            print(json.dumps({side: document["sides"][str(side)]}), file=sys.stderr, flush=True)
        document["embed"] = measure(embedding(Path(folder), chosen.device, chosen.threads), chosen.rounds)
        print(json.dumps(document["embed"]), file=sys.stderr, flush=True)
    if chosen.out:
        save_result(chosen.out, document)
    else:
        print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
