"""The page of one run: the verdict first, then what it rests on."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from idsim.report import origins, sections
from idsim.report.blocks import Page, Section
from idsim.report.figures import drawn
from idsim.report.pictures import pair_sections
from idsim.report.text import count, interval, p_value, rate

if TYPE_CHECKING:
    from idsim.report.data import RunResults
    from idsim.report.thumbnails import Thumbnail, Told

__all__ = ["FOOTER", "Options", "one_run", "stamp"]

FOOTER = "Made by idsim {version} from the files of the run; nothing on this page is loaded from elsewhere."


class Options(NamedTuple):
    """How a page is made; see `idsim.report.html.write_report`."""

    faces: str = "blur"
    names: bool = False
    max_pairs: int = 200
    run_code: bool = False
    progress: Told | None = None


def one_run(run: RunResults, options: Options) -> tuple[Page, dict[str, Thumbnail]]:
    """Return the page of a run, and its pictures by id."""
    gallery = pair_sections(
        run, options.faces, options.names, options.max_pairs, options.run_code, options.progress
    )
    command = _command(run, options)
    found: list[Section | None] = [
        sections.coverage(run),
        sections.points(run),
        sections.rates(run),
        drawn(run),
        sections.agreement(run),
        sections.exposure(run),
        sections.beyond(run),
        *gallery.sections,
        sections.checks(run),
        origins.exactness(run),
        origins.limits(run),
        origins.provenance(run, options.names),
        origins.reproduction(run, command, options.names),
    ]
    verdict = run.summary["verdict"]
    version = str(run.provenance["software"]["idsim"])
    page = Page(
        title=run.name,
        kicker="Identity-leakage audit of a face generator",
        byline=_byline(run),
        runs=origins.identity_of(run),
        version=version,
        tone=sections.TONES[verdict["status"]],
        status=sections.STATUS_WORDS[verdict["status"]],
        sentence=verdict["sentence"],
        figures=_figures(run),
        chart=sections.headline_chart(run),
        warnings=_warnings(run),
        sections=[section for section in found if section is not None],
        stamp=stamp(options, bool(gallery.pictures)),
        footer=FOOTER.format(version=version),
    )
    return page, gallery.pictures


def stamp(options: Options, pictures: bool) -> str:
    """Return what must be known before the file is passed on."""
    texts = []
    if options.faces == "show" and pictures:
        texts.append("Contains recognisable faces")
    if options.names:
        texts.append("Contains names of files and persons")
    return "; ".join(texts).capitalize()


def _byline(run: RunResults) -> list[tuple[str, str]]:
    matchers = ", ".join(matcher.name for matcher in run.matchers)
    variants = list(dict.fromkeys(part.name for part in run.sets))
    entries = [
        ("Results of", origins.date_of(run)),
        ("Matcher" if len(run.matchers) == 1 else "Matchers", matchers),
        ("Decided at", run.summary["verdict"]["operating_point"]),
    ]
    if len(variants) > 1:
        entries.append(("Synthetic sets", str(len(variants))))
    return entries


def _figures(run: RunResults) -> list[tuple[str, str, str]]:
    """Return the numbers of the primary point of a run with one matcher and one set; others have a chart of rows."""
    if len(run.sets) > 1 or run.sets[0].primary is None:
        return []
    point = run.sets[0].primary
    excess, training, holdout = (
        point[key] for key in ("excess_leak_rate", "leak_rate_training", "leak_rate_holdout")
    )
    level = f"{100 * run.confidence:g} %"
    return [
        ("Excess leak rate", rate(excess["rate"]), f"{level} interval {interval(excess)}"),
        ("Rate in the training set", rate(training["rate"]), _rests_on(training)),
        ("Rate in the holdout", rate(holdout["rate"]), _rests_on(holdout)),
        (
            "Permutation p",
            p_value(excess["permutation_p"]),
            f"upper bound of the excess {rate(excess['upper'])}",
        ),
    ]


def _rests_on(found: dict[str, Any]) -> str:
    return f"{count(found['images'])} images, {interval(found)}"


def _warnings(run: RunResults) -> list[str]:
    """Return how many checks want to be read before the verdict is believed."""
    severities: dict[str, set[tuple[str, str]]] = {"error": set(), "warning": set()}
    summaries = [part.summary for part in run.sets]
    summaries += [matcher.summary for matcher in run.matchers if matcher.is_series]
    for summary in summaries:
        for check in summary["checks"]:
            if check["severity"] in severities:
                severities[check["severity"]].add((check["check"], check["sentence"]))
    words = [
        f"{len(found)} {severity}{'s' if len(found) > 1 else ''}"
        for severity, found in severities.items()
        if found
    ]
    return [f"The checks gave {' and '.join(words)}: read them below before the numbers."] if words else []


def _command(run: RunResults, options: Options) -> str:
    parts = ["idsim", "report", run.name, "--faces", options.faces, "--max-pairs", str(options.max_pairs)]
    if options.names:
        parts.append("--names")
    if options.run_code:
        parts.append("--run-generator")
    return shlex.join(parts)
