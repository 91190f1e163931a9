"""``idsim gallery`` and ``idsim search``: what they print, what they write, how they exit."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

import idsim
from idsim.cli import main
from idsim.gallery import Gallery

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 60


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the program in this process."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["idsim", *map(str, arguments)])
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((ROWS, 6)).astype(np.float32)


@pytest.fixture
def people(tmp_path: Path, vectors: np.ndarray) -> Path:
    Gallery.from_arrays(
        tmp_path / "people",
        vectors,
        ids=[f"=face{row}" if row == 3 else f"face{row}" for row in range(ROWS)],
        groups=[f"person{row // 2}" for row in range(ROWS)],
        sources=[f"{row}.jpg" for row in range(ROWS)],
        shard_rows=25,
    )
    return tmp_path / "people"


@pytest.fixture
def npy(tmp_path: Path, vectors: np.ndarray) -> Path:
    np.save(tmp_path / "x.npy", vectors)
    return tmp_path / "x.npy"


def test_build_info_verify(run: Callable[..., Done], npy: Path, tmp_path: Path) -> None:
    out = tmp_path / "g"
    done = run(
        "gallery", "build", npy, "-o", out, "--shard-rows", 20, "-m", "matcher=toy", "--prepare", "--json"
    )
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert (facts["rows"], facts["shards"], facts["metadata"]) == (60, 3, {"matcher": "toy"})
    assert facts["prepared_bytes"] > 0
    assert json.loads(run("gallery", "info", out, "--json").out) == facts
    shown = run("gallery", "info", out).out
    assert "60 x 6 float32" in shown
    assert "matcher=toy" in shown
    assert run("gallery", "verify", out).out == f"{out}: 60 rows, every file is as the manifest says\n"
    assert json.loads(run("gallery", "verify", out, "--json").out)["ok"] is True


def test_verify_reports_every_problem(run: Callable[..., Done], people: Path) -> None:
    for name in ("vectors-00000.npy", "vectors-00002.npy"):
        data = bytearray((people / name).read_bytes())
        data[-1] ^= 1
        (people / name).write_bytes(data)
    done = run("gallery", "verify", people)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("sha256: the content has changed") == 2
    done = run("gallery", "verify", people, "--json")
    assert done.code == 2
    report = json.loads(done.out)
    assert report["ok"] is False
    assert [problem["place"] for problem in report["problems"]] == ["sha256", "sha256"]


def test_convert_there_and_back(run: Callable[..., Done], people: Path, tmp_path: Path) -> None:
    assert run("gallery", "convert", people, "-o", tmp_path / "n", "--to", "npy").code == 0
    assert run("gallery", "convert", people, "-o", tmp_path / "p.parquet", "--to", "parquet").code == 0
    done = run("gallery", "convert", tmp_path / "n", "-o", tmp_path / "g1", "--shard-rows", 25, "--json")
    assert json.loads(done.out) == {"path": str(tmp_path / "g1"), "format": "gallery"}
    assert (
        run("gallery", "build", tmp_path / "p.parquet", "-o", tmp_path / "g2", "--shard-rows", 25).code == 0
    )
    digests = {Gallery.open(tmp_path / name).digest for name in ("people", "g1", "g2")}
    assert len(digests) == 1


def test_merge(run: Callable[..., Done], people: Path, tmp_path: Path) -> None:
    done = run("gallery", "merge", people, people, "-o", tmp_path / "m")
    assert done.code == 2
    assert "id 'face0' stands in row 0 and in row 60" in done.err
    done = run(
        "gallery",
        "merge",
        people,
        people,
        "-o",
        tmp_path / "m",
        "--ids",
        "prefix",
        "--name",
        "a",
        "--name",
        "b",
        "--json",
    )
    assert json.loads(done.out)["rows"] == 120
    assert Gallery.open(tmp_path / "m").rows(["id"], 60, 61)["id"].to_pylist() == ["b/face0"]


def test_columns_are_chosen_by_name(run: Callable[..., Done], npy: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"name": [f"n{row}" for row in range(ROWS)], "who": np.arange(ROWS) // 3, "file": ["f"] * ROWS}
    pq.write_table(pa.table(table), npy.with_suffix(".parquet"))
    done = run(
        "gallery",
        "build",
        npy,
        "-o",
        tmp_path / "g",
        "--id",
        "name",
        "--group",
        "who",
        "--source",
        "file",
        "--json",
    )
    assert json.loads(done.out)["columns"] == {"id": "string", "group": "int64", "source": "string"}
    assert run("gallery", "build", npy, "-o", tmp_path / "h", "--id", "nose").code == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gallery", "info", "missing"], "there is no such folder"),
        (["gallery", "verify", "x.npy"], "it is not a folder"),
        (["gallery", "build", "missing.npy", "-o", "g"], "No such file"),
        (["gallery", "build", "x.npy", "-o", "people"], "exists already"),
        (["gallery", "build", "x.npy", "-o", "g", "-m", "novalue"], "is not NAME=VALUE"),
        (["gallery", "build", "x.npy", "-o", "g", "--from", "faiss"], "is not read"),
        (
            ["gallery", "convert", "people", "-o", "n", "--to", "npy", "--dtype", "float16"],
            "applies to galleries",
        ),
        (["search", "x.npy", "missing"], "No such file"),
        (["search", "x.npy", "people", "-o", "hits.txt"], "must end in one of"),
        (["search", "x.npy", "people", "-o", "x.npy"], "must end in one of"),
        (["search", "x.npy", "people", "-k", "0"], "Invalid value"),
        (["search", "x.npy", "people", "--exclude-groups"], "has no groups"),
        (["search", "people", "x.npy", "--exclude-groups"], "needs a gallery"),
        (["search", "people", "people", "--exclude-groups", "--exclude-self"], "cannot be used together"),
        (["search", "wide.npy", "people"], "7 columns like queries, not 6"),
    ],
)
def test_bad_usage_exits_with_2(
    run: Callable[..., Done],
    people: Path,
    npy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "wide.npy", np.ones((2, 7), np.float32))
    before = sorted(path.name for path in tmp_path.iterdir())
    done = run(*arguments)
    assert done.code == 2
    assert reason in " ".join(done.err.replace("│", " ").split())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_search_prints_csv(run: Callable[..., Done], npy: Path, people: Path, vectors: np.ndarray) -> None:
    done = run("search", npy, people, "-k", 3)
    assert done.code == 0, done.err
    hits = list(csv.DictReader(done.out.splitlines()))
    expected = idsim.search(vectors, vectors, 3)
    assert [int(hit["gallery_row"]) for hit in hits] == expected.ids.ravel().tolist()
    assert np.array([hit["score"] for hit in hits], np.float32).tobytes() == expected.scores.tobytes()
    assert hits[9]["gallery_id"] == "'=face3"
    assert (hits[9]["query_id"], hits[9]["rank"], hits[9]["gallery_source"]) == ("3", "1", "3.jpg")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_search_writes_files(
    run: Callable[..., Done], people: Path, tmp_path: Path, vectors: np.ndarray, suffix: str
) -> None:
    out = tmp_path / f"hits.{suffix}"
    done = run("search", people, people, "-k", 4, "--exclude-self", "--threshold", 0.2, "-o", out, "--json")
    assert done.code == 0, done.err
    expected = idsim.search(vectors, vectors, 4, exclude="self", threshold=0.2)
    kept = expected.ids >= 0
    assert json.loads(done.out)["hits"] == int(kept.sum())
    if suffix == "parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(out)
        records = table.to_pylist()
        assert str(table.schema.field("score").type) == "float"
    elif suffix == "csv":
        records = list(csv.DictReader(out.read_text().splitlines()))
    else:
        records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [int(record["gallery_row"]) for record in records] == expected.ids[kept].tolist()
    scores = np.array([record["score"] for record in records], np.float32)
    assert scores.tobytes() == expected.scores[kept].tobytes()
    assert set(records[0]) == {
        "query_row", "query_id", "rank", "gallery_row", "gallery_id", "score",
        "query_group", "query_source", "gallery_group", "gallery_source",
    }  # fmt: skip
    again = run("search", people, people, "-o", out)
    assert again.code == 2
    assert "exists already" in again.err


def test_search_excludes_groups(run: Callable[..., Done], people: Path) -> None:
    done = run("search", people, people, "-k", 5, "--exclude-groups", "--json")
    hits = json.loads(done.out)["hits"]
    assert len(hits) == 5 * ROWS
    assert all(hit["query_group"] != hit["gallery_group"] for hit in hits)


def test_search_streams_other_formats(
    run: Callable[..., Done], people: Path, npy: Path, tmp_path: Path
) -> None:
    assert run("gallery", "convert", people, "-o", tmp_path / "n", "--to", "npy", "--shard-rows", 7).code == 0
    from_gallery = run("search", people, people, "-k", 3)
    from_folder = run("search", people, tmp_path / "n", "-k", 3)
    assert from_folder.out == from_gallery.out
    assert run("search", npy, npy, "-k", 1, "--metric", "l2").out.splitlines()[1] == "0,0,1,0,0,0.0"


def test_rows_that_are_not_finite(run: Callable[..., Done], vectors: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "q.npy", vectors[:2])
    vectors[7, 2] = np.inf
    np.save(tmp_path / "bad.npy", vectors)
    done = run("gallery", "build", tmp_path / "bad.npy", "-o", tmp_path / "g")
    assert done.code == 2
    assert "row 7 holds NaN or an infinity" in done.err
    assert run("gallery", "build", tmp_path / "bad.npy", "-o", tmp_path / "g", "--keep-nonfinite").code == 0
    assert run("search", tmp_path / "q.npy", tmp_path / "g").code == 2
    assert run("search", tmp_path / "q.npy", tmp_path / "g", "--nonfinite", "skip").code == 0
