"""The description of a scan: TOML in, checked dataclasses out.

Everything a scan depends on is a field here; docs/scan.md explains them one by one.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from idsim.audit.calibration import Target
from idsim.audit.matcher_config import MatcherConfig
from idsim.audit.score_config import ScoresConfig  # noqa: TC001 - its hints are read
from idsim.generators.seeds import parse_seeds
from idsim.generators.series import make_series
from idsim.sources import KINDS, SPLITS

if TYPE_CHECKING:
    import os

    from idsim.generators.series import Variant

__all__ = ["SCHEMA", "ScanConfig", "SetConfig", "SyntheticConfig", "read_config"]

SCHEMA = 1
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class RunConfig:
    """``[run]``: where the results go, and the seed of all resampling."""

    name: str = ""
    dir: str = "runs"
    seed: int = 0


@dataclass(frozen=True)
class SetConfig:
    """``[synthetic]``, ``[training]`` or ``[holdout]``: one set of faces.

    Attributes
    ----------
    images : str
        Folder, zip, list or container of pictures, see `idsim.sources.open_images`; or
    embeddings : str
        File or folder of embeddings, of any format that galleries are built from; or
    ids : str
        CSV file with the ids of items whose scores are given.
    labels : str
        Which items belong together (real sets: one person; the synthetic set: one cluster, weighted as one).
        ``each``: every item for itself. ``folder``: the first folder of its path. ``identity``: what the source of
        the pictures says. ``group``: the group column of embeddings. Anything else: a ``.npy`` file with one label
        per embedding.
    kind : str
        Of the source of pictures; empty: told by its path.
    split : str
        ``training`` or ``validation``: part of FFHQ.
    """

    images: str = ""
    embeddings: str = ""
    ids: str = ""
    labels: str = "each"
    kind: str = ""
    split: str = ""


@dataclass(frozen=True)
class SyntheticConfig(SetConfig):
    """``[synthetic]``: as the other sets, or drawn by generators while the scan runs.

    Every combination of generator, psi and class is a set of its own.

    Attributes
    ----------
    generator : tuple of str
        Specs of generators, see `idsim.generators.open_generator`; relative paths start where the others do.
    seeds : str
        Like ``0-9999,20000``; empty: every picture of generators over stored pictures.
    psi : tuple of float
        Truncations; empty: the generator's own.
    classes : tuple of int
        Of conditional generators.
    noise, device : str
        Noise mode and device of the generator; empty: its own.
    """

    generator: tuple[str, ...] = ()
    seeds: str = ""
    psi: tuple[float, ...] = ()
    classes: tuple[int, ...] = ()
    noise: str = ""
    device: str = ""

    def series(self) -> list[Variant]:
        """Return the sets that are drawn."""
        return make_series(self.generator, self.psi, self.classes)


@dataclass(frozen=True)
class CalibrationConfig:
    """``[calibration]``: the operating points.

    Attributes
    ----------
    fmr, fpir : tuple of float
        Target false match rates and false positive identification rates.
    thresholds : tuple of float
        Fixed scores (``l2``: distances), measured like the others.
    against : str
        What the non-mated searches of FPIR go through: ``holdout`` or ``training``.
    primary : str
        The operating point that decides, declared in advance: ``fpir=0.01`` and the like; empty: the first one
        of `fpir`, `fmr`, `thresholds`.
    """

    fmr: tuple[float, ...] = (1e-6,)
    fpir: tuple[float, ...] = (0.01,)
    thresholds: tuple[float, ...] = ()
    against: str = "holdout"
    primary: str = ""

    def targets(self) -> list[Target]:
        """Return the operating points, the primary one first."""
        every = [
            *(Target("fpir", value) for value in self.fpir),
            *(Target("fmr", value) for value in self.fmr),
            *(Target("threshold", value) for value in self.thresholds),
        ]
        first = [target for target in every if target.name == self.primary]
        return first + [target for target in every if target not in first]


@dataclass(frozen=True)
class StatisticsConfig:
    """``[statistics]``: intervals and resampling."""

    confidence: float = 0.95
    bootstrap: int = 2000
    permutations: int = 10_000
    draws: int = 100


@dataclass(frozen=True)
class OutputConfig:
    """``[output]``: how many pairs are kept: best matches of every image, and best pairs in the summary."""

    matches: int = 5
    top_pairs: int = 20


@dataclass(frozen=True)
class ScanConfig:
    """A complete scan.

    Attributes
    ----------
    base : Path
        Folder that relative paths start from: the one of the TOML file. Not part of the configuration.
    """

    synthetic: SyntheticConfig
    training: SetConfig
    holdout: SetConfig
    run: RunConfig = field(default_factory=RunConfig)
    matcher: MatcherConfig = field(default_factory=MatcherConfig)
    scores: ScoresConfig | None = None
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    statistics: StatisticsConfig = field(default_factory=StatisticsConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    base: Path = field(default_factory=Path)

    @property
    def sets(self) -> dict[str, SetConfig]:
        """The three sets by name."""
        return {"synthetic": self.synthetic, "training": self.training, "holdout": self.holdout}

    @property
    def uses_images(self) -> bool:
        """Whether the sets are pictures; otherwise they are embeddings, or ids with scores."""
        return bool(self.synthetic.images or self.synthetic.generator)

    def resolved(self) -> dict[str, Any]:
        """Return the configuration with all defaults, as plain values."""
        tables = {key: value for key, value in asdict(self).items() if key != "base"}
        order = ["run", "synthetic", "training", "holdout", "matcher", "calibration", "statistics", "output"]
        if self.scores is not None:
            order.insert(5, "scores")
            tables["scores"] = {key: value for key, value in tables["scores"].items() if value is not None}
        return {"schema": SCHEMA, **{name: tables[name] for name in order}}

    def place(self, path: str) -> Path:
        """Return a path of the configuration, relative ones from `base`."""
        return self.base / Path(path).expanduser()


def read_config(path: str | os.PathLike[str]) -> ScanConfig:
    """Read the description of a scan.

    Raises
    ------
    ValueError
        It is no TOML, or a key is unknown, missing or of the wrong kind; the key is named.
    OSError
        The file cannot be read.
    """
    place = Path(path)
    with place.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{place} is larger than {MAX_BYTES} bytes: this is no scan configuration")
    try:
        tables = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{place} is not valid TOML: {error}") from error
    return from_tables(tables, place)


def from_tables(tables: dict[str, Any], source: Path) -> ScanConfig:
    """Return the checked configuration of parsed TOML; `source` is the file that it came from."""
    schema = tables.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise ValueError(f"{source}: schema {schema!r} is not known: this version reads schema {SCHEMA}")
    hints = {name: kind for name, kind in get_type_hints(ScanConfig).items() if name != "base"}
    for name in tables:
        if name not in hints:
            raise ValueError(f"{source}: [{name}] is not known{_suggestion(name, hints)}")
    parts: dict[str, Any] = {}
    for name, kind in hints.items():
        part, table = _present(kind), tables.get(name)
        if table is None:
            if issubclass(part, SetConfig):
                raise ValueError(f"{source}: the set [{name}] is missing")
            continue
        if not isinstance(table, dict):
            raise ValueError(f"{source}: {name} must be a table [{name}]")
        parts[name] = _part(part, table, f"{source}: [{name}]")
    config = ScanConfig(**parts, base=source.parent)
    _check(config, source)
    return config


def _part(kind: type[Any], table: dict[str, Any], place: str) -> Any:
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise ValueError(f"{place} {key} is not known{_suggestion(key, hints)}")
        values[key] = _value(hints[key], value, f"{place} {key}")
    return kind(**values)


def _present(kind: Any) -> Any:
    """Return the type of a field that may be None as well."""
    return get_args(kind)[0] if isinstance(kind, UnionType) else kind


def _value(kind: Any, value: Any, place: str) -> Any:
    kind = _present(kind)
    if get_origin(kind) is tuple:
        entries = value if isinstance(value, list) else [value]
        return tuple(_value(get_args(kind)[0], entry, place) for entry in entries)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{place} must be {_KINDS[kind]}, not {value!r}")
    return value


_KINDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def _suggestion(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else f": known are {', '.join(known)}"


def _check(config: ScanConfig, source: Path) -> None:
    def refuse(text: str) -> None:
        raise ValueError(f"{source}: {text}")

    name = config.run.name
    if not name or name in (".", "..") or "/" in name or "\\" in name or not name.isprintable():
        refuse("[run] name must name the run: one folder name, without slashes")
    if config.run.seed < 0:
        refuse(f"[run] seed must be at least 0, not {config.run.seed}")
    _check_generator(config.synthetic, refuse)
    for title, part in config.sets.items():
        drawn = isinstance(part, SyntheticConfig) and bool(part.generator)
        if (bool(part.images), bool(part.embeddings), bool(part.ids), drawn).count(True) != 1:
            also = ", a generator" if title == "synthetic" else ""
            refuse(f"[{title}] must have either images{also}, embeddings or ids")
        if bool(part.images or drawn) != config.uses_images or (not part.ids) != (config.scores is None):
            refuse(
                "all three sets must be images, or all three embeddings of one matcher, or all three ids with "
                "[scores]"
            )
        _check_source(title, part, refuse)
    _check_matcher(config, refuse)
    _check_numbers(config, refuse)


def _check_source(title: str, part: SetConfig, refuse: Any) -> None:
    if part.images and part.labels not in ("each", "folder", "identity"):
        refuse(f"[{title}] labels must be 'each', 'folder' or 'identity' for images, not {part.labels!r}")
    if (part.embeddings or part.ids) and part.labels in ("folder", "identity"):
        given = "ids" if part.ids else "embeddings"
        refuse(f"[{title}] labels must be 'each', 'group' or a .npy file for {given}, not {part.labels!r}")
    for key in ("kind", "split"):
        if getattr(part, key) and not part.images:
            refuse(f"[{title}] {key} belongs to images, and there are none")
    if part.kind not in ("", *KINDS):
        refuse(f"[{title}] kind must be one of {', '.join(KINDS)}, not {part.kind!r}")
    if part.split not in SPLITS:
        refuse(f"[{title}] split must be 'training' or 'validation', not {part.split!r}")


def _check_generator(part: SyntheticConfig, refuse: Any) -> None:
    given = [key for key in ("seeds", "psi", "classes", "noise", "device") if getattr(part, key)]
    if not part.generator:
        if given:
            refuse(f"[synthetic] {given[0]} belongs to a generator, and there is none")
        return
    if part.labels != "each":
        refuse(f"[synthetic] labels must be 'each' for a generator, not {part.labels!r}: a seed is a cluster")
    try:
        part.series()
        if part.seeds:
            parse_seeds(part.seeds)
    except ValueError as error:
        refuse(f"[synthetic] {error}")


def _check_matcher(config: ScanConfig, refuse: Any) -> None:
    matcher = config.matcher
    if config.uses_images:
        matcher.check_for_pictures(refuse)
        return
    if config.scores is not None:
        if matcher.kind not in ("", "scores"):
            refuse(f"[matcher] kind must be 'scores' where scores are given, not {matcher.kind!r}")
        if matcher.metric:
            refuse("[matcher] metric belongs to embeddings: [scores] score_scale says what scores are")
        config.scores.check(config.calibration.against, refuse)
        return
    matcher.check_for_vectors(refuse)


def _check_numbers(config: ScanConfig, refuse: Any) -> None:
    calibration, statistics, output = config.calibration, config.statistics, config.output
    for key in ("fmr", "fpir"):
        for value in getattr(calibration, key):
            if not 0 < value < 1:
                refuse(f"[calibration] {key} must lie between 0 and 1, not {value!r}")
    names = [target.name for target in calibration.targets()]
    if not names:
        refuse("[calibration] needs at least one operating point: fpir, fmr or thresholds")
    if len(set(names)) != len(names):
        refuse("[calibration] lists an operating point twice")
    if calibration.primary and calibration.primary not in names:
        refuse(f"[calibration] primary must be one of {', '.join(names)}, not {calibration.primary!r}")
    if calibration.against not in ("holdout", "training"):
        refuse(f"[calibration] against must be 'holdout' or 'training', not {calibration.against!r}")
    if not 0.5 < statistics.confidence < 1:
        refuse(f"[statistics] confidence must lie between 0.5 and 1, not {statistics.confidence}")
    for key, least in (("bootstrap", 100), ("permutations", 99), ("draws", 1)):
        if getattr(statistics, key) < least:
            refuse(f"[statistics] {key} must be at least {least}, not {getattr(statistics, key)}")
    for entry in fields(output):
        if getattr(output, entry.name) < 1:
            refuse(f"[output] {entry.name} must be at least 1, not {getattr(output, entry.name)}")
