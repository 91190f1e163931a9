"""A scan from its description to its result: sets, embeddings, calibration, leak rates, files."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from idsim.audit.config import ScanConfig, read_config
from idsim.audit.embedding import embed_set
from idsim.audit.evaluation import Evaluation, Sets, evaluate
from idsim.audit.folder import PROVENANCE, SUMMARY, locked, open_folder, software
from idsim.audit.inputs import ImageInput, load_embeddings, read_images
from idsim.audit.records import failures, image_columns, pair_columns
from idsim.audit.shards import replace_file
from idsim.audit.summary import make_summary
from idsim.audit.tables import write_json, write_lines, write_table
from idsim.matchers.dlib import DlibMatcher, DlibOptions

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from idsim.audit.faces import FaceSet
    from idsim.matchers.base import Matcher

__all__ = ["Progress", "ScanResult", "scan"]

KNOWN_FILES = "inputs.json"


class Progress(Protocol):
    """Told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of `done` of `total` steps of `stage`."""


@dataclass(frozen=True)
class ScanResult:
    """A finished scan.

    Attributes
    ----------
    folder : Path
        The run folder.
    summary : dict
        The content of ``summary.json``.
    resumed : bool
        Whether everything was there already.
    """

    folder: Path
    summary: dict[str, Any]
    resumed: bool = False


def scan(config: ScanConfig | str | os.PathLike[str], *, progress: Progress | None = None) -> ScanResult:
    """Run the identity-leakage audit, or finish one that was interrupted.

    Parameters
    ----------
    config : ScanConfig or path-like
        The scan, or the TOML file that describes it (docs/scan.md).
    progress : callable, optional
        Called with ``(stage, done, total)``.

    Returns
    -------
    ScanResult
        The run folder and the summary. The files in the folder have the same bytes however often the run was
        interrupted.

    Raises
    ------
    ValueError
        The configuration or an input cannot be used, or the run folder is of another scan; what is wrong or
        differs is named.
    ModuleNotFoundError
        An extra is missing: ``dlib`` for pictures.
    GalleryError, MatcherError, OSError
        A file cannot be used.
    """
    settings = config if isinstance(config, ScanConfig) else read_config(config)
    tell: Progress = progress or _silent
    folder = settings.place(settings.run.dir) / settings.run.name
    if settings.uses_images:
        return _scan_images(settings, folder, tell)
    return _scan_embeddings(settings, folder, tell)


def _silent(stage: str, done: int, total: int) -> None:
    """Take no note of the progress."""


def _scan_embeddings(config: ScanConfig, folder: Path, tell: Progress) -> ScanResult:
    loaded = {}
    for number, (name, part) in enumerate(config.sets.items()):
        loaded[name] = load_embeddings(name, part, config)
        tell("read embeddings", number + 1, len(config.sets))
    dims = {name: faces.vectors.shape[1] for name, (faces, _) in loaded.items()}
    if len(set(dims.values())) > 1:
        raise ValueError(f"the sets have embeddings of different length: {dims}")
    matcher = {
        "name": config.matcher.name or "embeddings",
        "metric": config.matcher.metric or "cosine",
        "dim": next(iter(dims.values())),
        "licence": config.matcher.licence or "not stated",
    }
    provenance = {
        "inputs": {name: fingerprint for name, (_, fingerprint) in loaded.items()},
        "matcher": matcher,
        "software": software(),
    }
    with locked(folder):
        open_folder(folder, config.resolved(), provenance)
        sets = {name: faces for name, (faces, _) in loaded.items()}
        return _finish(config, folder, sets, {name: [] for name in sets}, matcher, tell)


def _scan_images(config: ScanConfig, folder: Path, tell: Progress) -> ScanResult:
    matcher = _dlib(config)
    description = matcher.describe()
    known = _known_files(folder)
    sources: dict[str, ImageInput] = {}
    for name, part in config.sets.items():
        files = known.setdefault(name, {})
        sources[name] = read_images(
            name, part, config.place(part.images), files, partial(tell, f"read {name}")
        )
    provenance = {
        "inputs": {name: source.fingerprint() for name, source in sources.items()},
        "matcher": description,
        "software": software(),
    }
    with locked(folder):
        open_folder(folder, config.resolved(), provenance)
        replace_file(folder / KNOWN_FILES, (json.dumps(known, sort_keys=True) + "\n").encode())
        digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        sets = {}
        for name, source in sources.items():
            place = folder / "embed" / matcher.name / name
            sets[name] = embed_set(source, matcher, digest, place, partial(tell, f"embed {name}"))
        skipped = {name: source.skipped for name, source in sources.items()}
        return _finish(config, folder, sets, skipped, description, tell)


def _dlib(config: ScanConfig) -> Matcher:
    chosen = config.matcher
    models = str(config.place(chosen.models)) if chosen.models else ""
    options = DlibOptions(
        chosen.upsample, chosen.detect_side, chosen.pad, chosen.whole_image, chosen.mirror, models
    )
    return DlibMatcher(options)


def _known_files(folder: Path) -> dict[str, dict[str, list[Any]]]:
    """Return size, time and hash of the files that an earlier start of this run saw."""
    with contextlib.suppress(OSError, ValueError):
        known = json.loads((folder / KNOWN_FILES).read_bytes())
        if isinstance(known, dict):
            return known
    return {}


def _finish(
    config: ScanConfig,
    folder: Path,
    faces: dict[str, FaceSet],
    skipped: dict[str, list[tuple[str, str]]],
    matcher: dict[str, Any],
    tell: Progress,
) -> ScanResult:
    """Compute the statistics and write the final files; the summary comes last and marks the run finished."""
    done = folder / SUMMARY
    if done.exists():
        return ScanResult(folder, json.loads(done.read_bytes()), resumed=True)
    sets = Sets(faces["synthetic"], faces["training"], faces["holdout"], skipped)
    evaluation: Evaluation = evaluate(config, sets, matcher["metric"], tell)
    key = hashlib.sha256((folder / PROVENANCE).read_bytes()).digest()
    tables = [
        write_table(folder / "pairs", pair_columns(evaluation, key)),
        write_table(folder / "images", image_columns(evaluation, key)),
    ]
    write_lines(folder / "failures.jsonl", failures(sets))
    summary = make_summary(config, evaluation, matcher, key, [path.name for path in tables])
    write_json(done, summary)
    tell("statistics", 1, 1)
    return ScanResult(folder, summary)
