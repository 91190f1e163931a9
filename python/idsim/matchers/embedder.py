"""What a specification does around any network: checks, mirrored crops, centring, length. ONNX has it in the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import MatcherError
from idsim.matchers.base import checked_crops
from idsim.matchers.center import read_center

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.matchers.spec import MatcherSpec

    Network = Callable[[NDArray[np.uint8]], Any]

__all__ = ["SpecifiedEmbedder"]


class SpecifiedEmbedder:
    """An embedder made of a specification and of a function that stands for its network.

    Parameters
    ----------
    spec : MatcherSpec
        The specification; its colour order and pixel map are the network's own affair.
    network : callable
        Takes crops, uint8 ``[n, height, width, 3]`` RGB, and returns floats ``[n, output.dim]``. Equal crops must
        give equal vectors, whatever they come with.
    description : dict
        What the vectors depend on beside the specification, as plain JSON values.
    """

    def __init__(self, spec: MatcherSpec, network: Network, description: dict[str, Any]) -> None:
        self.spec = spec
        self.name, self.metric, self.dim, self.size = spec.name, spec.score.metric, spec.dim, spec.input.size
        self._network = network
        self._center, digest = read_center(spec)
        self._description = description | {"center_sha256": digest}

    def describe(self) -> dict[str, Any]:
        """Return the specification and what its vectors depend on beside it."""
        return self.spec.describe() | self._description

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings ``[n, dim]`` of crops, uint8 ``[n, height, width, 3]`` RGB.

        Raises
        ------
        TypeError, ValueError
            The crops have another type or shape.
        MatcherError
            The network gives another shape or type, or values that are not finite.
        """
        return self.embed_with_norms(crops)[0]

    def embed_with_norms(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the embeddings ``[n, dim]`` and the lengths ``[n]`` that they had before they were normalised."""
        crops = checked_crops(crops, self.size)
        vectors = self._raw(crops)
        if self.spec.flip != "none":
            mirrored = self._raw(np.ascontiguousarray(crops[:, :, ::-1]))
            vectors = (
                vectors + mirrored if self.spec.flip == "sum" else np.concatenate([vectors, mirrored], axis=1)
            )
        if self._center is not None:
            vectors = vectors - self._center
        norms = np.linalg.norm(vectors, axis=1)
        if self.spec.output.normalise:
            vectors = vectors / np.where(norms > 0, norms, 1)[:, None]
        return vectors.astype(np.float32), norms.astype(np.float32)

    def _raw(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = np.asarray(self._network(crops))
        wanted = (len(crops), self.spec.output.dim)
        if found.dtype.kind != "f" or found.shape != wanted:
            raise MatcherError(
                self.name, "output", f"must be floats {list(wanted)}, not {found.dtype} {list(found.shape)}"
            )
        bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if bad.size:
            raise MatcherError(self.name, f"crop {bad[0]}", "its embedding is not finite")
        return found.astype(np.float64)
