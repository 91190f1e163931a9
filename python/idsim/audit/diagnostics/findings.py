"""What a check says: a severity, a plain sentence, and the numbers behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

__all__ = ["SEVERITIES", "Finding", "Severity", "plain"]

Severity = Literal["info", "warning", "error"]

# From harmless to serious.
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    check : str
        Name of the check; a policy accepts findings by it (docs/gate.md).
    severity : {"info", "warning", "error"}
        ``info``: as it should be, or good to know. ``warning``: the numbers may mean something else.
        ``error``: they do.
    sentence : str
        What was found and what it means.
    numbers : dict
        What the sentence rests on; turned into plain JSON values, numbers that are not finite into None.
    """

    check: str
    severity: Severity
    sentence: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {', '.join(SEVERITIES)}, not {self.severity!r}")
        object.__setattr__(self, "numbers", plain(self.numbers))

    def entry(self) -> dict[str, Any]:
        """Return the finding as plain JSON values, for ``checks`` in ``summary.json``."""
        return {
            "check": self.check,
            "severity": self.severity,
            "sentence": self.sentence,
            "numbers": self.numbers,
        }


def plain(value: Any) -> Any:
    """Return a value of dicts, sequences, NumPy scalars and arrays as plain JSON values."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"{type(value).__name__} is no plain value")
