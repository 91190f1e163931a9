"""Runs packed and replicated: the same numbers, whatever kind of run, without its inputs, in another folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from audit.bundle_makers import embeddings, pictures, quick, scores, two_matchers
from audit.test_scan_pictures import GridMatcher, use
from idsim.audit.bundling.packing import pack
from idsim.audit.bundling.replicating import replicate
from idsim.audit.records import pseudonym
from idsim.audit.run import scan

DRAWN = 'generator = "generator.py:draw"\nseeds = "0-15"\n'

KINDS = {
    "embeddings": embeddings,
    "strata": lambda folder: embeddings(folder, strata=True),
    "several matchers": two_matchers,
    "scores": scores,
    "listed scores": lambda folder: scores(folder, "thresholded"),
    "probes": lambda folder: pictures(folder, 'images = "synthetic"', "probes"),
    "mirrored": lambda folder: pictures(folder, 'images = "synthetic"', "mirrored"),
    "series": lambda folder: pictures(folder, DRAWN + "psi = [1.0, 0.5]"),
}
OF_EMBEDDINGS = {
    "summary.json: analysis.literature.authenticity",
    "summary.json: analysis.literature.data_copying",
    "summary.json: analysis.literature.likelihood_gap",
    "summary.json: analysis.manifold",
    "summary.json: checks.impostor scores",
}


@pytest.fixture(autouse=True)
def matcher(monkeypatch):
    quick(monkeypatch)
    monkeypatch.setattr("idsim.audit.bundling.replicating.matcher_of", lambda *_: GridMatcher())
    use(monkeypatch, GridMatcher())


def finals(folder):
    """The summaries of a run, by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("summary.json")}


def as_csv(path):
    """A table of a run as the page says that a bundle shows it."""
    table = pq.read_table(path).to_pydict()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(
        ["" if value is None else value for value in row] for row in zip(*table.values(), strict=True)
    )
    return list(csv.DictReader(io.StringIO(text.getvalue())))


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def packed(tmp_path, monkeypatch, kind, **options):
    """A bundle, and the run that it is of; its inputs are gone, and the working folder is another."""
    run = scan(KINDS[kind](tmp_path / "data")).folder
    file = tmp_path / "run.idsim.zip"
    pack(run, file, **options)
    kept = tmp_path / "kept"
    shutil.move(run, kept)
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return file, kept


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_comes_out_again_without_its_inputs(tmp_path, monkeypatch, kind):
    file, run = packed(tmp_path, monkeypatch, kind)
    found = replicate(file, tmp_path / "out")
    assert found.differences == []
    assert finals(tmp_path / "out") == finals(run)
    assert found.summary == json.loads((run / "summary.json").read_bytes())
    entry = json.loads((tmp_path / "out" / "replication.json").read_bytes())
    assert entry["result"] == "the same"
    assert entry["taken"] == found.taken
    assert set(entry["same"]) == {
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and path.name != "replication.json"
    }
    if "scores" in kind:
        assert found.taken == []
    elif kind in ("embeddings", "strata", "probes", "mirrored"):
        assert {*found.taken, "summary.json: checks.impostor scores differ"} - OF_EMBEDDINGS == {
            "summary.json: checks.impostor scores differ"
        }
        check_tables(tmp_path / "out", run)


def test_a_check_that_rests_on_names_is_taken_where_there_are_none(tmp_path, monkeypatch):
    names = {name: f"canary-{name}" for name in ("synthetic", "training")} | {"holdout": "6"}
    monkeypatch.setattr("audit.bundle_makers.NAMES", names)
    monkeypatch.setattr("audit.bundle_makers.ITEM", "{0}{1:04d}.png")
    more = '[declared]\ngenerator = "stylegan2-ffhq"\n'
    run = scan(embeddings(tmp_path / "data", more)).folder
    assert "holdout was trained on" in (run / "summary.json").read_text()
    pack(run, tmp_path / "a.zip")
    pack(run, tmp_path / "b.zip", names=True)
    hidden, shown = replicate(tmp_path / "a.zip"), replicate(tmp_path / "b.zip")
    assert hidden.differences == shown.differences == []
    assert set(hidden.taken) - set(shown.taken) == {"summary.json: checks.holdout was trained on"}


def check_tables(out, run):
    """The tables are those of the run, with pseudonyms instead of names."""
    key = hashlib.sha256((run / "provenance.json").read_bytes()).digest()

    def label(row):
        kind = "synthetic cluster" if row["set"] == "synthetic" else f"{row['set']} person"
        return pseudonym(key, kind, row["label"])

    hidden = {
        "pairs": lambda row: {
            "synthetic": row["synthetic_pseudonym"],
            "cluster": pseudonym(key, "synthetic cluster", row["cluster"]),
            "image": row["image_pseudonym"],
            "person": row["person_pseudonym"],
        },
        "images": lambda row: {"item": row["pseudonym"], "label": label(row)},
        "persons": lambda row: {
            "person": row["pseudonym"],
            "best_synthetic": pseudonym(key, "synthetic", row["best_synthetic"]),
        },
    }
    for name, change in hidden.items():
        found = read_csv(out / f"{name}.csv")
        expected = [row | change(row) for row in as_csv(run / f"{name}.parquet")]
        for row in (*found, *expected):
            row.pop("sha256", None)
        assert found == expected
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    before = [json.loads(line) for line in (run / "failures.jsonl").read_text().splitlines()]
    assert [line | {"item": pseudonym(key, line["set"], line["item"])} for line in before] == failures


@pytest.mark.parametrize("kind", ["several matchers", "scores", "mirrored"])
def test_with_names_the_tables_are_those_of_the_run(tmp_path, monkeypatch, kind):
    file, run = packed(tmp_path, monkeypatch, kind, names=True)
    found = replicate(file, tmp_path / "out")
    assert found.differences == []
    assert finals(tmp_path / "out") == finals(run)
    tables = sorted(run.rglob("pairs.parquet")) + sorted(run.rglob("images.parquet"))
    assert tables
    for path in tables:
        replicated = tmp_path / "out" / path.relative_to(run).with_suffix(".csv")
        assert read_csv(replicated) == as_csv(path)


@pytest.mark.parametrize("kind", ["several matchers", "series"])
def test_with_embeddings_everything_is_computed_again(tmp_path, monkeypatch, kind):
    file, run = packed(tmp_path, monkeypatch, kind, embeddings=True)
    found = replicate(file, tmp_path / "out")
    assert found.differences == []
    assert found.taken == []
    assert finals(tmp_path / "out") == finals(run)
    assert {stage.how for stage in found.stages if stage.name == "search"} == {"computed again"}


def test_pictures_are_embedded_again_by_the_matcher_of_the_run(tmp_path, monkeypatch):
    file, run = packed(tmp_path, monkeypatch, "mirrored", images=True)
    without = replicate(file)
    assert [(stage.name, stage.how) for stage in without.stages][:2] == [
        ("embedding", "taken"),
        ("search", "taken"),
    ]
    found = replicate(file, tmp_path / "out", matchers={"grid": ""})
    assert [stage.how for stage in found.stages] == ["computed again"] * 3
    assert found.differences == []
    assert found.taken == []
    assert finals(tmp_path / "out") == finals(run)


class Louder(GridMatcher):
    """A matcher that says it is the same, and gives other vectors."""

    def represent(self, image):
        found = super().represent(image)
        return found if found.vector is None else found._replace(vector=found.vector * np.float32(1.25))


class Other(GridMatcher):
    """Another matcher."""

    def describe(self):
        return super().describe() | {"files": {"other.onnx": "0" * 64}}


def test_another_matcher_is_refused_and_another_result_is_named(tmp_path, monkeypatch):
    file, _ = packed(tmp_path, monkeypatch, "mirrored", images=True, embeddings=True)
    with pytest.raises(ValueError, match="no matcher 'gird': it has grid"):
        replicate(file, matchers={"gird": ""})
    monkeypatch.setattr("idsim.audit.bundling.replicating.matcher_of", lambda *_: Other())
    with pytest.raises(ValueError, match="not the one of the run: files was None and is"):
        replicate(file, matchers={"grid": ""})
    monkeypatch.setattr("idsim.audit.bundling.replicating.matcher_of", lambda *_: Louder())
    found = replicate(file, matchers={"grid": ""})
    assert "grid found other faces in training than before" in found.differences
    assert "the comparison SxT by grid is not the stored one" in found.differences
    assert any(sentence.startswith("summary.json differs: ") for sentence in found.differences)


def test_nothing_is_packed_where_the_numbers_do_not_come_out_again(tmp_path):
    run = scan(embeddings(tmp_path / "data")).folder
    summary = run / "summary.json"
    summary.write_text(
        summary.read_text().replace('"bootstrap_replicates": 100', '"bootstrap_replicates": 101')
    )
    with pytest.raises(ValueError, match="bootstrap_replicates was 101 and is 100. Nothing was packed"):
        pack(run, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_folder_with_results_is_never_overwritten(tmp_path, monkeypatch):
    file, run = packed(tmp_path, monkeypatch, "embeddings")
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="nothing is ever overwritten"):
        replicate(file, tmp_path / "out")
    with pytest.raises(FileExistsError, match="nothing is ever overwritten"):
        pack(run, file)
