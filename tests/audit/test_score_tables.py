"""Files of scores: what is read from each form, and what is refused, with its row."""

from __future__ import annotations

import os

import numpy as np
import pytest

from idsim.audit.scores import score_files, score_tables
from idsim.audit.scores.score_comparisons import best_of
from idsim.audit.scores.score_files import read_rows
from idsim.audit.scores.score_tables import Chunk, Reading, Side, open_table
from idsim.errors import GalleryError, MatcherError

PLAIN = Reading(lower=False, scale="", complete="true", floor=0.0)


def side(name, count=3, missing=()):
    present = np.ones(count, bool)
    present[list(missing)] = False
    return Side(name, {f"{name}{row}": row for row in range(count)}, present)


P, G = side("p"), side("g", 2)
FULL = [
    ("p0", "g0", 0.1),
    ("p0", "g1", 0.2),
    ("p1", "g0", 0.3),
    ("p1", "g1", 0.4),
    ("p2", "g0", 0.5),
    ("p2", "g1", 0.6),
]


def csv_of(rows, header="probe_id,gallery_id,score"):
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def opened(tmp_path, content, probes=P, gallery=G, reading=PLAIN, name="scores.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_table(path, probes, gallery, reading)


def matrix_of(table, shape):
    matrix = np.full(shape, np.nan, np.float32)
    for rows, columns, scores in table.chunks():
        assert np.isnan(matrix[rows, columns]).all()
        matrix[rows, columns] = scores
    return matrix


def test_rows_may_stand_in_any_order(tmp_path):
    matrix = matrix_of(opened(tmp_path, csv_of(FULL[::-1])), (3, 2))
    assert np.array_equal(matrix, np.float32([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]))


def test_lower_scores_are_turned_around(tmp_path):
    table = opened(tmp_path, csv_of(FULL), reading=Reading(True, "distance", "true", 0.0))
    assert matrix_of(table, (3, 2))[2, 1] == np.float32(-0.6)


@pytest.mark.parametrize("width", [4, 5])
def test_bobs_columns(tmp_path, width):
    path = tmp_path / "scores.txt"
    lines = ["c1 r1 p/1 2.5", "c2 r1 p/1 -1"] if width == 4 else ["x c1 r1 p/1 2.5", "x c2 r1 p/1 -1"]
    path.write_text("\r\n".join(lines))
    (rows,) = read_rows(path)
    assert (rows.probes, rows.galleries) == (["p/1", "p/1"], ["c1", "c2"])
    assert rows.scores.tolist() == [2.5, -1]


def test_rows_are_read_in_blocks_and_keep_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(score_files, "BLOCK_ROWS", 2)
    monkeypatch.setattr(score_files, "READ_BYTES", 7)
    path = tmp_path / "scores.csv"
    path.write_text('\ufeffscore,probe_id,gallery_id\n1,a,b\n\n2,"c,""c",d\n3,e,f')
    blocks = list(read_rows(path))
    assert [(block.first, list(block.probes)) for block in blocks] == [(2, ["a"]), (4, ['c,"c']), (5, ["e"])]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (csv_of([*FULL, FULL[2]]), "row 8: the pair of row 4 is listed again$"),
        (csv_of([*FULL[:-1], ("p2", "g7", 1)]), "row 7: 'g7' is not among the ids of g"),
        (csv_of([*FULL[:-1], ("g1", "g1", 1)]), "row 7: 'g1' is not among the ids of p"),
        (csv_of([*FULL[:-1], ("p2", "g1", "nan")]), "row 7: the score nan is not finite"),
        (csv_of([*FULL[:-1], ("p2", "g1", "1e39")]), "row 7: the score inf is not finite"),
        (csv_of([*FULL[:-1], ("p2", "g1", "0x1")]), "row 7: the score '0x1' is not a number"),
        (csv_of([*FULL[:-1], ("p2", "g1", "")]), "row 7: the score '' is not a number"),
        (csv_of([*FULL[:-1], ("p2", "g1")]), "row 7: 2 fields"),
        (csv_of(FULL[:-1]), "rows: complete is 'true', and 5 of 6 pairs"),
        (csv_of(FULL, "probe_id,gallery_id,similarity"), "row 1: 0 columns are named score"),
        (csv_of(FULL, "probe_id,query_id,score"), "row 1: 2 columns are named probe_id or query_id"),
        ("", "row 1: 0 columns"),
        (csv_of(FULL).encode() + b"p\xff,g0,1\n", "row 8: the line is not UTF-8"),
        (csv_of([('"p0', "g0", 1)]), "row 2: this is no line of CSV"),
        (csv_of(FULL) + "p" * 70_000, "row 8: the line has more than 65536 bytes"),
        (csv_of(FULL) + "p" * 3_000_000, "row 8: the line has more than 65536 bytes"),
    ],
)
def test_hostile_tables_are_refused_by_row(tmp_path, content, words):
    with pytest.raises(MatcherError, match=words):
        opened(tmp_path, content)


@pytest.mark.parametrize("lines", ["a b 1\n", "a b c 1\na b c d 1\n", "a b c d e 1\n", "\n"])
def test_other_texts_are_no_scores_of_bob(tmp_path, lines):
    with pytest.raises(MatcherError, match="4 or 5 are read"):
        opened(tmp_path, lines, name="scores.txt")


def test_ids_without_a_face_have_no_scores(tmp_path):
    probes = side("p", missing=[1])
    kept = [row for row in FULL if row[0] != "p1"]
    assert np.isnan(matrix_of(opened(tmp_path, csv_of(kept), probes), (3, 2))[1]).all()
    with pytest.raises(MatcherError, match="row 4: 'p1' has no face by the ids of p"):
        opened(tmp_path, csv_of(FULL), probes)


def test_a_set_against_itself_may_list_a_pair_in_both_orders(tmp_path):
    rows = [("p1", "p0", 0.5), ("p0", "p1", 0.5), ("p2", "p2", 1.0), ("p2", "p0", 0.1), ("p1", "p2", 0.2)]
    matrix = matrix_of(opened(tmp_path, csv_of(rows), P, P), (3, 3))
    expected = np.full((3, 3), np.nan, np.float32)
    expected[0, 1], expected[0, 2], expected[1, 2] = 0.5, 0.1, 0.2
    assert np.array_equal(matrix, expected, equal_nan=True)
    rows[1] = ("p0", "p1", 0.6)
    with pytest.raises(
        MatcherError, match="row 3: the pair of row 2 is listed again in the other order with another"
    ):
        opened(tmp_path, csv_of(rows), P, P)
    rows[1] = ("p1", "p0", 0.5)
    with pytest.raises(MatcherError, match="row 3: the pair of row 2 is listed again$"):
        opened(tmp_path, csv_of(rows), P, P)


@pytest.mark.parametrize(
    ("scale", "score"), [("cosine", 1.5), ("cosine", -2), ("distance", -0.1), ("-12log10far", -3)]
)
def test_scores_off_their_scale_are_refused(tmp_path, scale, score):
    reading = Reading(scale == "distance", scale, "true", 0.0)
    with pytest.raises(MatcherError, match=f"row 7: the score {score:g} is not one of the scale {scale}"):
        opened(tmp_path, csv_of([*FULL[:-1], ("p2", "g1", score)]), reading=reading)


@pytest.mark.parametrize(("lower", "floor", "level"), [(False, 0.25, 0.25), (True, 0.45, -0.45)])
def test_the_floor_of_thresholded_scores(tmp_path, lower, floor, level):
    reading = Reading(lower, "", "thresholded", floor)
    kept = [row for row in FULL if (row[2] <= floor if lower else row[2] >= floor)]
    assert opened(tmp_path, csv_of(kept), reading=reading).level == level
    with pytest.raises(MatcherError, match="does not reach the floor"):
        opened(tmp_path, csv_of(FULL), reading=reading)


def test_the_level_of_the_best_of_every_probe(tmp_path):
    reading = Reading(False, "", "topk", 0.0)
    table = opened(tmp_path, csv_of([FULL[1], FULL[3], *FULL[4:]]), reading=reading)
    assert table.level == np.nextafter(np.float32(0.4), np.float32(1))
    assert opened(tmp_path, csv_of(FULL), reading=reading).level == -np.inf
    with pytest.raises(MatcherError, match="1 probes have no score, such as 'p2'"):
        opened(tmp_path, csv_of(FULL[:4]), reading=reading)


def test_more_scores_than_memory_is_meant_for_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(score_tables, "MAX_SCORES", 5)
    with pytest.raises(MatcherError, match=r"more than 5 scores: give a dense \.npy matrix"):
        opened(tmp_path, csv_of(FULL))


# --- Parquet --------------------------------------------------------------------------------------


def parquet(tmp_path, columns):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table(columns), path)
    return open_table(path, P, G, PLAIN)


def test_parquet_columns(tmp_path):
    probes, galleries, scores = (list(column) for column in zip(*FULL, strict=True))
    columns = {"more": scores, "score": scores, "gallery_id": galleries, "query_id": probes}
    assert matrix_of(parquet(tmp_path, columns), (3, 2))[2, 1] == np.float32(0.6)
    with pytest.raises(MatcherError, match="row 3: score is missing"):
        parquet(tmp_path, columns | {"score": [*scores[:2], None, *scores[3:]]})
    with pytest.raises(MatcherError, match="the column is of string"):
        parquet(tmp_path, columns | {"score": list(map(str, scores))})


def test_a_damaged_parquet_file_is_refused(tmp_path):
    with pytest.raises(GalleryError):
        opened(tmp_path, b"PAR1" + bytes(50), name="scores.parquet")


# --- matrices -------------------------------------------------------------------------------------


def dense(tmp_path, matrix, probes=P, gallery=G, reading=PLAIN):
    path = tmp_path / "scores.npy"
    np.save(path, matrix)
    return open_table(path, probes, gallery, reading)


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f2", "i2", "u1", "i4"])
def test_matrices_of_every_type(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(score_tables, "BLOCK_ELEMENTS", 4)
    matrix = np.arange(6).reshape(3, 2).astype(dtype)
    assert np.array_equal(matrix_of(dense(tmp_path, matrix), (3, 2)), matrix)


def test_a_matrix_of_a_set_against_itself_counts_above_the_diagonal(tmp_path):
    matrix = np.arange(9, dtype=np.float32).reshape(3, 3)
    matrix[1, 0] = matrix[2, 2] = np.nan
    found = matrix_of(dense(tmp_path, matrix, P, P), (3, 3))
    assert np.array_equal(np.argwhere(~np.isnan(found)), [[0, 1], [0, 2], [1, 2]])


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.zeros((2, 3), np.float32), r"shape: it is \[2, 3\], where p x g are \[3, 2\]"),
        (np.zeros(6, np.float32), "shape"),
        (np.zeros((3, 2)), "dtype: it is float64"),
        (np.zeros((3, 2), np.int64), "dtype: it is int64"),
        (np.full((3, 2), 1 << 25, np.int32), "not exact"),
        (
            np.float32([[0, 0], [0, np.nan], [0, 0]]),
            r"row 1, column 1 \(from 0\): the score nan is not finite",
        ),
    ],
)
def test_hostile_matrices_are_refused(tmp_path, matrix, words):
    with pytest.raises(MatcherError, match=words):
        dense(tmp_path, matrix)


def test_a_matrix_is_complete(tmp_path):
    with pytest.raises(MatcherError, match="a matrix has every score, and complete is 'topk'"):
        dense(tmp_path, np.zeros((3, 2), np.float32), reading=Reading(False, "", "topk", 0.0))


def test_a_cut_matrix_is_refused_also_while_it_is_read(tmp_path):
    table = dense(tmp_path, np.zeros((3, 2), np.float32))
    status = (tmp_path / "scores.npy").stat()
    os.truncate(tmp_path / "scores.npy", 140)
    os.utime(tmp_path / "scores.npy", ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(MatcherError, match="early|ends"):
        list(table.chunks())
    with pytest.raises(GalleryError, match="truncated"):
        open_table(tmp_path / "scores.npy", P, G, PLAIN)


def test_a_matrix_that_changes_during_a_scan_is_refused(tmp_path):
    table = dense(tmp_path, np.zeros((3, 2), np.float32))
    os.utime(tmp_path / "scores.npy", ns=(1, 1))
    with pytest.raises(MatcherError, match="it changed while the scan ran"):
        list(table.chunks())


def test_other_suffixes_and_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.npy, \.parquet, \.csv, \.txt"):
        opened(tmp_path, "x", name="scores.mtx")
    with pytest.raises(MatcherError, match="nothing"):
        open_table(tmp_path / "nothing.csv", P, G, PLAIN)


# --- best matches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 40, 10_000])
@pytest.mark.parametrize("ragged", [False, True])
def test_best_matches_do_not_depend_on_the_pieces(rng, piece, ragged):
    matrix = rng.integers(0, 6, (20, 40)).astype(np.float32)  # many ties
    keep = rng.random(matrix.shape) < 0.1 if ragged else np.ones(matrix.shape, bool)
    rows, columns = np.nonzero(keep)
    chunks = [
        Chunk(rows[i : i + piece], columns[i : i + piece], matrix[rows, columns][i : i + piece])
        for i in range(0, len(rows), piece)
    ]
    scores, ids = best_of(chunks, 20, 3)
    for row in range(20):
        listed = [(-matrix[row, column], column) for column in np.flatnonzero(keep[row])]
        best = sorted(listed)[:3]
        assert ids[row].tolist() == [column for _, column in best] + [-1] * (3 - len(best))
        assert scores[row, : len(best)].tolist() == [-score for score, _ in best]
        assert np.isneginf(scores[row, len(best) :]).all()
