"""``idsim doctor``: what this machine and this installation offer, for a bug report and before a long run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.examination import examine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["doctor"]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    folder: Annotated[Path, typer.Option(help="The folder whose free disk space counts.")] = Path(),
) -> None:
    """Say what this machine and this installation offer, and what needs what is missing.

    Put it into a bug report: beside the folders it holds nothing of yours.
    """
    report = examine(folder)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    for name, text in _lines(report):
        typer.echo(f"{name:<13} {text}")


def _lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "idsim", f"{report['idsim']}, compiler {report['compiler']}"
    yield "Python", f"{report['python']}, NumPy {report['numpy']}, {report['machine']}"
    yield "CPU", f"{report['cpu']}, {report['cores']} cores, {report['threads']} threads by default"
    yield "instructions", f"{report['isa']} in use; available: {', '.join(report['isas_available'])}"
    yield from _devices(report)
    shared = report["shared_memory_free_bytes"]
    yield "memory", f"{_gib(report['memory_available_bytes'])} available of {_gib(report['memory_bytes'])}"
    yield "/dev/shm", "there is none" if shared is None else f"{_gib(shared)} free"  # noqa: S108 - a heading
    yield "disk", f"{_gib(report['disk_free_bytes'])} free in {report['disk_folder']}"
    yield "temporary", f"{_gib(report['temporary_free_bytes'])} free in {report['temporary_folder']}"
    for name, value in report["environment"].items():
        yield "environment", f"{name}={value}"
    for group, found in report["plugins"].items():
        named = ", ".join(f"{name} ({value})" for name, value in found.items())
        yield "plug-ins", f"{group}: {named or 'none from other packages'}"
    for name, extra in report["extras"].items():
        yield f"[{name}]", _extra(name, extra)


def _devices(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    cuda, runtime = report["cuda"], report["onnxruntime"]
    emulated = " (emulated)" if cuda["emulated"] else ""
    yield "CUDA", f"{cuda['devices']} devices{emulated}" if cuda["devices"] else f"none: {cuda['reason']}"
    for gpu in cuda["gpus"]:
        model = f"{gpu.get('name')}, {gpu.get('memory.total')}, compute capability {gpu.get('compute_cap')}"
        yield "GPU", f"{model}, driver {gpu.get('driver_version')}"
    if not cuda["gpus"]:
        yield "GPU", "nvidia-smi finds none"
    if runtime is None:
        yield "ONNX Runtime", "not installed"
    else:
        why = f"; {runtime['reason']}" if runtime["reason"] else ""
        active = ", ".join(runtime["active"]) or "nothing"
        yield "ONNX Runtime", f"active: {active}; offered: {', '.join(runtime['offered'])}{why}"


def _extra(name: str, extra: dict[str, Any]) -> str:
    if extra["missing"]:
        return f"missing {', '.join(extra['missing'])}: pip install 'idsim[{name}]', needed for {extra['purpose']}"
    return ", ".join(f"{package} {version}" for package, version in extra["packages"].items())


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
