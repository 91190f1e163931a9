"""How fast StyleGAN2 draws: ``python -m bench.stylegan2 --out bench/results/drawing.json``.

Networks of the published sizes with random weights, seed to uint8 picture. Every round times each way once: idsim,
the plain eager formulation (weights per sample, convolved in groups) and, with ``--compiled``, idsim with
torch.compile. Peak memory is that of a process that opens a safetensors file and draws a batch.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.run import commit, save_result
from bench.stylegan2_reference import synthesize
from bench.stylegan2_weights import full_size, random_checkpoint
from idsim.benchmark import describe_machine, pin_threads
from idsim.generators.stylegan2 import StyleGan2, save_checkpoint
from idsim.generators.stylegan2.latents import latent_code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from idsim.generators.stylegan2 import Checkpoint

PSI = 0.7
PAUSE_S = 0.05
MEASURED_ALONE = "--measure-memory"


def plain_way(checkpoint: Checkpoint, device: str) -> Callable[[Sequence[int]], np.ndarray]:
    """Return a function from seeds to pictures by the plain formulation."""
    import torch

    generator = StyleGan2(checkpoint, device=device)
    weights = {name: torch.tensor(array, device=device) for name, array in checkpoint.weights.items()}

    def draw(seeds: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():
            codes = np.stack([latent_code(checkpoint.config, seed) for seed in seeds])
            image = synthesize(checkpoint.config, weights, generator.map(codes, psi=PSI))
            levels = (image.permute(0, 2, 3, 1) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
            return levels.cpu().numpy()

    return draw


def own_way(checkpoint: Checkpoint, device: str, **options: Any) -> Callable[[Sequence[int]], np.ndarray]:
    """Return a function from seeds to pictures by idsim."""
    generator = StyleGan2(checkpoint, device=device, batch=None, **options)
    return lambda seeds: np.stack(list(generator.sample(seeds, psi=PSI)))


def timed(
    ways: dict[str, Callable[[Sequence[int]], np.ndarray]], batch: int, rounds: int
) -> tuple[dict[str, list[float]], int]:
    """Return milliseconds per picture of every way and round, and the largest difference between their pictures."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    largest = 0
    for number in range(rounds + 1):  # the first warms up, and compiles
        seeds = range(number * batch, (number + 1) * batch)
        order = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        pictures = {}
        for name in order:
            time.sleep(PAUSE_S)
            start = time.perf_counter()
            pictures[name] = ways[name](seeds)
            if number:
                times[name].append((time.perf_counter() - start) * 1e3 / batch)
        first, *others = (picture.astype(int) for picture in pictures.values())
        largest = max([largest, *(int(np.abs(first - other).max()) for other in others)])
    return times, largest


def case(resolution: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure one size."""
    config, widths = full_size(resolution)
    checkpoint = random_checkpoint(config, widths)
    batch = chosen.batch if chosen.device != "cpu" else 1
    ways = {
        "idsim": own_way(checkpoint, chosen.device),
        "plain": plain_way(checkpoint, chosen.device),
    }
    if chosen.compiled:
        ways["idsim compiled"] = own_way(checkpoint, chosen.device, compiled=True)
    times, largest = timed(ways, batch, chosen.rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {}
    for name in ways:
        if name != "plain":
            pairs = np.array(times["plain"]) / np.array(times[name])
            low, high = np.quantile(pairs, [0.25, 0.75]).tolist()
            ratios[name] = {"ratio": medians["plain"] / medians[name], "low": low, "high": high}
    return {
        "resolution": resolution,
        "channel_base": widths.channel_base,
        "weights": sum(array.size for array in checkpoint.weights.values()),
        "batch": batch,
        "ms_per_picture": {name: [round(value, 2) for value in values] for name, values in times.items()},
        "pictures_per_s": {name: round(1e3 / median, 3) for name, median in medians.items()},
        "times_faster_than_plain": ratios,
        "largest_difference_in_levels": largest,
        "memory": memory(checkpoint, chosen.device, batch),
        "commit": commit(),
    }


def memory(checkpoint: Checkpoint, device: str, batch: int) -> dict[str, Any]:
    """Return what a process of its own needs to open the file and draw."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        save_checkpoint(checkpoint, path)
        command = [sys.executable, "-m", "bench.stylegan2", MEASURED_ALONE, str(path), "--device", device]
        command += ["--batch", str(batch)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured | {"file_mib": round(path.stat().st_size / 2**20, 1)}


def peak_mib() -> float:
    """Return the peak resident memory of this program; getrusage would count the process that it was forked from."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


def measure_memory(path: str, device: str, batch: int) -> dict[str, Any]:
    """Open a file and draw, and report times and peaks of this process."""
    import torch

    imported = peak_mib()
    start = time.perf_counter()
    generator = StyleGan2.open(path, device=device)
    opened_s, opened = time.perf_counter() - start, peak_mib()
    list(generator.sample(range(batch), psi=PSI))
    found = {
        "open_s": round(opened_s, 2),
        "peak_mib_of_imports": imported,
        "peak_mib_opened": opened,
        "peak_mib_drawn": peak_mib(),
    }
    if device != "cpu":
        found["device_peak_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.stylegan2")
    parser.add_argument("--out", type=Path, help="result file; default: print the result")
    parser.add_argument("--resolutions", default="64,256,1024")
    parser.add_argument("--device", default="cpu", help='of torch, "cpu" or "cuda"')
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8, help="pictures at once on a GPU")
    parser.add_argument("--compiled", action="store_true", help="also with torch.compile")
    parser.add_argument(MEASURED_ALONE, metavar="FILE", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.measure_memory:
        print(json.dumps(measure_memory(chosen.measure_memory, chosen.device, chosen.batch)))
        return 0
    document = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": describe_machine(chosen.threads),
        "device": chosen.device,
        "cases": [],
    }
    with pin_threads(chosen.threads):
        for text in chosen.resolutions.split(","):
            record = case(int(text), chosen)
            document["cases"].append(record)
            print(json.dumps(record), file=sys.stderr, flush=True)
            if chosen.out:
                save_result(chosen.out, document)
    if not chosen.out:
        print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
