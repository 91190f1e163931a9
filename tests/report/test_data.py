"""Opening finished runs, and folders that are none."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest

from idsim.audit.persons.person_records import PERSON_TYPES
from idsim.audit.tables import SPARSE, write_table
from idsim.report.data import open_run
from report.makers import HOSTILE


@pytest.fixture
def copy(one, tmp_path):
    """A copy of a finished run, to be damaged."""
    return shutil.copytree(one, tmp_path / "copy", ignore=shutil.ignore_patterns("compare"))


def test_a_run_of_one_matcher(one):
    run = open_run(one)
    (matcher,) = run.matchers
    (found,) = run.sets
    assert run.name == "run"
    assert matcher.name == found.matcher == HOSTILE
    assert (found.name, matcher.is_series, run.curves) == ("", False, {})
    assert found.summary == run.summary
    assert found.primary["name"] == "fpir=0.1"
    assert run.confidence == 0.95
    assert 'name = "run"' in run.config
    assert run.provenance["config"]["run"]["name"] == "run"
    assert found.analysis("closeness")["share"]["share"] > 0
    assert "no set of probes" in found.analysis("difference_in_differences")
    assert found.analysis("nonsense") == "the run has no nonsense"


def test_tables_are_read_by_column(one):
    (found,) = open_run(one).sets
    expected = pq.read_table(one / "pairs.parquet").to_pydict()
    assert found.pairs() == expected
    assert list(found.pairs(["score", "rank"])) == ["score", "rank"]
    assert len(found.persons()["person"]) == 80
    assert set(found.images(["set"])["set"]) == {"synthetic", "training", "holdout"}


@pytest.mark.parametrize(
    ("name", "types"), [("pairs", SPARSE), ("persons", PERSON_TYPES), ("images", SPARSE)]
)
def test_tables_of_csv_are_the_same(copy, monkeypatch, name, types):
    (found,) = open_run(copy).sets
    expected = getattr(found, name)()
    text = "image" if name == "pairs" else "person" if name == "persons" else "item"
    expected[text][0] = "=SUM(A1)"
    monkeypatch.setattr("idsim.audit.tables.has_pyarrow", lambda: False)
    write_table(copy / name, expected, types)
    (copy / f"{name}.parquet").unlink()
    assert "'=SUM" in (copy / f"{name}.csv").read_text()
    again = getattr(open_run(copy).sets[0], name)()
    for column, values in expected.items():
        # CSV has no missing text.
        assert again[column] == [("" if column in TEXT and value is None else value) for value in values]


TEXT = {"sha256", "best_synthetic"}


def test_several_matchers_and_series(several, series):
    run = open_run(several)
    assert [matcher.name for matcher in run.matchers] == ["first", "second_one"]
    assert [found.folder.relative_to(several).as_posix() for found in run.sets] == [
        "matchers/first", "matchers/second_one"
    ]  # fmt: skip
    assert "flagged" in run.curves
    (matcher,) = open_run(series).matchers
    assert matcher.is_series
    assert [found.name for found in matcher.sets][-1] == "late-draw-psi0"
    assert matcher.sets[-1].primary is None
    assert matcher.sets[-1].analysis("closeness") == "no face was found"
    assert matcher.sets[-1].curve("score_distributions") == "no face was found"
    assert matcher.sets[-1].persons() == {}


def test_folders_that_are_no_finished_run(copy, tmp_path):
    with pytest.raises(ValueError, match="nowhere is no folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is no run of a scan: it has no provenance\.json"):
        open_run(tmp_path)
    (copy / "config.resolved.toml").rename(copy / "away")
    with pytest.raises(ValueError, match=r"it has no config\.resolved\.toml"):
        open_run(copy)
    (copy / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"is not finished: it has no summary\.json\. 'idsim status .*copy'"):
        open_run(copy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"summary\.json is damaged: Expecting"),
        ("[]", "it holds no object"),
        ('{"schema_version": 99}', "has the schema_version 99: versions up to 1 are read"),
        ('{"verdict": {}}', "has the schema_version None"),
        ('{"schema_version": 1, "counts": {}}', r"is no run of a scan: its summary\.json has no verdict"),
    ],
)
def test_summaries_that_cannot_be_read(copy, content, message):
    (copy / "summary.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        open_run(copy)


def test_a_matcher_without_its_files(several, tmp_path):
    place = shutil.copytree(several, tmp_path / "copy", ignore=shutil.ignore_patterns("compare"))
    (place / "matchers" / "second_one" / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"not complete: .*second_one/summary\.json is missing"):
        open_run(place)


def test_a_summary_does_not_lead_out_of_its_run(several, tmp_path):
    place = shutil.copytree(several, tmp_path / "copy", ignore=shutil.ignore_patterns("compare"))
    text = json.loads((place / "summary.json").read_bytes())
    text["matchers"]["../../../elsewhere"] = {}
    (place / "summary.json").write_text(json.dumps(text))
    with pytest.raises(ValueError, match=r"it names the folder 'matchers/\.\./"):
        open_run(place)


def test_damaged_tables_and_curves_are_named(copy):
    run = open_run(copy)
    (copy / "pairs.parquet").write_bytes(b"PAR1 no table PAR1")
    (copy / "curves.json").write_text("{")
    with pytest.raises(ValueError, match=r"pairs\.parquet is damaged"):
        run.sets[0].pairs()
    with pytest.raises(ValueError, match=r"curves\.json is damaged"):
        run.sets[0].curve("score_distributions")
