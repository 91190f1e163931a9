"""The page: it says what the summary says, loads nothing, shows nobody unless asked, and believes no name."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from audit.score_makers import config_text, write_sets
from idsim.audit.run import scan
from idsim.cli.main import app
from idsim.report import plots
from idsim.report.blocks import Cell, Column, Facts, Finding, Findings, Grid
from idsim.report.data import open_run
from idsim.report.html import render, write_report
from idsim.report.nearest import Nearest
from idsim.report.page import Options, one_run
from idsim.report.text import number, rate, shortened, visible
from idsim.report.thumbnails import BLURRED_SIDE, SHOWN_SIDE
from report.page.hostile_names import hostile_names
from report.page.reading import Parsed, pictures_of, shape
from report.page.worlds import LITTLE, DecoderHere


@pytest.fixture
def figures():
    """Asked for by tests that need figures in pages: they take most of the time."""


@pytest.fixture
def few(monkeypatch):
    """Only the first figures."""
    monkeypatch.setattr("idsim.report.figures.MOST", 4)


@pytest.fixture
def processes():
    """Asked for by tests that need the processes that decode pictures."""


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    if "processes" not in request.fixturenames:
        monkeypatch.setattr("idsim.report.thumbnails.DecoderPool", DecoderHere)
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("idsim.report.page.drawn", lambda run: None)


def page(run, path, **options):
    return write_report(run, path, **options).read_text(encoding="utf-8")


def copied(run, folder):
    """A run that a test may change."""
    return shutil.copytree(run, folder / run.name)


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


# --- privacy ------------------------------------------------------------------------------------------


def test_a_blurred_page_holds_no_recognisable_pixels(pictures_run, tmp_path):
    text = page(pictures_run, tmp_path / "a.html")
    found = pictures_of(text)
    assert len(found) > 40
    for picture in found:
        assert max(picture.size) <= BLURRED_SIDE <= 6
        assert len(np.unique(np.asarray(picture.convert("RGB")))) <= 16
    assert text.count("data:") == len(found) + text.count("img-src data:")
    assert "recognisable faces" not in Parsed(text).words


def test_faces_are_shown_only_when_asked_for_and_the_page_says_so(pictures_run, tmp_path):
    text = page(pictures_run, tmp_path / "a.html", faces="show")
    assert {picture.size for picture in pictures_of(text)} == {(SHOWN_SIDE, SHOWN_SIDE)}
    parsed = Parsed(text)
    assert "Contains recognisable faces" in parsed.words
    buttons = [attributes for attributes in parsed.named("button") if attributes.get("class") == "face"]
    assert buttons
    assert all(attributes["aria-pressed"] == "false" for attributes in buttons)
    none = page(pictures_run, tmp_path / "b.html", faces="none")
    assert pictures_of(none) == []
    assert "data:image" not in none


def test_names_and_paths_stand_in_a_page_only_when_asked_for(pictures_run, tmp_path):
    hidden = page(pictures_run, tmp_path / "a.html")
    for word in ("canary", "person-10", str(pictures_run.parent)):
        assert word not in hidden
    assert re.search(r"S-[0-9a-f]{10}", hidden)
    shown = page(pictures_run, tmp_path / "b.html", names=True)
    assert "canary-000.png" in shown
    assert "person-1000" in shown
    assert "Contains names of files and persons" in Parsed(shown).words


def test_absolute_paths_are_cut_to_their_last_part(vectors_run, tmp_path):
    run = copied(vectors_run, tmp_path)
    config = (run / "config.resolved.toml").read_text()
    secret = "/home/alice/secret-project/synthetic.npy"
    (run / "config.resolved.toml").write_text(config.replace('"synthetic.npy"', f'"{secret}"'))
    assert "alice" not in page(run, tmp_path / "a.html")
    assert secret in page(run, tmp_path / "b.html", names=True)


# --- pictures ------------------------------------------------------------------------------------------


def test_pictures_are_those_that_the_scan_saw(world, pictures_run, processes, tmp_path):
    text = page(pictures_run, tmp_path / "a.html", faces="show", max_pairs=1)
    (pair,) = Nearest(open_run(pictures_run)).pairs(1)
    labels = dict(re.findall(r'aria-label="Show: [^"]*? (\S+)".*?<use href="#(p[0-9]+)"', text))
    shown = {label: pictures_of(text)[int(place[1:])] for label, place in labels.items()}
    for item, place in (
        (pair.synthetic, world / "synthetic" / pair.synthetic.name),
        (pair.training, world / "training" / pair.training.name),
    ):
        whole = Image.open(place).convert("RGB").resize((SHOWN_SIDE, SHOWN_SIDE))
        error = np.abs(np.asarray(whole, float) - np.asarray(shown[item.pseudonym], float)).mean()
        assert error < 6


def test_a_picture_that_changed_is_left_out(world, pictures_run, tmp_path):
    run = copied(pictures_run, tmp_path)
    (pair,) = Nearest(open_run(run)).pairs(1)
    path = world / "synthetic" / pair.synthetic.name
    content = path.read_bytes()
    try:
        Image.new("RGB", (64, 64), "red").save(path)
        text = page(run, tmp_path / "a.html", max_pairs=1)
    finally:
        path.write_bytes(content)
    assert len(pictures_of(text)) == len(pictures_of(page(run, tmp_path / "b.html", max_pairs=1))) - 1
    assert "no longer what the scan saw" in text


def test_vectors_have_no_pictures_and_the_page_says_so(vectors_run, tmp_path):
    text = page(vectors_run, tmp_path / "a.html")
    assert pictures_of(text) == []
    assert "the scan had none, only what matchers made of them" in text


def test_code_of_a_generator_runs_only_when_asked_for(series_run, world, tmp_path, monkeypatch):
    mark = tmp_path / "ran"
    model = (world / "late.py").read_text()
    monkeypatch.setenv("IDSIM_TEST_MARK", str(mark))
    hidden = page(series_run, tmp_path / "a.html")
    assert "code, which was not asked for" in hidden
    drawn = page(series_run, tmp_path / "b.html", run_code=True)
    assert len(pictures_of(drawn)) > len(pictures_of(hidden)) > 0
    try:
        (world / "late.py").write_text(f"import os\nopen({str(mark)!r}, 'w').close()\n{model}")
        page(series_run, tmp_path / "c.html")
        assert not mark.exists()
        changed = page(series_run, tmp_path / "d.html", run_code=True)
        assert mark.exists()
        assert "no longer the one that the scan drew from" in changed
    finally:
        (world / "late.py").write_text(model)


def test_a_run_whose_description_is_gone_has_no_pictures(pictures_run, tmp_path):
    run = copied(pictures_run, tmp_path)
    (run / "origin.json").unlink()
    text = page(run, tmp_path / "a.html")
    assert pictures_of(text) == []
    assert "origin.json of the run does not say where they are" in text


# --- hostile names ------------------------------------------------------------------------------------


def test_hostile_names_stay_text(pictures_run):
    """Every name in every kind of place; nothing but text may differ from a page of harmless names."""
    run = open_run(pictures_run)
    made, pictures = one_run(run, Options(faces="show", names=True, max_pairs=3))
    names = hostile_names(500)

    def with_names(chosen):
        rows = [[Cell(name, note=name), Cell(name, 1.0, name, "excess")] for name in chosen]
        blocks = [
            Grid(
                chosen[0], [Column(chosen[1]), Column(chosen[2], True)], rows, sortable=True, note=chosen[3]
            ),
            Findings([Finding(name, "error", name, name) for name in chosen[:50]], []),
            Facts(chosen[4], [(name, name) for name in chosen[:50]]),
        ]
        pairs = made.sections[[section.id for section in made.sections].index("pairs")]
        tables = []
        for block in pairs.blocks:
            if block.kind == "pairs":
                row = block.rows[0]
                tables += [
                    replace(
                        block,
                        title=name,
                        matchers=[name, name],
                        rows=[
                            replace(
                                row,
                                synthetic=replace(row.synthetic, label=name, description=name),
                                person=name,
                                variant=name,
                            )
                        ],
                        series=True,
                    )
                    for name in chosen[:100]
                ]
        sections = [
            replace(made.sections[0], title=chosen[5], lead=chosen[6], blocks=blocks),
            replace(pairs, blocks=tables),
        ]
        page_of = replace(
            made, title=chosen[7], sentence=chosen[8], kicker=chosen[9], byline=[(chosen[10], chosen[11])],
            warnings=chosen[12:40], sections=sections, footer=chosen[41], stamp=chosen[42], version=chosen[43],
        )  # fmt: skip
        return render(page_of, pictures, "show")

    text = with_names(names)
    harmless = Parsed(with_names([f"name {number}" for number in range(500)]))
    parsed = Parsed(text)
    assert shape(parsed) == shape(harmless)
    assert parsed.raw == harmless.raw
    text.encode("utf-8")
    assert "{{ 7 * 7 }}" in text
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", text
    )
    for _, attributes in parsed.elements:
        for key in ("href", "src", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))


def test_hostile_names_of_files_and_sets(pictures_run, tmp_path):
    """The same through the files of a run, with names asked for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Parquet holds no lone surrogates, and files have none: they are escaped when folders are listed.
    names = [name for name in hostile_names(500) if name.encode("utf-8", "replace").decode() == name]
    plain = copied(pictures_run, tmp_path / "plain")
    before = Parsed(page(plain, tmp_path / "a.html", names=True, faces="none"))
    run = copied(pictures_run, tmp_path)
    for part in open_run(run).sets:
        path = part.folder / "pairs.parquet"
        table = pq.read_table(path)
        for turn, column in enumerate(("synthetic", "image", "person")):
            values = table[column].to_pylist()
            fresh = {
                value: names[(place + 97 * turn) % len(names)] + str(place)
                for place, value in enumerate(sorted(set(values)))
            }
            table = table.set_column(
                table.schema.get_field_index(column), column, pa.array([fresh[value] for value in values])
            )
        pq.write_table(table, path)
    text = page(run, tmp_path / "b.html", names=True, faces="none")
    after = Parsed(text)
    assert shape(after) == shape(before)
    assert after.raw == before.raw
    assert "⟨U+202E⟩" in text
    assert "&lt;script&gt;" in text
    assert max(map(len, re.findall(r"<code>([^<]*)</code>", text))) < 96 * 8


def test_text_that_cannot_be_seen_is_shown():
    assert visible("a\u202eb\x00\ud800") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩"
    assert visible("two\nlines") == "two\nlines"
    assert visible("Zoë 漢字 😀") == "Zoë 漢字 😀"
    assert len(shortened("x" * 10_000)) <= 96
    assert shortened("a" * 60 + "b" * 60).startswith("a" * 60)
    assert shortened("short") == "short"


def test_numbers_in_words():
    assert [number(value, 2) for value in (None, 0.0, 0.0001, 6.7e-7, 1e-5, -3.25)] == [
        "–", "0", "0.0001", "6.7·10⁻⁷", "10⁻⁵", "−3.2",
    ]  # fmt: skip
    assert number(1500.0) == "1\N{NARROW NO-BREAK SPACE}500"
    assert rate(-0.0463) == "−4.63\N{NO-BREAK SPACE}%"


# --- bad input ------------------------------------------------------------------------------------------


def test_folders_that_are_no_runs_are_named(pictures_run, tmp_path):
    with pytest.raises(ValueError, match="nowhere is no folder"):
        write_report(tmp_path / "nowhere", tmp_path / "a.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is no run of a scan"):
        write_report(tmp_path / "empty", tmp_path / "a.html")
    unfinished = copied(pictures_run, tmp_path)
    (unfinished / "summary.json").unlink()
    with pytest.raises(ValueError, match="is not finished"):
        write_report([pictures_run, unfinished], tmp_path / "a.html")
    with pytest.raises(ValueError, match="at least one run"):
        write_report([], tmp_path / "a.html")
    with pytest.raises(ValueError, match="faces must be one of none, blur, show"):
        write_report(pictures_run, tmp_path / "a.html", faces="sharp")
    with pytest.raises(ValueError, match="max_pairs must be at least 0"):
        write_report(pictures_run, tmp_path / "a.html", max_pairs=-1)
    assert not (tmp_path / "a.html").exists()


def test_another_file_is_never_replaced_unless_asked(pictures_run, vectors_run, tmp_path):
    path = tmp_path / "report.html"
    first = write_report(pictures_run, path, faces="none").read_bytes()
    assert write_report(pictures_run, path, faces="blur").read_bytes() != first
    with pytest.raises(FileExistsError, match="is a report of another run"):
        write_report(vectors_run, path)
    path.write_text("my own page")
    with pytest.raises(FileExistsError, match="is no report"):
        write_report(pictures_run, path)
    assert path.read_text() == "my own page"
    assert write_report(pictures_run, path, faces="none", overwrite=True).read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_failed_page_leaves_the_old_one(pictures_run, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    before = write_report(pictures_run, path, faces="none").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(pictures_run, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


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
