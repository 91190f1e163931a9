"""The page: it says what the summary says, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from audit.score_makers import config_text, write_sets
from idsim.audit.run import scan
from idsim.cli.main import app
from idsim.report import plots
from idsim.report.data import open_run
from idsim.report.html import write_report
from idsim.report.nearest import Nearest
from idsim.report.text import rate
from report.page.reading import Parsed, copied, page, pictures_of
from report.page.worlds import LITTLE

# --- contents ---------------------------------------------------------------------------------------


def test_the_page_says_what_the_summary_says(pictures_run, tmp_path):
    words = Parsed(page(pictures_run, tmp_path / "a.html")).words
    summary = json.loads((pictures_run / "summary.json").read_bytes())
    assert summary["verdict"]["sentence"] in words
    assert "Excess found" in words
    for label, entry in summary["matchers"].items():
        assert label in words
        for point in entry["operating_points"]:
            if point["refused"]:
                assert point["refused"] in words
                continue
            assert f"{point['threshold']:.4f}" in words
            for key in ("leak_rate_training", "leak_rate_holdout", "excess_leak_rate"):
                assert rate(point[key]["rate"]).replace("\N{NO-BREAK SPACE}", " ") in words.replace(
                    "\N{NO-BREAK SPACE}", " "
                )
        for check in entry["checks"]:
            assert check["sentence"] in words
    assert summary["consensus"]["sentence"] in words
    digest = hashlib.sha256((pictures_run / "summary.json").read_bytes()).hexdigest()
    assert digest in words
    for part in (
        "No leak found is no proof of privacy",
        "float64",
        "CC0",
        "idsim scan pictures.toml",
        "Unreadable",
    ):
        assert part in words


def test_every_section_is_there_and_in_the_contents(vectors_run, figures, tmp_path):
    parsed = Parsed(page(vectors_run, tmp_path / "a.html"))
    sections = [attributes["id"] for attributes in parsed.named("section")]
    assert sections == [
        "verdict", "coverage", "points", "rates", "figures", "exposure", "beyond", "pairs", "checks", "exactness",
        "limits", "provenance", "reproduce",
    ]  # fmt: skip
    links = [attributes["href"] for attributes in parsed.named("a")]
    assert links == ["#main", *(f"#{section}" for section in sections)]


@pytest.mark.parametrize("run", ["series_run", "vectors_run"])
def test_ids_are_unique_and_links_lead_somewhere(run, request, figures, few, tmp_path):
    parsed = Parsed(page(request.getfixturevalue(run), tmp_path / "a.html", run_code=True))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [
        attributes[key]
        for _, attributes in parsed.elements
        for key in ("href", "xlink:href")
        if key in attributes
    ]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    labels = [
        attributes["aria-labelledby"] for _, attributes in parsed.elements if "aria-labelledby" in attributes
    ]
    assert set(labels) <= set(ids)


def test_a_series_has_a_row_for_every_set(series_run, tmp_path):
    parsed = Parsed(page(series_run, tmp_path / "a.html"))
    for name in ("early-draw-psi1", "early-draw-psi0.5", "late-draw-psi1", "late-draw-psi0.5"):
        assert parsed.words.count(name) >= 4
    bars = [attributes for attributes in parsed.named("div") if "bar tone" in attributes.get("class", "")]
    assert len(bars) == 4


def test_a_run_without_parquet_gives_the_same_pairs(pictures_run, tmp_path):
    from idsim.audit.tables import write_csv

    run = copied(pictures_run, tmp_path)
    before = Nearest(open_run(run)).pairs(50)
    groups = Nearest(open_run(run)).groups(50, least=1)
    for part in open_run(run).sets:
        for stem in ("pairs", "images", "persons"):
            path = part.folder / f"{stem}.parquet"
            table = getattr(part, stem)()
            path.unlink()
            write_csv(path.with_suffix(".csv"), table)
    assert Nearest(open_run(run)).pairs(50) == before
    assert Nearest(open_run(run)).groups(50, least=1) == groups
    assert len(pictures_of(page(run, tmp_path / "a.html"))) == len(
        pictures_of(page(pictures_run, tmp_path / "b.html"))
    )


def test_pairs_are_the_nearest_ones_of_every_matcher(pictures_run):
    run = open_run(pictures_run)
    pairs = Nearest(run).pairs(1000)
    keys = {(pair.synthetic.name, pair.person_name) for pair in pairs}
    for part in run.sets:
        table = part.pairs()
        first = [
            (synthetic, person)
            for synthetic, person, gallery, rank in zip(
                table["synthetic"], table["person"], table["gallery"], table["rank"], strict=True
            )
            if gallery == "training" and rank == 1
        ]
        assert set(first) <= keys
    leaked = [pair for pair in pairs if pair.synthetic.name <= "canary-007.png"]
    assert all(pair.agreeing == 2 for pair in leaked if pair.scores["coarse"].share == 0)
    few = Nearest(run).pairs(5)
    assert few == pairs[:5]
    assert Nearest(run).pairs(0) == []


def test_groups_gather_around_persons(series_run):
    run = open_run(series_run)
    groups = Nearest(run).groups(100)
    assert groups
    for group in groups:
        assert len(group.clusters) >= 2
        for part in run.sets:
            table = part.pairs()
            reached = {
                synthetic
                for synthetic, person, gallery, reaches in zip(
                    table["synthetic"],
                    table["person"],
                    table["gallery"],
                    table["reaches_primary"],
                    strict=True,
                )
                if gallery == "training" and reaches and person == group.person_name
            }
            assert reached == {item.name for item in group.members if item.variant == part.name}


def test_a_point_that_is_refused_says_why(vectors_run, tmp_path):
    run = copied(vectors_run, tmp_path)
    summary = json.loads((run / "summary.json").read_bytes())
    for point in summary["operating_points"]:
        point.update(threshold=None, refused="the holdout has 2 persons", fmr=None, fpir=None)
    summary["verdict"] = {
        "status": "inconclusive",
        "operating_point": "fpir=0.01",
        "sentence": "Inconclusive: x.",
    }
    (run / "summary.json").write_text(json.dumps(summary))
    words = Parsed(page(run, tmp_path / "a.html")).words
    assert "Inconclusive: x." in words
    assert words.count("the holdout has 2 persons") >= 4


def test_scores_that_were_given_and_rates_that_are_claimed(tmp_path):
    folder = tmp_path / "data"
    scores, _ = write_sets(folder)
    for key in ("training", "holdout"):
        np.save(folder / f"{key}-scores.npy", np.maximum(0, np.rint(120 * scores[key])).astype(np.int16))
    files = {key: f"{key}-scores.npy" for key in ("training", "holdout")}
    tail = LITTLE + '[calibration]\nfpir = [0.05]\nfmr = [1e-4]\nprimary = "fmr=0.0001"\n'
    (folder / "scores.toml").write_text(config_text(files, more='score_scale = "-12log10far"\n', tail=tail))
    words = Parsed(page(scan(folder / "scores.toml").folder, tmp_path / "a.html")).words
    for part in (
        "claimed 0.0001", "the thresholds are claimed, not measured", "were given as files",
        "Refused: the holdout was not compared with itself.",
    ):  # fmt: skip
        assert part in words


pytestmark = pytest.mark.usefixtures("quick")


# --- one file, the same every time ----------------------------------------------------------------


@pytest.mark.parametrize("faces", ["blur", "show", "none"])
def test_nothing_is_loaded_from_elsewhere(pictures_run, tmp_path, figures, few, faces):
    text = page(pictures_run, tmp_path / "a.html", faces=faces)
    parsed = Parsed(text)
    for name, attributes in parsed.elements:
        for key, value in attributes.items():
            if key.startswith("xmlns"):
                continue
            assert "//" not in (value or "").partition(";base64,")[0], (name, key)
            assert not key.startswith("on"), (name, key)
            assert key != "style", name
            if key in ("href", "src", "xlink:href", "srcset", "action", "data", "poster"):
                assert value.startswith(("#", "data:image/png;base64,", "data:image/jpeg;base64,")), (
                    name,
                    key,
                )
    assert not re.search(r"@import|url\((?!#)", parsed.raw["style"][0])
    assert {name for name, _ in parsed.elements}.isdisjoint(
        {"link", "iframe", "object", "embed", "base", "form", "audio"}
    )


def test_the_policy_names_the_hashes_of_script_and_style(pictures_run, tmp_path):
    parsed = Parsed(page(pictures_run, tmp_path / "a.html"))
    (policy,) = [
        attributes["content"]
        for attributes in parsed.named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    for key, tag in (("style-src", "style"), ("script-src", "script")):
        (content,) = parsed.raw[tag]
        assert (
            rules[key] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
        )


def test_equal_runs_give_equal_bytes(pictures_run, tmp_path, figures, few):
    first = write_report(pictures_run, tmp_path / "a.html", faces="show").read_bytes()
    assert write_report(pictures_run, tmp_path / "b.html", faces="show").read_bytes() == first
    moved = copied(pictures_run, tmp_path)  # with its times
    assert write_report(moved, tmp_path / "c.html", faces="show").read_bytes() == first
    os.utime(moved / "summary.json", (0, 0))
    assert b"1970-01-01 00:00 UTC" in write_report(moved, tmp_path / "d.html").read_bytes()


def test_two_hundred_pairs_stay_small(pictures_run, tmp_path, figures):
    """600 pictures as large as the largest of this run, and as much text for each pair as this run has."""

    def measured(most):
        text = page(pictures_run, tmp_path / "a.html", faces="show", max_pairs=most)
        urls = re.findall(r"data:image/[^\"]+", text)
        return text.count('<tr role="row" data-found'), len(text) - sum(map(len, urls)), max(map(len, urls))

    (few, little, _), (many, much, largest) = measured(5), measured(200)
    assert (few, many > 30) == (5, True)
    assert little + (much - little) / (many - few) * 195 + 600 * largest < 3e6


# --- several runs, command line -------------------------------------------------------------------------


def test_several_runs_are_compared(pictures_run, series_run, vectors_run, tmp_path):
    runs = [pictures_run, series_run, vectors_run]
    text = page(runs, tmp_path / "a.html")
    parsed = Parsed(text)
    assert "3 runs compared" in parsed.words
    assert "The runs differ in their primary operating points, thresholds, matchers" in parsed.words
    for run in runs:
        summary = json.loads((run / "summary.json").read_bytes())
        assert summary["verdict"]["sentence"] in parsed.words
        assert summary["run"] in parsed.words
    assert text.count('<tr><th scope="row"') == 2 + 4 + 1
    ids = {attributes["id"] for _, attributes in parsed.elements if "id" in attributes}
    assert {"run-0", "run-1", "run-2"} <= ids
    with pytest.raises(ValueError, match="several runs needs the name of its file"):
        write_report(runs)


def test_equal_runs_differ_in_nothing(pictures_run, tmp_path):
    text = page([pictures_run, copied(pictures_run, tmp_path)], tmp_path / "a.html")
    assert "The runs differ" not in text
    assert "pictures (2)" in text


def test_the_command(pictures_run, series_run, tmp_path, monkeypatch):
    every = plots.figures
    monkeypatch.setattr(plots, "figures", lambda run: every(run)[:1])
    run = copied(pictures_run, tmp_path)
    others = {name: tmp_path / name for name in ("card.md", "table.tex", "digest.json", "figures")}
    arguments = [
        "report", str(run), "--faces", "none", "--max-pairs", "5", "--markdown", str(others["card.md"]),
        "--latex", str(others["table.tex"]), "--json", str(others["digest.json"]),
        "--figures", str(others["figures"]),
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (run / "report.html").exists()
    assert json.loads(others["digest.json"].read_text())["run"] == "pictures"
    assert others["table.tex"].read_text().strip().endswith(r"\end{tabular}")
    assert "Identity leakage audit" in others["card.md"].read_text()
    assert list(others["figures"].glob("*.png"))
    both = CliRunner().invoke(app, ["report", str(run), str(series_run), "-o", str(tmp_path / "c.html")])
    assert both.exit_code == 0, both.output
    assert "2 runs compared" in (tmp_path / "c.html").read_text()
    refused = CliRunner().invoke(app, ["report", str(run), str(series_run), "-o", "x", "--latex", "y"])
    assert isinstance(refused.exception, ValueError)
