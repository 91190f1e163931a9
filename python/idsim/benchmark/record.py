"""What a measured case becomes: the best rivals and the ratios to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.benchmark.tools import OURS, is_ours

if TYPE_CHECKING:
    from idsim.benchmark.cases import Case

__all__ = ["best_rival", "case_record", "paired_ratio"]

Result = Mapping[str, Any]


def best_rival(results: Sequence[Result], *, exact: bool) -> Result | None:
    """Return the fastest rival, or None.

    ``exact=True``: among rivals whose method guarantees float32-exact ids, and whose ids were right
    on the checked sample up to float32 rounding. ``exact=False``: among all the others. A tool whose answer was
    not checked, for it gives none, is no rival.
    """
    rivals = [result for result in results if not is_ours(result["tool"]) and result["checked"]]
    trusted = [r for r in rivals if r["exact_method"] and not r["wrong_beyond_rounding"]]
    pool = trusted if exact else [r for r in rivals if not r["exact_method"]]
    return min(pool, key=lambda result: float(result["median_ms"]), default=None)


def paired_ratio(rival: Result, ours: Result) -> dict[str, Any]:
    """Return rival time over our time: of the medians, and the quartiles of the paired rounds."""
    pairs = np.array(rival["times_ms"]) / np.array(ours["times_ms"])
    low, high = np.quantile(pairs, [0.25, 0.75]).tolist()
    return {
        "tool": rival["tool"],
        "ratio": rival["median_ms"] / ours["median_ms"],
        "low": low,
        "high": high,
        "wrong": rival["wrong"],
        "checked": rival["checked"],
    }


def case_record(case: Case, results: Sequence[Result], left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return one case for JSON: its sizes, every tool's numbers, the ratios, and who was left out.

    ``best_exact`` and ``best_inexact`` are None when ours or the rival did not take part.
    """
    ours = next((result for result in results if result["tool"] == OURS), None)
    exact, inexact = best_rival(results, exact=True), best_rival(results, exact=False)
    return {
        "name": case.name,
        "case": case.to_dict(),
        "tools": list(results),
        "best_exact": paired_ratio(exact, ours) if ours and exact else None,
        "best_inexact": paired_ratio(inexact, ours) if ours and inexact else None,
        "left_out": dict(left_out),
    }
