"""The page shows nobody unless asked, believes no name, and says what is wrong with a folder."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from idsim.report.blocks import Cell, Column, Facts, Finding, Findings, Grid
from idsim.report.data import open_run
from idsim.report.html import render, write_report
from idsim.report.nearest import Nearest
from idsim.report.page import Options, one_run
from idsim.report.text import number, rate, shortened, visible
from idsim.report.thumbnails import BLURRED_SIDE, SHOWN_SIDE
from report.page.hostile_names import hostile_names
from report.page.reading import Parsed, copied, page, pictures_of, shape

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


pytestmark = pytest.mark.usefixtures("quick")


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
