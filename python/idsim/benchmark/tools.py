"""What a tool of the table is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["OURS", "Float32", "Ids", "Setting", "Tool", "is_ours", "one_setting"]

Float32 = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Setting = Mapping[str, Any]

OURS = "idsim"


def is_ours(name: str) -> bool:
    """Return whether a tool is idsim, or idsim made to work in another way, such as "idsim wgmma": no rival."""
    return name == OURS or name.startswith(f"{OURS} ")


@dataclass(frozen=True)
class Tool:
    """One way to find the k best rows.

    Parameters
    ----------
    name : str
        Library and method.
    modules : tuple of str
        What must be installed.
    exact : bool
        The method computes every float32 score, or proves that a row cannot be among the best.
    arithmetic : {"float32", "bfloat16", "int8"}
        Of its products: the peak that its rate is held against.
    value_bytes : int
        Size of one stored gallery value: what one pass reads.
    prepare : callable (gallery, threads) -> state
        Runs before the clock in a prepared case, within it in a one-shot case.
    search : callable (state, queries, k, setting) -> ids, or (ids, scores)
        Best first.
    settings : callable (queries, rows) -> settings
        What a patient user would try; the first is the tool's plain use.
    linear : bool
        Time grows with queries x rows: a short trial tells whether the whole case is worth its time.
    one_shot : bool
        Takes part in one-shot cases.
    """

    name: str
    modules: tuple[str, ...]
    exact: bool
    arithmetic: str
    value_bytes: int
    prepare: Callable[[Float32, int], Any]
    search: Callable[[Any, Float32, int, Setting], Any]
    settings: Callable[[int, int], Sequence[Setting]]
    linear: bool = False
    one_shot: bool = True

    @property
    def missing(self) -> list[str]:
        """Return the modules that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


def one_setting(_queries: int, _rows: int) -> Sequence[Setting]:
    """Return the single, empty setting of a tool that has none."""
    return [{}]
