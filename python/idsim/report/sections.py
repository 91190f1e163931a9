"""What a page says of one run: its results as blocks of text. Reads what the run found, and computes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.audit.diagnostics.findings import SEVERITIES
from idsim.report.analysis import analysis_rows, consensus_rows
from idsim.report.blocks import Cell, Column, Finding, Findings, Grid, Paragraph, Section
from idsim.report.charts import Estimate, interval_chart
from idsim.report.results import result_rows
from idsim.report.text import count, interval, number, p_value, rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from idsim.report.blocks import Block, Chart
    from idsim.report.data import MatcherResults, RunResults, SetResults
    from idsim.report.results import ResultRow

__all__ = [
    "STATUS_WORDS",
    "TONES",
    "agreement",
    "beyond",
    "checks",
    "coverage",
    "exposure",
    "findings",
    "headline_chart",
    "points",
    "rates",
    "where_of",
]

STATUS_WORDS = {"excess": "Excess found", "none_found": "No excess found", "inconclusive": "Inconclusive"}
TONES = {"excess": "excess", "none_found": "none", "inconclusive": "inconclusive"}


def where_of(run: RunResults, part: SetResults) -> str:
    """Return what tells results of a run apart: matcher, set, or both; empty where there are no others."""
    names = [part.matcher] if len(run.matchers) > 1 else []
    return ", ".join([*names, *([part.name] if part.name else [])])


def headline_chart(run: RunResults) -> Chart | None:
    """Return the excess leak rates with their intervals, one for every matcher and set."""
    entries = []
    for part in run.sets:
        tone = TONES[part.summary["verdict"]["status"]]
        excess = None if part.primary is None else part.primary["excess_leak_rate"]
        label = where_of(run, part) or part.matcher
        entries.append(
            Estimate(label, None, None, None, tone)
            if excess is None
            else Estimate(label, excess["rate"], excess["low"], excess["high"], tone)
        )
    level = f"{100 * run.confidence:g} % intervals"
    return interval_chart(
        f"Excess leak rate at {run.summary['verdict']['operating_point']}",
        entries,
        f"Points are estimates, bars {level}. An interval that lies above 0 is an excess.",
    )


# --- operating points and rates -------------------------------------------------------------------


def points(run: RunResults) -> Section:
    """Return the operating points of every matcher, and what their errors rest on."""
    several = len(run.matchers) > 1
    columns = [Column("Matcher")] if several else []
    columns += [
        Column("Operating point"), Column("Threshold", True), Column("FMR", True), Column("FPIR", True),
        Column("FNMR", True), Column("Remarks"),
    ]  # fmt: skip
    rows = []
    for matcher in run.matchers:
        first = [Cell(matcher.name)] if several else []
        rows += [[*first, *_point(matcher, point)] for point in matcher.summary.get("operating_points", [])]
    lead = (
        "Thresholds are measured on the holdout, never assumed: FMR is the share of comparisons of different persons "
        "that reach the threshold, FPIR the share of searches by persons who are not enrolled that return somebody, "
        "FNMR the share of comparisons of one person that miss it. A point whose errors the holdout cannot support is "
        "refused."
    )
    return Section(
        "points", "Operating points", lead, [*_calibrations(run), Grid("Thresholds", columns, rows)]
    )


def _calibrations(run: RunResults) -> Iterable[Block]:
    for matcher in run.matchers:
        found = matcher.summary["calibration"]
        if not found["impostor_comparisons"]:
            text = "The holdout was not compared with itself: the thresholds are claimed, not measured."
        else:
            text = (
                f"{count(found['persons'])} persons of the holdout with {count(found['images'])} images; "
                f"{count(found['impostor_comparisons'])} comparisons of different persons; searches go through the "
                f"{found['searches_against']}. Supported are FMR from {number(found['least_fmr_supported'], 2)} and "
                f"FPIR from {number(found['least_fpir_supported'], 2)} on."
            )
        yield Paragraph(f"{matcher.name}: {text}" if len(run.matchers) > 1 else text)


def _point(matcher: MatcherResults, point: dict[str, Any]) -> list[Cell]:
    name = Cell(point["name"], note="primary: it decides" if point["primary"] else "")
    if point["refused"]:
        empty = [Cell("–", tone="quiet")] * 4
        return [name, *empty, Cell(f"Refused: {point['refused']}.", tone="inconclusive")]
    metric = matcher.summary["matcher"]
    lower = metric["metric"] == "l2" or metric.get("higher_is_better") is False
    unit = "distance" if metric["metric"] == "l2" else metric["metric"]
    missed = point["fnmr"]
    flags = [flag for key in ("fmr", "fpir") for flag in (point[key] or {}).get("flags", [])]
    return [
        name,
        Cell(f"{point['threshold']:.4f}", point["threshold"], f"{unit}, at {'most' if lower else 'least'}"),
        _errors(point["fmr"], point.get("claimed_fmr")),
        _errors(point["fpir"]),
        Cell("no pairs", tone="quiet")
        if missed is None
        else Cell(
            number(missed["rate"], 2),
            missed["rate"],
            f"{count(missed['missed'])} of {count(missed['pairs'])}",
        ),
        Cell("; ".join(dict.fromkeys(flags)), tone="quiet"),
    ]


def _errors(found: dict[str, Any] | None, claimed: float | None = None) -> Cell:
    if found is None:
        return (
            Cell("not measured", tone="quiet") if claimed is None else Cell(f"claimed {claimed:.2g}", claimed)
        )
    limits = f"{number(found['low'], 2)} to {number(found['high'], 2)}"
    note = f"{count(found['errors'])} of {count(found['trials'])}; {limits}"
    return Cell(number(found["rate"], 2), found["rate"], note)


def rates(run: RunResults) -> Section:
    """Return the leak rates of every matcher, set and operating point."""
    several, series = len(run.matchers) > 1, any(matcher.is_series for matcher in run.matchers)
    columns = [Column("Matcher")] if several else []
    columns += [Column("Set")] if series else []
    columns += [
        Column("Operating point"), Column("Threshold", True), Column("FMR", True), Column("FPIR at N", True),
        Column("Rate in T", True), Column("Rate in H", True), Column("Excess", True), Column("p", True),
        Column("Design effect", True),
    ]  # fmt: skip
    found = result_rows(run)
    rows = []
    for row in found:
        first = [Cell(row.matcher)] if several else []
        first += [Cell(row.variant)] if series else []
        rows.append([*first, *_rates_cells(row)])
    corrected = any(row.p_corrected is not None for row in found)
    lead = (
        "The rate in T is the share of synthetic images, weighted per cluster, whose best match in the training set "
        "reaches the threshold; the rate in H is the same for a holdout of equal size that the generator never saw. "
        "Their difference, the excess, is what chance resemblance does not explain. The design effect is the variance "
        "over that of independent images."
    )
    note = (
        f"Intervals: {100 * run.confidence:g} %. p: exchange of membership between T and H, "
        f"{count(run.summary['statistics']['permutations'])} permutations"
        + ("; corrected by Holm's method for the number of rows." if corrected else ".")
    )
    grid = Grid("Leak rates", columns, rows, sortable=len(rows) > 2, note=note)
    return Section("rates", "Leak rates", lead, [grid])


def _rates_cells(row: ResultRow) -> list[Cell]:
    point = row.point
    name = Cell(point["name"], note="primary" if point["primary"] else "")
    if point["refused"]:
        why = Cell("refused", note=str(point["refused"]), tone="inconclusive")
        return [name, why, *[Cell("–", tone="quiet")] * 7]
    excess = point["excess_leak_rate"]
    fmr, fpir, enrolled = point["fmr"], point["fpir"], point["persons_searched"]
    found = excess["low"] is not None and excess["low"] > 0
    return [
        name,
        Cell(f"{point['threshold']:.4f}", point["threshold"]),
        Cell("–" if fmr is None else number(fmr["rate"], 2), fmr and fmr["rate"]),
        Cell("–" if fpir is None else rate(fpir["rate"]), fpir and fpir["rate"], f"N = {count(enrolled)}"),
        _rate(point["leak_rate_training"]),
        _rate(point["leak_rate_holdout"]),
        Cell(rate(excess["rate"]), excess["rate"], interval(excess), "excess" if found else ""),
        Cell(
            p_value(excess["permutation_p"]),
            excess["permutation_p"],
            "" if row.p_corrected is None else f"corrected {p_value(row.p_corrected)}",
        ),
        Cell(
            number(point["leak_rate_training"]["design_effect"]), point["leak_rate_training"]["design_effect"]
        ),
    ]


def _rate(found: dict[str, Any]) -> Cell:
    note = f"{count(found['images'])} images; {interval(found)}"
    return Cell(rate(found["rate"]), found["rate"], note)


# --- agreement, exposure, further analyses ----------------------------------------------------------


def agreement(run: RunResults) -> Section | None:
    """Return what several matchers find together; None of a run with one."""
    if len(run.matchers) < 2:
        return None
    found = run.summary["consensus"]
    every = found if "levels" not in found and "refused" not in found else {"": found}
    blocks: list[Block] = []
    for name, entry in every.items():
        title = f"Consensus, {name}" if name else "Consensus"
        if entry.get("refused"):
            blocks.append(Paragraph(f"{title}: not measured, {entry['refused']}."))
            continue
        labels = ("Matchers that find the same person", "Rate in T", "Rate in H", "Excess", "Interval", "p")
        columns = [Column(label, place > 0) for place, label in enumerate(labels)]
        rows = [[Cell(text) for text in row] for row in consensus_rows(entry)]
        blocks.append(Grid(title, columns, rows, note="* the level that decides the consensus."))
        blocks.append(_agreements(f"Agreement, {name}" if name else "Agreement", entry["agreements"]))
        blocks.append(Paragraph(entry["sentence"]))
    lead = (
        "Two matchers that were trained apart seldom err on the same pair. Counted are synthetic images in which "
        "matchers, each at its own primary threshold, find the same person."
    )
    return Section("agreement", "Agreement of the matchers", lead, blocks)


def _agreements(title: str, entries: list[dict[str, Any]]) -> Grid:
    labels = ("Matchers", "Images found by each", "By both", "By either", "Jaccard index", "Cohen's kappa")
    rows = []
    for entry in entries:
        near = entry["interval"]
        rows.append(
            [
                Cell(" and ".join(entry["matchers"])),
                Cell(" and ".join(count(value) for value in entry["hits"])),
                Cell(count(entry["both"]), entry["both"]),
                Cell(count(entry["either"]), entry["either"]),
                Cell(
                    number(entry["jaccard"]),
                    entry["jaccard"],
                    f"{number(near['low'])} to {number(near['high'])}" if near else "",
                ),
                Cell(number(entry["kappa"]), entry["kappa"]),
            ]
        )
    return Grid(title, [Column(label, place > 0) for place, label in enumerate(labels)], rows)


def exposure(run: RunResults) -> Section | None:
    """Return how many people are reached; None where no point was measured."""
    labels = ("Gallery", "Persons", "Reached", "Share", "Effective number", "Share of the top person")
    several = len(run.sets) > 1
    rows = []
    for part in run.sets:
        if part.primary is None:
            continue
        first = [Cell(where_of(run, part))] if several else []
        wide = part.analysis("exposure")
        for key in ("training", "holdout"):
            entry = part.primary[f"exposure_{key}"]
            shown = {} if isinstance(wide, str) else wide[key]
            share = (
                entry["exposed"] / entry["persons"]
                if entry["persons"] and entry["exposed"] is not None
                else None
            )
            top = entry["top_person_share"]
            cells = [
                Cell(key),
                Cell(count(entry["persons"]), entry["persons"]),
                Cell(count(entry["exposed"]), entry["exposed"]),
                Cell("–" if share is None else rate(share), share, interval(shown) if shown else ""),
                Cell(number(entry["effective_exposed"]), entry["effective_exposed"]),
                Cell("–" if top is None else rate(top), top),
            ]
            rows.append([*first, *cells])
    if not rows:
        return None
    columns = [Column("Of")] if several else []
    columns += [Column(label, place > 0) for place, label in enumerate(labels)]
    lead = (
        "A person is exposed if at least one synthetic image reaches it at the primary operating point. The effective "
        "number (inverse Simpson) says over how many people the matches spread: where few people take all of them, "
        "suspect odd or poor images that resemble everybody."
    )
    return Section("exposure", "Exposure of people", lead, [Grid("Persons reached", columns, rows)])


def beyond(run: RunResults) -> Section | None:
    """Return what was measured beside leak rates, and what could not be."""
    several = len(run.sets) > 1
    rows, refused = [], []
    for part in run.sets:
        first = [Cell(where_of(run, part))] if several else []
        found = part.summary.get("analysis", {})
        rows += [[*first, *(Cell(text) for text in row)] for row in analysis_rows(found)]
        refused += [
            [*first, Cell(name.replace("_", " ")), Cell(str(entry["refused"]))]
            for name, entry in found.items()
            if isinstance(entry, dict) and entry.get("refused")
        ]
    if not rows and not refused:
        return None
    of = [Column("Of")] if several else []
    blocks: list[Block] = []
    if rows:
        columns = [*of, Column("Question"), Column("Found", True), Column("Interval, and what it rests on")]
        blocks.append(Grid("Measured", columns, rows))
    if refused:
        blocks.append(Grid("Not measured", [*of, Column("Analysis"), Column("Why")], refused))
    return Section("beyond", "Beyond the leak rates", "", blocks)


# --- coverage and checks ------------------------------------------------------------------------------


def coverage(run: RunResults) -> Section:
    """Return what the sets consist of, and how many images no matcher could use."""
    several = len(run.matchers) > 1
    labels = (
        "Set",
        "Items",
        "With face",
        "No face",
        "Unreadable",
        "Failure to acquire",
        "Files left out",
        "Labels",
    )
    rows = []
    for matcher in run.matchers:
        first = [Cell(matcher.name)] if several else []
        sets = {part.name or "synthetic": part.summary["sets"]["synthetic"] for part in matcher.sets}
        real = matcher.summary["sets"]
        for name, entry in {**sets, **{key: real[key] for key in real if key != "synthetic"}}.items():
            groups = entry.get("persons", entry.get("clusters"))
            kind = "clusters" if "clusters" in entry else "persons"
            # Crops that come aligned were found by no route.
            routes = ", ".join(
                f"{count(value)} {route}" for route, value in entry["routes"].items() if route != "none"
            )
            rows.append(
                [
                    *first,
                    Cell(name),
                    Cell(count(entry["items"]), entry["items"]),
                    Cell(count(entry["with_face"]), entry["with_face"], routes),
                    Cell(count(entry["no_face"]), entry["no_face"]),
                    Cell(count(entry["unreadable"]), entry["unreadable"]),
                    Cell(rate(entry["failure_to_acquire"]), entry["failure_to_acquire"]),
                    Cell(count(entry["skipped_files"]), entry["skipped_files"]),
                    Cell(f"{count(groups)} {kind}", groups, f"by {entry['labels']}"),
                ]
            )
    columns = [Column("Matcher")] if several else []
    columns += [Column(label, 0 < place < 7) for place, label in enumerate(labels)]
    lead = (
        "An image without a face matches nobody and stays in the denominator of every rate: a matcher that finds fewer "
        "faces finds fewer leaks."
    )
    return Section(
        "coverage", "What was compared", lead, [Grid("Sets", columns, rows, sortable=len(rows) > 3)]
    )


def checks(run: RunResults) -> Section:
    """Return what the checks found."""
    lead = "Do the numbers mean what they seem to? Read errors and warnings before the numbers."
    return Section("checks", "Checks", lead, [findings(run)])


def findings(run: RunResults) -> Findings:
    """Return the findings, the worst first; the same finding of several matchers and sets stands once."""
    order: list[str] = list(reversed(SEVERITIES))
    found: dict[tuple[str, str, str], list[str]] = {}
    for matcher in run.matchers:
        if matcher.is_series:
            for check in matcher.summary["checks"]:
                place = found.setdefault((check["severity"], check["check"], check["sentence"]), [])
                place.append(matcher.name if len(run.matchers) > 1 else "")
    for part in run.sets:
        for check in part.summary["checks"]:
            place = found.setdefault((check["severity"], check["check"], check["sentence"]), [])
            place.append(where_of(run, part))
    entries = []
    for (severity, name, sentence), places in sorted(
        found.items(), key=lambda entry: order.index(entry[0][0])
    ):
        everywhere = len(run.sets) == 1 or len(set(places)) >= len(run.sets)
        where = "" if everywhere else "; ".join(place for place in dict.fromkeys(places) if place)
        entries.append(Finding(name, severity, sentence, where))
    worse = [entry for entry in entries if entry.severity != "info"]
    fine = [entry for entry in entries if entry.severity == "info"]
    return Findings(worse, fine)
