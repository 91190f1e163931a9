"""What a page consists of: sections of blocks, every block of plain text. The template knows these and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

__all__ = [
    "Block",
    "Cell",
    "Chart",
    "ChartRow",
    "Code",
    "Column",
    "Face",
    "Facts",
    "Finding",
    "Findings",
    "Grid",
    "GroupEntry",
    "Groups",
    "Page",
    "PairRow",
    "Pairs",
    "Paragraph",
    "Plot",
    "Plots",
    "Section",
]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    text : str
        What stands in it.
    value : float or None
        What it is sorted by; None: by its text.
    note : str
        A second, smaller line.
    tone : str
        ``excess``, ``none``, ``inconclusive`` or ``quiet``: how it looks; empty: as any other.
    target : str
        Id of a section that the text leads to.
    """

    text: str
    value: float | None = None
    note: str = ""
    tone: str = ""
    target: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table; numbers are aligned to the right."""

    label: str
    numeric: bool = False


@dataclass(frozen=True)
class Grid:
    """A table; `sortable` by every column."""

    kind: ClassVar[str] = "grid"
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    sortable: bool = False
    note: str = ""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes
    ----------
    title, caption : str
        What it shows.
    svg : str
        An ``<svg>`` element that the program made, with text escaped: it goes into the page as it is.
    """

    kind: ClassVar[str] = "plot"
    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Plots:
    """Several figures below one title, folded up where there are many."""

    kind: ClassVar[str] = "plots"
    title: str
    plots: list[Plot]
    folded: bool


@dataclass(frozen=True)
class ChartRow:
    """An estimate with its interval, at 0 to 100 along the chart; no numbers where there are none."""

    label: str
    text: str
    tone: str
    place: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Chart:
    """Estimates with intervals below each other, over one axis.

    Attributes
    ----------
    rows : list of ChartRow
        The estimates.
    zero : float
        Where 0 is, at 0 to 100.
    ticks : list of tuple
        Places and labels of the axis.
    """

    kind: ClassVar[str] = "chart"
    title: str
    note: str
    rows: list[ChartRow]
    zero: float
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Finding:
    """What a check found, and where: the matchers and sets that it concerns, where there are others."""

    check: str
    severity: str
    sentence: str
    where: str = ""


@dataclass(frozen=True)
class Findings:
    """Checks: what was found, and what was looked at and is as it should be."""

    kind: ClassVar[str] = "findings"
    found: list[Finding]
    fine: list[Finding]


@dataclass(frozen=True)
class Facts:
    """Terms with what belongs to each; `mono` for hashes and versions."""

    kind: ClassVar[str] = "facts"
    title: str
    entries: list[tuple[str, str]]
    mono: bool = False


@dataclass(frozen=True)
class Code:
    """Text in fixed width; folded up under its title where it is long."""

    kind: ClassVar[str] = "code"
    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Face:
    """An image of a run on a page.

    Attributes
    ----------
    label : str
        Pseudonym or name.
    picture : str
        Id of the picture in the page; empty where there is none.
    description : str
        What it is, for those who do not see it.
    """

    label: str
    picture: str
    description: str


@dataclass(frozen=True)
class PairRow:
    """A synthetic image beside its nearest images; `found` lists numbers of matchers that take it for the person."""

    rank: int
    synthetic: Face
    training: Face
    holdout: Face | None
    person: str
    variant: str
    scores: list[Cell]
    holdout_score: Cell
    share: Cell
    found: list[int]


@dataclass(frozen=True)
class Pairs:
    """The nearest pairs; `several` sets or matchers have columns of their own."""

    kind: ClassVar[str] = "pairs"
    title: str
    matchers: list[str]
    unit: str
    rows: list[PairRow]
    series: bool


@dataclass(frozen=True)
class GroupEntry:
    """A training person and the synthetic images that reach it."""

    person: str
    training: Face
    images: int
    clusters: int
    members: list[tuple[Face, str]]
    more: int


@dataclass(frozen=True)
class Groups:
    """Training persons whom several synthetic images reach."""

    kind: ClassVar[str] = "groups"
    title: str
    entries: list[GroupEntry]


Block = Grid | Paragraph | Plots | Chart | Findings | Facts | Code | Pairs | Groups


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading."""

    id: str
    title: str
    lead: str = ""
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes
    ----------
    title, kicker : str
        What it is about, and what it is.
    byline : list of tuple
        Terms and texts below the title.
    runs : str
        Identities of the runs: a page may be replaced by one of the same runs.
    version : str
        Of idsim.
    tone, status, sentence : str
        The verdict: how it looks, in two words, and with its numbers.
    figures : list of tuple
        The numbers that matter: term, number, and what it rests on.
    chart : Chart or None
        Estimates with intervals.
    warnings : list of str
        What must be read with the verdict.
    sections : list of Section
        Everything else.
    stamp : str
        What whoever passes the file on must know; empty where there is nothing.
    footer : str
        The last line.
    """

    title: str
    kicker: str
    byline: list[tuple[str, str]]
    runs: str
    version: str
    tone: str
    status: str
    sentence: str
    figures: list[tuple[str, str, str]]
    chart: Chart | None
    warnings: list[str]
    sections: list[Section]
    stamp: str
    footer: str
