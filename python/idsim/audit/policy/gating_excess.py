"""The rule on the excess leak rate: whether its operating point means anything at this size, and the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.audit.policy.gating_rows import GateError, Outcome, Row, Scope, field, holdout_persons
from idsim.audit.rates.intervals import zero_errors_upper
from idsim.audit.summary import percent

if TYPE_CHECKING:
    from idsim.audit.policy.policy import Policy

__all__ = ["excess_row"]

RULE = "max_excess"
# FPIR holds for a gallery of the size that was searched; NIST SP 800-63A-4 lets it be smaller by a tenth.
LEAST_GALLERY = 0.9


def excess_row(scope: Scope, policy: Policy) -> Row:
    """Return whether the excess leak rate of a set stays within the policy.

    Raises
    ------
    GateError
        The run has no such operating point.
    """
    assert policy.max_excess is not None
    point = _point(scope, policy.operating_point)
    rule = f"{RULE}: {point['name']}"
    if point.get("refused"):
        return _undecided(rule, scope, policy, f"The point is refused: {point['refused']}.")
    unfit = _unfit(scope, point, policy.max_false_matches)
    if unfit:
        return _undecided(rule, scope, policy, unfit)
    if not isinstance(point.get("excess_leak_rate"), dict):
        return _undecided(rule, scope, policy, "No excess leak rate was measured at this point.")
    return _compared(rule, scope, policy, point["excess_leak_rate"])


def _point(scope: Scope, name: str) -> dict[str, Any]:
    points = [
        point for point in field(scope.summary, "operating_points", kind=list) if isinstance(point, dict)
    ]
    known = [str(point.get("name")) for point in points]
    for point in points:
        if point.get("name") == name if name else point.get("primary") is True:
            return point
    if not name:
        raise GateError("summary.json names no primary operating point")
    where = f" under {scope.matcher}" if scope.matcher else ""
    raise GateError(f"the run has no operating point {name}{where}: it has {', '.join(known)}")


def _unfit(scope: Scope, point: dict[str, Any], most: float) -> str:
    """Return why leak rates at a point mean nothing in galleries of this size; empty where they do."""
    training = field(scope.summary, "sets", "training", "persons", kind=int)
    if point.get("kind") == "fpir":
        searched = field(point, "persons_searched", kind=int)
        compared = point.get("matched_galleries") or {}
        size = compared.get("persons", min(training, holdout_persons(scope)))
        if searched < LEAST_GALLERY * size:
            return (
                f"Its FPIR was measured in searches of {searched} people, and the leak rates are of galleries of "
                f"{size}: it says nothing about this size."
            )
        return ""
    fmr = point.get("fmr")
    if not isinstance(fmr, dict):
        return "Its false match rate was not measured: nothing says how many strangers match at this size."
    false_matches = field(point, "fmr", "rate", kind=float) * training
    if false_matches > most:
        return (
            f"With an FMR of {fmr['rate']:.2g}, an innocent face falsely matches {false_matches:.2g} of the {training} "
            f"people of the training set on average, and {most:g} are allowed: use an FPIR at this gallery size."
        )
    return ""


def _compared(rule: str, scope: Scope, policy: Policy, excess: dict[str, Any]) -> Row:
    limit = policy.max_excess
    assert limit is not None
    key = {"upper": "upper", "estimate": "rate", "lower": "low"}[policy.bound]
    rate, value = (
        field({"excess_leak_rate": excess}, "excess_leak_rate", name, kind=float) for name in ("rate", key)
    )
    confidence = field({"excess_leak_rate": excess}, "excess_leak_rate", "confidence", kind=float)
    what = {
        "upper": f"at most {percent(value)} with {100 * confidence:g} % confidence",
        "estimate": f"{percent(value)} by estimate",
        "lower": f"at least {percent(value)} (lower end of the {100 * confidence:g} % interval)",
    }[policy.bound]
    outcome: Outcome = "passed" if value <= limit else "violated"
    sentence = f"The excess leak rate is {what}; {percent(limit)} is allowed."
    if policy.bound == "upper" and rate <= limit < value:
        outcome = "inconclusive"
        sentence += f" The estimate of {percent(rate)} is within the limit, but the data do not exclude more"
        clusters = field(scope.summary, "sets", "synthetic", "clusters", kind=int)
        least = zero_errors_upper(clusters, confidence)
        sentence += (
            f": {clusters} identities or seeds cannot show less than {percent(least)}, even without any match."
            if least > limit
            else ": more synthetic images or people would decide."
        )
    return Row(rule, scope.name, value, limit, outcome, sentence)


def _undecided(rule: str, scope: Scope, policy: Policy, sentence: str) -> Row:
    return Row(rule, scope.name, None, policy.max_excess, "inconclusive", sentence)
