"""``idsim matcher``: list, show and check face matchers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.completion import aligns, detectors, devices, matchers

if TYPE_CHECKING:
    from idsim.matchers.spec import MatcherSpec

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Work with face matchers.")


Name = Annotated[
    str,
    typer.Argument(
        metavar="MATCHER",
        help="Name of the catalogue or a plug-in, spec.toml, model.onnx with its specification, insightface:FOLDER, "
        "file.py:function.",
        autocompletion=matchers,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
LOOKS_WRONG, INCONCLUSIVE = 1, 3
MOST_LISTED = 20


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the matchers that are known: the catalogue's, and those of other packages, which are not imported."""
    from idsim.matchers.catalogue import catalogue_names, catalogue_spec
    from idsim.matchers.registry import plugged_in

    specs = [catalogue_spec(name) for name in catalogue_names()]
    plugins = plugged_in()
    if as_json:
        entries = [{"name": spec.name, "title": spec.title, **_short(spec)} for spec in specs]
        _print_json({"matchers": entries, "plugins": plugins})
        return
    for spec in specs:
        _print(f"{spec.name:<22} {spec.title}")
    for name, value in plugins.items():
        _print(f"{name:<22} from another package: {value}")


@app.command()
def show(
    name: Name,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print the specification's file, to copy and change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say how a matcher's crops are made, what its network is fed, how vectors are compared, and its licence."""
    from idsim.matchers.registry import find_spec

    spec = find_spec(name)
    if toml:
        typer.echo(_text_of(spec, name), nl=False)
    elif as_json:
        facts = {"title": spec.title, "source": spec.source, "sha256": spec.sha256, "notes": list(spec.notes)}
        _print_json(spec.describe() | facts | {"fingerprint": spec.fingerprint})
    else:
        for key, value in _lines(spec):
            _print(f"{key:<10} {value}")


@app.command()
def check(
    name: Name,
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS",
            help="A folder with a folder of pictures for each person, or a CSV file: left,right,same.",
        ),
    ],
    model: Annotated[str, typer.Option("--model", help="The model file.")] = "",
    detector: Annotated[
        str,
        typer.Option(
            help="dlib, dlib68, mtcnn, scrfd:FILE or yunet:FILE. Default: dlib for dlib, else mtcnn.",
            autocompletion=detectors,
        ),
    ] = "",
    align: Annotated[
        str,
        typer.Option(
            help="ffhq_fixed: a fixed part of FFHQ's crops; none: pictures are crops. No detector.",
            autocompletion=aligns,
        ),
    ] = "",
    device: Annotated[
        str,
        typer.Option(
            help="Where the network runs: cpu, cuda, cuda:1, or auto: on a GPU where there is one.",
            autocompletion=devices,
        ),
    ] = "cpu",
    require_gpu: Annotated[
        bool, typer.Option("--require-gpu", help="Fail where no GPU can be used.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a matcher on pairs of pictures and on changed copies, and say whether its specification looks right.

    Faces are found and cut out as idsim embed does; --align none where the pictures are the matcher's crops. Exit
    status: 0 it looks right, 1 it looks wrong, 3 it cannot be said.
    """
    from idsim.matchers.checking import check_matcher
    from idsim.matchers.options import RunOptions

    where = "auto" if require_gpu and device == "cpu" else device
    checked = check_matcher(
        name, pairs, model=model, detector=detector, align=align, options=RunOptions(where, require_gpu)
    )
    if as_json:
        _print_json(checked.plain())
    else:
        _print(f"{checked.matcher['name']}: licence of the weights: {checked.matcher['licence']}")
        for entry in checked.findings:
            mark = {True: "ok", False: "WRONG", None: "?"}[entry.ok]
            _print(f"{mark:<6} {entry.check:<8} {entry.sentence}")
        for picture in checked.without_face[:MOST_LISTED]:
            _print(f"no face: {picture}")
        if len(checked.without_face) > MOST_LISTED:
            _print(f"no face: {len(checked.without_face) - MOST_LISTED} more; --json lists all")
        _print(checked.verdict.sentence)
    if checked.verdict.right is not True:
        raise typer.Exit(INCONCLUSIVE if checked.verdict.right is None else LOOKS_WRONG)


def _text_of(spec: MatcherSpec, name: str) -> str:
    """Return the TOML text that a specification was read from."""
    path = Path(spec.path)
    if not path.is_file():
        raise ValueError(f"{name} has no file with its specification")
    if path.suffix != ".onnx":
        return path.read_text(encoding="utf-8")
    from idsim.matchers.onnx_spec import text_inside

    return text_inside(path) or ""


def _short(spec: MatcherSpec) -> dict[str, Any]:
    described = spec.describe()
    return {key: described[key] for key in ("kind", "metric", "dim", "licence")} | {
        "size": list(spec.input.size)
    }


def _lines(spec: MatcherSpec) -> list[tuple[str, object]]:
    given, align, output = spec.input, spec.align, spec.output
    if given.embedded:
        pixels = "0 to 255, the network maps them itself"
    elif given.prewhiten:
        pixels = "each crop whitened by its own mean and deviation"
    else:
        pixels = f"(x - {_joined(given.mean)}) / {_joined(given.std)}"
    alignment = " ".join(
        filter(None, (align.mode, align.template, f"margin {align.margin}" if align.margin else ""))
    )
    finish = [
        "centred" if output.center else "", "normalised" if output.normalise else "not normalised",
        "lengths kept" if output.keep_norm else "",
    ]  # fmt: skip
    threshold = spec.score.default_threshold
    used = "" if threshold is None else f", {threshold:g} is in use elsewhere"
    rows: list[tuple[str, object]] = [
        ("name", spec.name),
        ("what", spec.title),
        ("licence", spec.licence),
        ("crops", f"{given.size[0]} high, {given.size[1]} wide, {given.color}, {given.layout}"),
        ("pixels", pixels),
        ("alignment", alignment + (", antialiased" if align.antialias else "")),
        ("mirrored", spec.flip),
        ("vectors", f"{spec.dim} elements, {', '.join(filter(None, finish))}"),
        ("compared", f"{spec.score.metric}{used}"),
        ("model", spec.file or "named when it is opened"),
        ("sha256", spec.sha256 or "any"),
        ("source", spec.source),
    ]
    return [row for row in rows if row[1]] + [("note", note) for note in spec.notes]


def _joined(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else "[" + ", ".join(f"{value:g}" for value in values) + "]"


def _print(text: str) -> None:
    from idsim.errors import printable

    typer.echo(printable(text))


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=1))
