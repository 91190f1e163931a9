"""What is written comes back, byte for byte, through every way of reading."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idsim.errors import GalleryError
from idsim.gallery import Gallery, GalleryWriter
from idsim.gallery import writer as writer_module
from idsim.gallery.elements import nonfinite_rows, to_storage, widen


def test_shards_are_plain_npy(plain: Gallery, matrix: np.ndarray) -> None:
    parts = [np.load(path) for path in sorted(plain.path.glob("vectors-*.npy"))]
    assert [len(part) for part in parts] == [30, 30, 30, 11]
    assert np.concatenate(parts).tobytes() == matrix.tobytes()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Gallery]:
    """One gallery for each stored type and some sizes of shards."""
    matrix = np.random.default_rng(3).standard_normal((101, 3)).astype(np.float32)
    return {
        (dtype, rows): Gallery.from_arrays(
            tmp_path_factory.mktemp("g") / "g", matrix, dtype=dtype, shard_rows=rows
        )
        for dtype in ("float32", "float16", "bfloat16")
        for rows in (7, 50, 101, 400)
    }


@given(
    st.integers(1, 210),
    st.sampled_from([7, 50, 101, 400]),
    st.sampled_from(["float32", "float16", "bfloat16"]),
)
def test_streaming_gives_the_bytes_of_the_whole(
    sharded: dict[tuple[str, int], Gallery], block_rows: int, shard_rows: int, dtype: str
) -> None:
    gallery = sharded[dtype, shard_rows]
    matrix = np.random.default_rng(3).standard_normal((101, 3)).astype(np.float32)
    expected = widen(to_storage(matrix, dtype), dtype)
    row = 0
    for first, block in gallery.blocks(block_rows):
        assert first == row
        assert block.dtype == expected.dtype
        assert not block.flags.writeable
        assert block.tobytes() == expected[row : row + block_rows].tobytes()
        row += len(block)
    assert row == 101
    assert gallery.vectors().tobytes() == expected.tobytes()


def test_ranges_and_single_rows(plain: Gallery, matrix: np.ndarray) -> None:
    assert plain.vectors(29, 61).tobytes() == matrix[29:61].tobytes()
    assert plain.vectors(101, 101).shape == (0, 5)
    assert plain.take([100, 0, 30, 30, 29]).tobytes() == matrix[[100, 0, 30, 30, 29]].tobytes()
    assert plain.take([]).shape == (0, 5)
    blocks = [block.copy() for _, block in plain.blocks(7, start=25, stop=70)]
    assert np.concatenate(blocks).tobytes() == matrix[25:70].tobytes()
    for start, stop in ((-1, 3), (5, 4), (0, 102)):
        with pytest.raises(ValueError, match="not inside a gallery of 101 rows"):
            plain.vectors(start, stop)
        with pytest.raises(ValueError, match="not inside"):
            plain.rows(None, start, stop)
    for rows in ([101], [-1]):
        with pytest.raises(ValueError, match="from 0 to 100"):
            plain.take(rows)
        with pytest.raises(ValueError, match="from 0 to 100"):
            plain.take_rows(rows)
    with pytest.raises(ValueError, match="at least 1"):
        list(plain.blocks(0))


def test_an_empty_gallery(tmp_path: Path) -> None:
    gallery = Gallery.from_arrays(tmp_path / "g", np.empty((0, 7), np.float16))
    assert (len(gallery), gallery.dim, gallery.dtype) == (0, 7, "float16")
    assert list(gallery.blocks()) == []
    assert gallery.vectors().shape == (0, 7)
    assert gallery.rows().num_rows == 0
    assert gallery.verify() == (0, 0, 0)


@pytest.mark.parametrize("batch", [1, 7, 30, 101])
def test_batches_do_not_matter(people: Gallery, matrix: np.ndarray, tmp_path: Path, batch: int) -> None:
    table = people.rows()
    with GalleryWriter(
        tmp_path / "again", 5, shard_rows=30, metadata={"matcher": "toy", "crop": 112, "flip": False}
    ) as writer:
        for start in range(0, 101, batch):
            piece = table.slice(start, batch)
            writer.append(
                matrix[start : start + batch],
                piece["id"],
                piece["group"],
                piece["source"],
                {"age": piece["age"], "note": piece["note"]},
            )
    again = Gallery.open(tmp_path / "again")
    assert again.digest == people.digest
    assert sorted(os.listdir(again.path)) == sorted(os.listdir(people.path))


def test_columns(people: Gallery) -> None:
    table = people.rows()
    assert table.column_names == ["id", "group", "source", "age", "note"]
    assert table["id"].to_pylist() == [f"face-{row}" for row in range(101)]
    assert people.rows(["age"], 28, 33)["age"].to_pylist() == [28, 29, 30, 31, 32]
    assert people.take_rows([99, 0, 99, 45], ["source"])["source"].to_pylist() == [
        f"photos/{row}.jpg" for row in (99, 0, 99, 45)
    ]
    assert people.take_rows([], ["age"]).num_rows == 0
    with pytest.raises(ValueError, match="no column 'nose'"):
        people.rows(["nose"])


def test_groups(people: Gallery, plain: Gallery) -> None:
    codes, labels = people.groups()
    assert labels == sorted({f"person-{row}" for row in range(20)})
    assert codes.dtype == np.int64
    assert [labels[code] for code in codes] == [f"person-{row * 7 % 20}" for row in range(101)]
    with pytest.raises(ValueError, match="no groups"):
        plain.groups()


def test_ids_without_columns_are_row_numbers(plain: Gallery) -> None:
    assert plain.rows()["id"].to_pylist() == list(range(101))
    assert plain.take_rows([31, 5])["id"].to_pylist() == [31, 5]
    assert plain.columns == {}


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (np.arange(101, dtype=np.uint16), "int64"),
        (np.array([f"{row}" for row in range(101)]), "string"),
        (np.array([f"{row}" for row in range(101)], dtype=object), "string"),
        (pa.array([f"{row}" for row in range(101)], pa.large_string()), "string"),
        (pa.array([f"{row}" for row in range(101)]).dictionary_encode(), "string"),
        (range(101), "int64"),
    ],
)
def test_forms_of_ids(tmp_path: Path, matrix: np.ndarray, ids: object, kind: str) -> None:
    gallery = Gallery.from_arrays(tmp_path / "g", matrix, ids=ids)
    assert gallery.columns == {"id": kind}
    assert [str(value) for value in gallery.rows()["id"].to_pylist()] == [str(row) for row in range(101)]


def test_bfloat16_is_what_torch_rounds_to() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    values = bits.view(np.float32)
    special = np.float32([0.0, -0.0, np.inf, -np.inf, 3.4e38, 1e-45, 1.00390625, 1.01171875])
    values = np.concatenate([values[~np.isnan(values)], special])
    theirs = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert to_storage(values.reshape(-1, 1), "bfloat16").reshape(-1).tobytes() == theirs.tobytes()
    assert (
        widen(theirs, "bfloat16").tobytes() == torch.from_numpy(values).bfloat16().float().numpy().tobytes()
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rows_with_nan_or_infinity_are_found(dtype: str) -> None:
    matrix = np.ones((6, 9), np.float32)
    matrix[1, 0], matrix[3, 8], matrix[4, 4] = np.nan, np.inf, -np.inf
    assert nonfinite_rows(to_storage(matrix, dtype), dtype).tolist() == [1, 3, 4]


def test_rows_that_are_not_finite(tmp_path: Path, matrix: np.ndarray) -> None:
    matrix[64, 2] = np.nan
    matrix[99, 0] = np.inf
    with pytest.raises(ValueError, match="row 64 holds NaN"):
        Gallery.from_arrays(tmp_path / "g", matrix, shard_rows=30)
    assert not (tmp_path / "g").exists()
    gallery = Gallery.from_arrays(tmp_path / "g", matrix, shard_rows=30, nonfinite="keep")
    assert [shard.nonfinite_rows for shard in gallery.manifest.shards] == [0, 0, 1, 1]
    assert gallery.info()["nonfinite_rows"] == 2
    gallery.verify()
    with pytest.raises(ValueError, match="float16"):
        Gallery.from_arrays(tmp_path / "h", [[1e6]], dtype="float16")


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ({"vectors": np.zeros((3, 4), np.int32)}, TypeError, "not int32"),
        ({"vectors": np.zeros(3, np.float32)}, ValueError, "not 1-dimensional"),
        ({"vectors": np.zeros((3, 0), np.float32)}, ValueError, "1 to 131072 elements"),
        ({"vectors": np.zeros((3, 4), np.float32), "dtype": "int8"}, ValueError, "dtype must be one of"),
        ({"ids": [1, 2]}, ValueError, "2 values for 3 rows"),
        ({"ids": ["a", None, "b"]}, ValueError, "1 missing"),
        ({"ids": [1.5, 2.5, 3.5]}, TypeError, "int64 or string"),
        ({"ids": ["a", 1, "b"]}, TypeError, "cannot be stored"),
        ({"ids": ["a", "b", "a"]}, ValueError, "id 'a' stands in row 0 and in row 2"),
        ({"ids": [5, 5, 6]}, ValueError, "id 5 stands in row 0 and in row 1"),
        ({"groups": [1, None, 2]}, ValueError, "missing"),
        ({"sources": [1, 2, 3]}, TypeError, "'source' must hold string"),
        ({"columns": {"id": [1, 2, 3]}}, ValueError, "argument of its own"),
        ({"columns": {"x": [[1], [2], [3]]}}, TypeError, "must hold boolean"),
        ({"shard_rows": 0}, ValueError, "at least 1"),
        ({"metadata": {"a": [1]}}, TypeError, "metadata 'a'"),
        ({"metadata": {"a": float("nan")}}, ValueError, "finite"),
        ({"nonfinite": "skip"}, ValueError, "'raise' or 'keep'"),
    ],
)
def test_arguments_that_are_refused(
    tmp_path: Path, arguments: dict[str, object], error: type[Exception], reason: str
) -> None:
    arguments = {"vectors": np.ones((3, 4), np.float32)} | arguments
    with pytest.raises(error, match=reason):
        Gallery.from_arrays(tmp_path / "g", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "g").exists()


def test_columns_must_agree_between_batches(tmp_path: Path, matrix: np.ndarray) -> None:
    with (
        pytest.raises(ValueError, match="this batch has the columns"),
        GalleryWriter(tmp_path / "g", 5) as writer,
    ):
        writer.append(matrix, groups=np.arange(101))
        writer.append(matrix)
    assert not (tmp_path / "g").exists()


def test_nothing_is_overwritten(plain: Gallery, matrix: np.ndarray) -> None:
    before = {path.name: path.read_bytes() for path in plain.path.iterdir()}
    with pytest.raises(FileExistsError, match="ever overwritten"):
        Gallery.from_arrays(plain.path, matrix)
    assert {path.name: path.read_bytes() for path in plain.path.iterdir()} == before


def test_a_killed_writer_leaves_a_named_state(tmp_path: Path) -> None:
    code = f"""
import numpy as np, os, signal
from idsim.gallery import GalleryWriter
writer = GalleryWriter({str(tmp_path / "g")!r}, 4, shard_rows=10)
writer.append(np.ones((25, 4), np.float32))
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "g" / "vectors-00001.npy").exists()
    with pytest.raises(GalleryError, match="half-written"):
        Gallery.open(tmp_path / "g")
    with pytest.raises(FileExistsError):
        GalleryWriter(tmp_path / "g", 4)


@pytest.mark.parametrize("point", range(14))
def test_a_failure_at_any_write_leaves_nothing(
    tmp_path: Path, matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch, point: int
) -> None:
    """No space left at the n-th write: an OSError, no folder, or the gallery was complete before."""
    write, calls = os.write, 0

    def limited(descriptor: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > point:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", limited)
    try:
        Gallery.from_arrays(tmp_path / "g", matrix, groups=np.arange(101), shard_rows=30)
    except OSError as error:
        assert error.errno == 28
        assert not (tmp_path / "g").exists()
    else:
        assert point == 13
    monkeypatch.undo()
    if (tmp_path / "g").exists():
        Gallery.open(tmp_path / "g").verify()


def test_folders_that_are_no_galleries(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, reason in (
        ("missing", "no such folder"),
        ("file", "not a folder"),
        ("empty", "no manifest"),
    ):
        with pytest.raises(GalleryError, match=reason):
            Gallery.open(tmp_path / name)


def test_info_is_json(people: Gallery) -> None:
    import json

    info = json.loads(json.dumps(people.info()))
    assert (info["rows"], info["dim"], info["dtype"], info["shards"]) == (101, 5, "float32", 4)
    assert info["vector_bytes"] == 101 * 5 * 4 + 4 * 128
    assert repr(people).endswith("rows=101, dim=5, dtype='float32')")


def test_numpy_is_enough_without_columns(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["pyarrow"] = None
import numpy as np
from idsim.gallery import Gallery
gallery = Gallery.from_arrays({str(tmp_path / "g")!r}, np.eye(3, dtype=np.float32))
gallery.verify(), gallery.vectors(), list(gallery.blocks()), gallery.info()
try:
    gallery.rows()
except ModuleNotFoundError as error:
    assert "idsim[audit]" in str(error) and error.name == "pyarrow"
else:
    raise SystemExit("rows() without pyarrow")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_large_batch_is_written_in_pieces(
    people: Gallery, matrix: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = people.rows()
    for rows in (1, 13, 30, 100):
        monkeypatch.setattr(writer_module, "PIECE_BYTES", rows * 5 * 4)
        again = Gallery.from_arrays(
            tmp_path / str(rows),
            matrix,
            ids=table["id"],
            groups=table["group"],
            sources=table["source"],
            columns={"age": table["age"], "note": table["note"]},
            shard_rows=30,
            metadata={"matcher": "toy", "crop": 112, "flip": False},
        )
        assert again.digest == people.digest
    matrix[77] = np.inf
    with pytest.raises(ValueError, match="row 77 "):
        Gallery.from_arrays(tmp_path / "bad", matrix)
