"""Export to plain files and back; several galleries as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from idsim.gallery import Gallery, build, export, merge


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("to", ["npy", "parquet"])
def test_export_and_back(people: Gallery, tmp_path: Path, dtype: str, to: str) -> None:
    gallery = build(people.path, tmp_path / "g", dtype=dtype)
    seen: list[tuple[int, int]] = []
    path = export(gallery.path, tmp_path / f"out.{to}", to, progress=lambda *done: seen.append(done))
    assert seen[-1] == (101, 101)
    back = build(path, tmp_path / "back", dtype=dtype, metadata=gallery.manifest.metadata)
    assert back.digest == gallery.digest


def test_exports_are_read_by_others(
    people: Gallery, plain: Gallery, tmp_path: Path, matrix: np.ndarray
) -> None:
    folder = export(people.path, tmp_path / "out", "npy", shard_rows=50)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"part-0000{part}.{suffix}" for part in range(3) for suffix in ("npy", "parquet")
    ]
    assert np.load(folder / "part-00002.npy").tobytes() == matrix[100:].tobytes()
    assert pq.read_table(folder / "part-00001.parquet")["id"].to_pylist() == [
        f"face-{row}" for row in range(50, 100)
    ]
    table = pq.read_table(export(people.path, tmp_path / "out.parquet", "parquet"))
    assert np.array(table["vector"].to_pylist(), np.float32).tobytes() == matrix.tobytes()
    assert not list(export(plain.path, tmp_path / "p", "npy").glob("*.parquet"))


def test_an_empty_export(tmp_path: Path) -> None:
    gallery = Gallery.from_arrays(tmp_path / "g", np.empty((0, 3), np.float32))
    path = export(gallery.path, tmp_path / "x.parquet", "parquet")
    assert pq.read_schema(path).field("vector").type.list_size == 3


def test_exports_overwrite_nothing_and_leave_nothing(people: Gallery, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for to in ("npy", "parquet"):
        with pytest.raises(FileExistsError, match="ever overwritten"):
            export(people.path, tmp_path / "out", to)

    def stop(done: int, total: int) -> None:
        raise RuntimeError("stop")

    for to in ("npy", "parquet"):
        with pytest.raises(RuntimeError, match="stop"):
            export(people.path, tmp_path / "new", to, progress=stop)
    with pytest.raises(RuntimeError, match="stop"):
        build(people.path, tmp_path / "new", progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "people"]
    with pytest.raises(ValueError, match="to must be one of"):
        export(people.path, tmp_path / "new", "pickle")


def test_merged_rows_stand_one_behind_the_other(
    people: Gallery, plain: Gallery, tmp_path: Path, matrix: np.ndarray
) -> None:
    other = Gallery.from_arrays(tmp_path / "other", matrix[:40] + 1, shard_rows=17)
    seen: list[tuple[int, int]] = []
    merged = merge(
        [plain, other.path], tmp_path / "m", shard_rows=64, progress=lambda *done: seen.append(done)
    )
    assert merged.columns == {}
    assert seen[-1] == (141, 141)
    assert merged.vectors().tobytes() == np.concatenate([matrix, matrix[:40] + 1]).tobytes()
    merged.verify()
    whole = Gallery.from_arrays(tmp_path / "w", np.concatenate([matrix, matrix[:40] + 1]), shard_rows=64)
    assert merged.digest == whole.digest


def test_rules_for_ids(people: Gallery, tmp_path: Path, matrix: np.ndarray) -> None:
    other = Gallery.from_arrays(
        tmp_path / "other",
        matrix[:3],
        ids=["face-7", "x", "y"],
        groups=["person-1", "p", "q"],
        columns={"camera": ["a", "b", "c"]},
    )
    with pytest.raises(ValueError, match="id 'face-7' stands in row 7 and in row 101"):
        merge([people, other], tmp_path / "m")
    assert not (tmp_path / "m").exists()
    merged = merge([people, other], tmp_path / "prefix", ids="prefix", groups="prefix")
    assert merged.rows(None, 100, 102).to_pylist() == [
        {
            "id": "people/face-100",
            "group": "people/person-0",
            "source": "photos/100.jpg",
            "age": 100.0,
            "note": None,
            "camera": None,
        },
        {
            "id": "other/face-7",
            "group": "other/person-1",
            "source": None,
            "age": None,
            "note": None,
            "camera": "a",
        },
    ]
    merged = merge([people, other], tmp_path / "renumber", ids="renumber")
    assert merged.rows()["id"].to_pylist() == list(range(104))
    assert merged.rows()["group"].to_pylist()[101] == "person-1"
    merged.verify()


def test_row_numbers_as_ids(tmp_path: Path, plain: Gallery, matrix: np.ndarray) -> None:
    other = Gallery.from_arrays(tmp_path / "other", matrix, ids=np.arange(1000, 1101))
    merged = merge([other, plain], tmp_path / "m")
    assert merged.rows()["id"].to_pylist() == [*range(1000, 1101), *range(101)]
    with pytest.raises(ValueError, match="id 0 stands in row 101 and in row 202"):
        merge([other, plain, plain], tmp_path / "n")
    merged = merge([plain, plain], tmp_path / "twice", ids="prefix", names=["a", "b"])
    assert merged.columns == {}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ids": "drop"}, "ids must be one of"),
        ({"groups": "renumber"}, "groups must be"),
        ({"names": ["a"]}, "1 names are given for 2"),
        ({"names": ["a", "a"], "ids": "prefix"}, "must differ"),
    ],
)
def test_options_that_are_refused(
    plain: Gallery, tmp_path: Path, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        merge([plain, plain], tmp_path / "m", **options)  # type: ignore[arg-type]


def test_galleries_that_do_not_fit(plain: Gallery, people: Gallery, tmp_path: Path) -> None:
    wide = Gallery.from_arrays(tmp_path / "wide", np.ones((2, 6), np.float32))
    half = Gallery.from_arrays(tmp_path / "half", np.ones((2, 5), np.float16))
    numbers = Gallery.from_arrays(tmp_path / "n", np.ones((2, 5), np.float32), ids=[1, 2], groups=[1, 2])
    texts = Gallery.from_arrays(
        tmp_path / "t",
        np.ones((2, 5), np.float32),
        ids=["1", "2"],
        groups=["1", "2"],
        columns={"age": ["a", "b"]},
    )
    for galleries, reason in (
        ([], "at least one"),
        ([plain, wide], r"\[5, 6\] elements"),
        ([plain, half], "float16, float32; name one"),
        ([plain, people], "has no groups"),
        ([people, numbers], "'id' is string in one gallery, int64"),
        ([people, texts], "'age' is float32 in one gallery, string"),
    ):
        with pytest.raises(ValueError, match=reason):
            merge(galleries, tmp_path / "m")
    merged = merge([plain, half], tmp_path / "m", dtype="float16")
    assert merged.vectors(101).tobytes() == np.ones((2, 5), np.float16).tobytes()
