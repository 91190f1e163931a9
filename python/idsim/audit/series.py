"""What a series of synthetic sets says together: a row per set, corrected for their number, and one verdict."""

from __future__ import annotations

from typing import Any

from idsim.audit.significance.multiple import holm
from idsim.audit.summary import percent

__all__ = ["series_row", "series_verdict", "with_correction"]

RATES = ("leak_rate_training", "leak_rate_holdout", "excess_leak_rate", "residual_risk", "tail_lift")


def series_row(
    name: str, folder: str, summary: dict[str, Any], shared: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the row of a set.

    Parameters
    ----------
    name, folder : str
        Of the set.
    summary : dict
        Its own summary.
    shared : list of dict
        Checks that concern the real sets alone, and are no news of this set.
    """
    points = [
        {
            "name": point["name"],
            "primary": point["primary"],
            "refused": point["refused"],
            **{rate: point.get(rate) for rate in RATES},
        }
        for point in summary["operating_points"]
    ]
    return {
        "name": name,
        "folder": folder,
        "synthetic": summary["sets"]["synthetic"],
        "verdict": summary["verdict"],
        "operating_points": points,
        "checks": [check for check in summary["checks"] if check not in shared],
    }


def with_correction(rows: list[dict[str, Any]], confidence: float) -> list[dict[str, Any]]:
    """Return the rows with the corrected p of the primary point, and whether an excess stands after it.

    Sets without a face, and those where the point is refused, were not tested and do not count.
    """
    tested = [row for row in rows if _excess(row) is not None]
    values = holm(
        [row["operating_points"][0]["excess_leak_rate"]["permutation_p"] for row in tested]
    ).tolist()
    corrected = {row["name"]: value for row, value in zip(tested, values, strict=True)}
    return [
        row
        | {
            "permutation_p_corrected": corrected.get(row["name"]),
            "excess_stands": row["verdict"]["status"] == "excess"
            and corrected[row["name"]] <= 1 - confidence,
        }
        for row in rows
    ]


def _excess(row: dict[str, Any]) -> dict[str, Any] | None:
    points = row["operating_points"]
    found: dict[str, Any] | None = points[0]["excess_leak_rate"] if points else None
    return found


def series_verdict(
    rows: list[dict[str, Any]], primary: dict[str, Any], confidence: float, what: str = "sets"
) -> dict[str, Any]:
    """Return status and sentence over all rows, which are `what`, at the primary operating point."""
    name, total = primary["name"], len(rows)
    excesses = {row["name"]: _excess(row) for row in rows}
    tested = {key: excess for key, excess in excesses.items() if excess is not None}
    if not tested:
        reason = (
            f"there is no threshold for {name}: {primary['refused']}"
            if primary["refused"]
            else f"none of the {total} {what} could be measured at {name}"
        )
        return {"status": "inconclusive", "operating_point": name, "sentence": f"Inconclusive: {reason}."}
    standing = [row["name"] for row in rows if row["excess_stands"]]
    untested = (
        f" {total - len(tested)} of {total} {what} could not be measured." if len(tested) < total else ""
    )
    if standing:
        worst = max(standing, key=lambda key: float(tested[key]["rate"]))
        sentence = (
            f"Excess found at {name} in {len(standing)} of {total} {what}, after correction for their number: "
            f"{', '.join(standing)}. The largest excess leak rate is {percent(tested[worst]['rate'])} in {worst} "
            f"({100 * confidence:g} % interval {percent(tested[worst]['low'])} to "
            f"{percent(tested[worst]['high'])}).{untested}"
        )
        return {"status": "excess", "operating_point": name, "sentence": sentence}
    upper = max(float(excess["upper"]) for excess in tested.values())
    sentence = (
        f"No excess was found at {name} in any of {len(tested)} {what}, after correction for their number. With "
        f"{100 * confidence:g} % confidence each, none has an excess leak rate above {percent(upper)}.{untested} "
        "This bounds what this matcher sees at this threshold; it does not prove privacy."
    )
    return {"status": "none_found", "operating_point": name, "sentence": sentence}
