"""What one benchmark case is, and the rows it searches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Case", "make_rows"]

Float32 = npt.NDArray[np.float32]

IMAGES_PER_IDENTITY = 20
# Noise of an image around its identity, relative to the identity's unit vector: cosines of two images
# of one person are then near 1 / (1 + 0.8**2) = 0.61, as face embeddings have them.
IDENTITY_NOISE = 0.8
_BLOCK = 65_536


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Parameters
    ----------
    queries, rows, dim, k : int
        ``queries`` rows of ``dim`` float32 values are searched in ``rows`` rows for the ``k`` best.
    data : {"random", "clustered"}
        Directions drawn uniformly, or 20 images around each of ``rows / 20`` identities; the queries
        of a clustered case are further images of the gallery's identities.
    mode : {"prepared", "one-shot"}
        Whether a tool may prepare the gallery before the clock starts.
    """

    queries: int
    rows: int
    dim: int = 512
    k: int = 10
    data: str = "random"
    mode: str = "prepared"

    def __post_init__(self) -> None:
        for name in ("queries", "rows", "dim", "k"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.data not in ("random", "clustered"):
            raise ValueError(f"data must be 'random' or 'clustered', not {self.data!r}")
        if self.mode not in ("prepared", "one-shot"):
            raise ValueError(f"mode must be 'prepared' or 'one-shot', not {self.mode!r}")

    @property
    def name(self) -> str:
        """Return the one-line name that a result file and a command line use."""
        return f"q={self.queries} n={self.rows} d={self.dim} k={self.k} {self.data} {self.mode}"

    @property
    def flops(self) -> float:
        """Return the arithmetic of the products: one multiplication and one addition per value."""
        return 2.0 * self.queries * self.rows * self.dim

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def _unit(rows: Float32) -> Float32:
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    np.divide(rows, norms[:, None], out=rows, casting="same_kind")
    return rows


def _clustered(rng: np.random.Generator, identities: npt.NDArray[np.int64], centres: Float32) -> Float32:
    dim = centres.shape[1]
    noise = rng.standard_normal((len(identities), dim), dtype=np.float32)
    noise *= np.float32(IDENTITY_NOISE / np.sqrt(dim))
    noise += centres[identities]
    return noise


def make_rows(data: str, rows: int, dim: int, queries: int, seed: int = 0) -> tuple[Float32, Float32]:
    """Return queries float32 [queries, dim] and gallery float32 [rows, dim], rows of unit length.

    Unit length lets inner-product tools take part without a normalisation of their own. The gallery
    does not depend on ``queries``, and the first queries do not depend on their count.
    """
    rng = np.random.default_rng([seed, rows, dim])
    gallery = np.empty((rows, dim), np.float32)
    identities = np.arange(rows, dtype=np.int64) // IMAGES_PER_IDENTITY
    people = int(identities[-1]) + 1
    centres = _unit(rng.standard_normal((people if data == "clustered" else 1, dim), dtype=np.float32))
    for start in range(0, rows, _BLOCK):
        block = slice(start, min(start + _BLOCK, rows))
        if data == "clustered":
            gallery[block] = _clustered(rng, identities[block], centres)
        else:
            gallery[block] = rng.standard_normal((block.stop - start, dim), dtype=np.float32)
        _unit(gallery[block])
    query_rng = np.random.default_rng([seed, rows, dim, 1])
    if data == "clustered":
        # A multiplicative walk spreads the queries over the identities without a draw per query.
        wanted = (np.arange(queries, dtype=np.int64) * 7_919) % people
        found = _clustered(query_rng, wanted, centres)
    else:
        found = query_rng.standard_normal((queries, dim), dtype=np.float32)
    return _unit(found), gallery
