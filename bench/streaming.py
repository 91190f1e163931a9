"""How fast a gallery on disk is searched, as a share of how fast its bytes can be read at all.

    python -m bench.streaming [--folder DIR] [--gib 2] [--queries 1,4,16,64] [--rounds 9] [--cold]

Each round reads the files once by plain ``pread`` into one buffer that stays in the cache and throws the
bytes away, and searches the gallery once for each number of queries; the share is the median over the
rounds of the search's bytes per second over the plain read's. The plain read is done by one thread, and
again by as many as the search has: these together read more than one, so the second share is the harder.

``vectors``: float32 rows are streamed.
``codes``: the prepared codes are streamed and stored rows read for candidates; the bytes are those of the
codes. ``--cold`` drops the files from the page cache before every reading, so that the disk delivers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import idsim
from idsim import _core
from idsim.benchmark.environment import start_again_if_held
from idsim.gallery import Gallery, GalleryWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNKS = (1 << 18, 1 << 20, 1 << 22)  # buffer sizes of the plain read; the fastest counts


def make_gallery(folder: Path, gib: float, dim: int) -> Gallery:
    """Write rows around shared directions, as identities have them, and their codes."""
    rows = int(gib * 2**30) // (4 * dim)
    rng = np.random.default_rng(0)
    people = rng.standard_normal((1000, dim), dtype=np.float32)
    with GalleryWriter(folder, dim) as writer:
        while writer.rows < rows:
            count = min(50_000, rows - writer.rows)
            block = people[rng.integers(0, len(people), count)]
            block = block + rng.standard_normal((count, dim), dtype=np.float32)
            writer.append(block)
    gallery = Gallery.open(folder)
    gallery.prepare()
    return gallery


def files_of(gallery: Gallery, kinds: tuple[str, ...]) -> list[Path]:
    return [path for kind in kinds for path in sorted(gallery.path.glob(f"{kind}-*.npy"))]


def drop_from_cache(gallery: Gallery) -> None:
    for path in files_of(gallery, ("vectors", "codes", "scale", "residual", "norm")):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def plain_read(paths: list[Path], chunk: int, threads: int) -> float:
    """Return the seconds that reading the files takes; the threads take chunks in turn."""
    start = time.perf_counter()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        offsets = iter(range(0, path.stat().st_size, chunk))

        def work(descriptor: int = descriptor, offsets: Iterator[int] = offsets) -> None:
            buffer = bytearray(chunk)
            for offset in offsets:
                os.preadv(descriptor, [buffer], offset)

        helpers = [threading.Thread(target=work) for _ in range(threads - 1)]
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()
        os.close(descriptor)
    return time.perf_counter() - start


def best_read(gallery: Gallery, paths: list[Path], threads: int, cold: bool) -> float:
    """Return the seconds of the plain read with the best size of buffer."""
    seconds = []
    for chunk in (1 << 20,) if cold else CHUNKS:
        if cold:
            drop_from_cache(gallery)
        seconds.append(plain_read(paths, chunk, threads))
    return min(seconds)


def measure(
    gallery: Gallery, kinds: tuple[str, ...], counts: list[int], rounds: int, cold: bool, threads: int | None
) -> list[dict[str, object]]:
    paths = files_of(gallery, kinds)
    size = sum(path.stat().st_size for path in paths)
    queries = np.random.default_rng(1).standard_normal((max(counts), gallery.dim), dtype=np.float32)
    used = threads or _core.default_threads()
    reads: list[tuple[float, float]] = []
    searches: dict[int, list[float]] = {count: [] for count in counts}
    for number in range(rounds + 1):
        both = best_read(gallery, paths, 1, cold), best_read(gallery, paths, used, cold)
        if number:  # the first round warms up
            reads.append(both)
        for count in counts:
            if cold:
                drop_from_cache(gallery)
            start = time.perf_counter()
            gallery.search(queries[:count], 10, threads=threads)
            if number:
                searches[count].append(time.perf_counter() - start)
    return [
        {
            "streams": kinds[0],
            "queries": count,
            "bytes": size,
            "plain_gb_s": size / statistics.median(one for one, _ in reads) / 1e9,
            "threads": used,
            "plain_threads_gb_s": size / statistics.median(every for _, every in reads) / 1e9,
            "search_gb_s": size / statistics.median(searches[count]) / 1e9,
            "share": statistics.median(one / s for (one, _), s in zip(reads, searches[count], strict=True)),
            "share_threads": statistics.median(
                every / s for (_, every), s in zip(reads, searches[count], strict=True)
            ),
        }
        for count in counts
    ]


def check(gallery: Gallery, plain: Gallery) -> None:
    """Both ways of streaming must give the bytes of a search in memory."""
    queries = np.random.default_rng(2).standard_normal((8, gallery.dim), dtype=np.float32)
    rows = min(len(gallery), 100_000)
    whole = idsim.search(queries, gallery.vectors(0, rows), 10)
    first, second = gallery.search(queries, 10), plain.search(queries, 10)
    same = first.ids.tobytes() == second.ids.tobytes() and first.scores.tobytes() == second.scores.tobytes()
    if not same or (rows == len(gallery) and whole.ids.tobytes() != first.ids.tobytes()):
        sys.exit("the streamed searches differ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="keep the gallery here and use it again")
    parser.add_argument("--gib", type=float, default=2.0, help="size of the float32 vectors")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", default="1,4,16,64")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    start_again_if_held()
    counts = [int(count) for count in options.queries.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "gallery"
        gallery = Gallery.open(folder) if folder.exists() else make_gallery(folder, options.gib, options.dim)
        plain = Gallery.open(folder, use_codes=False)
        check(gallery, plain)
        results = measure(plain, ("vectors",), counts, options.rounds, options.cold, options.threads)
        results += measure(
            gallery,
            ("codes", "scale", "residual", "norm"),
            counts,
            options.rounds,
            options.cold,
            options.threads,
        )
    if options.json:
        print(json.dumps({"cold": options.cold, "rounds": options.rounds, "results": results}, indent=2))
        return
    for row in results:
        print(
            f"{row['streams']:8} q={row['queries']:<5} plain read {row['plain_gb_s']:6.2f} GB/s, by "
            f"{row['threads']} threads {row['plain_threads_gb_s']:6.2f} | search {row['search_gb_s']:6.2f} GB/s | "
            f"{100 * row['share']:5.1f} % and {100 * row['share_threads']:5.1f} %"
        )


if __name__ == "__main__":
    main()
