"""What a run must fulfil to pass the gate: TOML in, a checked policy out (docs/gate.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from idsim.audit.configuration.toml_text import read_toml, suggestion
from idsim.audit.diagnostics.findings import SEVERITIES

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from idsim.audit.diagnostics.findings import Severity

__all__ = ["BOUNDS", "SCHEMA", "Acceptance", "Bound", "Policy", "policy_of", "read_policy"]

SCHEMA = 1

Bound = Literal["upper", "estimate", "lower"]
BOUNDS: tuple[Bound, ...] = ("upper", "estimate", "lower")

# A search of N persons makes FMR x N false matches on average: from 0.1 on, every tenth innocent image would "leak".
FALSE_MATCHES = 0.1

# The keys that check something; the others say how.
RULES = (
    "max_excess",
    "min_holdout_persons",
    "min_clusters",
    "max_failure_to_acquire",
    "fail_on",
    "require_consensus",
)


@dataclass(frozen=True)
class Acceptance:
    """A finding that is accepted until a date.

    Attributes
    ----------
    check : str
        Name of the check.
    reason : str
        Why; shown in every result.
    expires : date
        Last day on which it holds.
    scope : str
        Matcher, set, or ``matcher / set`` that it holds for; empty: all.
    """

    check: str
    reason: str
    expires: date
    scope: str = ""


@dataclass(frozen=True)
class Policy:
    """``[gate]``: the rules. None, or nothing, for a rule that is not applied.

    Attributes
    ----------
    operating_point : str
        Where the excess is read, like ``fpir=0.01``; empty: the primary one of the run.
    max_excess : float or None
        Of the excess leak rate.
    bound : {"upper", "estimate", "lower"}
        What must not exceed it: the one-sided upper bound (the run must show compliance), the estimate, or the lower
        end of the interval (a violation must be shown).
    max_false_matches : float
        FMR times persons of the training set up to which an operating point that is no FPIR means something.
    min_holdout_persons, min_clusters : int or None
        With a face, and of the synthetic set: with less the run is inconclusive.
    max_failure_to_acquire : float or None
        Share of images without a face, in any set.
    fail_on : tuple of str
        Severities of findings that violate the policy.
    require_consensus : bool
        Whether at least two matchers must come to the same verdict.
    allow : tuple of Acceptance
        Findings that do not.
    """

    operating_point: str = ""
    max_excess: float | None = None
    bound: Bound = "upper"
    max_false_matches: float = FALSE_MATCHES
    min_holdout_persons: int | None = None
    min_clusters: int | None = None
    max_failure_to_acquire: float | None = None
    fail_on: tuple[Severity, ...] = ("error",)
    require_consensus: bool = False
    allow: tuple[Acceptance, ...] = ()


def read_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a policy.

    Raises
    ------
    ValueError
        It is no TOML, a key is unknown or of the wrong kind, or it checks nothing; the key is named.
    OSError
        The file cannot be read.
    """
    place = Path(path)
    return policy_of(read_toml(place, "policy"), str(place))


def policy_of(tables: dict[str, Any], source: str = "policy") -> Policy:
    """Return the checked policy of parsed TOML; `source` is named in errors.

    Raises
    ------
    ValueError
        As `read_policy`.
    """
    schema = tables.get("schema", SCHEMA)
    if schema != SCHEMA or isinstance(schema, bool):
        raise ValueError(f"{source}: schema {schema!r} is not known: this version reads schema {SCHEMA}")
    for name in tables:
        if name not in ("schema", "gate"):
            raise ValueError(f"{source}: [{name}] is not known{suggestion(name, ('gate',))}")
    given = tables.get("gate")
    if not isinstance(given, dict):
        raise ValueError(f"{source}: the table [gate] is missing")
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in _READERS:
            raise ValueError(f"{source}: [gate] {key} is not known{suggestion(key, _READERS)}")
        values[key] = _READERS[key](value, _Place(source, f"[gate] {key}"))
    policy = Policy(**values)
    if not any(_asks(values.get(rule)) for rule in RULES):
        raise ValueError(f"{source}: the policy checks nothing: [gate] has none of {', '.join(RULES)}")
    if "bound" in values and policy.max_excess is None:
        raise ValueError(f"{source}: [gate] bound belongs to max_excess, and there is none")
    if "max_false_matches" in values and policy.max_excess is None:
        raise ValueError(f"{source}: [gate] max_false_matches belongs to max_excess, and there is none")
    return policy


def _asks(value: Any) -> bool:
    """Return whether a rule checks something: a limit of 0 does, an empty list does not."""
    return value is not None and value is not False and value != ()


# --- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where a value stands."""

    source: str
    key: str

    def refuse(self, wanted: str, value: Any) -> NoReturn:
        raise ValueError(f"{self.source}: {self.key} must be {wanted}, not {value!r}")

    def below(self, key: str) -> _Place:
        return _Place(self.source, f"{self.key} {key}")


def _text(value: Any, place: _Place) -> str:
    if not isinstance(value, str) or not value.strip():
        place.refuse("a string that says something", value)
    return value


def _rate(value: Any, place: _Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        place.refuse("a number from 0 to less than 1", value)
    return float(value)


def _positive(value: Any, place: _Place) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value <= 0:
        place.refuse("a number above 0", value)
    return float(value)


def _count(value: Any, place: _Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        place.refuse("a whole number from 1 on", value)
    return value


def _flag(value: Any, place: _Place) -> bool:
    if not isinstance(value, bool):
        place.refuse("true or false", value)
    return value


def _bound(value: Any, place: _Place) -> str:
    if value not in BOUNDS:
        place.refuse(f"one of {', '.join(BOUNDS)}", value)
    return str(value)


def _severities(value: Any, place: _Place) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if entry not in SEVERITIES:
            place.refuse(f"a list of {', '.join(SEVERITIES)}", value)
    return tuple(dict.fromkeys(entries))


def _acceptances(value: Any, place: _Place) -> tuple[Acceptance, ...]:
    if not isinstance(value, list):
        place.refuse("a list of tables with check, reason and expires", value)
    return tuple(_acceptance(entry, place.below(f"entry {number}")) for number, entry in enumerate(value, 1))


def _acceptance(entry: Any, place: _Place) -> Acceptance:
    if not isinstance(entry, dict):
        place.refuse("a table with check, reason and expires", entry)
    readers = {"check": _text, "reason": _text, "expires": _day, "scope": _text}
    for key in entry:
        if key not in readers:
            raise ValueError(f"{place.source}: {place.key} {key} is not known{suggestion(key, readers)}")
    for key in ("check", "reason", "expires"):
        if key not in entry:
            raise ValueError(f"{place.source}: {place.key} has no {key}: what is accepted needs one")
    values: dict[str, Any] = {key: readers[key](value, place.below(key)) for key, value in entry.items()}
    return Acceptance(**values)


def _day(value: Any, place: _Place) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        place.refuse("a date without quotes, like 2027-01-31", value)
    return value


_READERS: dict[str, Callable[[Any, _Place], Any]] = {
    "operating_point": _text,
    "max_excess": _rate,
    "bound": _bound,
    "max_false_matches": _positive,
    "min_holdout_persons": _count,
    "min_clusters": _count,
    "max_failure_to_acquire": _rate,
    "fail_on": _severities,
    "require_consensus": _flag,
    "allow": _acceptances,
}
