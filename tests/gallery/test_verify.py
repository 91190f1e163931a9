"""Verification finds every changed byte."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from idsim.errors import GalleryError
from idsim.files import hash_file
from idsim.gallery import Gallery
from support.manifests import rewritten


def test_a_whole_gallery(people: Gallery) -> None:
    seen: list[tuple[int, int]] = []
    report = people.verify(lambda done, total: seen.append((done, total)))
    assert (report.files, report.rows) == (8, 101)
    assert report.bytes == sum(file.stat().st_size for file in people.path.glob("*-*"))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {report.bytes}


def test_every_flipped_byte_is_found(people: Gallery) -> None:
    rng = random.Random(1)
    for path in sorted(people.path.glob("*-*")):
        data = path.read_bytes()
        for place in rng.sample(range(len(data)), 25):
            path.write_bytes(
                data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]
            )
            with pytest.raises(GalleryError):
                people.verify()
        path.write_bytes(data)
    people.verify()


def test_all_problems_are_listed(people: Gallery) -> None:
    for name in ("vectors-00001.npy", "rows-00002.parquet"):
        data = bytearray((people.path / name).read_bytes())
        data[-20] ^= 1
        (people.path / name).write_bytes(data)
    (people.path / "rows-00000.parquet").unlink()
    places = [(Path(problem.path).name, problem.place) for problem in people.find_problems()]
    assert places == [
        ("rows-00000.parquet", "file"),
        ("vectors-00001.npy", "sha256"),
        ("rows-00002.parquet", "sha256"),
    ]


def swapped_shards(folder: Path) -> None:
    first, second = folder / "vectors-00000.npy", folder / "vectors-00001.npy"
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        swapped_shards,
        lambda folder: shutil.copy(folder / "rows-00000.parquet", folder / "rows-00001.parquet"),
        lambda folder: (folder / "rows-00000.parquet").write_bytes(b""),
    ],
)
def test_files_in_wrong_places(people: Gallery, damage: Callable[[Path], object]) -> None:
    damage(people.path)
    with pytest.raises(GalleryError, match=r"sha256|size"):
        people.verify()


def reseal(folder: Path, name: str, entry: str) -> None:
    """Make the manifest agree with a file that was replaced."""
    number = int(name.split("-")[1].split(".", maxsplit=1)[0])
    rewritten(folder, lambda m: m["shards"][number].update({entry: hash_file(folder / name)._asdict()}))


def test_nan_that_the_manifest_does_not_count(people: Gallery, matrix: np.ndarray) -> None:
    part = matrix[30:60].copy()
    part[5, 1] = np.nan
    np.save(people.path / "vectors-00001.npy", part)
    reseal(people.path, "vectors-00001.npy", "vectors")
    with pytest.raises(GalleryError, match="row 5: 1 rows hold NaN or infinities, the manifest counts 0"):
        Gallery.open(people.path).verify()


@pytest.mark.parametrize("column", ["id", "group"])
def test_tables_that_break_the_rules(people: Gallery, column: str) -> None:
    path = people.path / "rows-00001.parquet"
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[3] = None
    index = table.column_names.index(column)
    pq.write_table(table.set_column(index, column, [values]), path)
    reseal(people.path, path.name, "table")
    with pytest.raises(GalleryError, match="1 values are missing"):
        Gallery.open(people.path).verify()


def test_an_id_that_stands_twice(people: Gallery) -> None:
    path = people.path / "rows-00001.parquet"
    table = pq.read_table(path)
    values = table["id"].to_pylist()
    values[3] = "face-100"
    pq.write_table(table.set_column(0, "id", [values]), path)
    reseal(people.path, path.name, "table")
    with pytest.raises(GalleryError, match="id 'face-100' stands in row 33 and in row 100"):
        Gallery.open(people.path).verify()


def test_a_table_of_other_columns_or_rows(people: Gallery) -> None:
    path = people.path / "rows-00001.parquet"
    table = pq.read_table(path)
    for changed, reason in ((table.drop_columns(["age"]), "columns are"), (table.slice(0, 29), "29 rows")):
        pq.write_table(changed, path)
        reseal(people.path, path.name, "table")
        gallery = Gallery.open(people.path)
        with pytest.raises(GalleryError, match=reason):
            gallery.verify()
        with pytest.raises(GalleryError, match=reason):
            gallery.rows()
