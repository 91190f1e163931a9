"""The stage ``probe``: the first measurements on a device; docs/design/cuda-predictions.md says what was predicted.

1. Products of int8, float16 and bfloat16 kept up for seconds: does the power limit change which type is best?
2. The scan of 8-bit codes, with each kind of tiles that the device has: with and without survivors (what listing and
   scoring them costs), its share of the int8 peak, the histogram of all pairs beside it, the fixed costs of a search,
   and how much of the time does not grow with d: what comparing products costs, whatever they are made of.
3. Survivors per query on random, sorted, repeated and constant galleries, against the model of the thresholds.
4. The error of float16 products with float32 sums on rows of one sign, against the bound that a certificate needs.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

import idsim
from bench.gpu import model
from bench.gpu.measure import describe
from bench.gpu.rows import make_many_rows
from bench.run import save_result
from idsim.benchmark.cases import make_rows
from idsim.benchmark.device_peaks import device_peaks, device_state, product_of
from idsim.benchmark.device_tiles import check_tiles, tiers, using

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.gpu.budget import Budget

UNREACHED = 0.9999  # a threshold that no random row reaches
SCAN_DIMS = (512, 128, 256, 1024)
FEW_ROWS = 1000  # a search of so few costs its launches, the coding of queries and the wait alone
NOTHING = "count, nothing survives"
FLOAT16_UNIT = 2.0**-22  # per product and sum, relative to the sum of the sizes: tensor cores may truncate


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _median(way: Callable[[], Any], device: str, rounds: int) -> float:
    seconds = []
    for turn in range(rounds + 1):
        _wait(device)
        start = time.perf_counter()
        way()
        _wait(device)
        if turn:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def sustained(device: str, seconds: float, size: int) -> list[dict[str, Any]]:
    """Return rates of the vendor's products in the first and the last second of a long run, and the clocks then."""
    found = []
    for kind in ("int8", "float16", "bfloat16"):
        try:
            multiply = product_of(kind, size, device)
            multiply()
        except RuntimeError as error:
            found.append({"kind": kind, "error": str(error)})
            continue
        _wait(device)
        rates: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or not rates:
            start, runs = time.perf_counter(), 0
            while time.perf_counter() - start < min(0.5, seconds):
                for _ in range(4):
                    multiply()
                _wait(device)
                runs += 4
            rates.append(2.0 * size**3 * runs / (time.perf_counter() - start) / 1e12)
        found.append(
            {"kind": kind, "first_tflops": rates[0], "last_tflops": rates[-1], "state": device_state()}
        )
    return found


def scan_rates(
    device: str, rows: int, queries: int, dims: tuple[int, ...], rounds: int
) -> list[dict[str, Any]]:
    """Return rates of a search with and without survivors, of a count that nothing reaches and of a distribution.

    One line for each kind of tiles, size and question; ``tiles`` is None where there is no choice of them.
    """
    import torch

    found = []
    for dim in dims:
        q, x = (torch.from_numpy(part).to(device) for part in make_many_rows("random", rows, dim, queries))
        for tier in tiers(device) or (None,):
            with using(tier) if tier else nullcontext():
                for name, way in _ways(q, x).items():
                    seconds = _median(way, device, rounds)
                    scanned = min(rows, FEW_ROWS) if name == "top-k, few rows" else rows
                    rate = 2.0 * scanned * queries * dim / seconds / 1e12
                    found.append({"dim": dim, "tiles": tier, "what": name, "seconds": seconds, "tops": rate})
    return found


def _ways(q: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """Return a search whole, and with one stage after another taken away."""
    index, few = idsim.Index(x), idsim.Index(x[:FEW_ROWS])
    return {
        "top-k": lambda: index.search(q, 10),
        "top-k, nothing survives": lambda: index.search(q, 10, threshold=UNREACHED),
        NOTHING: lambda: idsim.count_above(q, index, [UNREACHED]),
        "distribution": lambda: idsim.score_distribution(q, index),
        "top-k, few rows": lambda: few.search(q, 10),
    }


def scan_stages(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, from what `scan_rates` found, what the stages of a scan cost beside the products.

    ``of_pairs``: share of the time at 512 dimensions that does not grow with them, from a straight line through the
    times of `NOTHING` over all sizes. The others are times over that of `NOTHING`, less one.
    """
    found = []
    for tier in dict.fromkeys(line["tiles"] for line in lines):
        by = {(line["dim"], line["what"]): line["seconds"] for line in lines if line["tiles"] == tier}
        dims = sorted({dim for dim, _ in by})
        slope, constant = np.polyfit(dims, [by[dim, NOTHING] for dim in dims], 1)
        found.append(
            {
                "tiles": tier,
                "what": "of_pairs",
                "dim": 512,
                "share": float(constant / (constant + 512 * slope)),
            }
        )
        found += [
            {"tiles": tier, "what": what, "dim": dim, "share": by[dim, what] / by[dim, NOTHING] - 1}
            for dim in dims
            for what in ("top-k", "top-k, nothing survives", "distribution")
        ]
    return found


def galleries(rows: int, dim: int, queries: int) -> tuple[Any, dict[str, Any]]:
    """Return queries, and galleries that are kind and unkind to thresholds."""
    q, x = make_rows("random", rows, dim, queries)
    rising = x[np.argsort(x @ q[0])]
    return q, {
        "random": x,
        "sorted, best last": rising,
        "100 rows repeated": np.ascontiguousarray(np.tile(x[:100], (rows // 100 + 1, 1))[:rows]),
        "constant": np.ascontiguousarray(np.broadcast_to(x[0], x.shape)),
    }


def survivors(device: str, rows: int, dim: int, queries: int, ks: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return candidates and canonical scores per query, beside the model, which is one of random rows.

    Of all the queries, and of the first few, which are coded as two digits.
    """
    import torch

    q, each = galleries(rows, dim, queries)
    found = []
    for name, gallery in each.items():
        index = idsim.Index(torch.from_numpy(gallery).to(device))
        for k, n in itertools.product(ks, sorted({queries, min(queries, model.MOST_TWO_DIGITS)})):
            certificate = index.search(torch.from_numpy(q[:n]).to(device), k, certificate=True).certificate
            assert certificate is not None
            expected = model.survivors(rows, dim, k, digits=model.digits_of(n)) if name == "random" else None
            found.append(
                {
                    "gallery": name,
                    "k": k,
                    "queries": n,
                    "candidates": certificate.candidates / n,
                    "rescored": certificate.rescored / n,
                    "model": expected,
                }
            )
    return found


def float16_error(device: str, dims: tuple[int, ...], count: int) -> list[dict[str, Any]]:
    """Return the largest error of float16 products over its bound d 2^-22 sum|q x|; 1 would break the certificate."""
    import torch

    rng = np.random.default_rng(0)
    found = []
    for dim in dims:
        ramp = np.exp2(-rng.integers(0, 12, (count, dim)))
        kinds = {
            "equal": np.ones((count, dim)),
            "just above 1": 1 + rng.integers(0, 2, (count, dim)) * 2.0**-10,
            "many sizes": ramp,
            "large first": np.sort(ramp, axis=1)[:, ::-1],
            "large last": np.sort(ramp, axis=1),
        }
        for name, values in kinds.items():
            half = values.astype(np.float16)
            a = torch.from_numpy(np.ascontiguousarray(half)).to(device)
            try:
                got = torch.mm(a, a.T, out_dtype=torch.float32)
            except (RuntimeError, TypeError, NotImplementedError) as error:
                found.append({"dim": dim, "values": name, "error": str(error).splitlines()[0]})
                continue
            right = (
                half.astype(np.float64) @ half.astype(np.float64).T
            )  # all of one sign: also the sum of the sizes
            worst = float((np.abs(got.cpu().numpy() - right) / right).max())
            found.append(
                {
                    "dim": dim,
                    "values": name,
                    "relative_error": worst,
                    "share_of_bound": worst / (dim * FLOAT16_UNIT),
                }
            )
    return found


def probe(
    folder: Path,
    budget: Budget,
    *,
    device: str = "cuda",
    rows: int = 1_000_000,
    queries: int = 4096,
    seconds: float = 10.0,
) -> int:
    """Take the measurements, writing each when it is done, and print them.

    Status 2: the environment asks for kernels that there are not.
    """
    try:
        check_tiles(device)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    small = not device.startswith("cuda")
    peaks = device_peaks(device, 64, 1 << 20) if small else device_peaks(device)
    document: dict[str, Any] = {**describe(device), "peaks": peaks.to_dict()}
    steps: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "scan": lambda: scan_rates(device, rows, queries, SCAN_DIMS, 5),
        "stages": lambda: scan_stages(document["scan"]),
        "survivors": lambda: survivors(device, rows, 512, min(queries, 256), (10, 100, 1000)),
        "float16": lambda: float16_error(device, (128, 512, 1024), 256),
        "sustained": lambda: sustained(device, seconds, 64 if small else 8192),
    }
    for name, step in steps.items():
        if budget.left < 60 or (name == "stages" and "scan" not in document):
            print(f"left out for lack of time: {name}")
            continue
        document[name] = step()
        save_result(folder / "probe.json", document)
        for line in document[name]:
            shown = {
                key: f"{value:.4g}" if isinstance(value, float) else value for key, value in line.items()
            }
            share = (
                f", {line['tops'] * 1e3 / peaks.int8:.0%} of the int8 peak"
                if "tops" in line and peaks.int8
                else ""
            )
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in shown.items()) + share)
    return 0
