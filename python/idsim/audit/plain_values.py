"""Results of statistics as the plain values that JSON knows."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

__all__ = ["NOT_LISTED", "plain_values"]

#: Metadata of a dataclass field that is for programs only: one value per sample, and the like.
NOT_LISTED = {"listed": False}


def plain_values(result: Any) -> Any:
    """Return dict, list, str, int, float, bool or None; what is not finite becomes None.

    Parameters
    ----------
    result : object
        A dataclass, a named tuple, a dict, a sequence, an array, or a number. Fields of a dataclass with the
        metadata `NOT_LISTED` are left out.
    """
    if is_dataclass(result) and not isinstance(result, type):
        listed = [entry for entry in fields(result) if entry.metadata.get("listed", True)]
        return {entry.name: plain_values(getattr(result, entry.name)) for entry in listed}
    if isinstance(result, tuple) and hasattr(result, "_asdict"):
        return {name: plain_values(value) for name, value in result._asdict().items()}
    if isinstance(result, dict):
        return {str(name): plain_values(value) for name, value in result.items()}
    if isinstance(result, (list, tuple, np.ndarray)):
        return [plain_values(value) for value in result]
    if isinstance(result, (bool, np.bool_)):
        return bool(result)
    if isinstance(result, (int, np.integer)):
        return int(result)
    if isinstance(result, (float, np.floating)):
        return float(result) if math.isfinite(result) else None
    return result
