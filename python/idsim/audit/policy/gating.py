"""Whether a finished run fulfils a policy: every rule with its value, its limit and its outcome.

Only ``summary.json`` is read. It is of one synthetic set, of a series of them, or of several matchers, each with a
summary of either kind; the rules apply to every set under every matcher.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idsim.audit.policy.gating_excess import excess_row
from idsim.audit.policy.gating_rows import GateError, Outcome, Row, Scope, field, holdout_persons, scopes_of
from idsim.audit.summary import SCHEMA_VERSION

if TYPE_CHECKING:
    import os
    from datetime import date

    from idsim.audit.policy.policy import Acceptance, Policy

__all__ = ["GateResult", "IncompleteRunError", "gate", "read_run"]

MAX_BYTES = 1 << 28
SUMMARY = "summary.json"
# What a run that has begun holds (docs/scan.md).
BEGUN = ("provenance.json", "config.resolved.toml")


class IncompleteRunError(ValueError):
    """A run has begun and has no summary yet."""


@dataclass(frozen=True)
class GateResult:
    """Whether a run passes.

    Attributes
    ----------
    run : str
        Name of the run.
    rows : tuple of Row
        Every rule where it was applied, in a fixed order.
    """

    run: str
    rows: tuple[Row, ...]

    @property
    def outcome(self) -> Literal["passed", "violated", "inconclusive"]:
        """The worst outcome: a violation counts more than what could not be decided."""
        outcomes = {row.outcome for row in self.rows}
        return (
            "violated"
            if "violated" in outcomes
            else "inconclusive"
            if "inconclusive" in outcomes
            else "passed"
        )

    @property
    def exit_status(self) -> int:
        """Of the command: 0 passed, 1 violated, 3 inconclusive."""
        return {"passed": 0, "violated": 1, "inconclusive": 3}[self.outcome]

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        counts = {
            kind: sum(row.outcome == kind for row in self.rows) for kind in ("violated", "inconclusive")
        }
        if self.outcome == "passed":
            accepted = sum(row.outcome == "accepted" for row in self.rows)
            also = f", {accepted} findings being accepted" if accepted else ""
            return f"Passed: the run fulfils the policy{also}."
        if self.outcome == "violated":
            also = f", and {counts['inconclusive']} could not be decided" if counts["inconclusive"] else ""
            return f"Violated: {counts['violated']} of {len(self.rows)} checks fail{also}."
        return f"Inconclusive: {counts['inconclusive']} of {len(self.rows)} checks could not be decided."

    def entry(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "run": self.run,
            "outcome": self.outcome,
            "exit_status": self.exit_status,
            "sentence": self.sentence,
            "rules": [asdict(row) for row in self.rows],
        }


def read_run(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the summary of a finished run.

    Raises
    ------
    IncompleteRunError
        The run has begun and is not finished.
    ValueError
        The folder is no run, or its summary is damaged.
    OSError
        It cannot be read.
    """
    place = Path(folder)
    path = place / SUMMARY
    if not path.is_file():
        if any((place / name).is_file() for name in BEGUN):
            raise IncompleteRunError(
                f"{place} has no {SUMMARY} yet: finish the scan with the command that began it"
            )
        raise ValueError(f"{place} is no run of a scan: it has no {SUMMARY}")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes: this is no summary")
    try:
        summary = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(summary, dict):
        raise ValueError(f"{path} is damaged: it holds no object")
    return summary


def gate(summary: dict[str, Any], policy: Policy, today: date) -> GateResult:
    """Apply a policy to the summary of a run.

    Parameters
    ----------
    summary : dict
        The content of ``summary.json``.
    policy : Policy
        The rules.
    today : date
        Decides which acceptances have expired.

    Raises
    ------
    ValueError
        The summary is of another version or lacks what a rule needs, or the policy names an operating point that the
        run does not have.
    """
    version = summary.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= SCHEMA_VERSION:
        raise GateError(
            f"summary.json has the schema_version {version!r}: versions 1 to {SCHEMA_VERSION} are read"
        )
    scopes = scopes_of(summary)
    rows: list[Row] = []
    for scope in scopes:
        if scope.measured and policy.max_excess is not None:
            rows.append(excess_row(scope, policy))
        rows += _size_rows(scope, policy)
        rows += _acquisition_rows(scope, policy)
    if policy.require_consensus:
        rows.append(_consensus_row(scopes))
    rows += _finding_rows(scopes, policy, today)
    if not rows:
        raise GateError("summary.json has nothing in it that the policy could be applied to")
    run = summary.get("run")
    return GateResult(run if isinstance(run, str) else "", tuple(rows))


# --- sizes and failures ---------------------------------------------------------------------------


def _size_rows(scope: Scope, policy: Policy) -> list[Row]:
    rows = []
    if policy.min_clusters is not None and scope.measured:
        count = field(scope.summary, "sets", "synthetic", "clusters", kind=int)
        rows.append(
            _at_least(scope, "min_clusters", count, policy.min_clusters, "synthetic identities or seeds")
        )
    if policy.min_holdout_persons is not None and scope.real:
        count = holdout_persons(scope)
        rows.append(
            _at_least(
                scope, "min_holdout_persons", count, policy.min_holdout_persons, "people in the holdout"
            )
        )
    return rows


def _at_least(scope: Scope, rule: str, count: int, least: int, what: str) -> Row:
    if count >= least:
        return Row(
            rule,
            scope.name,
            count,
            least,
            "passed",
            f"There are {count} {what}, at least {least} are asked for.",
        )
    sentence = f"There are {count} {what}, and {least} are asked for: the run has too little data to decide."
    return Row(rule, scope.name, count, least, "inconclusive", sentence)


def _acquisition_rows(scope: Scope, policy: Policy) -> list[Row]:
    limit = policy.max_failure_to_acquire
    if limit is None or not (scope.measured or scope.real):
        return []
    rows = []
    sets = field(scope.summary, "sets", kind=dict)
    for name in sets:
        if not (scope.measured if name == "synthetic" else scope.real):
            continue
        rate = field(scope.summary, "sets", name, "failure_to_acquire", kind=float)
        items = field(scope.summary, "sets", name, "items", kind=int)
        outcome: Outcome = "violated" if rate > limit else "passed"
        found = f"No face was found in {100 * rate:.3g} % of the {items} images of the {name} set"
        sentence = f"{found}; {100 * limit:g} % may fail."
        rows.append(Row(f"max_failure_to_acquire: {name}", scope.name, rate, limit, outcome, sentence))
    return rows


# --- consensus ------------------------------------------------------------------------------------


def _consensus_row(scopes: list[Scope]) -> Row:
    """Return whether the matchers agree; the verdict of a matcher over a series is that of the series."""
    verdicts: dict[str, str] = {}
    for scope in scopes:
        if scope.real and scope.matcher:
            verdicts[scope.matcher] = str(field(scope.summary, "verdict", "status", kind=str))
    distinct = sorted(set(verdicts.values()))
    value = ", ".join(f"{name}: {status}" for name, status in verdicts.items()) or None
    rule = "require_consensus"
    if len(verdicts) < 2:
        sentence = "The run has one matcher: consensus takes at least two."
        return Row(rule, "", value, "agreement", "inconclusive", sentence)
    if distinct == ["inconclusive"]:
        return Row(rule, "", value, "agreement", "inconclusive", "All matchers are inconclusive.")
    if len(distinct) > 1:
        sentence = f"The matchers do not agree: {value}."
        return Row(rule, "", value, "agreement", "inconclusive", sentence)
    return Row(rule, "", value, "agreement", "passed", f"All {len(verdicts)} matchers agree: {distinct[0]}.")


# --- findings -------------------------------------------------------------------------------------


def _finding_rows(scopes: list[Scope], policy: Policy, today: date) -> list[Row]:
    rows, used = [], set()
    limit = ", ".join(policy.fail_on)
    for scope in scopes:
        for check, severity, sentence in scope.findings():
            if severity not in policy.fail_on:
                continue
            accepted = [entry for entry in policy.allow if _covers(entry, check, scope)]
            used |= set(accepted)
            valid = [entry for entry in accepted if today <= entry.expires]
            text = sentence
            if valid:
                text += f" Accepted until {valid[0].expires}: {valid[0].reason}"
            elif accepted:
                text += f" The acceptance expired on {accepted[0].expires}."
            outcome: Outcome = "accepted" if valid else "violated"
            rows.append(Row(f"fail_on: {check}", scope.name, severity, limit, outcome, text))
    if policy.fail_on and not rows:
        rows.append(
            Row("fail_on", "", None, limit, "passed", f"No check reports anything of severity {limit}.")
        )
    for entry in policy.allow:
        if entry not in used:
            where = f" of {entry.scope}" if entry.scope else ""
            sentence = f"No finding {entry.check}{where} needed to be accepted: the entry can go."
            rows.append(
                Row(f"allow: {entry.check}", entry.scope, None, str(entry.expires), "passed", sentence)
            )
    return rows


def _covers(entry: Acceptance, check: str, scope: Scope) -> bool:
    return entry.check == check and entry.scope in ("", scope.name, scope.matcher, scope.set_name)
