"""Comparators: results are compared as bytes, and a difference is told by query and place."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from idsim import reference


def digest(*arrays: npt.ArrayLike) -> str:
    """Return the sha256 of shapes, dtypes and bytes."""
    state = hashlib.sha256()
    for array in arrays:
        value = np.ascontiguousarray(array)
        state.update(repr((value.shape, value.dtype.str)).encode())
        state.update(value.tobytes())
    return state.hexdigest()


def same_bytes(a: npt.ArrayLike, b: npt.ArrayLike) -> bool:
    """Return whether shape, dtype and every byte agree; NaN equals itself and -0.0 is not 0.0."""
    return digest(a) == digest(b)


def assert_same(actual: Any, expected: Any, context: str = "") -> None:
    """Assert that two top-k results (or tuples of arrays) agree in every byte."""
    assert len(actual) == len(expected), f"{context}: {len(actual)} arrays, not {len(expected)}"
    names = getattr(actual, "_fields", [str(i) for i in range(len(actual))])
    for name, got, wanted in zip(names, map(np.asarray, actual), map(np.asarray, expected), strict=True):
        assert got.dtype == wanted.dtype, f"{context} {name}: dtype {got.dtype}, not {wanted.dtype}"
        assert got.shape == wanted.shape, f"{context} {name}: shape {got.shape}, not {wanted.shape}"
        if not same_bytes(got, wanted):
            raise AssertionError(f"{context} {_first_difference(name, got, wanted, actual, expected)}")


def _first_difference(name: str, got: npt.NDArray, wanted: npt.NDArray, actual: Any, expected: Any) -> str:
    """Return where two arrays of the same shape differ first, with the rows of all arrays there."""
    width = got.dtype.itemsize
    raw = [
        np.ascontiguousarray(side).view(np.uint8).reshape(*np.atleast_1d(side).shape, width)
        for side in (got, wanted)
    ]
    places = np.argwhere((raw[0] != raw[1]).any(axis=-1))
    place = tuple(int(i) for i in places[0])
    lines = [f"{name}: {len(places)} places differ, first at {place}"]
    for label, side in (("got", actual), ("expected", expected)):
        rows = [np.atleast_1d(array)[place[0]].tolist() for array in side]
        lines.append(f"  {label}: {rows}"[:600])
    return "\n".join(lines)


def assert_search(
    result: Any,
    queries: npt.ArrayLike,
    gallery: npt.ArrayLike,
    k: int,
    context: str = "",
    **options: Any,
) -> None:
    """Assert that a search result equals the definition in every byte."""
    scores, ids = result
    assert np.asarray(scores).dtype == np.float32
    assert np.asarray(ids).dtype == np.int64
    assert_same(tuple(result), reference.search(queries, gallery, k, **options), context)
