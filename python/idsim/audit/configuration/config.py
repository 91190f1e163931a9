"""The description of a scan: TOML in, checked dataclasses out.

Everything a scan depends on is a field here; docs/scan.md explains them one by one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from idsim.audit.configuration.config_check import check_config
from idsim.audit.configuration.matcher_config import MatcherConfig
from idsim.audit.configuration.set_config import SetConfig, SyntheticConfig
from idsim.audit.configuration.toml_text import read_toml, suggestion
from idsim.audit.scores.score_config import ScoresConfig  # noqa: TC001 - its hints are read
from idsim.audit.thresholds.calibration import Target

if TYPE_CHECKING:
    import os


__all__ = ["SCHEMA", "ScanConfig", "SetConfig", "SyntheticConfig", "read_config"]

SCHEMA = 1
NO_TABLES = ("base", "source")  # fields of a scan that are no tables of its file


@dataclass(frozen=True)
class RunConfig:
    """``[run]``: where the results go, and the seed of all resampling."""

    name: str = ""
    dir: str = "runs"
    seed: int = 0


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
    extrapolate : tuple of float
        False match rates below those that the comparisons support, at most two decades: thresholds for them come
        from extreme values and decide nothing.
    cut : float or None
        Score (``l2``: distance) from which on two persons of the holdout are taken for one; None: by the rules of
        `idsim.audit.thresholds.contamination.choose_cut`.
    """

    fmr: tuple[float, ...] = (1e-6,)
    fpir: tuple[float, ...] = (0.01,)
    thresholds: tuple[float, ...] = ()
    against: str = "holdout"
    primary: str = ""
    extrapolate: tuple[float, ...] = ()
    cut: float | None = None

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
class ComparisonsConfig:
    """``[comparisons]``: which sets are compared, and where.

    Attributes
    ----------
    sets : tuple of str
        Like ``SxT``: every face of the first set with every face of the second. S synthetic, T training, H holdout,
        P probes. Empty: all of `idsim.audit.pair_plan.PAIRS` whose sets there are.
    device : str
        ``cpu``, ``cuda``, ``cuda:0,1``, ...; empty: the CPU. The results are the same.
    """

    sets: tuple[str, ...] = ()
    device: str = ""


@dataclass(frozen=True)
class DeclaredConfig:
    """``[declared]``: what no measurement tells, said by whoever runs the scan.

    Attributes
    ----------
    matcher_saw_training : str
        ``yes``, ``no`` or ``unknown``: whether the matcher was trained on people of the training set.
    generator_mirrored : str
        ``yes``, ``no`` or ``unknown``: whether the generator was trained on mirrored pictures too.
    generator : str
        What the generator is, in words.
    """

    matcher_saw_training: str = "unknown"
    generator_mirrored: str = "unknown"
    generator: str = ""


@dataclass(frozen=True)
class AnalysisConfig:
    """``[analysis]``: analyses that need many more comparisons.

    Attributes
    ----------
    literature, manifold : str
        ``yes``, ``no``, or ``auto``: where that takes no more than a minute or so.
    near_copies : str
        ``yes`` or ``no``: thumbnails of all pictures are compared, beside the faces.
    strata_weights : tuple of str
        How much each stratum counts in the standardised rate: as its share of ``synthetic``, ``training`` or
        ``holdout``, or entries like ``female 20-39=0.3``.
    """

    literature: str = "auto"
    manifold: str = "auto"
    near_copies: str = "yes"
    strata_weights: tuple[str, ...] = ("synthetic",)


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
    source : Path or None
        The TOML file. Not part of the configuration.
    """

    synthetic: SyntheticConfig
    training: SetConfig
    holdout: SetConfig
    probes: SetConfig | None = None
    run: RunConfig = field(default_factory=RunConfig)
    matcher: MatcherConfig = field(default_factory=MatcherConfig)
    matchers: tuple[MatcherConfig, ...] = ()
    scores: ScoresConfig | None = None
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    statistics: StatisticsConfig = field(default_factory=StatisticsConfig)
    comparisons: ComparisonsConfig = field(default_factory=ComparisonsConfig)
    declared: DeclaredConfig = field(default_factory=DeclaredConfig)
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    base: Path = field(default_factory=Path)
    source: Path | None = None

    @property
    def sets(self) -> dict[str, SetConfig]:
        """The sets by name."""
        sets = {"synthetic": self.synthetic, "training": self.training, "holdout": self.holdout}
        return sets if self.probes is None else sets | {"probes": self.probes}

    def alone(self) -> dict[str, ScanConfig]:
        """Return the scan of each of several matchers alone, by its name; of a single one this very scan, as ``""``."""
        if not self.matchers:
            return {"": self}
        return {matcher.label: self._alone(matcher) for matcher in self.matchers}

    def _alone(self, matcher: MatcherConfig) -> ScanConfig:
        sets: dict[str, Any] = {
            name: _given_by(part, matcher, getattr(matcher, name)) for name, part in self.sets.items()
        }
        return replace(self, **sets, matcher=matcher.alone(), matchers=(), scores=matcher.scores)

    @property
    def uses_images(self) -> bool:
        """Whether the sets are pictures; otherwise they are embeddings, or ids with scores."""
        return bool(self.synthetic.images or self.synthetic.generator)

    def resolved(self) -> dict[str, Any]:
        """Return the configuration with all defaults, as plain values."""
        tables = {
            key: value for key, value in asdict(self).items() if key not in NO_TABLES and value is not None
        }
        tables["matcher"] = [_plain(entry) for entry in tables.pop("matchers")] or _plain(tables["matcher"])
        order = (
            "run", "synthetic", "training", "holdout", "probes", "matcher", "scores", "calibration", "statistics",
            "comparisons", "declared", "analysis", "output",
        )  # fmt: skip
        return {"schema": SCHEMA, **{name: _plain(tables[name]) for name in order if name in tables}}

    def place(self, path: str) -> Path:
        """Return a path of the configuration, relative ones from `base`."""
        return self.base / Path(path).expanduser()


def _given_by(part: SetConfig, matcher: MatcherConfig, given: str) -> SetConfig:
    """Return a set as a matcher has it that gives embeddings or scores itself."""
    if not matcher.gives_vectors and not matcher.gives_scores:
        return part
    labels = "group" if part.labels in ("folder", "identity") else part.labels
    own = type(part)(labels=labels, strata=part.strata)
    return replace(own, ids=given) if matcher.gives_scores else replace(own, embeddings=given)


def _plain(value: Any) -> Any:
    """Return tables without what is not given: TOML has no null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items() if entry is not None}
    return value


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
    return from_tables(read_toml(place, "scan configuration"), place)


def from_tables(tables: dict[str, Any], source: Path) -> ScanConfig:
    """Return the checked configuration of parsed TOML; `source` is the file that it came from."""
    schema = tables.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise ValueError(f"{source}: schema {schema!r} is not known: this version reads schema {SCHEMA}")
    hints = {
        name: kind
        for name, kind in get_type_hints(ScanConfig).items()
        if name not in (*NO_TABLES, "matchers")
    }
    for name in tables:
        if name not in hints:
            raise ValueError(f"{source}: [{name}] is not known{suggestion(name, hints)}")
    parts: dict[str, Any] = {}
    for name, kind in hints.items():
        part, table = _present(kind), tables.get(name)
        if table is None:
            if kind in (SetConfig, SyntheticConfig):
                raise ValueError(f"{source}: the set [{name}] is missing")
            continue
        if name == "matcher" and isinstance(table, list):
            parts["matchers"] = tuple(
                _part(part, _table(entry, name, source), f"{source}: [[matcher]]") for entry in table
            )
            continue
        parts[name] = _part(part, _table(table, name, source), f"{source}: [{name}]")
    config = ScanConfig(**parts, base=source.parent, source=source)
    check_config(config, source)
    return config


def _table(value: Any, name: str, source: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{source}: {name} must be a table [{name}]")
    return value


def _part(kind: type[Any], table: dict[str, Any], place: str) -> Any:
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise ValueError(f"{place} {key} is not known{suggestion(key, hints)}")
        values[key] = _value(hints[key], value, f"{place} {key}")
    return kind(**values)


def _present(kind: Any) -> Any:
    """Return the type of a field that may be None as well."""
    return get_args(kind)[0] if isinstance(kind, UnionType) else kind


def _value(kind: Any, value: Any, place: str) -> Any:
    kind = _present(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{place} must be a table, not {value!r}")
        return _part(kind, value, place)
    if get_origin(kind) is tuple:
        entries = value if isinstance(value, list) else [value]
        return tuple(_value(get_args(kind)[0], entry, place) for entry in entries)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{place} must be {_KINDS[kind]}, not {value!r}")
    return value


_KINDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
