"""Importers: what other programs write becomes the same rows and columns; damage becomes a GalleryError."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from idsim.errors import GalleryError
from idsim.gallery import ColumnNames, Gallery, build, open_source
from support.mutations import edits, truncations

ROWS = 101


def write_npy(path: Path, matrix: np.ndarray) -> Path:
    np.save(path / "x.npy", matrix)
    return path / "x.npy"


def write_folder(path: Path, matrix: np.ndarray) -> Path:
    folder = path / "folder"
    folder.mkdir()
    for part in range(11):
        np.save(folder / f"part_{part}.npy", matrix[part * 10 : part * 10 + 10])
    return folder


def write_npz(path: Path, matrix: np.ndarray) -> Path:
    np.savez(path / "x.npz", vectors=matrix, ids=np.arange(ROWS) * 2, age=np.arange(ROWS) / 2)
    return path / "x.npz"


def write_deflated(path: Path, matrix: np.ndarray) -> Path:
    np.savez_compressed(path / "x.npz", x=matrix, groups=np.array([f"p{row // 2}" for row in range(ROWS)]))
    return path / "x.npz"


def write_clip(path: Path, matrix: np.ndarray) -> Path:
    folder = path / "clip"
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    for part in range(11):
        rows = matrix[part * 10 : part * 10 + 10]
        np.save(folder / "img_emb" / f"img_emb_{part}.npy", rows)
        numbers = range(part * 10, part * 10 + len(rows))
        table = pa.table(
            {
                "image_path": [f"{n}.jpg" for n in numbers],
                "caption": ["c"] * len(rows),
                "size": [[1, 2]] * len(rows),
            }
        )
        pq.write_table(table, folder / "metadata" / f"metadata_{part}.parquet")
    return folder


def write_safetensors(path: Path, matrix: np.ndarray) -> Path:
    save_file({"a": np.zeros(3), "emb": matrix, "z": np.zeros((2, 2), np.int8)}, path / "x.safetensors")
    return path / "x.safetensors"


def write_parquet(path: Path, matrix: np.ndarray) -> Path:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    table = pa.table(
        {"vector": vectors, "group": [f"p{row // 3}" for row in range(ROWS)], "n": np.arange(ROWS)}
    )
    pq.write_table(table, path / "x.parquet", row_group_size=40)
    return path / "x.parquet"


def write_list_parquet(path: Path, matrix: np.ndarray) -> Path:
    pq.write_table(pa.table({"v": pa.array(matrix.tolist(), pa.list_(pa.float32()))}), path / "x.parquet")
    return path / "x.parquet"


def write_faiss(path: Path, matrix: np.ndarray) -> Path:
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    faiss.write_index(index, str(path / "x.index"))
    return path / "x.index"


def write_faiss_map(path: Path, matrix: np.ndarray) -> Path:
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexIDMap2(faiss.IndexFlat(matrix.shape[1], faiss.METRIC_L1))
    index.add_with_ids(matrix, np.arange(ROWS) * 3 - 50)
    faiss.write_index(index, str(path / "x.index"))
    return path / "x.index"


WRITERS: dict[Callable[[Path, np.ndarray], Path], tuple[str, dict[str, list[object]]]] = {
    write_npy: ("npy", {}),
    write_folder: ("npy", {}),
    write_npz: ("npz", {"id": [row * 2 for row in range(ROWS)], "age": [row / 2 for row in range(ROWS)]}),
    write_deflated: ("npz", {"id": list(range(ROWS)), "group": [f"p{row // 2}" for row in range(ROWS)]}),
    write_clip: (
        "clip-retrieval",
        {"id": list(range(ROWS)), "source": [f"{row}.jpg" for row in range(ROWS)], "caption": ["c"] * ROWS},
    ),
    write_safetensors: ("safetensors", {}),
    write_parquet: (
        "parquet",
        {"id": list(range(ROWS)), "group": [f"p{row // 3}" for row in range(ROWS)], "n": list(range(ROWS))},
    ),
    write_list_parquet: ("parquet", {}),
    write_faiss: ("faiss", {}),
    write_faiss_map: ("faiss", {"id": [row * 3 - 50 for row in range(ROWS)]}),
}


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_rows_and_columns(
    write: Callable[[Path, np.ndarray], Path], tmp_path: Path, matrix: np.ndarray
) -> None:
    kind, columns = WRITERS[write]
    path = write(tmp_path, matrix)
    source = open_source(path)
    assert (source.kind, source.rows, source.dim, source.dtype) == (kind, ROWS, 5, "float32")
    for batch_rows in (1, 33, 1000):
        batches = [batch.stored.copy() for batch in source.batches(batch_rows)]
        assert max(map(len, batches)) <= batch_rows
        assert np.concatenate(batches).tobytes() == matrix.tobytes()
    gallery = build(path, tmp_path / "g", shard_rows=40)
    gallery.verify()
    assert gallery.vectors().tobytes() == matrix.tobytes()
    assert {name: gallery.rows()[name].to_pylist() for name in gallery.columns} == columns


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_damage(write: Callable[[Path, np.ndarray], Path], tmp_path: Path, matrix: np.ndarray) -> None:
    """Every truncation and hundreds of edits: the rows come out, or a GalleryError that names the file."""
    path = write(tmp_path, matrix)
    kind = WRITERS[write][0]
    files = [file for file in sorted(path.rglob("*.*"))[:1] if file.is_file()] if path.is_dir() else [path]
    if kind == "clip-retrieval":
        files.append(path / "metadata" / "metadata_0.parquet")
    refused = 0
    for file in files:
        data = file.read_bytes()
        head = 150 if kind in ("npy", "faiss", "clip-retrieval") else None
        for damaged in [*truncations(data, dense=60, others=25), *edits(data, 150, seed=3, head=head)]:
            file.write_bytes(damaged)
            try:
                source = open_source(path, kind)
                rows = sum(len(batch.stored) for batch in source.batches(64))
                assert rows == source.rows
            except GalleryError as error:
                assert str(path) in error.path
                refused += 1
        file.write_bytes(data)
    assert refused > 100


@pytest.mark.parametrize(("dtype", "stored"), [("f2", "float16"), ("f8", "float32"), (">f4", "float32")])
def test_types(tmp_path: Path, matrix: np.ndarray, dtype: str, stored: str) -> None:
    np.save(tmp_path / "x.npy", matrix.astype(dtype))
    gallery = build(tmp_path / "x.npy", tmp_path / "g")
    assert gallery.dtype == stored
    assert gallery.vectors().tobytes() == matrix.astype(dtype).astype(stored).tobytes()


def test_bfloat16_of_safetensors(tmp_path: Path, matrix: np.ndarray) -> None:
    tensor = torch.from_numpy(matrix).bfloat16()
    save_torch({"x": tensor}, tmp_path / "x.safetensors")
    gallery = build(tmp_path / "x.safetensors", tmp_path / "g")
    assert gallery.dtype == "bfloat16"
    assert gallery.vectors().tobytes() == tensor.float().numpy().tobytes()


def test_a_key_chooses_among_matrices(tmp_path: Path, matrix: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", a=matrix, b=matrix + 1)
    save_file({"a": matrix, "b": matrix + 1}, tmp_path / "x.safetensors")
    column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 5)
    other = pa.FixedSizeListArray.from_arrays(pa.array((matrix + 1).ravel()), 5)
    (tmp_path / "parquet").mkdir()
    pq.write_table(pa.table({"a": column, "b": other}), tmp_path / "parquet" / "x.parquet")
    for name in ("x.npz", "x.safetensors", "parquet"):
        with pytest.raises(GalleryError, match="there are 2"):
            open_source(tmp_path / name)
        with pytest.raises(GalleryError, match="named 'c'"):
            open_source(tmp_path / name, key="c")
        batch = next(open_source(tmp_path / name, key="b").batches(1000))
        assert batch.stored.tobytes() == (matrix + 1).tobytes()
    with pytest.raises(ValueError, match="key does not apply"):
        open_source(write_npy(tmp_path, matrix), key="a")


def test_a_table_beside_a_matrix(tmp_path: Path, matrix: np.ndarray) -> None:
    path = write_npy(tmp_path, matrix)
    pq.write_table(
        pa.table({"name": [f"n{row}" for row in range(ROWS)], "who": np.arange(ROWS, dtype=np.int32) % 9}),
        tmp_path / "x.parquet",
    )
    names = ColumnNames(id="name", group="who")
    gallery = build(path, tmp_path / "g", names=names)
    assert gallery.columns == {"id": "string", "group": "int64"}
    with pytest.raises(GalleryError, match="no column 'nose' for source"):
        build(path, tmp_path / "h", names=ColumnNames(source="nose"))
    with pytest.raises(GalleryError, match="its type int32 cannot be a row's source"):
        build(path, tmp_path / "h", names=ColumnNames(source="who"))
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(GalleryError, match="1 rows for 101 vectors"):
        build(path, tmp_path / "h")
    assert not (tmp_path / "h").exists()


def test_columns_that_cannot_be_stored_are_named_in_the_log(
    tmp_path: Path, matrix: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    open_source(write_clip(tmp_path, matrix))
    assert "column 'size' of type list<element: int64> is left out" in caplog.text


def test_folders_must_be_of_one_kind_of_matrix(tmp_path: Path, matrix: np.ndarray) -> None:
    folder = write_folder(tmp_path, matrix)
    np.save(folder / "part_3.npy", matrix[:10].astype(np.float16))
    with pytest.raises(
        GalleryError, match="part_3.npy: npy header: the array is <f2 with 5 columns; part_0.npy is <f4"
    ):
        open_source(folder)
    np.save(folder / "part_3.npy", matrix[0])
    with pytest.raises(GalleryError, match="a matrix of floats is expected"):
        open_source(folder)


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("vectors")
    (tmp_path / "folder").mkdir()
    for name, reason in (
        ("missing", "No such file"),
        ("text", "the file is none of"),
        ("folder", "it is no gallery"),
    ):
        with pytest.raises(GalleryError, match=reason):
            open_source(tmp_path / name)
    with pytest.raises(ValueError, match="kind must be one of"):
        open_source(tmp_path / "text", "pickle")
    (tmp_path / "folder" / "img_emb").mkdir()
    with pytest.raises(GalleryError, match=r"no \.npy file"):
        open_source(tmp_path / "folder")
    with pytest.raises(GalleryError, match="'img' or 'text'"):
        open_source(tmp_path / "folder", key="audio")


def test_pickles_are_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", np.array([[1.0]]), np.array([{"a": 1}], dtype=object))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(GalleryError, match="element type"):
            open_source(tmp_path / name)


def archive_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_archives_that_are_refused(tmp_path: Path, matrix: np.ndarray) -> None:
    good = write_npy(tmp_path, matrix).read_bytes()
    np.save(tmp_path / "zeros.npy", np.zeros((1_000_000, 4), np.float32))
    bomb = (tmp_path / "zeros.npy").read_bytes()
    for members, reason in (
        ({"x.npy": bomb}, "more than 20 times"),
        ({"../x.npy": good}, "not NAME.npy"),
        ({"x.txt": good}, "not NAME.npy"),
        ({"x.npy": good + b"\0"}, "the member has"),
        ({"x.npy": good[:-1]}, "the member has"),
        ({"x.npy": b""}, "magic"),
        ({}, "none of|0 matrices"),
        ({f"{number}.npy": good for number in range(1100)}, "at most 1024"),
    ):
        with pytest.raises(GalleryError, match=reason):
            open_source(archive_of(tmp_path / "x.npz", members), "npz")
    with pytest.raises(GalleryError, match="compression method 14 is not read"):
        open_source(archive_of(tmp_path / "x.npz", {"x.npy": good}, zipfile.ZIP_LZMA))
    data = bytearray(archive_of(tmp_path / "x.npz", {"x.npy": good}, zipfile.ZIP_STORED).read_bytes())
    data[200] ^= 1  # an element: the archive's own checksum sees it
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(GalleryError, match="CRC"):
        list(open_source(tmp_path / "x.npz").batches(1000))


def safetensors_of(path: Path, header: str, data: bytes) -> Path:
    text = header.encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


GOOD = '"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}'


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"{{{GOOD}, {GOOD}}}", "'x' stands twice"),
        (f"{{{GOOD}}}".replace("16", "12"), "do not span the 16 bytes"),
        (f"{{{GOOD}}}".replace("[0, 16]", "[16, 32]"), "the one before it ends"),
        (f"{{{GOOD}}}".replace("[0, 16]", "[-16, 0]"), "not an array of counts"),
        (f"{{{GOOD}}}".replace("[0, 16]", "[0, 16, 16]"), "do not span"),
        (f"{{{GOOD}}}".replace("[2, 2]", "[2, 2.0]"), "not an array of counts"),
        (f"{{{GOOD}}}".replace("[2, 2]", "[2, true]"), "not an array of counts"),
        (f"{{{GOOD}}}".replace("[2, 2]", "[4294967296, 4294967296]"), "do not span"),
        (f"{{{GOOD}}}".replace("F32", "C64"), "'C64' is not a type"),
        (f"{{{GOOD}}}".replace('"shape"', '"size"'), "shape: is missing"),
        (f'{{{GOOD}, "y": {{"dtype": "U8", "shape": [8], "data_offsets": [8, 16]}}}}', "begins at byte"),
        (f'{{{GOOD}, "__metadata__": {{"a": 1}}}}', "not an object of strings"),
        ("{}", "the tensors end"),
        ('{"x": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_safetensors_headers_that_are_refused(tmp_path: Path, header: str, reason: str) -> None:
    with pytest.raises(GalleryError, match=reason):
        open_source(safetensors_of(tmp_path / "x", header, bytes(16)), "safetensors")


def test_safetensors_sizes_that_are_refused(tmp_path: Path) -> None:
    path = safetensors_of(tmp_path / "x", f"{{{GOOD}}}", bytes(16))
    assert open_source(path).rows == 2
    data = path.read_bytes()
    for changed, reason in (
        (data + b"\0", "the tensors end"),
        (data[:-1], "the tensors end"),
        (b"\xff" * 8 + data[8:], "is not in a file"),
        (data[:5], "is not in a file"),
        ((17 << 20).to_bytes(8, "little") + b" " * (18 << 20), "at most"),
    ):
        path.write_bytes(changed)
        with pytest.raises(GalleryError, match=reason):
            open_source(path, "safetensors")


def test_parquet_vectors_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    for column, reason in (
        (pa.array([[1.0, 2.0], [1.0]]), "row 1: 1 elements, not 2"),
        (pa.array([[1.0, 2.0], None]), "1 vectors are missing"),
        (pa.array([[1.0, 2.0], [1.0, None]]), "1 elements are missing"),
        (pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), "1 vectors are missing"),
        (pa.array([[], []], pa.list_(pa.float32())), "0 elements, 1 to 131072"),
        (pa.array([[1, 2], [3, 4]]), "0 list columns of floats"),
        (pa.array([], pa.list_(pa.float32())), "no row to tell"),
    ):
        pq.write_table(pa.table({"v": column}), path)
        with pytest.raises(GalleryError, match=reason):
            list(open_source(path).batches(1000))


def test_indexes_that_are_refused(tmp_path: Path, matrix: np.ndarray) -> None:
    faiss = pytest.importorskip("faiss")
    for description in ("HNSW4", "SQ8", "IDMap,SQ8", "L2norm,Flat"):
        index = faiss.index_factory(5, description)
        index.train(matrix)
        faiss.write_index(index, str(tmp_path / "x.index"))
        with pytest.raises(GalleryError, match="is not read; flat indexes are|none of"):
            open_source(tmp_path / "x.index", "faiss")


def test_a_gallery_is_a_source(people: Gallery, tmp_path: Path) -> None:
    again = build(people.path, tmp_path / "again", shard_rows=30)
    assert again.digest == people.digest
    narrow = build(people.path, tmp_path / "narrow", dtype="float16")
    assert narrow.vectors().tobytes() == people.vectors().astype(np.float16).tobytes()
    with pytest.raises(ValueError, match="column names do not apply"):
        open_source(people.path, names=ColumnNames(id="x"))
