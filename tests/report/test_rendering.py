"""Rendered figures: equal bytes, nothing that a page forbids, colours that can be themed, names that do no harm."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from idsim.report.data import open_run
from idsim.report.figure import COLOURS, Figure, axes, legend
from idsim.report.plots import figures, save, stylesheet, svg
from report.makers import HOSTILE, by_kind

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(scope="module")
def found(one, several, series):
    """Figures of every kind."""
    by_name = {}
    for place in (series, several, one):
        by_name |= {figure.kind: figure for figure in figures(open_run(place))}
    assert len(by_name) == 10
    return list(by_name.values())


@pytest.fixture(scope="module")
def trees(found):
    return {figure.name: ElementTree.fromstring(svg(figure)) for figure in found}


def hashes(folder, run):
    paths = save(figures(run)[:3], folder)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


PROGRAM = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from idsim.report.data import open_run
from report.test_rendering import hashes
print(json.dumps(hashes(Path(sys.argv[2]), open_run(sys.argv[1]))))
"""


def test_equal_runs_give_equal_bytes(one, tmp_path):
    first = hashes(tmp_path / "a", open_run(one))
    assert len(first) == 9
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert hashes(tmp_path / "b", open_run(one)) == first
        assert mpl.rcParams["font.size"] == 30
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, one, tmp_path / "c", tests], check=True, capture_output=True, text=True,
        env={
            "PYTHONHASHSEED": "7", "PATH": "", "HOME": str(tmp_path), "SOURCE_DATE_EPOCH": "1",
            "MPLCONFIGDIR": mpl.get_cachedir(),
        },
    )  # fmt: skip
    assert json.loads(done.stdout) == first


def test_files_are_what_they_are_called(found, tmp_path):
    paths = save(found[:1], tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"{found[0].name}.{kind}" for kind in ("png", "svg", "pdf")]
    starts = [path.read_bytes()[:5] for path in paths]
    assert starts == [b"\x89PNG\r", b"<?xml", b"%PDF-"]
    text = b"".join(path.read_bytes() for path in paths)
    assert b"Matplotlib" not in text
    assert b"CreationDate" not in text
    with pytest.raises(ValueError, match="are saved as png, svg, pdf, not as 'eps'"):
        save(found[:1], tmp_path, ["eps"])


def test_a_page_may_forbid_styles_and_addresses(trees):
    for root in trees.values():
        text = ElementTree.tostring(root, encoding="unicode")
        assert re.findall(r"https?://[^\"]+", text) in (
            ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"],
            ["http://www.w3.org/2000/svg"],
        )
        for element in root.iter():
            assert element.tag.removeprefix(SVG) in {
                "svg", "g", "path", "text", "tspan", "use", "defs", "clipPath", "rect", "title", "pattern", "desc"
            }  # fmt: skip
            assert "style" not in element.attrib
            assert not [name for name in element.attrib if name.startswith("on")]
        assert {"width", "height"}.isdisjoint(root.attrib)
        assert root.attrib["role"] == "img"


def test_ids_are_unique_over_all_figures(trees):
    ids = [
        element.attrib["id"] for root in trees.values() for element in root.iter() if "id" in element.attrib
    ]
    assert len(set(ids)) == len(ids) > 50
    for name, root in trees.items():
        own = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
        assert all(entry.startswith(f"{name}-") for entry in own)
        text = ElementTree.tostring(root, encoding="unicode")
        used = set(re.findall(r"url\(#([^)]+)\)", text))
        used |= {element.attrib[LINK][1:] for element in root.iter() if LINK in element.attrib}
        assert used | {f"{name}-title"} == own


def test_every_colour_can_be_themed(trees, found):
    light = {pair[0]: name for name, pair in COLOURS.items()}
    assert len(light) == len({pair[1] for pair in COLOURS.values()}) == len(COLOURS)
    for root in trees.values():
        for element in root.iter():
            for kind in ("fill", "stroke"):
                value = element.get(kind, "none")
                if value == "none" or value.startswith("url(") or element.tag == f"{SVG}clipPath":
                    continue
                assert f"fig-{kind}-{light[value]}" in element.get("class", "").split(), (kind, value)
    dark = svg(found[0], dark=True)
    assert dark != svg(found[0])
    assert not set(light) & set(re.findall("#[0-9a-f]{6}", dark))
    rules = stylesheet(dark=True, scope=".dark")
    assert ".dark .fig-stroke-training{stroke:#f28c38}\n" in rules
    assert rules.count("\n") == 2 * len(COLOURS)
    assert stylesheet().startswith(".fig-fill-ink{fill:#1f2328}\n")


def contrast(one, other):
    """Ratio of luminances, as WCAG 2 defines it."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_lines_and_letters_can_be_read():
    for name, pair in COLOURS.items():
        for colour, ground in zip(pair, ("#ffffff", "#16191d"), strict=True):
            least = {"ink": 7, "muted": 4.5, "grid": 1}.get(name, 3)
            assert contrast(colour, ground) >= least, (name, colour)


def hostile_figure(text):
    def draw(figure):
        found = axes(figure, text, text)
        found.plot([0, 1], [0, 1], label=text)
        found.set_xticks([0, 1], [text, "b"])
        legend(figure)

    return Figure("name", "kind", text, text, None, draw)


def test_hostile_names_are_text(one):
    figure = hostile_figure('<script>a</script> $x^2_y$ & "q" \\input{c} 日本')
    root = ElementTree.fromstring(svg(figure))
    texts = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert sum(text == figure.title for text in texts) == 4
    assert root[0].text == figure.title
    assert not list(root.iter(f"{SVG}script"))
    drawn = by_kind(figures(open_run(one)), "det")
    assert drawn.matcher == HOSTILE
    assert "<script" not in svg(drawn)
    assert re.fullmatch("[a-z0-9-]+", drawn.name)


def test_names_with_letters_that_a_font_lacks_are_saved(tmp_path):
    save([hostile_figure("日本 \U0001f600")], tmp_path)
    assert "日本" in (tmp_path / "name.svg").read_text()
