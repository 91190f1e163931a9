"""The page that compares several runs: generators, truncations, checkpoints, dates."""

from __future__ import annotations

import shlex
import tomllib
from typing import TYPE_CHECKING, Any

from idsim.report import sections
from idsim.report.blocks import Cell, Column, Facts, Findings, Grid, Page, Paragraph, Section
from idsim.report.figures import compared
from idsim.report.origins import date_of, identity_of
from idsim.report.page import FOOTER, stamp
from idsim.report.sections import STATUS_WORDS, TONES
from idsim.report.text import count, interval, last_part, number, p_value, rate

if TYPE_CHECKING:
    from idsim.report.blocks import Block
    from idsim.report.data import RunResults, SetResults
    from idsim.report.page import Options
    from idsim.report.thumbnails import Thumbnail

__all__ = ["several_runs"]

# The worst verdict first.
WORST = ("excess", "inconclusive", "none_found")


def several_runs(runs: list[RunResults], options: Options) -> tuple[Page, dict[str, Thumbnail]]:
    """Return the page. It has no pictures: each run's own page has them."""
    titles = _titles(runs)
    statuses = [run.summary["verdict"]["status"] for run in runs]
    worst = min(statuses, key=WORST.index)
    version = str(runs[-1].provenance["software"]["idsim"])
    paths = [str(run.folder) if options.names else run.folder.name for run in runs]
    command = shlex.join(["idsim", "report", *paths, "-o", "comparison.html"])
    page = Page(
        title=f"{len(runs)} runs compared",
        kicker="Identity-leakage audits of face generators",
        byline=[("Runs", ", ".join(titles)), ("Results of", _dates(runs))],
        runs=" ".join(identity_of(run) for run in runs),
        version=version,
        tone=TONES[worst],
        status=STATUS_WORDS[worst],
        sentence=_sentence(titles, statuses),
        figures=[],
        chart=None,
        warnings=_differences(runs),
        sections=[
            _table(runs, titles, options),
            *(_short(run, title, place) for place, (run, title) in enumerate(zip(runs, titles, strict=True))),
            Section(
                "reproduce",
                "How to make this page",
                "",
                [Facts("Command", [("shell", command)], mono=True)],
            ),
        ],
        stamp=stamp(options, pictures=False),
        footer=FOOTER.format(version=version),
    )
    return page, {}


def _titles(runs: list[RunResults]) -> list[str]:
    """Return a title for every run: its name, numbered where several have the same."""
    titles: list[str] = []
    for run in runs:
        title, number_ = run.name, 2
        while title in titles:
            title, number_ = f"{run.name} ({number_})", number_ + 1
        titles.append(title)
    return titles


def _dates(runs: list[RunResults]) -> str:
    dates = sorted({date_of(run) for run in runs})
    return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"


def _sentence(titles: list[str], statuses: list[str]) -> str:
    parts = []
    for status in WORST:
        named = [title for title, found in zip(titles, statuses, strict=True) if found == status]
        if named:
            parts.append(f"{STATUS_WORDS[status].lower()} in {len(named)}: {', '.join(named)}")
    own = "Each verdict is that of its run, at its own primary operating point."
    return f"Of {len(titles)} runs, {'; '.join(parts)}. {own}"


def _differences(runs: list[RunResults]) -> list[str]:
    """Return what keeps the rates of the runs from being compared."""
    warnings = []
    for what, values in (
        ("primary operating points", [run.summary["verdict"]["operating_point"] for run in runs]),
        ("thresholds", [_thresholds(run) for run in runs]),
        ("matchers", [sorted(matcher.name for matcher in run.matchers) for run in runs]),
        ("training sets", [_inputs(run, "training") for run in runs]),
        ("holdouts", [_inputs(run, "holdout") for run in runs]),
        ("confidence levels", [run.confidence for run in runs]),
    ):
        if any(value != values[0] for value in values[1:]):
            warnings.append(what)
    if not warnings:
        return []
    listed = warnings[0] if len(warnings) == 1 else f"{', '.join(warnings[:-1])} and {warnings[-1]}"
    return [f"The runs differ in their {listed}: a difference between their rates has more than one cause."]


def _thresholds(run: RunResults) -> dict[str, Any]:
    return {
        matcher.name: points[0]["threshold"]
        for matcher in run.matchers
        if (points := matcher.summary.get("operating_points"))
    }


def _inputs(run: RunResults, name: str) -> list[Any]:
    """Return the content of a real set as each matcher has it."""
    described = run.provenance.get("matchers")
    every = described.values() if described else [run.provenance]
    return sorted(str(entry.get("inputs", {}).get(name)) for entry in every)


def _table(runs: list[RunResults], titles: list[str], options: Options) -> Section:
    columns = [
        Column("Run"), Column("Results of"), Column("Matcher"), Column("Set"), Column("Generator"), Column("ψ", True),
        Column("Operating point"), Column("Threshold", True), Column("Rate in T", True), Column("Rate in H", True),
        Column("Excess", True), Column("p", True), Column("Verdict"),
    ]  # fmt: skip
    rows = []
    for place, (run, title) in enumerate(zip(runs, titles, strict=True)):
        for part in run.sets:
            first = [
                Cell(title, target=f"run-{place}"),
                _date(run),
                Cell(part.matcher),
                Cell(part.name or "–"),
            ]
            rows.append([*first, *_generator(run, part, options.names), *_rates(part)])
    lead = "Every run with every matcher and synthetic set, at the run's primary operating point."
    levels = ", ".join(f"{level:g} %" for level in sorted({100 * run.confidence for run in runs}))
    note = (
        f"Intervals: {levels}. p is not corrected for the number of rows; verdicts are those of each matcher and set "
        "alone."
    )
    blocks: list[Block] = [Grid("Excess leak rates", columns, rows, sortable=True, note=note), compared(runs)]
    return Section("comparison", "Comparison", lead, blocks)


def _date(run: RunResults) -> Cell:
    day, _, time = date_of(run).partition(" ")
    return Cell(day, note=time)


def _generator(run: RunResults, part: SetResults, names: bool) -> list[Cell]:
    drawn = part.summary["sets"]["synthetic"].get("generator")
    if drawn is None:
        declared = _declared(run)
        return [Cell(declared or "–", note="as declared" if declared else ""), Cell("–", tone="quiet")]
    network = str(drawn["network"])
    psi = drawn["psi"]
    return [
        Cell(network if names else last_part(network), note=str(drawn["sha256"])[:12]),
        Cell("its own", tone="quiet") if psi is None else Cell(number(psi), psi),
    ]


def _declared(run: RunResults) -> str:
    return str(tomllib.loads(run.config).get("declared", {}).get("generator", ""))


def _rates(part: SetResults) -> list[Cell]:
    verdict = part.summary["verdict"]
    word = Cell(STATUS_WORDS[verdict["status"]], tone=TONES[verdict["status"]])
    point = part.primary
    if point is None:
        return [Cell(verdict["operating_point"]), *[Cell("–", tone="quiet")] * 5, word]
    excess, fpir = point["excess_leak_rate"], point["fpir"]
    return [
        Cell(point["name"]),
        Cell(
            f"{point['threshold']:.4f}",
            point["threshold"],
            "" if fpir is None else f"FPIR {rate(fpir['rate'])}",
        ),
        Cell(rate(point["leak_rate_training"]["rate"]), point["leak_rate_training"]["rate"]),
        Cell(rate(point["leak_rate_holdout"]["rate"]), point["leak_rate_holdout"]["rate"]),
        Cell(rate(excess["rate"]), excess["rate"], interval(excess)),
        Cell(p_value(excess["permutation_p"]), excess["permutation_p"]),
        word,
    ]


def _short(run: RunResults, title: str, place: int) -> Section:
    """Return a run in short: its verdict, what it rests on, and the checks that are more than information."""
    blocks: list[Block] = [Paragraph(run.summary["verdict"]["sentence"])]
    chart = sections.headline_chart(run)
    if chart is not None:
        blocks.append(chart)
    sets = run.matchers[0].summary["sets"]
    real = [f"{name}: {count(sets[name]['persons'])} persons, {count(sets[name]['items'])} images" for name in
            ("training", "holdout") if name in sets]  # fmt: skip
    drawn = [
        f"{part.name or 'synthetic'}: {count(part.summary['sets']['synthetic']['items'])} images"
        for part in run.matchers[0].sets
    ]
    shown = drawn if len(drawn) <= 6 else [*drawn[:5], f"and {len(drawn) - 5} more sets"]
    blocks.append(
        Facts(
            "What it rests on",
            [
                ("results of", date_of(run)),
                ("real sets", "; ".join(real)),
                ("synthetic sets", "; ".join(shown)),
                ("matchers", ", ".join(_matchers(run))),
                ("SHA-256 of summary.json", identity_of(run)),
            ],
        )
    )
    blocks.append(Findings(sections.findings(run).found, []))
    return Section(f"run-{place}", title, "", blocks)


def _matchers(run: RunResults) -> list[str]:
    """Return the matchers of a run, each with its licence."""
    return [f"{matcher.name} ({matcher.summary['matcher']['licence']})" for matcher in run.matchers]
