"""The measured numbers of the matchers as tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TRIALS = {
    "as_drawn": "as drawn",
    "clear": "nothing before either face",
    "cast": "each picture with a colour cast of its own",
    "worn": "one picture soft and noisy",
    "exchanged": "one picture with the colours of another person: of the other one, where two people are compared",
}


def table(report: dict[str, Any]) -> str:
    """Return the tables of a report of `measure_matchers`."""
    matchers = report["matchers"]
    lines = [
        (
            f"{report['people']} people of the population `{report['population']}`, {report['images']} portraits each: "
            f"{matchers[0]['calibration']['impostor_comparisons']:,} impostor and "
            f"{matchers[0]['calibration']['mated_comparisons']:,} mated comparisons. In brackets: 95 % intervals."
        ),
        "",
        _row("", [entry["name"] for entry in matchers]),
        _row("---", ["---:" for _ in matchers]),
    ]
    facts: dict[str, Callable[[dict[str, Any]], str]] = {
        "equal error rate": lambda entry: _percent(
            entry["separation"]["eer"], entry["separation"]["eer"]["interval"]
        ),
        "area under the curve": lambda entry: _number(entry["separation"]["auc"]),
        "d′": lambda entry: _number(entry["pictures"]["as_drawn"]["d_prime"], 2),
        "elements": lambda entry: str(entry["dim"]),
        "bytes": lambda entry: f"{entry['bytes']:,}",
        "portraits a second on one core": lambda entry: f"{entry['portraits_per_second']:,}",
    }
    lines += [_row(name, [words(entry) for entry in matchers]) for name, words in facts.items()]
    lines += ["", *_points(matchers), "", *_trials(matchers), "", *_agreement(report)]
    return "\n".join(lines) + "\n"


def _points(matchers: list[dict[str, Any]]) -> list[str]:
    cells = [name for entry in matchers for name in (f"{entry['name']}: threshold", "FNMR")]
    lines = [_row("FMR", cells), _row("---:", ["---:" for _ in cells])]
    for places in zip(*(entry["operating_points"] for entry in matchers), strict=True):
        row = []
        for point in places:
            missed = point["fnmr"]
            row += (
                ["refused", ""]
                if missed is None
                else [f"{point['threshold']:.3f}", _percent(missed, missed, "rate")]
            )
        lines.append(_row(f"{places[0]['target']:g}", row))
    return lines


def _trials(matchers: list[dict[str, Any]]) -> list[str]:
    cells = [f"{entry['name']}: {name}" for entry in matchers for name in ("FNMR", "FMR")]
    lines = [_row("at the threshold of FMR 0.001", cells), _row("---", ["---:" for _ in cells])]
    for key, words in TRIALS.items():
        rates = [entry["pictures"][key][name] for entry in matchers for name in ("fnmr", "fmr")]
        lines.append(_row(words, [_percent(rate, rate) for rate in rates]))
    return lines


def _agreement(report: dict[str, Any]) -> list[str]:
    both, colours = report["agreement"], report["colours_alone"]
    first, second = (entry["name"] for entry in report["matchers"])
    return [
        _row("both matchers, and none", [""]),
        _row("---", ["---:"]),
        _row("correlation of impostor scores", [_number(both["impostor_correlation"], 2)]),
        _row(
            f"false matches of {second} that {first} makes too",
            [_percent(both["also_first"], both["also_first"])],
        ),
        _row(
            f"false matches of {first} that {second} makes too",
            [_percent(both["also_second"], both["also_second"])],
        ),
        _row("impostor pairs that both take for one person", [_percent(both["both"], both["both"])]),
        _row(
            "equal error rate of mean and deviation of the colours",
            [_percent(colours["eer"], colours["eer"])],
        ),
    ]


def _row(name: str, cells: list[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _percent(estimate: dict[str, Any], ends: dict[str, Any], value: str = "value") -> str:
    shown, low, high = (f"{100 * number:.3g}" for number in (estimate[value], ends["low"], ends["high"]))
    return f"{shown} % ({low} to {high})"


def _number(estimate: dict[str, Any], digits: int = 4) -> str:
    ends = estimate.get("interval") or estimate
    return f"{estimate['value']:.{digits}f} ({ends['low']:.{digits}f} to {ends['high']:.{digits}f})"
