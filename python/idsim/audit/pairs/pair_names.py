"""The comparisons between the sets of a scan, by name: ``SxT`` is every synthetic face with every training one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["INITIALS", "NEEDED", "PAIRS", "check_pair_names", "sets_of"]

INITIALS = {"S": "synthetic", "T": "training", "H": "holdout", "P": "probes"}

#: Every comparison that a scan knows, and what it is for.
PAIRS = {
    "SxT": "leak rate",
    "SxH": "leak rate without leakage",
    "HxH": "thresholds",
    "HxT": "persons in both real sets; searches through the training set by people who are not in it",
    "TxT": "background of the training set",
    "SxS": "how many persons the generator draws",
    "TxS": "membership of every training person",
    "HxS": "membership of people who are no members",
    "PxT": "what the matcher makes of the training set without a generator",
    "PxH": "the same of the holdout",
}

NEEDED = ("SxT", "SxH", "HxH")


def sets_of(pair: str) -> tuple[str, str]:
    """Return the names of the sets of a comparison."""
    return INITIALS[pair[0]], INITIALS[pair[2]]


def check_pair_names(pairs: Sequence[str], probes: bool, refuse: Callable[[str], None]) -> None:
    """Refuse comparisons that do not exist, or that lack what every scan needs."""
    for pair in pairs:
        if pair not in PAIRS:
            refuse(f"[comparisons] sets must be of {', '.join(PAIRS)}, not {pair!r}")
        if "P" in pair and not probes:
            refuse(f"[comparisons] sets names {pair}, and there is no set [probes]")
        if pairs.count(pair) > 1:
            refuse(f"[comparisons] sets names {pair} twice")
    missing = [pair for pair in NEEDED if pairs and pair not in pairs]
    if missing:
        refuse(f"[comparisons] sets needs {missing[0]}: {PAIRS[missing[0]]}")
