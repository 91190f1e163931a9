"""What a scan says beyond the leak rates, as lines of a table."""

from __future__ import annotations

from typing import Any

from idsim.audit.summary import percent

__all__ = ["analysis_rows", "consensus_rows"]

Row = tuple[str, str, str]


def analysis_rows(analysis: dict[str, Any]) -> list[Row]:
    """Return question, number and what it rests on, for what the data supported."""
    makers = (
        _membership, _exposure, _closeness, _lift, _identities, _bias, _copies, _repetition, _power,
    )  # fmt: skip
    return [row for maker in makers if (row := maker(analysis)) is not None]


def consensus_rows(consensus: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row per number of matchers that agree."""
    rows: list[tuple[str, ...]] = []
    for level in consensus.get("levels", []):
        excess = level["excess_leak_rate"]
        mark = " *" if level["primary"] else ""
        rows.append(
            (
                f"at least {level['matchers']}{mark}",
                percent(level["leak_rate_training"]["rate"]),
                percent(level["leak_rate_holdout"]["rate"]),
                percent(excess["rate"]),
                _range(excess, percent),
                f"{excess['permutation_p']:.2g}",
            )
        )
    return rows


def _there(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if entry is None or entry.get("refused") else entry


def _range(entry: dict[str, Any], shown: Any) -> str:
    return f"{shown(entry['low'])} to {shown(entry['high'])}"


def _plain(value: float) -> str:
    return f"{value:.3g}"


def _membership(analysis: dict[str, Any]) -> Row | None:
    found = _there(analysis.get("membership"))
    if found is None:
        return None
    auc = found["auc"]
    basis = f"{_range(auc, _plain)}, p = {auc['permutation_p']:.2g}; 0.5 by chance"
    return "Members told from non-members (AUC)", _plain(auc["value"]), basis


def _exposure(analysis: dict[str, Any]) -> Row | None:
    found = _there(analysis.get("exposure"))
    if found is None:
        return None
    excess, persons = found["excess"], found["training"]["persons"]
    basis = f"{_range(excess, percent)}, p = {excess['permutation_p']:.2g}; {persons} persons"
    return "Persons reached, beyond those of the holdout", percent(excess["share"]), basis


def _closeness(analysis: dict[str, Any]) -> Row | None:
    found = _there(analysis.get("closeness"))
    if found is None:
        return None
    share = found["share"]
    basis = (
        f"{_range(share, percent)}, p = {share['permutation']['p']:.2g}; "
        f"{percent(share['expected_without_leakage'])} by chance"
    )
    return "Closer to training than to holdout", percent(share["share"]), basis


def _lift(analysis: dict[str, Any]) -> Row | None:
    found = _there(analysis.get("tail_lift_curve"))
    known = [entry for entry in (found or {}).get("at_false_match_rates", []) if not entry["refused"]]
    if not known:
        return None
    last = known[-1]
    return f"Tail lift at FMR {last['fmr']:g}", _plain(last["lift"]), f"{_range(last, _plain)}; 1 by chance"


def _identities(analysis: dict[str, Any]) -> Row | None:
    found = _there((analysis.get("identities") or {}).get("real_probes"))
    if found is None:
        return None
    basis = f"of {found['tests']}, at a false discovery rate of {percent(found['level'])}"
    return "Synthetic identities flagged one by one", str(found["rejections"]), basis


def _bias(analysis: dict[str, Any]) -> Row | None:
    found = _there(analysis.get("difference_in_differences"))
    if found is None:
        return None
    return "Excess less that of real probes", percent(found["rate"]), _range(found, percent)


def _copies(analysis: dict[str, Any]) -> Row | None:
    found = _there(analysis.get("near_copies"))
    if found is None:
        return None
    excess = found["excess"]
    basis = f"{_range(excess, percent)}, p = {excess['permutation_p']:.2g}"
    return "Near copies of pictures, beyond the holdout's", percent(excess["rate"]), basis


def _repetition(analysis: dict[str, Any]) -> Row | None:
    found = _there(analysis.get("repetition"))
    if found is None or found["at_least"] is None:
        return None
    return "Distinct persons drawn, at least", f"{found['at_least']:.4g}", f"from {found['draws']} draws"


def _power(analysis: dict[str, Any]) -> Row | None:
    found = _there(analysis.get("power"))
    if found is None or found["smallest_detectable_excess"] is None:
        return None
    basis = (
        f"with {percent(found['power'])} power and {_plain(found['effective_clusters'])} effective clusters"
    )
    return "Smallest excess that is found", percent(found["smallest_detectable_excess"]), basis
