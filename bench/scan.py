"""How long each stage of a scan takes, and how much memory: embeddings of any number of people and matchers.

    python -m bench.scan [--synthetic 100000] [--real 1000000] [--dim 512] [--matchers 2] [--folder DIR] [--out FILE]
                         [--sets SxT,SxH,HxH]

Makes embeddings of that many people in training and holdout, one image each, and that many synthetic faces, 1 % of
which are further images of people of the training set, for every matcher; runs ``idsim scan`` on them in a process of
its own; and says what ``times.json`` of the run says, beside the pairs compared, the bytes of the shards and what was
found of the planted leaks. The embeddings of a matcher take 4 * dim bytes each, on disk and in memory: 4.3 GB at the
defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from idsim.benchmark import describe_machine

LEAKED = 0.01
BLOCK = 65_536
SETS = ("synthetic", "training", "holdout")


def directions(seed: int, start: int, stop: int, dim: int) -> np.ndarray:
    """Return people's directions; the same numbers are the same people, whatever else is asked for."""
    rows = np.empty((stop - start, dim), np.float32)
    for number in range(start // BLOCK, (stop + BLOCK - 1) // BLOCK):
        block = np.random.default_rng([seed, number]).standard_normal((BLOCK, dim), dtype=np.float32)
        first, last = max(start, number * BLOCK), min(stop, (number + 1) * BLOCK)
        rows[first - start : last - start] = block[first - number * BLOCK : last - number * BLOCK]
    return rows


def write_set(path: Path, people: tuple[int, int, int], seed: int, dim: int, leaked: int = 0) -> None:
    """Write images of people, one each; the first `leaked` rows are of the first people of the training set."""
    kind, start, stop = people
    out = np.lib.format.open_memmap(path, "w+", np.float32, (stop - start, dim))
    for first in range(0, stop - start, BLOCK):
        last = min(first + BLOCK, stop - start)
        rows = directions(1000 * seed + kind, start + first, start + last, dim)
        if first < leaked:
            count = min(leaked, last) - first
            rows[:count] = directions(1000 * seed + 1, first, first + count, dim)
        noise = np.random.default_rng([seed, kind, first, 1]).standard_normal(rows.shape, dtype=np.float32)
        out[first:last] = rows + noise
    out.flush()
    del out


def describe(folder: Path, arguments: argparse.Namespace) -> Path:
    """Write the embeddings and the description of the scan."""
    leaked = int(LEAKED * arguments.synthetic)
    sizes = dict(zip(SETS, (arguments.synthetic, arguments.real, arguments.real), strict=True))
    lines = ["[run]", 'name = "run"', 'dir = "."', *(f"[{name}]" for name in SETS)]
    for matcher in range(arguments.matchers):
        lines += ["[[matcher]]", f'name = "m{matcher}"', 'kind = "embeddings"', 'metric = "cosine"']
        for kind, name in enumerate(SETS):
            path = folder / f"{name}-{matcher}.npy"
            write_set(path, (kind, 0, sizes[name]), matcher, arguments.dim, leaked if kind == 0 else 0)
            lines.append(f'{name} = "{path.name}"')
    lines += ["[calibration]", "fpir = [0.01]", "fmr = [1e-6]"]
    if arguments.sets:
        lines += ["[comparisons]", f"sets = {json.dumps(arguments.sets.split(','))}"]
    config = folder / "scan.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


def measure(config: Path) -> dict[str, Any]:
    """Run the scan and return what it took and found."""
    started = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        "from idsim.cli.main import run; run()",
        "scan",
        str(config),
        "--quiet",
        "--json",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"idsim scan ended with exit code {done.returncode}")
    seconds = time.perf_counter() - started
    summary = json.loads(done.stdout)
    folder = config.parent / "run"
    times = json.loads((folder / "times.json").read_bytes())
    shards = sum(path.stat().st_size for path in folder.rglob("*.bin"))
    found = {
        name: entry["operating_points"][0]["excess_leak_rate"] for name, entry in summary["matchers"].items()
    }
    return {"seconds": round(seconds, 1), **times, "shard_bytes": shards, "excess": found}


def show(result: dict[str, Any]) -> None:
    """Print the stages as a table."""
    print(f"{'stage':<24}{'seconds':>12}{'pairs':>14}{'pairs/s':>12}")
    for name, entry in result["stages"].items():
        rate = entry["amount"] / entry["seconds"] if entry["seconds"] else 0.0
        print(f"{name:<24}{entry['seconds']:>12.1f}{entry['amount']:>14.3g}{rate:>12.3g}")
    print(
        f"whole scan {result['seconds']:.0f} s, peak memory {result['peak_memory_bytes'] / 2**30:.2f} GiB, ",
        end="",
    )
    print(f"shards {result['shard_bytes'] / 1e6:.0f} MB")
    for name, excess in result["excess"].items():
        print(
            f"{name}: excess {excess['rate']:.4%} ({excess['low']:.4%} to {excess['high']:.4%}), planted {LEAKED:.0%}"
        )


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--synthetic", type=int, default=100_000)
    parser.add_argument("--real", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--matchers", type=int, default=2)
    parser.add_argument("--sets", default="", help="comparisons to make, like SxT,SxH,HxH; default: all")
    parser.add_argument(
        "--folder", type=Path, help="for the embeddings and the run; default: a temporary one"
    )
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(describe(Path(folder), arguments))
    show(result)
    if arguments.out:
        sizes = {key: getattr(arguments, key) for key in ("synthetic", "real", "dim", "matchers", "sets")}
        record = {**result, "machine": describe_machine(os.cpu_count() or 1), "sizes": sizes}
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
