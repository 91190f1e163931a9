"""Figures as SVG for a page, and as PNG, SVG and PDF files: equal figures give equal bytes.

Matplotlib has some settings only globally. They are set while a figure is drawn and put back afterwards, so two
threads must not draw at once: a lock sees to it.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from idsim.audit.shards import replace_file
from idsim.report.figure import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from idsim.report.figure import Figure

__all__ = ["FORMATS", "save", "stylesheet", "svg"]

FORMATS = ("png", "svg", "pdf")
DPI = 200

SETTINGS = {
    "axes.edgecolor": COLOURS["muted"][0],
    "axes.labelcolor": COLOURS["ink"][0],
    "axes.linewidth": 0.8,
    "font.family": "sans-serif",
    "font.size": 10.0,
    "legend.fontsize": 9.0,
    "legend.labelcolor": COLOURS["ink"][0],
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "text.color": COLOURS["ink"][0],
    "text.parse_math": False,  # a name with dollars is a name
    "xtick.color": COLOURS["muted"][0],
    "xtick.labelcolor": COLOURS["ink"][0],
    "xtick.labelsize": 9.0,
    "ytick.color": COLOURS["muted"][0],
    "ytick.labelcolor": COLOURS["ink"][0],
    "ytick.labelsize": 9.0,
}

# No date, and no version: files of equal figures are equal.
NO_METADATA = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
REFERENCE = re.compile(r"url\(#([^)]+)\)")

_drawing = threading.Lock()


def svg(figure: Figure, dark: bool = False) -> str:
    """Return a figure as an ``<svg>`` element that can stand inside an HTML page.

    It has no script, style attribute, style element or address, so that a page may forbid them; ids start with the
    figure's name. Elements that carry a colour have a class (`stylesheet`), so that a page can theme them; without
    a style sheet they are dark on light, or light on dark where `dark`. Text is text. Width and height are left to the
    page: ``viewBox`` gives the shape.
    """
    root = ElementTree.fromstring(_rendered(figure, "svg"))  # noqa: S314 - of our own making
    _drop_definitions(root)
    for element in root.iter():
        _style_to_attributes(element, dark)
        _rounded(element)
    _own_ids(root, figure.name)
    width, height = (root.attrib.pop(name) for name in ("width", "height"))
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{figure.name}-title",
        "data-size": f"{width} {height}",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    title = ElementTree.Element(f"{{{SVG}}}title", {"id": f"{figure.name}-title"})
    title.text = figure.title
    root.insert(0, title)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    return ElementTree.tostring(root, encoding="unicode")


def stylesheet(dark: bool = False, scope: str = "") -> str:
    """Return CSS rules that colour the figures of `svg`; for a media query, or below a selector `scope`."""
    rules = [
        f"{scope} .fig-{kind}-{name}{{{kind}:{pair[dark]}}}\n".lstrip()
        for name, pair in COLOURS.items()
        for kind in ("fill", "stroke")
    ]
    return "".join(rules)


def save(figures: Sequence[Figure], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write figures into a folder as ``NAME.png`` and so on, and return the paths.

    PNG has 200 dots per inch on white; SVG and PDF have no background, and text as text.

    Raises
    ------
    ValueError
        A format is not one of ``png``, ``svg`` and ``pdf``.
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise ValueError(f"figures are saved as {', '.join(FORMATS)}, not as {wanted!r}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for figure in figures:
        for wanted in formats:
            path = folder / f"{figure.name}.{wanted}"
            replace_file(path, _rendered(figure, wanted))
            paths.append(path)
    return paths


# --- drawing --------------------------------------------------------------------------------------


def _rendered(figure: Figure, wanted: str) -> bytes:
    from matplotlib.figure import Figure as Canvas

    target = io.BytesIO()
    with _settings(figure.name):
        canvas = Canvas(figsize=figure.size, layout="constrained")
        figure.draw(canvas)
        canvas.savefig(
            target, format=wanted, dpi=DPI, transparent=wanted != "png", metadata=NO_METADATA[wanted]
        )
    return target.getvalue()


@contextmanager
def _settings(salt: str) -> Iterator[None]:
    """Set what matplotlib knows globally only; whatever the user's own settings are, they are back afterwards."""
    import matplotlib as mpl

    with _drawing, mpl.rc_context(), warnings.catch_warnings():
        # A name may have letters that the font lacks: they are boxes in PNG and PDF, and right in SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS | {"svg.hashsalt": salt})
        yield


# --- SVG for a page -------------------------------------------------------------------------------


def _drop_definitions(root: ElementTree.Element) -> None:
    """Remove metadata and the style element, whose rule would be one for the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for parent in list(root):
        if parent.tag == f"{{{SVG}}}defs" and not len(parent):
            root.remove(parent)


def _style_to_attributes(element: ElementTree.Element, dark: bool) -> None:
    """Turn a style attribute into attributes of their own, and name its colours by classes."""
    for declaration in element.attrib.pop("style", "").split(";"):
        name, _, value = declaration.partition(":")
        if value:
            element.set(name.strip(), value.strip())
    if font := element.attrib.pop("font", None):
        size, _, family = font.partition(" ")
        element.attrib |= {"font-size": size, "font-family": family}
    if element.tag == f"{{{SVG}}}text":
        element.set("font-family", "sans-serif")
        element.attrib.setdefault("fill", "#000000")
    classes = []
    for kind in ("fill", "stroke"):
        token = BY_COLOUR.get(element.get(kind, ""))
        if token is not None:
            classes.append(f"fig-{kind}-{token}")
            element.set(kind, COLOURS[token][dark])
    if classes:
        element.set("class", " ".join(classes))


BY_COLOUR = {pair[0]: name for name, pair in COLOURS.items()}


def _rounded(element: ElementTree.Element) -> None:
    """Write coordinates with two decimals: a hundredth of a point."""
    for name in ("d", "x", "y", "transform", "points"):
        if name in element.attrib:
            element.set(name, LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", element.attrib[name]))


def _own_ids(root: ElementTree.Element, name: str) -> None:
    """Keep the ids that something refers to, numbered below the figure's name."""
    link = f"{{{LINK}}}href"
    used = {element.attrib[link][1:] for element in root.iter() if link in element.attrib}
    used |= {
        found
        for element in root.iter()
        for value in element.attrib.values()
        for found in REFERENCE.findall(value)
    }
    fresh: dict[str, str] = {}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in used:
            fresh[old] = f"{name}-{len(fresh)}"
            element.set("id", fresh[old])
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == link:
                element.set(key, f"#{fresh[value[1:]]}")
            elif "url(#" in value:
                element.set(key, REFERENCE.sub(lambda found: f"url(#{fresh[found[1]]})", value))
