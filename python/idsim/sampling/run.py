"""A sampling run from its description to its files."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.audit.folder import PROVENANCE, RunKind, locked, open_folder, software
from idsim.audit.shards import replace_file
from idsim.audit.tables import table_path, write_table
from idsim.files import is_temporary
from idsim.sampling.encode import write_zip
from idsim.sampling.parts import WORK, Plan, pictures_of, read_part
from idsim.sampling.workers import draw_parts, open_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from idsim.audit.shards import Sealed
    from idsim.generators.series import Networks, Variant
    from idsim.sampling.config import SampleConfig
    from idsim.sampling.parts import Part

__all__ = ["SampleResult", "sample"]

SAMPLING = RunKind("sampling", "choose another output folder")
TYPES = {"psi": "float64", "label": "int64"}


@dataclass(frozen=True)
class SampleResult:
    """A finished run.

    Attributes
    ----------
    folder : Path
        The run folder.
    table : Path
        One row per picture: set, file, seed, psi, label, network, hashes of network and pixels, size.
    sets : dict
        Folder or zip of every set -> number of its pictures.
    resumed : bool
        Whether everything was there already.
    """

    folder: Path
    table: Path
    sets: dict[str, int]
    resumed: bool = False


def sample(config: SampleConfig, *, progress: Callable[[str, int, int], None] | None = None) -> SampleResult:
    """Draw pictures, or finish a run that was interrupted.

    Parameters
    ----------
    config : SampleConfig
        What to draw.
    progress : callable, optional
        Called with ``(stage, done, total)``.

    Returns
    -------
    SampleResult
        The files have the same bytes however often the run was interrupted, and by however many workers.

    Raises
    ------
    ValueError
        The description cannot be used, or the folder is of another run; what is wrong or differs is named.
    ModuleNotFoundError
        Pillow is missing (the extra ``audit``), or what the generator needs.
    CheckpointError, OSError
        A file cannot be used.
    """
    networks = open_networks(config.noise, config.devices[0] if config.devices else "")
    seeds = {variant.network: networks.seeds(variant, config.seeds) for variant in config.series}
    provenance = {
        "generators": {network: networks.describe(network) for network in config.networks},
        "software": software(["torch"]),
    }
    folder = config.output
    with locked(folder, SAMPLING):
        open_folder(folder, config.resolved(), provenance, SAMPLING)
        digest = hashlib.sha256((folder / PROVENANCE).read_bytes()).hexdigest()
        plan = Plan(config, seeds, digest)
        sets = {_place(config, variant): len(seeds[variant.network]) for variant in config.series}
        table = table_path(folder / "images")
        resumed = table.exists()
        if not resumed:
            _draw(plan, networks, progress or _silent)
            rows = {variant.name: _finish_set(plan, variant) for variant in config.series}
            table = write_table(folder / "images", _columns(plan, networks, rows), TYPES)
        shutil.rmtree(folder / WORK, ignore_errors=True)
        return SampleResult(folder, table, sets, resumed)


def _silent(stage: str, done: int, total: int) -> None:
    """Take no note of the progress."""


def _place(config: SampleConfig, variant: Variant) -> str:
    return f"{variant.name}.zip" if config.format == "zip" else variant.name


def _draw(plan: Plan, networks: Networks, tell: Callable[[str, int, int], None]) -> None:
    _remove_leftovers(plan.config.output)
    total = sum(len(plan.seeds[variant.network]) for variant in plan.config.series)
    drawn = 0
    missing = []
    for part in (part for variant in plan.config.series for part in plan.parts(variant)):
        if read_part(plan, part) is None:
            missing.append(part)
        else:
            drawn += len(plan.part_seeds(part))
    tell("sample", drawn, total)

    def done(part: Part) -> None:
        nonlocal drawn
        drawn += len(plan.part_seeds(part))
        tell("sample", drawn, total)

    draw_parts(plan, missing, networks, done)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.rglob(".*.tmp"):
        if is_temporary(path.name):
            path.unlink(missing_ok=True)


def _finish_set(plan: Plan, variant: Variant) -> list[dict[str, Any]]:
    """Write ``dataset.json``, or the zip with it, and return the rows of the set."""
    rows: list[dict[str, Any]] = []
    folder = plan.config.output

    def records() -> Iterator[Sealed]:
        for part in plan.parts(variant):
            sealed = read_part(plan, part)
            if sealed is None:
                raise ValueError(f"{plan.record(part)} or its pictures changed while the run went on")
            rows.extend(sealed.header["rows"])
            yield sealed

    def members() -> Iterator[tuple[str, bytes]]:
        for sealed in records():
            yield from pictures_of(sealed)
        yield "dataset.json", _labels(rows, variant.label)

    if plan.config.format == "zip":
        write_zip(folder / _place(plan.config, variant), members())
    else:
        for _ in records():
            pass
        replace_file(folder / variant.name / "dataset.json", _labels(rows, variant.label))
    return rows


def _labels(rows: list[dict[str, Any]], label: int | None) -> bytes:
    """Return ``dataset.json`` as StyleGAN2-ADA reads it: the class of every file, or null."""
    labels = None if label is None else [[row["file"], label] for row in rows]
    return json.dumps({"labels": labels}).encode()


def _columns(plan: Plan, networks: Networks, rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for variant in plan.config.series:
        description = networks.describe(variant.network)
        for row in rows[variant.name]:
            values = {
                "set": variant.name, "file": row["file"], "seed": row["seed"], "psi": variant.psi,
                "label": variant.label, "network": variant.network, "network_sha256": description["sha256"],
                "pixels_sha256": row["pixels_sha256"], "width": row["width"], "height": row["height"],
            }  # fmt: skip
            for name, value in values.items():
                columns.setdefault(name, []).append(value)
    return columns
