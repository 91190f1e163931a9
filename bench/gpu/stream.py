"""The stage ``stream``: galleries that lie on the host or on disk, as shares of the rate at which bytes can come.

On the host: float32 rows in memory that is pinned and that is not, against the same rows copied and multiplied by
PyTorch in bfloat16 with two buffers. Between: an index whose 8-bit codes lie on the device and whose float32 rows stay
in pinned memory, of as many rows as the machine holds. On disk: float32 rows of a gallery, against a plain read of its
files.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import idsim
from bench.gpu.measure import describe
from bench.gpu.rows import cores
from bench.run import save_result
from bench.streaming import best_read, files_of, make_gallery
from idsim.benchmark.cases import make_rows
from idsim.benchmark.device_peaks import device_peaks
from idsim.benchmark.device_rows import free_device_memory
from idsim.benchmark.device_tiles import check_tiles
from idsim.benchmark.truth import count_wrong, expected
from idsim.gallery import Gallery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.gpu.budget import Budget

ROUNDS = 5
CHUNK = 262_144
K = 10
DIM = 512
# Of what is free: the rest is for the system, for buffers, and on the device for one search.
HOST_SHARE, DEVICE_SHARE = 0.7, 0.8
BYTES_BESIDE_CODES = 28  # of a row on the device (docs/cuda.md)
LARGE_S = 240.0  # making, pinning and coding 90 GB, and the truth for a few queries


def many_rows(blocks: int, rows: int, dim: int, queries: int) -> tuple[Any, Any]:
    """Return queries and ``blocks * rows`` distinct unit rows: one block, each copy with signs of its own."""
    import torch

    q, block = make_rows("random", rows, dim, queries)
    gallery = torch.empty(blocks * rows, dim, pin_memory=torch.cuda.is_available()).numpy()
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (blocks, dim))

    def fill(at: int) -> None:
        np.multiply(block, signs[at], out=gallery[at * rows : (at + 1) * rows])

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(fill, range(blocks)))
    return q, gallery


def free_on_host() -> int:
    """Return bytes that the machine can give without swapping."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return 1024 * int(kib)


def blocks_that_fit(rows: int, dim: int, host: int, device: int) -> int:
    """Return how many blocks of rows fit: float32 on the host, codes on the device, of so many free bytes each."""
    on_host = int(HOST_SHARE * host) // (4 * dim * rows)
    on_device = int(DEVICE_SHARE * device) // ((dim + BYTES_BESIDE_CODES) * rows)
    return min(on_host, on_device)


class TorchStream:
    """The same work by PyTorch: chunks are copied from pinned memory while the one before is worked on."""

    def __init__(self, device: str, gallery: Any, chunk: int = CHUNK) -> None:
        import torch

        self.torch, self.device, self.chunk = torch, device, chunk
        self.rows = torch.from_numpy(gallery)
        self.on_gpu = device.startswith("cuda")
        self.copies = torch.cuda.Stream() if self.on_gpu else None

    def _copy(self, start: int) -> tuple[Any, Any]:
        part = self.rows[start : start + self.chunk]
        if self.copies is None:
            return part.clone(), None
        with self.torch.cuda.stream(self.copies):
            there = part.to(self.device, non_blocking=True)
            return there, self.copies.record_event()

    def search(self, queries: Any, k: int) -> Any:
        """Return the ids of the k best by bfloat16 scores."""
        torch = self.torch
        q = queries.to(torch.bfloat16)
        best, ids = [], []
        coming = self._copy(0)
        for start in range(0, len(self.rows), self.chunk):
            rows, ready = coming
            if start + self.chunk < len(self.rows):
                coming = self._copy(start + self.chunk)
            if ready is not None:
                torch.cuda.current_stream().wait_event(ready)
                rows.record_stream(torch.cuda.current_stream())
            values, at = (q @ rows.to(torch.bfloat16).T).topk(min(k, len(rows)), dim=1)
            best.append(values)
            ids.append(at + start)
        at = torch.cat(best, dim=1).topk(k, dim=1).indices
        return torch.cat(ids, dim=1).gather(1, at).cpu().numpy()


def timed(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, Any]]:
    """Return the median seconds and the last answer of every way; rounds are interleaved, the first warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Any] = {}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            answers[name] = way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: (statistics.median(each), answers[name]) for name, each in seconds.items()}


def from_host(
    queries: Any, gallery: Any, device: str, pinned_rate: float, rounds: int
) -> list[dict[str, Any]]:
    """Measure searches of rows on the host; ``pinned_rate`` is GB/s of copies to the device."""
    import torch

    on_device = torch.from_numpy(queries).to(device)
    pageable = np.array(gallery)
    rival = TorchStream(device, gallery)

    def ours(rows: Any) -> Any:
        return idsim.search(on_device, rows, K, device=device).ids.cpu().numpy()

    ways: dict[str, Callable[[], Any]] = {
        "idsim, pinned": lambda: ours(gallery),
        "idsim, pageable": lambda: ours(pageable),
        "torch bfloat16, pinned": lambda: rival.search(on_device, K),
    }
    truth = expected(queries, gallery, K)
    found = []
    for name, (seconds, ids) in timed(ways, rounds).items():
        wrong, _ = count_wrong(truth, ids, queries, gallery)
        found.append(
            {
                "what": name, "queries": len(queries), "bytes": gallery.nbytes, "seconds": seconds,
                "gb_s": gallery.nbytes / seconds / 1e9, "share": gallery.nbytes / seconds / 1e9 / pinned_rate,
                "share_of": "pinned copies to the device", "wrong": wrong, "checked": int(truth.ids.size),
            }
        )  # fmt: skip
    return found


def from_index(
    queries: Any, gallery: Any, device: str, copy_rate: float, counts: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Measure searches of codes on the device whose float32 rows stay on the host; ``copy_rate`` is GB/s within it.

    The rival has the same rows in the same memory, and copies them for every search.
    """
    import torch

    start = time.perf_counter()
    on_gpu = device.startswith("cuda")
    index = idsim.Index(gallery, device=device, rows="host") if on_gpu else idsim.Index(gallery)
    made = time.perf_counter() - start
    rival, found = TorchStream(device, gallery), []
    truth = expected(queries, gallery, K)
    codes, place = len(gallery) * gallery.shape[1], index.info()["row_place"]
    for count in counts:
        on_device = torch.from_numpy(queries[:count]).to(device)
        ways: dict[str, Callable[[], Any]] = {
            "idsim, codes there": lambda q=on_device: index.search(q, K).ids.cpu().numpy(),
            "torch bfloat16, pinned": lambda q=on_device: rival.search(q, K),
        }
        for name, (seconds, ids) in timed(ways, rounds).items():
            ours = name.startswith("idsim")
            size = codes if ours else gallery.nbytes
            wrong = None
            if ours and count == len(queries):
                wrong, _ = count_wrong(truth, ids, queries, gallery)
            rate = size / seconds / 1e9
            found.append(
                {
                    "what": name, "queries": count, "rows": len(gallery), "row_place": place if ours else "pinned",
                    "index_s": made if ours else None, "bytes": size, "seconds": seconds, "gb_s": rate,
                    "share": rate / copy_rate, "share_of": "copies within the device", "wrong": wrong,
                    "checked": None if wrong is None else int(truth.ids.size),
                }
            )  # fmt: skip
    return found


def from_disk(
    folder: Path, gib: float, device: str, counts: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Measure searches of float32 rows in files, from the page cache, beside a plain read of the files."""
    import torch

    make_gallery(folder, gib, DIM)
    gallery = Gallery.open(folder, use_codes=False)
    paths = files_of(gallery, ("vectors",))
    size = sum(path.stat().st_size for path in paths)
    rng = np.random.default_rng(1)
    found = []
    for count in counts:
        queries = torch.from_numpy(rng.standard_normal((count, gallery.dim), dtype=np.float32)).to(device)
        ways: dict[str, Callable[[], Any]] = {
            "plain": lambda: best_read(gallery, paths, 4, cold=False),
            "idsim, files": lambda queries=queries: idsim.search(
                queries, gallery, K, device=device
            ).ids.cpu(),
        }
        done = timed(ways, rounds)
        seconds, read = done["idsim, files"][0], float(done["plain"][1])
        rate = size / seconds / 1e9
        found.append(
            {
                "what": "idsim, files", "queries": count, "bytes": size, "seconds": seconds, "gb_s": rate,
                "share": read / seconds, "share_of": "plain reads by 4 threads", "wrong": None, "checked": None,
            }
        )  # fmt: skip
    return found


def stream(
    folder: Path,
    budget: Budget,
    *,
    device: str = "cuda",
    counts: Sequence[int] = (1, 32, 1024, 16_384),
    sizes: tuple[int, int, float] = (8, 1_000_000, 4.0),
    largest: int | None = None,
    rounds: int = ROUNDS,
) -> int:
    """Measure galleries on the host (``sizes``: blocks, rows in one) and on disk (GiB), and print a line for each.

    ``largest``: blocks of the index whose rows stay on the host; without, as many as fit. Status 2: the environment
    asks for kernels that there are not.
    """
    try:
        check_tiles(device)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    blocks, rows, gib = sizes
    peaks = device_peaks(device) if device.startswith("cuda") else device_peaks(device, 64, 1 << 20)
    document: dict[str, Any] = {**describe(device), "peaks": peaks.to_dict(), "results": []}

    def keep(results: list[dict[str, Any]]) -> None:
        document["results"] += results
        save_result(folder / "stream.json", document)

    queries, gallery = many_rows(blocks, rows, DIM, max(counts))
    for count in counts:
        if budget.left > 60:
            keep(from_host(queries[:count], gallery, device, peaks.to_device, rounds))
    del gallery
    free_device_memory()
    if budget.left > LARGE_S:
        if largest is None:
            import torch

            largest = blocks_that_fit(rows, DIM, free_on_host(), torch.cuda.mem_get_info()[0])
        queries, gallery = many_rows(largest, rows, DIM, max(counts))
        keep(from_index(queries, gallery, device, peaks.read, counts, rounds))
        del gallery
    else:
        print("left out for lack of time: codes on the device, rows on the host", file=sys.stderr)
    if budget.left > 30 + 60 * gib:
        with tempfile.TemporaryDirectory() as scratch:
            keep(from_disk(Path(scratch) / "gallery", gib, device, counts[:2], rounds))
    else:
        print("left out for lack of time: galleries on disk", file=sys.stderr)
    for result in document["results"]:
        wrong = "" if result["checked"] is None else f", {result['wrong']} of {result['checked']} ids wrong"
        print(
            f"{result['what']:<24} q={result['queries']:<6} {result['gb_s']:7.2f} GB/s, "
            f"{result['share']:.0%} of {result['share_of']}{wrong}"
        )
    return 0
