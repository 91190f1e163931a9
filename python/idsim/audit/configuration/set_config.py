"""``[synthetic]``, ``[training]``, ``[holdout]``, ``[probes]``: the sets of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from idsim.generators.series import make_series

if TYPE_CHECKING:
    from idsim.generators.series import Variant

__all__ = ["SetConfig", "SyntheticConfig"]


@dataclass(frozen=True)
class SetConfig:
    """``[synthetic]``, ``[training]``, ``[holdout]`` or ``[probes]``: one set of faces.

    Attributes
    ----------
    images : str
        Folder, zip, list or container of pictures, see `idsim.sources.open_images`; or
    embeddings : str
        File or folder of embeddings, of any format that galleries are built from; or
    ids : str
        CSV file with the ids of items whose scores are given.
    labels : str
        Which items belong together (real sets: one person; the synthetic set: one cluster, weighted as one).
        ``each``: every item for itself. ``folder``: the first folder of its path. ``identity``: what the source of
        the pictures says. ``group``: the group column of embeddings. Anything else: a ``.npy`` file with one label
        per embedding.
    kind : str
        Of the source of pictures; empty: told by its path.
    split : str
        ``training`` or ``validation``: part of FFHQ.
    mirrored : bool
        Of real sets of pictures: the mirror image of every picture is in the set too, as one of the same person.
    strata : str
        The cell of every item, such as a sex and an age group: a ``.npy`` file with one string or integer per item, a
        ``.csv`` file with the columns ``item`` and ``stratum``, or a column of the embeddings' table.
    """

    images: str = ""
    embeddings: str = ""
    ids: str = ""
    labels: str = "each"
    kind: str = ""
    split: str = ""
    mirrored: bool = False
    strata: str = ""

    @property
    def drawn(self) -> bool:
        """Whether the pictures are drawn while the scan runs."""
        return False


@dataclass(frozen=True)
class SyntheticConfig(SetConfig):
    """``[synthetic]``: as the other sets, or drawn by generators while the scan runs.

    Every combination of generator, psi, class and range of seeds is a set of its own.

    Attributes
    ----------
    generator : tuple of str
        Specs of generators, see `idsim.generators.open_generator`; relative paths start where the others do.
    seeds : tuple of str
        Each like ``0-9999,20000``; empty: every picture of generators over stored pictures.
    psi : tuple of float
        Truncations; empty: the generator's own.
    classes : tuple of int
        Of conditional generators.
    noise, device : str
        Noise mode and device of the generator; empty: its own.
    """

    generator: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    psi: tuple[float, ...] = ()
    classes: tuple[int, ...] = ()
    noise: str = ""
    device: str = ""

    def __post_init__(self) -> None:
        if self.seeds == ("",):  # written out: the default
            object.__setattr__(self, "seeds", ())

    @property
    def drawn(self) -> bool:
        """Whether there are generators."""
        return bool(self.generator)

    def series(self) -> list[Variant]:
        """Return the sets that are drawn."""
        return make_series(self.generator, self.psi, self.classes, self.seeds)
