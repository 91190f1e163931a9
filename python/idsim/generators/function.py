"""A Python function as a generator: the shortest way to plug in another model.

The function takes a list of seeds and yields one picture, uint8 ``[height, width, 3]`` RGB, for each. Where it has
parameters ``psi``, ``label``, ``device`` or ``noise``, it is given them.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from idsim.functions import source_sha256
from idsim.generators.base import Drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from idsim.generators.base import Pictures

    Draw = Callable[..., Iterable[NDArray[np.uint8]]]

__all__ = ["FunctionGenerator"]


class FunctionGenerator:
    """A generator that calls a function.

    Parameters
    ----------
    draw : callable
        ``draw(seeds)``, or ``draw(seeds, psi=..., label=..., device=..., noise=...)`` with any of these. Equal
        arguments must give equal pictures, and a picture must not depend on the other seeds of a call. An
        attribute ``description`` of the function, a dict of plain JSON values, becomes part of `describe`:
        the licence, and the hashes of what the function loads.
    device, noise : str, optional
        Passed on to a function that has these parameters; refused otherwise.
    """

    def __init__(self, draw: Draw, *, device: str | None = None, noise: str | None = None) -> None:
        if not callable(draw):
            raise TypeError(f"a generator function must be callable, not {type(draw).__name__}")
        self._draw = draw
        self._known = _parameters(draw)
        self.name = str(getattr(draw, "__name__", type(draw).__name__)).lower()
        self._fixed = self._accepted({"device": device, "noise": noise})

    def _accepted(self, values: dict[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in values.items() if value is not None}
        for key, value in given.items():
            if key not in self._known:
                raise ValueError(f"the function {self.name} has no parameter {key}, and {key} is {value!r}")
        return given

    def describe(self) -> dict[str, Any]:
        """Return the name of the function, the hash of the file it stands in, and its own `description`."""
        code = {"name": self.name, "sha256": source_sha256(self._draw)}
        noise = {key: value for key, value in self._fixed.items() if key != "device"}
        return {**code, "licence": "not stated", **noise, **getattr(self._draw, "description", {})}

    def sample(self, seeds: Sequence[int], *, psi: float | None = None, label: int | None = None) -> Pictures:
        """Return the pictures that the function draws for these seeds."""
        given = self._accepted({"psi": psi, "label": label})
        return Drawn(len(seeds), lambda: self._draw(list(seeds), **given, **self._fixed))


def _parameters(draw: Draw) -> set[str]:
    parameters = inspect.signature(draw).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return {"psi", "label", "device", "noise"}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {parameter.name for parameter in parameters if parameter.kind in named}
