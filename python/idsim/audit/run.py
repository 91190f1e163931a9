"""A scan from its description to its result: sets, embeddings, calibration, leak rates, files."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from idsim.audit.comparing import VectorComparisons
from idsim.audit.config import ScanConfig, read_config
from idsim.audit.drawn import open_drawn
from idsim.audit.embedding import embed_set
from idsim.audit.evaluation import evaluate, measure_baseline
from idsim.audit.folder import PROVENANCE, SUMMARY, locked, open_folder, software
from idsim.audit.inputs import ImageInput, load_embeddings, read_images
from idsim.audit.matcher_config import matcher_of
from idsim.audit.outcome import Inputs, write_evaluation, write_series
from idsim.audit.score_inputs import load_comparisons, load_ids
from idsim.audit.shards import replace_file
from idsim.sources.decoding import DecoderPool

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from idsim.audit.comparing import Comparisons
    from idsim.audit.embedding import PictureSource
    from idsim.audit.faces import FaceSet
    from idsim.audit.outcome import Embed

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
    if settings.scores is not None:
        return _scan_scores(settings, folder, tell)
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
        sets: dict[str, Embed] = {name: partial(_loaded, faces) for name, (faces, _) in loaded.items()}
        return _finish(config, folder, Inputs(sets.pop("training"), sets.pop("holdout"), sets), matcher, tell)


def _scan_scores(config: ScanConfig, folder: Path, tell: Progress) -> ScanResult:
    assert config.scores is not None
    loaded = {name: load_ids(name, part, config) for name, part in config.sets.items()}
    sets = {name: faces for name, (faces, _) in loaded.items()}
    comparisons, files = load_comparisons(config, config.scores, sets, partial(tell, "read scores"))
    matcher = {
        "name": config.matcher.name or "scores",
        "metric": config.scores.score_scale or "score",
        "dim": None,
        "licence": config.matcher.licence or "not stated",
        "higher_is_better": config.scores.higher_is_better,
        "scores": config.scores.complete,
    }
    inputs: dict[str, Any] = {name: fingerprint for name, (_, fingerprint) in loaded.items()}
    provenance = {"inputs": inputs | {"scores": files}, "matcher": matcher, "software": software()}
    with locked(folder):
        open_folder(folder, config.resolved(), provenance)
        embed: dict[str, Embed] = {name: partial(_loaded, faces) for name, faces in sets.items()}
        given = Inputs(embed.pop("training"), embed.pop("holdout"), embed)
        return _finish(config, folder, given, matcher, tell, comparisons)


def _loaded(faces: FaceSet) -> FaceSet:
    return faces


def _scan_images(config: ScanConfig, folder: Path, tell: Progress) -> ScanResult:
    with contextlib.closing(DecoderPool()) as pool:
        return _scan_pictures(config, folder, pool, tell)


def _scan_pictures(config: ScanConfig, folder: Path, pool: DecoderPool, tell: Progress) -> ScanResult:
    matcher = matcher_of(config.matcher, config.base)
    description = matcher.describe()
    known = _known_files(folder)
    stored: dict[str, ImageInput] = {}
    for name, part in config.sets.items():
        if part.images:
            files = known.setdefault(name, {})
            stored[name] = read_images(
                name, part, config.place(part.images), pool, files, partial(tell, f"read {name}")
            )
    drawn = open_drawn(config) if config.synthetic.generator else {}
    inputs = {name: source.fingerprint() for name, source in stored.items()}
    if drawn:
        inputs["synthetic"] = {name: source.fingerprint() for name, source in drawn.items()}
    provenance = {
        "inputs": inputs,
        "matcher": description,
        "software": software(["torch"] if drawn else []),
    }
    with locked(folder):
        open_folder(folder, config.resolved(), provenance)
        replace_file(folder / KNOWN_FILES, (json.dumps(known, sort_keys=True) + "\n").encode())
        digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        place = folder / "embed" / matcher.name

        def embedding(name: str, source: PictureSource, shards: Path) -> Embed:
            return partial(embed_set, source, matcher, digest, shards, partial(tell, f"embed {name}"))

        sets = {name: embedding(name, source, place / name) for name, source in stored.items()}
        training, holdout = sets.pop("training"), sets.pop("holdout")
        for name, variant in drawn.items():
            sets[name] = embedding(name, variant, place / "synthetic" / name)
        skipped = {name: source.skipped for name, source in stored.items()}
        return _finish(config, folder, Inputs(training, holdout, sets, skipped), description, tell)


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
    inputs: Inputs,
    matcher: dict[str, Any],
    tell: Progress,
    comparisons: Comparisons | None = None,
) -> ScanResult:
    """Compute the statistics and write the final files; the summary comes last and marks the run finished."""
    done = folder / SUMMARY
    if done.exists():
        return ScanResult(folder, json.loads(done.read_bytes()), resumed=True)
    key = hashlib.sha256((folder / PROVENANCE).read_bytes()).digest()
    training, holdout = inputs.training(), inputs.holdout()
    tell("calibration", 0, 1)
    compared = comparisons or VectorComparisons(matcher["metric"])
    baseline = measure_baseline(config, training, holdout, compared)
    tell("calibration", 1, 1)
    if len(inputs.synthetic) == 1:
        (embed,) = inputs.synthetic.values()
        evaluation = evaluate(config, baseline, embed(), inputs.skipped, tell)
        summary = write_evaluation(config, folder, evaluation, matcher, key)
    else:
        summary = write_series(config, folder, baseline, inputs, matcher, key, tell)
    tell("statistics", 1, 1)
    return ScanResult(folder, summary)
