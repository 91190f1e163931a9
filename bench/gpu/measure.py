"""The stage ``bench``: the table, case by case, within a budget of time."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import sys
from typing import TYPE_CHECKING, Any

from bench.gpu.cases import CASES, MOST_QUERIES, expected_seconds
from bench.gpu.rows import make_many_rows
from bench.gpu.table import device_table
from bench.run import Galleries, commit, save_result
from idsim.benchmark import Case, Effort, case_line, measure_case
from idsim.benchmark.device import device_tools
from idsim.benchmark.device_peaks import DevicePeaks, device_peaks, device_state
from idsim.benchmark.device_rows import free_device_memory
from idsim.benchmark.device_tiles import check_tiles, chosen_tiles
from idsim.benchmark.line import tool_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.gpu.budget import Budget

PACKAGES = (
    "idsim", "torch", "cupy-cuda13x", "cupy-cuda12x", "jax",
    "faiss-gpu", "faiss-gpu-cu13-cuvs", "faiss-gpu-cu12", "cuvs-cu13", "cuvs-cu12",
)  # fmt: skip
# Trials on 2 million rows and 8,192 queries tell settings apart; a rival that needs ten seconds is no rival.
EFFORT = Effort(
    seconds=3.0, rounds=(3, 15), pause=0.01, full=True, trial_rows=1 << 21, trial_queries=8192, most_seconds=10.0,
    device=True, tidy=free_device_memory,
)  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe(device: str) -> dict[str, Any]:
    """Return what a reader needs to judge a number."""
    import torch

    on_gpu = device.startswith("cuda")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if on_gpu else "the CPU as a device",
        "capability": list(torch.cuda.get_device_capability()) if on_gpu else None,
        "cuda": torch.version.cuda,
        "commit": commit(),
        "tiles": chosen_tiles(),
        "versions": {package: _version(package) for package in PACKAGES},
        "state": device_state(),
    }


def open_document(path: Path, device: str, *, resume: bool) -> dict[str, Any]:
    """Return the file's document or a new one.

    Raises
    ------
    ValueError
        The file is there and is not to be continued, or comes from another device.
    """
    new = {**describe(device), "peaks": None, "cases": []}
    if not path.exists():
        return new
    if not resume:
        raise ValueError(f"{path} exists: go on with --resume, or name another folder")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key, what in (("device", "on"), ("tiles", "with tiles of")):
        if document.get(key) != new[key]:
            raise ValueError(
                f"{path} was measured {what} {document.get(key)}, this is {new[key]}: name another folder"
            )
    return document


def bench(
    folder: Path,
    data: Path | None,
    budget: Budget,
    *,
    resume: bool,
    cases: Sequence[Case] = CASES,
    device: str = "cuda",
    effort: Effort = EFFORT,
) -> int:
    """Measure the cases that fit into the time, most worthy first, saving after each; print the table.

    Status 1: a case could not be measured; 2: the result file is there and cannot be continued, or the environment asks
    for kernels that there are not.
    """
    path = folder / "gpu.json"
    try:
        check_tiles(device)
        document = open_document(path, device, resume=resume)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    peaks = device_peaks(device) if device.startswith("cuda") else device_peaks(device, 256, 1 << 20)
    peaks = peaks.highest(DevicePeaks(**document["peaks"])) if document["peaks"] else peaks
    document["peaks"] = peaks.to_dict()
    save_result(path, document)
    galleries = Galleries(data, MOST_QUERIES, make_many_rows)
    failed = 0
    done = {record["name"] for record in document["cases"]}
    for case in cases:
        if case.name in done:
            continue
        wanted = expected_seconds(case, rows_are_there=galleries.holds(case))
        if wanted > budget.left:
            print(f"left for --resume: {case.name} (may take {wanted:.0f} s)", file=sys.stderr)
            continue
        queries, gallery = galleries.get(case)
        tools = device_tools(device, case.mode)
        try:
            record = measure_case(case, queries, gallery, tools, peaks, threads=1, effort=effort)
        except (RuntimeError, MemoryError) as error:
            failed += 1
            print(f"failed: {case.name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        finally:
            del tools
            free_device_memory()
        document["cases"].append({**record, "state": device_state()})
        save_result(path, document)
        print(case_line(record), file=sys.stderr)
        for result in record["tools"]:
            print(f"    {tool_line(result)}  {result['setting'] or ''}", file=sys.stderr, flush=True)
        for tool, reason in record["left_out"].items():
            print(f"    {tool:<16} left out: {reason}", file=sys.stderr)
    print(device_table(document, document["cases"]))
    return 1 if failed else 0
