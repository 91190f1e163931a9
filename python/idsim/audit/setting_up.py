"""A scan before anything is computed: its sets and matchers opened, and what tells the scan from another."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from idsim.audit.configuration.matcher_config import MatcherConfig, matcher_of
from idsim.audit.drawn import open_drawn
from idsim.audit.embedding import ShardPlan
from idsim.audit.folder import software
from idsim.audit.inputs import load_embeddings, read_images
from idsim.audit.mirrored import MirroredInput
from idsim.audit.pairs.pair_names import NEEDED
from idsim.audit.parts import GivenPart, PicturePart
from idsim.audit.persons.thumbnails import COPIES, COPY_SHARE, ThumbnailMatcher
from idsim.audit.scores.score_inputs import load_comparisons, load_ids
from idsim.audit.strata_files import StratifiedPart, read_strata, strata_hash
from idsim.audit.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.drawn import DrawnInput
    from idsim.audit.embedding import PictureSource
    from idsim.audit.inputs import ImageInput
    from idsim.audit.parts import Part
    from idsim.matchers.base import Matcher
    from idsim.sources.decoding import DecoderPool

    Tell = Callable[[str, int, int], None]

__all__ = ["KNOWN_FILES", "SetUp", "set_up"]

KNOWN_FILES = "inputs.json"
ONLY = ""  # name of the synthetic set where there is no series


@dataclass(frozen=True)
class SetUp:
    """A scan that is ready to run.

    Attributes
    ----------
    works : list of Work
        By matcher.
    copies : Work or None
        Of thumbnails, where pictures are looked at for near copies.
    provenance : dict
        Inputs by content, matchers and software: what the results depend on beside the configuration.
    known : dict
        Size, time and hash of the files that were read, for the next start.
    """

    works: list[Work]
    copies: Work | None
    provenance: dict[str, Any]
    known: dict[str, dict[str, list[Any]]]

    @property
    def all_works(self) -> list[Work]:
        """Everything that is embedded and compared."""
        return self.works if self.copies is None else [*self.works, self.copies]


def set_up(config: ScanConfig, folder: Path, pool: DecoderPool | None, device: str, tell: Tell) -> SetUp:
    """Open everything that a scan consists of.

    Parameters
    ----------
    config : ScanConfig
        The scan.
    folder : Path
        The run folder, which may not be there yet.
    pool : DecoderPool or None
        Decodes pictures; None where there are none.
    device : str
        Where everything runs that can; empty: where the configuration says.
    tell : callable
        Told how far the reading of inputs is.

    Raises
    ------
    ValueError
        An input cannot be used.
    GalleryError, MatcherError, SourceError, CheckpointError, OSError
        A file cannot be used.
    ModuleNotFoundError
        An extra is missing.
    """
    if device:
        config = _on_device(config, device)
    pictures: _Pictures | None = None
    works, entries = [], {}
    for label, alone in config.alone().items():
        place = _Place(alone, label, folder, tell)
        if alone.uses_images:
            matcher = matcher_of(alone.matcher, alone.base)  # first: listing many pictures takes its time
            if pictures is None:
                assert pool is not None, "a scan of pictures has a pool of decoders"
                pictures = _open_pictures(alone, pool, folder, tell)
            work, entry = _of_pictures(place, matcher, pictures)
        elif alone.scores is not None:
            work, entry = _of_scores(place)
        else:
            work, entry = _of_embeddings(place)
        works.append(work)
        entries[label] = entry
    provenance = next(iter(entries.values())) if not config.matchers else {"matchers": entries}
    drawn = pictures is not None and config.synthetic.drawn
    provenance = provenance | {"software": software(["torch"] if drawn else [])}
    copies = None
    if pictures is not None and config.analysis.near_copies != "no":
        copies = _of_copies(config, folder, tell, pictures)
    return SetUp(works, copies, provenance, pictures.known if pictures else {})


@dataclass(frozen=True)
class _Place:
    config: ScanConfig
    label: str
    folder: Path
    tell: Tell

    def work(
        self,
        matcher: dict[str, Any],
        parts: dict[str, Part],
        series: dict[str, Part],
        **more: Any,
    ) -> Work:
        folder = self.folder / "compare" / (self.label or matcher["name"])
        return Work(self.label, self.config, matcher, parts, series, folder, **more)


def _on_device(config: ScanConfig, device: str) -> ScanConfig:
    """Return the scan with everything that can run on a device there."""

    def moved(matcher: Any) -> Any:
        idle = matcher.is_dlib or matcher.gives_vectors or matcher.gives_scores
        return matcher if idle else replace(matcher, device=device)

    synthetic = replace(config.synthetic, device=device) if config.synthetic.drawn else config.synthetic
    own = moved(config.matcher) if config.uses_images and not config.matchers else config.matcher
    return replace(
        config,
        synthetic=synthetic,
        matcher=own,
        matchers=tuple(moved(matcher) for matcher in config.matchers),
        comparisons=replace(config.comparisons, device=device),
    )


# --- pictures -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pictures:
    """The pictures of all sets, which every matcher that takes pictures shares."""

    stored: dict[str, ImageInput | MirroredInput]
    drawn: dict[str, PictureSource]
    inputs: dict[str, Any]
    known: dict[str, dict[str, list[Any]]]
    strata: dict[tuple[str, ...], list[str]]  # by set; of drawn ones also by name


def _open_pictures(config: ScanConfig, pool: DecoderPool, folder: Path, tell: Tell) -> _Pictures:
    known = _known_files(folder)
    stored: dict[str, ImageInput | MirroredInput] = {}
    for name, part in config.sets.items():
        if part.images:
            files = known.setdefault(name, {})
            found = read_images(
                name, part, config.place(part.images), pool, files, partial(tell, f"read {name}")
            )
            stored[name] = MirroredInput(found) if part.mirrored else found
    drawn = open_drawn(config) if config.synthetic.drawn else {}
    strata = _strata_of_pictures(config, stored, drawn)
    inputs: dict[str, Any] = {
        name: _fingerprint(source, strata.get((name,))) for name, source in stored.items()
    }
    if drawn:
        inputs["synthetic"] = {
            name: _fingerprint(source, strata.get(("synthetic", name))) for name, source in drawn.items()
        }
    return _Pictures(stored, dict(drawn), inputs, known, strata)


def _strata_of_pictures(
    config: ScanConfig, stored: Mapping[str, ImageInput | MirroredInput], drawn: Mapping[str, DrawnInput]
) -> dict[tuple[str, ...], list[str]]:
    strata: dict[tuple[str, ...], list[str]] = {}
    for name, part in config.sets.items():
        if not part.strata:
            continue
        path = config.place(part.strata)
        if part.drawn:
            strata |= {
                (name, title): read_strata(name, path, source.items) for title, source in drawn.items()
            }
        else:
            plain = stored[name].items[:: 2 if part.mirrored else 1]
            found = read_strata(name, path, plain)
            strata[name,] = [cell for cell in found for _ in range(2 if part.mirrored else 1)]
    return strata


def _fingerprint(source: ImageInput | MirroredInput | DrawnInput, strata: list[str] | None) -> dict[str, Any]:
    entry = source.fingerprint()
    return entry if strata is None else entry | {"strata": strata_hash(strata)}


def _known_files(folder: Path) -> dict[str, dict[str, list[Any]]]:
    """Return size, time and hash of the files that an earlier start of this run saw."""
    with contextlib.suppress(OSError, ValueError):
        known = json.loads((folder / KNOWN_FILES).read_bytes())
        if isinstance(known, dict):
            return known
    return {}


def _of_pictures(place: _Place, matcher: Matcher, pictures: _Pictures) -> tuple[Work, dict[str, Any]]:
    description = matcher.describe()
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    folder = place.folder / "embed" / (place.label or matcher.name)

    def part(source: PictureSource, *names: str) -> PicturePart:
        plan, strata = ShardPlan(source, digest, folder.joinpath(*names)), pictures.strata.get(names)
        return PicturePart(plan, matcher) if strata is None else StratifiedPart(plan, matcher, strata)

    parts: dict[str, Part] = {name: part(source, name) for name, source in pictures.stored.items()}
    series: dict[str, Part] = {
        name: part(source, "synthetic", name) for name, source in pictures.drawn.items()
    }
    if not series:
        series[ONLY] = parts.pop("synthetic")
    skipped = {name: source.skipped for name, source in pictures.stored.items()}
    work = place.work(description, parts, series, skipped=skipped)
    return work, {"inputs": pictures.inputs, "matcher": description}


def _of_copies(config: ScanConfig, folder: Path, tell: Tell, pictures: _Pictures) -> Work:
    """Return the work on thumbnails of all pictures: the comparisons that near copies need."""
    alone = replace(
        config,
        matcher=MatcherConfig(),
        matchers=(),
        comparisons=replace(config.comparisons, sets=NEEDED),
        calibration=replace(config.calibration, fmr=(), thresholds=(), fpir=(COPY_SHARE,), primary=""),
    )
    return _of_pictures(_Place(alone, COPIES, folder, tell), ThumbnailMatcher(), pictures)[0]


# --- embeddings and scores ------------------------------------------------------------------------


def _of_embeddings(place: _Place) -> tuple[Work, dict[str, Any]]:
    config = place.config
    loaded = {}
    for number, (name, part) in enumerate(config.sets.items()):
        loaded[name] = load_embeddings(name, part, config)
        place.tell("read embeddings", number + 1, len(config.sets))
    dims = {name: faces.vectors.shape[1] for name, (faces, _) in loaded.items()}
    if len(set(dims.values())) > 1:
        raise ValueError(f"the sets have embeddings of different length: {dims}")
    matcher = {
        "name": config.matcher.name or "embeddings",
        "metric": config.matcher.metric or "cosine",
        "dim": next(iter(dims.values())),
        "licence": config.matcher.licence or "not stated",
    }
    parts: dict[str, Part] = {
        name: GivenPart(faces, fingerprint["sha256"]) for name, (faces, fingerprint) in loaded.items()
    }
    inputs = {name: fingerprint for name, (_, fingerprint) in loaded.items()}
    work = place.work(matcher, parts, {ONLY: parts.pop("synthetic")})
    return work, {"inputs": inputs, "matcher": matcher}


def _of_scores(place: _Place) -> tuple[Work, dict[str, Any]]:
    config = place.config
    assert config.scores is not None
    loaded = {name: load_ids(name, part, config) for name, part in config.sets.items()}
    for name, part in config.sets.items():
        if part.strata:
            faces, fingerprint = loaded[name]
            faces.strata = read_strata(name, config.place(part.strata), faces.items)
            fingerprint["strata"] = strata_hash(faces.strata)
    sets = {name: faces for name, (faces, _) in loaded.items()}
    comparisons, files = load_comparisons(config, config.scores, sets, partial(place.tell, "read scores"))
    matcher = {
        "name": config.matcher.name or "scores",
        "metric": config.scores.score_scale or "score",
        "dim": None,
        "licence": config.matcher.licence or "not stated",
        "higher_is_better": config.scores.higher_is_better,
        "scores": config.scores.complete,
    }
    parts: dict[str, Part] = {
        name: GivenPart(faces, fingerprint["sha256"]) for name, (faces, fingerprint) in loaded.items()
    }
    inputs: dict[str, Any] = {name: fingerprint for name, (_, fingerprint) in loaded.items()}
    work = place.work(matcher, parts, {ONLY: parts.pop("synthetic")}, comparisons=comparisons)
    return work, {"inputs": inputs | {"scores": files}, "matcher": matcher}
