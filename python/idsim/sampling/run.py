"""A sampling run from its description to its files."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from idsim.audit.folder import PROVENANCE, RunKind, locked, open_folder, software
from idsim.audit.shards import replace_file
from idsim.audit.tables import table_path, write_json, write_table
from idsim.files import is_temporary
from idsim.sampling.encode import write_zip
from idsim.sampling.parts import WORK, Plan, ScreenPlan, pictures_of, read_part
from idsim.sampling.screen import Screen, calibrate_screen, open_screen
from idsim.sampling.screen_files import (
    SCREEN,
    SCREENING,
    SCREENING_TYPES,
    screen_entry,
    screen_provenance,
    screening_columns,
)
from idsim.sampling.screened import draw_screened, reserve_of
from idsim.sampling.workers import draw_parts, open_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from idsim.audit.shards import Sealed
    from idsim.generators.series import Networks, Variant
    from idsim.sampling.config import SampleConfig
    from idsim.sampling.parts import Part
    from idsim.sampling.screen import Calibrated
    from idsim.sampling.screened import Screened

__all__ = ["SampleResult", "sample"]

SAMPLING = RunKind("sampling", "choose another output folder")
TYPES = {"psi": "float64", "label": "int64", "score": "float64"}


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
    screen : dict
        The content of ``screen.json``; empty without a screen.
    """

    folder: Path
    table: Path
    sets: dict[str, int]
    resumed: bool = False
    screen: dict[str, Any] = field(default_factory=dict)


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
        The description cannot be used, or the folder is of another run; what is wrong or differs is named. Or a
        screen turns down too many pictures.
    ModuleNotFoundError
        Pillow is missing (the extra ``audit``), or what the generator needs.
    CheckpointError, GalleryError, MatcherError, CudaError, OSError
        A file or device cannot be used.
    """
    networks = open_networks(config.noise, config.devices[0] if config.devices else "")
    seeds = {variant.network: networks.seeds(variant, config.seeds) for variant in config.series}
    screening = _Screening(config) if config.screen else None
    provenance = {
        "generators": {network: networks.describe(network) for network in config.networks},
        **(screening.provenance() if screening else {}),
        "software": software(["torch", "onnxruntime"] if screening else ["torch"]),
    }
    folder = config.output
    with locked(folder, SAMPLING):
        open_folder(folder, config.resolved(), provenance, SAMPLING)
        digest = hashlib.sha256((folder / PROVENANCE).read_bytes()).hexdigest()
        plan = Plan(config, seeds, digest)
        if screening:
            plan = screening.planned(plan, networks)
        sets = {_place(config, variant): len(seeds[variant.network]) for variant in config.series}
        table = table_path(folder / "images")
        resumed = table.exists()
        if not resumed:
            _remove_leftovers(folder)
            tell = progress or _silent
            table = screening.run(plan, networks, tell) if screening else _run(plan, networks, tell)
        shutil.rmtree(folder / WORK, ignore_errors=True)
        screen = json.loads((folder / SCREEN).read_bytes()) if screening else {}
        return SampleResult(folder, table, sets, resumed, screen)


def _silent(stage: str, done: int, total: int) -> None:
    """Take no note of the progress."""


def _place(config: SampleConfig, variant: Variant) -> str:
    return f"{variant.name}.zip" if config.format == "zip" else variant.name


def _run(plan: Plan, networks: Networks, tell: Callable[[str, int, int], None]) -> Path:
    parts = [part for variant in plan.config.series for part in plan.parts(variant)]
    _draw(plan, parts, networks, partial(tell, "sample"))
    rows = {variant.name: _finish_set(plan, variant, plan.parts(variant)) for variant in plan.config.series}
    return write_table(plan.config.output / "images", _columns(plan, networks, rows), TYPES)


def _draw(
    plan: Plan,
    parts: Sequence[Part],
    networks: Networks,
    tell: Callable[[int, int], None],
    screen: Screen | None = None,
) -> None:
    """Draw those of the parts that are missing."""
    total = sum(len(plan.part_seeds(part)) for part in parts)
    missing = [part for part in parts if read_part(plan, part) is None]
    drawn = total - sum(len(plan.part_seeds(part)) for part in missing)
    tell(drawn, total)

    def done(part: Part) -> None:
        nonlocal drawn
        drawn += len(plan.part_seeds(part))
        tell(drawn, total)

    draw_parts(plan, missing, networks, done, screen)


class _Screening:
    """What a run does with a screen."""

    def __init__(self, config: SampleConfig) -> None:
        assert config.screen is not None
        matcher, gallery = open_screen(config.screen, config.devices[0] if config.devices else "")
        self.calibrated: Calibrated = calibrate_screen(config.screen, matcher, gallery)
        threshold = self.calibrated.point.threshold
        assert threshold is not None, "a screen without a threshold is refused"
        self.screen = Screen(config.screen, matcher, gallery, threshold)

    def provenance(self) -> dict[str, Any]:
        return {"screen": screen_provenance(self.screen, self.calibrated)}

    def planned(self, plan: Plan, networks: Networks) -> Plan:
        """Return a plan with the screen, and the seeds that take the place of those turned down."""
        text = self.screen.config.reserve
        reserve = {
            variant.network: reserve_of(networks, variant, plan.seeds[variant.network], text)
            for variant in plan.config.series
        }
        return replace(plan, screen=ScreenPlan(self.screen.config, self.screen.threshold), reserve=reserve)

    def run(self, plan: Plan, networks: Networks, tell: Callable[[str, int, int], None]) -> Path:
        def draw(variant: Variant, attempt: int, parts: list[Part]) -> None:
            stage = f"{variant.name}, redraw {attempt}" if attempt else variant.name
            _draw(plan, parts, networks, partial(tell, stage), self.screen)

        sets = [draw_screened(plan, variant, partial(draw, variant)) for variant in plan.config.series]
        rows = {one.variant.name: _finish_set(plan, one.variant, one.parts) for one in sets}
        folder = plan.config.output
        write_table(folder / SCREENING, screening_columns(sets), SCREENING_TYPES)
        write_json(folder / SCREEN, screen_entry(self.screen, self.calibrated, sets))
        return write_table(folder / "images", _columns(plan, networks, rows) | _attempts(sets), TYPES)


def _attempts(sets: Sequence[Screened]) -> dict[str, list[Any]]:
    """Return the columns of released pictures that tell for which seed they stand, and at which attempt."""
    released = [draw for one in sets for draw in one.draws if draw.row["released"]]
    return {
        "asked_seed": [draw.asked for draw in released],
        "attempt": [draw.attempt for draw in released],
        "outcome": [draw.row["outcome"] for draw in released],
        "score": [draw.row["score"] for draw in released],
    }


def _remove_leftovers(folder: Path) -> None:
    for path in folder.rglob(".*.tmp"):
        if is_temporary(path.name):
            path.unlink(missing_ok=True)


def _finish_set(plan: Plan, variant: Variant, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Write ``dataset.json``, or the zip with it, and return the rows of the pictures of the set."""
    rows: list[dict[str, Any]] = []
    folder = plan.config.output

    def records() -> Iterator[Sealed]:
        for part in parts:
            sealed = read_part(plan, part)
            if sealed is None:
                raise ValueError(f"{plan.record(part)} or its pictures changed while the run went on")
            rows.extend(row for row in sealed.header["rows"] if row["file"])
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
