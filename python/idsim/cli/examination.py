"""What ``idsim doctor`` finds out: the processor, memory and disks, devices, packages and plug-ins."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["PURPOSES", "Extra", "examine", "extras"]

Extra = dict[str, Any]

# Extra -> what cannot be done without it. A test holds that every extra for users is here.
PURPOSES = {
    "audit": "pictures (scan, sample, embed, matcher check), columns of galleries, tables in Parquet",
    "torch": "drawing with StyleGAN2 (sample, scan), matchers in PyTorch, torch arrays",
    "onnx": "matchers and detectors in ONNX form (embed, scan, matcher check)",
    "dlib": "the matcher dlib",
    "mtcnn": "the detector of most matchers of the catalogue, unless --detector names another",
    "ray": "scans over machines by Ray",
    "report": "reports and figures (idsim report, idsim demo)",
    "bench": "rivals in idsim bench",
    "docs": "building the documentation",
}
# Environment variables that change what is found here, or how fast it is.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ORT_DISABLE_TELEMETRY",
    "TMPDIR",
)  # fmt: skip
REQUIREMENT = re.compile(r"""^([\w.-]+)\s*([^;]*?)\s*;\s*extra\s*==\s*['"]([\w.-]+)['"]""")


def examine(folder: Path) -> dict[str, Any]:
    """Return what was found, ready for JSON.

    Parameters
    ----------
    folder : Path
        The folder whose free disk space is reported.

    Returns
    -------
    dict
        Sizes are in bytes. ``packages`` maps every distribution that an extra brings to its version, or None;
        ``extras`` says of every extra what is missing. Nothing names the user or the machine, but for the folders.
    """
    import numpy as np

    from idsim import __version__, _core

    variables = {
        name: os.environ[name] for name in VARIABLES if name in os.environ
    }  # before imports add some
    build = _core.build_info()
    found = extras()
    temporary, shared = Path(tempfile.gettempdir()), Path("/dev/shm")  # noqa: S108 - its size is asked for
    return {
        "idsim": __version__,
        "compiler": build["compiler"],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "isa": _core.active_isa(),
        "isas_available": list(_core.available_isas()),
        "threads": _core.default_threads(),
        "cuda": {
            "built": build["cuda_built"],
            "emulated": build["cuda_emulated"],
            "devices": build["cuda_devices"],
            "reason": build["cuda_reason"],
            "gpus": _gpus(),
        },
        "onnxruntime": _onnxruntime(),
        "plugins": {group: _plugins(f"idsim.{group}") for group in ("matchers", "generators")},
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "memory_available_bytes": _memory_available(),
        "disk_folder": str(folder.resolve()),
        "disk_free_bytes": shutil.disk_usage(folder).free,
        "temporary_folder": str(temporary),
        "temporary_free_bytes": shutil.disk_usage(temporary).free,
        "shared_memory_free_bytes": shutil.disk_usage(shared).free if shared.is_dir() else None,
        "environment": variables,
        "extras": found,
        "packages": {
            name: version for extra in found.values() for name, version in extra["packages"].items()
        },
    }


def extras(requirements: list[str] | None = None) -> dict[str, Extra]:
    """Return ``extra -> {purpose, packages, missing}`` of this installation, those for users alone.

    Parameters
    ----------
    requirements : list of str, optional
        As in the metadata of the package; default: those of idsim.
    """
    if requirements is None:
        requirements = metadata.requires("idsim") or []
    found: dict[str, Extra] = {
        extra: {"purpose": purpose, "packages": {}, "missing": []} for extra, purpose in PURPOSES.items()
    }
    for text in requirements:
        match = REQUIREMENT.match(text)
        if match is None or match[3] not in found or match[1] == "idsim":
            continue
        name, least, extra = match[1], match[2], found[match[3]]
        version = _version(name)
        extra["packages"][name] = version
        if version is None or not _new_enough(version, least):
            extra["missing"].append(f"{name}{least}")
    return {name: extra for name, extra in found.items() if extra["packages"]}


def _version(distribution: str) -> str | None:
    # ONNX Runtime for a GPU stands in place of the other one.
    names = [distribution, "onnxruntime-gpu"] if distribution == "onnxruntime" else [distribution]
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _new_enough(version: str, least: str) -> bool:
    """Return whether a version is at least the one of ``>=x.y``; other conditions are not looked at."""
    floor = re.fullmatch(r">=\s*([\d.]+)", least)
    return floor is None or _numbers(version) >= _numbers(floor[1])


def _numbers(version: str) -> list[int]:
    numbers = re.match(r"[\d.]*", version)
    return [int(part) for part in (numbers[0] if numbers else "").split(".") if part]


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else platform.processor()


def _gpus() -> list[dict[str, str]]:
    """Return what NVIDIA's driver says of its devices, whether idsim can use them or not."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    names = ("name", "driver_version", "compute_cap", "memory.total")
    command = [program, f"--query-gpu={','.join(names)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(", ") for line in done.stdout.splitlines() if line.strip()]
    return [dict(zip(names, row, strict=False)) for row in rows]


def _onnxruntime() -> dict[str, Any] | None:
    """Return the execution providers that ONNX Runtime offers, and those that a session really gets."""
    try:
        from onnx import TensorProto, helper

        from idsim.matchers.onnx_runtime import import_onnxruntime

        runtime = import_onnxruntime()
    except ImportError:
        return None
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "nothing", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4  # a provider that does not start is what is asked about
    offered = runtime.get_available_providers()
    used = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in offered]
    try:
        active = runtime.InferenceSession(model.SerializeToString(), settings, providers=used).get_providers()
    except Exception as error:  # noqa: BLE001 - the runtime has no base class of its errors
        return {"version": runtime.__version__, "offered": offered, "active": [], "reason": str(error)[:300]}
    return {"version": runtime.__version__, "offered": offered, "active": active, "reason": ""}


def _plugins(group: str) -> dict[str, str]:
    return {entry.name: entry.value for entry in metadata.entry_points(group=group)}


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
