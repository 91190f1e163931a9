"""The parts of a summary that a policy applies to, and what the gate says of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from idsim.audit.diagnostics.findings import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GateError", "Outcome", "Row", "Scope", "field", "holdout_persons", "scopes_of"]

Outcome = Literal["passed", "violated", "inconclusive", "accepted"]


class GateError(ValueError):
    """A summary does not hold what the policy asks for."""


@dataclass(frozen=True)
class Row:
    """One rule, applied once.

    Attributes
    ----------
    rule : str
        Key of the policy, with the set or check that it was applied to.
    scope : str
        Matcher and set; empty: the whole run.
    value, limit : float, int, str or None
        What was found, and what the policy says.
    outcome : {"passed", "violated", "inconclusive", "accepted"}
        ``accepted``: a finding that the policy allows.
    sentence : str
        In words.
    """

    rule: str
    scope: str
    value: float | int | str | None
    limit: float | int | str | None
    outcome: Outcome
    sentence: str


@dataclass(frozen=True)
class Scope:
    """One synthetic set under one matcher, or what belongs to no single set.

    Attributes
    ----------
    matcher, set_name : str
        Empty where there is only one.
    summary : dict
        Of that set, in the layout of a scan of one set.
    measured : bool
        Whether it is of a synthetic set.
    real : bool
        Whether statements on the real sets are to be made here: once per matcher.
    """

    matcher: str
    set_name: str
    summary: dict[str, Any]
    measured: bool
    real: bool

    @property
    def name(self) -> str:
        """``matcher / set``, as far as there are several."""
        return " / ".join(part for part in (self.matcher, self.set_name) if part)

    def findings(self) -> Iterator[tuple[str, str, str]]:
        """Yield check, severity and sentence of every finding.

        Checks with a count and a meaning, and no severity, are warnings.
        """
        for check in self.summary.get("checks") or []:
            if not isinstance(check, dict) or not isinstance(check.get("check"), str):
                raise GateError("summary.json: an entry of checks has no name")
            severity = check.get("severity", "warning")
            if severity not in SEVERITIES:
                raise GateError(f"summary.json: the check {check['check']} has the severity {severity!r}")
            sentence = check.get("sentence")
            if not isinstance(sentence, str):
                sentence = f"{check.get('count', '')} {check.get('meaning', '')}.".strip()
            yield check["check"], severity, sentence


def scopes_of(summary: dict[str, Any]) -> list[Scope]:
    """Return what a policy is applied to, in the order of the summary.

    Raises
    ------
    GateError
        The summary has neither operating points nor matchers.
    """
    if "matchers" not in summary:
        return list(_of_matcher("", summary))
    matchers = field(summary, "matchers", kind=dict)
    scopes: list[Scope] = []
    for name in matchers:
        scopes += _of_matcher(str(name), field(summary, "matchers", name, kind=dict))
    if summary.get("checks"):
        scopes.append(Scope("", "", {"checks": field(summary, "checks", kind=list)}, False, False))
    if not matchers:
        raise GateError("summary.json lists no matcher")
    return scopes


def _of_matcher(matcher: str, summary: dict[str, Any]) -> Iterator[Scope]:
    points = field(summary, "operating_points", kind=list)
    if "series" not in summary:
        yield Scope(matcher, "", summary, True, True)
        return
    # Statements on the real sets, and the checks that concern them alone.
    real = {name: entry for name, entry in field(summary, "sets", kind=dict).items() if name != "synthetic"}
    yield Scope(matcher, "", {**summary, "sets": real}, False, True)
    for row in field(summary, "series", kind=list):
        if not isinstance(row, dict):
            raise GateError("summary.json: an entry of series is no object")
        yield Scope(matcher, str(row.get("name", "")), _of_row(summary, points, row, real), True, False)


def _of_row(
    summary: dict[str, Any], points: list[Any], row: dict[str, Any], real: dict[str, Any]
) -> dict[str, Any]:
    """Return a row of a series in the layout of a scan of one set: the thresholds are those of the series."""
    measured = {
        point["name"]: point
        for point in row.get("operating_points") or []
        if isinstance(point, dict) and "name" in point
    }
    missing = {"refused": "no face was found in the set"}
    merged = []
    for point in points:
        if not isinstance(point, dict) or "name" not in point:
            raise GateError("summary.json: an operating point has no name")
        merged.append({**point, **measured.get(point["name"], missing)})
    return {
        "verdict": row.get("verdict"),
        "sets": {**real, "synthetic": row.get("synthetic")},
        "calibration": summary.get("calibration"),
        "operating_points": merged,
        "checks": row.get("checks"),
    }


def holdout_persons(scope: Scope) -> int:
    """Return the people of the holdout: those with a face, where the thresholds were calibrated on them."""
    if isinstance(scope.summary.get("calibration"), dict):
        return int(field(scope.summary, "calibration", "persons", kind=int))
    return int(field(scope.summary, "sets", "holdout", "persons", kind=int))


def field(value: Any, *path: Any, kind: type) -> Any:
    """Return the value at a path of keys.

    Raises
    ------
    GateError
        It is not there, or of another kind; the path is named.
    """
    for depth, key in enumerate(path):
        if not isinstance(value, dict) or key not in value:
            raise GateError(f"summary.json has no {'.'.join(map(str, path[: depth + 1]))}")
        value = value[key]
    number = kind in (int, float)
    good = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not good or (number and (isinstance(value, bool) or not math.isfinite(value))):
        raise GateError(f"summary.json: {'.'.join(map(str, path))} is {value!r}")
    return value
