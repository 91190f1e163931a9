"""The vector that a specification subtracts from every embedding, as SphereFace's evaluation does."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np

from idsim.errors import MatcherError
from idsim.files import InputFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.matchers.spec import MatcherSpec

__all__ = ["read_center"]

MAX_HEADER = 4096


def read_center(spec: MatcherSpec) -> tuple[NDArray[np.float32] | None, str]:
    """Return the vector float32 ``[dim]`` of a specification and the SHA-256 of its file; None and "" without one.

    Raises
    ------
    MatcherError
        The file cannot be read, or holds something else.
    """
    if not spec.output.center:
        return None, ""
    path = spec.beside(spec.output.center)
    with InputFile(path, MatcherError) as file:
        if file.size > MAX_HEADER + 8 * spec.dim:
            raise MatcherError(path, "size", f"{file.size} bytes are too many for one vector of {spec.dim}")
        data = bytes(file.read(0, file.size))
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False, max_header_size=MAX_HEADER)
    except Exception as error:  # NumPy's reader raises what its parsers raise
        raise MatcherError(path, "file", f"it is no .npy file that can be read: {error}"[:300]) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.shape != (spec.dim,):
        found = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else "an archive"
        raise MatcherError(path, "vector", f"must be floats [{spec.dim}], not {found}")
    vector = values.astype(np.float32)
    if not np.isfinite(vector).all():
        raise MatcherError(path, "vector", "is not finite")
    return vector, hashlib.sha256(data).hexdigest()
