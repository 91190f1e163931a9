"""``idsim calibrate``: thresholds of a matcher from one gallery, with what is known of their errors."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.completion import devices, one_of, vectors
from idsim.cli.progress import progress_bar

if TYPE_CHECKING:
    from idsim.audit.thresholds.calibration import Target

__all__ = ["calibrate"]

INCONCLUSIVE = 3
DEFAULT_FMR, DEFAULT_FPIR = 1e-6, 0.01  # those of a scan
LINK_TYPES = {
    "first": "string", "second": "string", "score": "float64", "component": "int64",
    "first_removed": "bool", "second_removed": "bool",
}  # fmt: skip

Rows = list[tuple[str, ...]]
Content = tuple[str, tuple[str, ...], Rows]  # title, columns, rows


class Metric(StrEnum):
    """How embeddings are compared."""

    cosine = "cosine"
    l2 = "l2"


def calibrate(
    gallery: Annotated[
        Path,
        typer.Argument(
            metavar="GALLERY", help="Embeddings in any format that is read.", autocompletion=vectors
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for calibration.json.")],
    labels: Annotated[
        str,
        typer.Option(
            help="Persons: group (the column), each (nobody twice), or a .npy file of labels.",
            autocompletion=one_of("group", "each"),
        ),
    ] = "group",
    metric: Annotated[Metric, typer.Option(help="How embeddings are compared.")] = Metric.cosine,
    fmr: Annotated[
        list[float] | None, typer.Option(help="Target false match rate; may be repeated. Default: 1e-6.")
    ] = None,
    fpir: Annotated[
        list[float] | None,
        typer.Option(help="Target false positive identification rate; may be repeated. Default: 0.01."),
    ] = None,
    thresholds: Annotated[
        list[float] | None, typer.Option(help="Fixed threshold to measure; may be repeated.")
    ] = None,
    gallery_size: Annotated[
        int | None,
        typer.Option(min=1, help="Persons of the gallery that FPIR is meant for; not more than here."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of all intervals.")] = 0.95,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Follow the tail up to two decades beyond the comparisons.")
    ] = False,
    cut: Annotated[
        float | None,
        typer.Option(
            help="From which score on two labels are one person. Default: by rule, if there is one."
        ),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Replicates of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    key: Annotated[str | None, typer.Option(help="Which matrix of GALLERY, where there are several.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: one per core.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:N, ... Default: cpu.", autocompletion=devices)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print calibration.json instead of tables.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Find the thresholds of a matcher on a gallery of real faces that was not trained on.

    Compares the gallery with itself. Writes a new folder: calibration.json, and the pairs of persons that are
    taken for one as a table. Exit status 3: no target is supported.
    """
    from idsim.audit.tables import write_json, write_table
    from idsim.audit.thresholds.calibrating import CalibrationRequest
    from idsim.audit.thresholds.calibrating import calibrate as run
    from idsim.audit.thresholds.calibration_set import read_calibration_set
    from idsim.files import make_new_folder

    if output.exists():
        raise FileExistsError(f"{output} exists already, and nothing is ever overwritten")
    if not output.absolute().parent.is_dir():
        raise ValueError(f"{output.absolute().parent} is no folder")
    if not 0.5 <= confidence < 1:
        raise ValueError(f"--confidence must be from 0.5 to below 1, not {confidence:g}")
    request = CalibrationRequest(
        metric.value,
        _targets(fmr, fpir, thresholds),
        gallery_size,
        confidence,
        extrapolate,
        cut,
        bootstrap,
        seed,
    )
    data = read_calibration_set(gallery, labels, key)
    with progress_bar("Calibrating", quiet=quiet or as_json) as progress:
        result = run(data, request, progress, threads=threads, device=device)
    make_new_folder(output)
    output.chmod(0o700)  # whom two labels name is personal
    write_table(output / "links", result.links, LINK_TYPES)
    write_json(output / "calibration.json", result.entry)
    if as_json:
        sys.stdout.write(json.dumps(result.entry, indent=2) + "\n")
    else:
        _show(result.entry, output)
    if not result.calibrated:
        raise typer.Exit(INCONCLUSIVE)


def _targets(
    fmr: list[float] | None, fpir: list[float] | None, thresholds: list[float] | None
) -> tuple[Target, ...]:
    from idsim.audit.thresholds.calibration import Target

    if not (fmr or fpir or thresholds):
        fmr, fpir = [DEFAULT_FMR], [DEFAULT_FPIR]
    for name, rates in (("--fmr", fmr), ("--fpir", fpir)):
        for rate in rates or []:
            if not 0 < rate < 1:
                raise ValueError(f"{name} must be above 0 and below 1, not {rate:g}")
    kinds = (("fpir", fpir), ("fmr", fmr), ("threshold", thresholds))
    return tuple(dict.fromkeys(Target(kind, value) for kind, values in kinds for value in values or []))


# --- what is shown --------------------------------------------------------------------------------


def _show(entry: dict[str, Any], folder: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe: one row per line
    for title, columns, rows in (_points(entry), _sized(entry), _sensitivity(entry), _beyond(entry)):
        if not rows:
            continue
        console.print(Text(title))  # the title of a narrow table would be broken
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(columns):
            table.add_column(Text(column), justify="left" if number == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
    for line in _notes(entry):
        console.print(Text(f"- {line}"))
    console.print(Text(f"\nWritten: {folder / 'calibration.json'}"))


def _points(entry: dict[str, Any]) -> Content:
    basis = entry["calibration"]
    unit = "distance at most" if basis["metric"] == "l2" else f"{basis['metric']} at least"
    level = f"{100 * entry['statistics']['confidence']:g} % interval"
    rows: Rows = []
    for point in entry["operating_points"]:
        if point["threshold"] is None:
            rows.append((point["name"], "refused", "", "", "", "", ""))
            continue
        rows.append(
            (
                point["name"],
                f"{point['threshold']:.6g}",
                _rate(point["fmr"]),
                _interval(point["fmr"]),
                _rate(point["fpir"]),
                _interval(point["fpir"]),
                _misses(point["fnmr"]),
            )
        )
    title = (
        f"Thresholds ({basis['persons']} persons, {basis['images']} images, "
        f"{basis['impostor_comparisons']} impostor comparisons)"
    )
    return title, ("operating point", unit, "FMR", level, "FPIR", level, "FNMR"), rows


def _sized(entry: dict[str, Any]) -> Content:
    rows: Rows = []
    for point in entry["gallery_size"] or []:
        name, persons = f"fpir={point['target']:g}", str(point["gallery_persons"])
        if point["threshold"] is None:
            rows.append((name, persons, "refused", "", ""))
        else:
            rows.append(
                (name, persons, f"{point['threshold']:.6g}", f"{point['rate']:.3g}", _interval(point))
            )
    columns = ("operating point", "persons", "threshold", "FPIR", "interval")
    return "Thresholds in smaller galleries, averaged over them", columns, rows


def _sensitivity(entry: dict[str, Any]) -> Content:
    rows: Rows = [
        (
            one["name"],
            *(
                "refused" if one[side]["threshold"] is None else f"{one[side]['threshold']:.6g}"
                for side in ("before", "after")
            ),
            "" if one["change"] is None else f"{one['change']:+.4g}",
        )
        for one in entry["contamination"].get("sensitivity", [])
    ]
    title = "Thresholds before and after the persons above the cut are taken out"
    return title, ("operating point", "before", "after", "change"), rows


def _beyond(entry: dict[str, Any]) -> Content:
    fit = entry["extrapolation"] or {}
    rows: Rows = [
        (
            f"fmr={one['target']:g}",
            f"{one['threshold']:.6g}",
            f"{one['low']:.6g} to {one['high']:.6g}",
            f"{one['decades_beyond']:.1f}",
        )
        for one in fit.get("thresholds", [])
        if one["threshold"] is not None
    ]
    title = "EXTRAPOLATED thresholds, beyond the comparisons (generalised Pareto distribution)"
    return title, ("operating point", "threshold", "interval", "decades beyond"), rows


def _notes(entry: dict[str, Any]) -> list[str]:
    lines = []
    for point in entry["operating_points"]:
        if point["refused"]:
            lines.append(f"{point['name']} is refused: {point['refused']}.")
        for name in ("fmr", "fpir"):
            lines += [
                f"{point['name']}: {name.upper()} rests on {flag}."
                for flag in (point[name] or {}).get("flags", [])
            ]
    lines += [
        f"fpir={one['target']:g} in a gallery of {one['gallery_persons']} is refused: {one['refused']}."
        for one in entry["gallery_size"] or []
        if one["refused"]
    ]
    lines += _about_contamination(entry)
    fit = entry["extrapolation"]
    if fit is not None:
        lines += [f"Nothing is extrapolated: {fit['refused']}."] if fit["refused"] else []
        lines += [f"The fit of the tail: {flag}." for flag in fit.get("flags", [])]
        lines += [
            f"Not extrapolated: {one['refused']}." for one in fit.get("thresholds", []) if one["refused"]
        ]
    separation = entry["separation"]
    if separation["refused"]:
        lines.append(f"There is no FNMR: {separation['refused']}.")
    else:
        d_prime = "undefined" if separation["d_prime"] is None else f"{separation['d_prime']:.3g}"
        lines.append(
            f"AUC {separation['auc']['value']:.5g}, EER {separation['eer']['value']:.3g}, "
            f"d' {d_prime}, from {separation['mated_comparisons']} mated comparisons."
        )
    growth = entry["best_match_growth"]
    if not growth["refused"]:
        step = growth["per_tenfold"]
        lines.append(
            f"The best match of a search improves by {step['value']:.3g} ({step['low']:.3g} to {step['high']:.3g}) "
            "with ten times the gallery (Gumbel distribution, no standard method)."
        )
    if entry["input"]["labels"] == "each":
        lines.append("Every embedding is taken for a person of its own.")
    left = entry["input"]["rows"] - entry["input"]["embeddings"]
    if left:
        lines.append(
            f"{left} of {entry['input']['rows']} rows are no embeddings (NaN or infinity) and are left out."
        )
    return lines


def _about_contamination(entry: dict[str, Any]) -> list[str]:
    found = entry["contamination"]
    each = entry["calibration"]["contamination_floor_per_percent"]
    floor = (
        f"If 1 % of the images had a partner of the same person, FMR below {each:.2g} could not be measured."
    )
    if found["refused"]:
        return [f"Undetected pairs of one person are not looked for: {found['refused']}. {floor}"]
    share = found["share_of_images"]
    text = (
        f"Cut {found['cut']:.6g} ({found['rule']}): {found['linked_pairs_of_persons']} pairs of persons in "
        f"{found['components']} components may be one person, {share['rate']:.3g} of the images "
        f"({share['low']:.3g} to {share['high']:.3g})."
    )
    if found["floor"]:
        text += f" They alone make an FMR of {found['floor']:.2g}."
    if found["floor_corrected"] is not None and found["floor"]:
        text += (
            f" {found['mated_reaching_cut']:.3g} of the mated comparisons reach the cut: all pairs of one person "
            f"together may make an FMR of {found['floor_corrected']:.2g}."
        )
    return [f"{text} {floor}"]


def _rate(rate: dict[str, Any] | None) -> str:
    return "not measured" if rate is None else f"{rate['rate']:.2g} ({rate['errors']} of {rate['trials']})"


def _interval(rate: dict[str, Any] | None) -> str:
    return "" if rate is None else f"{rate['low']:.2g} to {rate['high']:.2g}"


def _misses(rate: dict[str, Any] | None) -> str:
    return "no pairs" if rate is None else f"{rate['rate']:.2g} ({rate['missed']} of {rate['pairs']})"
