"""A streamed search gives the bytes of a search in memory, from vectors and from codes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import idsim
from idsim.errors import GalleryError
from idsim.gallery import Gallery, build
from idsim.gallery import streaming as streaming_module

if TYPE_CHECKING:
    from pathlib import Path

ROWS, DIM = 2000, 70


def make_rows() -> np.ndarray:
    """Random rows with exact copies across shards and blocks, and a zero row."""
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    rows[::97] = rows[3]
    rows[500] = 0
    return rows


@pytest.fixture(scope="module")
def galleries(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Gallery]:
    folder = tmp_path_factory.mktemp("galleries")
    made = {}
    for dtype in ("float32", "float16", "bfloat16"):
        for with_codes in (False, True):
            gallery = Gallery.from_arrays(
                folder / f"{dtype}-{with_codes}",
                make_rows(),
                groups=np.arange(ROWS) % 40,
                dtype=dtype,
                shard_rows=613,
            )
            if with_codes:
                gallery.prepare()
            made[dtype, with_codes] = gallery
    return made


@pytest.mark.parametrize("with_codes", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_streamed_is_resident(
    galleries: dict[tuple[str, bool], Gallery], metric: str, dtype: str, with_codes: bool
) -> None:
    gallery = galleries[dtype, with_codes]
    rows = gallery.vectors()
    queries = np.concatenate([make_rows()[:30], np.random.default_rng(1).standard_normal((9, DIM))])
    queries = queries.astype(np.float32)
    groups = np.arange(len(queries)) % 40
    for exclude, resident in (
        (None, None),
        ("self", "self"),
        ((groups, None), (groups, np.arange(ROWS) % 40)),
    ):
        streamed = gallery.search(queries, 12, metric=metric, exclude=exclude)  # type: ignore[arg-type]
        whole = idsim.search(queries, rows, 12, metric=metric, exclude=resident)  # type: ignore[arg-type]
        assert streamed.scores.tobytes() == whole.scores.tobytes()
        assert streamed.ids.tobytes() == whole.ids.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shard_rows", [7, 64, 504, 505, 5000])
def test_shards_do_not_matter(tmp_path: Path, shard_rows: int, dtype: str) -> None:
    gallery = Gallery.from_arrays(tmp_path / "g", make_rows(), dtype=dtype, shard_rows=shard_rows)
    rows = gallery.vectors()
    queries = np.concatenate([make_rows()[100:130], np.zeros((1, DIM), np.float32)])
    for _ in range(2):
        for count in (1, 2, 4, 9, 31):
            for k in (1, 25):
                streamed = gallery.search(queries[:count], k, threads=2)
                whole = idsim.search(queries[:count], rows, k)
                assert streamed.scores.tobytes() == whole.scores.tobytes()
                assert streamed.ids.tobytes() == whole.ids.tobytes()
        gallery.prepare()


@pytest.mark.parametrize("with_codes", [False, True])
def test_options_of_a_search(galleries: dict[tuple[str, bool], Gallery], with_codes: bool) -> None:
    gallery = galleries["float32", with_codes]
    queries = make_rows()[:5]
    whole = idsim.search(queries, make_rows(), 50, threshold=0.3)
    out = np.empty((5, 50), np.float32), np.empty((5, 50), np.int64)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> bool:
        seen.append((done, total))
        return True

    result = gallery.search(
        queries,
        50,
        threshold=0.3,
        out=out,
        threads=1,
        memory_budget=1 << 20,
        progress=progress,
        certificate=True,
    )
    assert out[0].tobytes() == whole.scores.tobytes()
    assert out[1].tobytes() == whole.ids.tobytes()
    assert result.certificate is not None
    assert result.certificate.pairs == 5 * ROWS
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} <= {ROWS}
    through = idsim.search(queries, gallery, 50, threshold=0.3)
    assert through.ids.tobytes() == whole.ids.tobytes()
    with pytest.raises(ValueError, match="columns"):
        gallery.search(np.ones((1, DIM + 1), np.float32))


def test_cancelling_ends_the_thread(galleries: dict[tuple[str, bool], Gallery]) -> None:
    for with_codes in (False, True):
        with pytest.raises(KeyboardInterrupt):
            galleries["float32", with_codes].search(make_rows()[:5], 3, progress=lambda done, total: False)
    assert not any(thread.name == "idsim-read-ahead" for thread in threading.enumerate())


def test_groups_of_queries_that_no_row_has(tmp_path: Path) -> None:
    rows = make_rows()[:100]
    gallery = Gallery.from_arrays(tmp_path / "g", rows, groups=[f"p{row // 2}" for row in range(100)])
    result = gallery.search(rows[:3], 2, exclude=(["p0", "nobody", "p1"], None))
    assert result.ids[:, 0].tolist() != [0, 1, 2]
    assert result.ids[1, 0] == 1
    assert set(result.ids[0].tolist()).isdisjoint({0, 1})
    plain = Gallery.from_arrays(tmp_path / "h", rows)
    with pytest.raises(ValueError, match="no groups"):
        plain.search(rows[:3], 2, exclude=([1, 2, 3], None))


def test_rows_that_are_not_finite(tmp_path: Path) -> None:
    rows = make_rows()
    rows[1500, 3] = np.nan
    gallery = Gallery.from_arrays(tmp_path / "g", rows, shard_rows=613, nonfinite="keep")
    for _ in range(2):
        with pytest.raises(ValueError, match="gallery row 1500 holds NaN or Inf"):
            gallery.search(rows[:3], 2)
        streamed = gallery.search(rows[:3], 2000, nonfinite="skip", certificate=True)
        whole = idsim.search(rows[:3], rows, 2000, nonfinite="skip")
        assert streamed.ids.tobytes() == whole.ids.tobytes()
        assert streamed.certificate is not None
        assert streamed.certificate.skipped_rows == 1
        gallery.prepare()


def test_an_empty_gallery(tmp_path: Path) -> None:
    gallery = Gallery.from_arrays(tmp_path / "g", np.empty((0, 5), np.float32))
    for _ in range(2):
        scores, ids = gallery.search(np.ones((2, 5), np.float32), 3)
        assert ids.tolist() == [[-1] * 3] * 2
        assert np.isneginf(scores).all()
        gallery.prepare()
        assert gallery.is_prepared


@pytest.mark.parametrize("name", ["vectors", "codes", "scale", "residual", "norm"])
def test_a_file_truncated_under_a_search(tmp_path: Path, name: str) -> None:
    gallery = Gallery.from_arrays(tmp_path / "g", make_rows(), shard_rows=613)
    gallery.prepare()
    file = tmp_path / "g" / f"{name}-00002.npy"
    os.truncate(file, file.stat().st_size - 300)
    with pytest.raises(GalleryError, match=f"{name}-00002.npy: size"):
        gallery.search(make_rows()[:4], 3)
    with pytest.raises(GalleryError, match=f"{name}-00002.npy"):
        Gallery.open(tmp_path / "g")
    with pytest.raises(GalleryError, match=f"{name}-00002.npy: size"):
        gallery.verify()


@pytest.mark.parametrize("name", ["vectors", "codes", "scale", "residual", "norm"])
@pytest.mark.parametrize("prepared", [False, True])
def test_a_file_truncated_while_it_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, prepared: bool
) -> None:
    """The engine reads the open files itself: an end inside the rows is a GalleryError that names the file."""
    gallery = Gallery.from_arrays(tmp_path / "g", make_rows(), shard_rows=1000)
    gallery.prepare()
    if not prepared:
        gallery = Gallery.open(tmp_path / "g", use_codes=False)
    file = tmp_path / "g" / f"{name}-00001.npy"
    whole = idsim.search(make_rows()[:40], make_rows(), 10)

    def open_and_truncate(files: list[tuple[int, int, bytes]], *rest: Any) -> Any:
        opened = make_file_gallery(files, *rest)
        if any(path == os.fsencode(file) for _, _, path in files):
            os.truncate(file, 150)
        return opened

    make_file_gallery = streaming_module._core.FileGallery
    monkeypatch.setattr(streaming_module._core, "FileGallery", open_and_truncate)
    for count in (1, 4, 40):
        if name != "vectors" and not prepared:
            assert gallery.search(make_rows()[:count], 10).ids.tobytes() == whole.ids[:count].tobytes()
            continue
        data = file.read_bytes()
        with pytest.raises(
            GalleryError, match=rf"{name}-00001.npy: rows from 1000: the gallery file ends before byte \d+"
        ):
            gallery.search(make_rows()[-count:], 10)
        file.write_bytes(data)


def test_a_source_of_another_format_gives_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", make_rows())
    gallery = build(tmp_path / "x.npy", tmp_path / "g")
    assert (
        gallery.search(make_rows()[:4], 3).ids.tobytes()
        == idsim.search(make_rows()[:4], make_rows(), 3).ids.tobytes()
    )


def test_memory_does_not_grow_with_the_gallery(tmp_path: Path) -> None:
    """128 MiB of rows are written, prepared and searched both ways in less than 80 MiB more than the imports take."""
    code = f"""
import resource
import numpy as np
import idsim
from idsim.gallery import Gallery, GalleryWriter

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

rng = np.random.default_rng(0)
queries = rng.standard_normal((4, 512), dtype=np.float32)
idsim.search(queries, queries, 2)
before = peak()
with GalleryWriter({str(tmp_path / "g")!r}, 512, shard_rows=20_000) as writer:
    for _ in range(32):
        writer.append(rng.standard_normal((2048, 512), dtype=np.float32))
gallery = Gallery.open({str(tmp_path / "g")!r})
gallery.verify()
first = gallery.search(queries, 5)
gallery.prepare()
second = gallery.search(queries, 5)
assert first.ids.tobytes() == second.ids.tobytes()
assert peak() - before < 80, peak() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
