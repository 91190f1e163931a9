"""Small pictures for reports, made from the run's own inputs: files read again, seeds drawn again.

A picture is shown only where it is the one that the scan saw: files by their hash, seeds by the hash of the network.
"""

from __future__ import annotations

import base64
import io
import json
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.configuration.config import from_tables
from idsim.audit.configuration.set_config import SyntheticConfig
from idsim.audit.configuration.toml_text import read_toml
from idsim.audit.folder import CONFIG
from idsim.audit.mirrored import MIRRORED
from idsim.audit.reopening import ORIGIN
from idsim.errors import IdsimError
from idsim.generators.registry import generator_kind
from idsim.generators.series import Networks
from idsim.report.data import SetResults
from idsim.sources import open_images
from idsim.sources.decoding import DecoderPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from PIL import Image

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.configuration.set_config import SetConfig
    from idsim.report.data import RunResults
    from idsim.report.nearest import Item

    Told = Callable[[str, int, int], None]
    Found = tuple[Item, NDArray[np.uint8] | None]

__all__ = ["BLURRED_SIDE", "FACES", "SHOWN_SIDE", "NoPicturesError", "Thumbnail", "Thumbnails", "thumbnails"]

COLUMNS = ("set", "item", "pseudonym", "left", "top", "right", "bottom", "sha256")

#: What a report does with faces: nothing, hints of colour, or pictures that are blurred until they are asked for.
FACES = ("none", "blur", "show")

# People recognise faces that they know at 7 x 10 pixels (Sinha, Balas, Ostrovsky and Russell, Proceedings of the IEEE
# 94, 2006). Below that, and in 16 levels of each colour, hair, skin and background are left.
BLURRED_SIDE = 6
BLURRED_LEVELS = 16

SHOWN_SIDE = 88  # about 2.5 kB as JPEG: 200 pairs of three pictures are some 2 MB in a page
SHOWN_QUALITY = 80
MARGIN = 1.5  # side of what is shown over side of the face's box


# Kinds of generators that run no code but idsim's own: a run of strangers must not start theirs.
OWN_KINDS = ("folder", "stylegan2")


class Thumbnail(NamedTuple):
    """A small picture.

    Attributes
    ----------
    url : str
        As a ``data:`` URL.
    side : int
        Width and height in pixels.
    """

    url: str
    side: int


class Thumbnails(NamedTuple):
    """Small pictures of a run.

    Attributes
    ----------
    pictures : dict
        By item.
    reasons : dict
        Why items have none, by kind: ``synthetic``, ``training``, ``holdout``.
    """

    pictures: dict[Item, Thumbnail]
    reasons: dict[str, str]


def thumbnails(
    run: RunResults,
    items: Iterable[Item],
    faces: str,
    run_code: bool = False,
    progress: Told | None = None,
) -> Thumbnails:
    """Return small pictures of items of a run.

    Parameters
    ----------
    run : RunResults
        A finished run.
    items : iterable of Item
        What is to be shown; one that is named twice is made once.
    faces : {"none", "blur", "show"}
        ``blur``: `BLURRED_SIDE` pixels a side, from which nobody is recognised. ``show``: `SHOWN_SIDE`.
    run_code : bool
        Whether generators that are functions may be run to draw their pictures again.
    progress : callable, optional
        Called with (what, done, total).

    Raises
    ------
    ValueError
        `faces` is none of the three.
    """
    if faces not in FACES:
        raise ValueError(f"faces must be one of {', '.join(FACES)}, not {faces!r}")
    wanted: dict[tuple[str, str], list[Item]] = {}
    for item in dict.fromkeys(items):
        wanted.setdefault((item.kind, item.variant), []).append(item)
    made = Thumbnails({}, {})
    if faces == "none" or not wanted:
        return made
    try:
        config = _config(run)
    except (OSError, ValueError, KeyError, TypeError):
        made.reasons.update({kind: f"{ORIGIN} of the run does not say where they are" for kind, _ in wanted})
        return made
    every = [item for part in wanted.values() for item in part]
    with ExitStack() as stack:
        source = _Pictures(run, config, _records(run, set(every)), run_code, stack)
        for (kind, variant), part in wanted.items():
            try:
                for item, pixels in source.of(kind, variant, part):
                    if pixels is None:
                        made.reasons[kind] = "some are gone, or are no longer what the scan saw"
                    else:
                        made.pictures[item] = _thumbnail(_face(pixels, source.records.get(item, {})), faces)
                    if progress is not None:
                        progress("pictures", len(made.pictures), len(every))
            except (OSError, ValueError, IdsimError) as error:
                made.reasons[kind] = _reason(error)
    return made


def _reason(error: Exception) -> str:
    """Return why pictures cannot be had. Errors name paths, which are not the reader's business."""
    if isinstance(error, NoPicturesError):
        return str(error)
    return f"their source cannot be read again ({type(error).__name__})"


class NoPicturesError(ValueError):
    """A set has no pictures to show, for a reason that names nothing private."""


# --- what a run says of its pictures ----------------------------------------------------------------


def _config(run: RunResults) -> ScanConfig:
    """Return the scan as it was run; its relative paths start from the file that described it."""
    origin = Path(json.loads((run.folder / ORIGIN).read_bytes())["config"])
    return from_tables(read_toml(run.folder / CONFIG, "scan configuration"), origin)


def _records(run: RunResults, items: set[Item]) -> dict[Item, dict[str, Any]]:
    """Return hash and box of items; of several matchers, which may find other boxes, the first one counts."""
    wanted = {(item.kind, item.variant, item.name): item for item in items}
    parts = list(run.sets)
    # The table of a series lists the real sets, those of its sets their own images.
    parts += [SetResults(one.name, "", one.folder, one.summary) for one in run.matchers if one.is_series]
    found: dict[Item, dict[str, Any]] = {}
    for part in parts:
        for record in _lines(part, {item.pseudonym for item in items}):
            variant = part.name if record["set"] == "synthetic" else ""
            item = wanted.get((record["set"], variant, record["item"]))
            if item is not None:
                found.setdefault(item, record)
    return found


def _lines(part: SetResults, pseudonyms: set[str]) -> list[dict[str, Any]]:
    """Return the lines of a table of images that are about some items; there may be millions of others."""
    path = part.folder / "images.parquet"
    if path.exists():
        import pyarrow.parquet as pq

        found = pq.read_table(path, columns=list(COLUMNS), filters=[("pseudonym", "in", sorted(pseudonyms))])
        lines: list[dict[str, Any]] = found.to_pylist()
        return lines
    table = part.images(COLUMNS)
    every = zip(*(table.get(name, []) for name in COLUMNS), strict=True)
    return [dict(zip(COLUMNS, line, strict=True)) for line in every if line[2] in pseudonyms]


# --- pictures ---------------------------------------------------------------------------------------


class _Pictures:
    """The pictures of a run, one set at a time; processes that decode files start with the first of them."""

    def __init__(
        self,
        run: RunResults,
        config: ScanConfig,
        records: dict[Item, dict[str, Any]],
        run_code: bool,
        stack: ExitStack,
    ) -> None:
        self._run = run
        self._config = config
        self.records = records
        self._run_code = run_code
        self._stack = stack
        self._pool: DecoderPool | None = None

    def of(self, kind: str, variant: str, items: list[Item]) -> Iterator[Found]:
        """Yield the pictures of a set; None where one is not what the scan saw."""
        part = self._config.sets[kind]
        if part.images:
            return self._read(part, items)
        if isinstance(part, SyntheticConfig) and part.drawn:
            return self._drawn(part, variant, items)
        raise NoPicturesError("the scan had none, only what matchers made of them")

    def _read(self, part: SetConfig, items: list[Item]) -> Iterator[Found]:
        source = open_images(self._config.place(part.images), part.kind, part.split)
        places = {name: number for number, name in enumerate(source.items)}
        present = []
        for item in items:
            plain = item.name.removesuffix(MIRRORED) if part.mirrored else item.name
            if plain in places and item in self.records:
                present.append((item, places[plain], plain != item.name))
            else:
                yield item, None
        if self._pool is None:
            self._pool = self._stack.enter_context(closing(DecoderPool()))
        contents = self._pool.decode(partial(source.read, number) for _, number, _ in present)
        for (item, _, mirrored), content in zip(present, contents, strict=True):
            pixels = content.picture.pixels
            if pixels is not None and content.sha256 != self.records[item]["sha256"]:
                pixels = None
            yield item, pixels[:, ::-1] if mirrored and pixels is not None else pixels

    def _drawn(self, part: SyntheticConfig, variant: str, items: list[Item]) -> Iterator[Found]:
        base = self._config.base
        found = [one for one in part.series() if one.name == variant or not variant]
        if not found:
            raise NoPicturesError("the scan describes no such set")
        network = found[0].network
        if generator_kind(network, base) not in OWN_KINDS and not self._run_code:
            raise NoPicturesError("drawing them again runs the generator's own code, which was not asked for")
        networks = Networks(base, device=part.device or None, noise=part.noise or None)
        results = next(one for one in self._run.sets if one.name == variant)
        if (
            networks.describe(network)["sha256"]
            != results.summary["sets"]["synthetic"]["generator"]["sha256"]
        ):
            raise NoPicturesError("the generator is no longer the one that the scan drew from")
        seeds = [int(item.name.removeprefix("seed")) for item in items]
        drawn = networks.get(network).sample(seeds, psi=found[0].psi, label=found[0].label)
        yield from zip(items, drawn, strict=True)


def _face(pixels: NDArray[np.uint8], record: dict[str, Any]) -> Image.Image:
    """Return the square around the face's box that lies in the picture; without a box, the middle of the picture."""
    from PIL import Image

    height, width = pixels.shape[:2]
    box = [record.get(name) for name in ("left", "top", "right", "bottom")]
    if None in box:
        side, x, y = min(height, width), width / 2, height / 2
    else:
        left, top, right, bottom = (float(value) for value in box)  # type: ignore[arg-type]
        side = min(height, width, max(8, round(MARGIN * max(right - left, bottom - top))))
        x, y = (left + right) / 2, (top + bottom) / 2
    left = min(max(0, round(x - side / 2)), width - side)
    top = min(max(0, round(y - side / 2)), height - side)
    return Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))


def _thumbnail(face: Image.Image, faces: str) -> Thumbnail:
    from PIL import Image

    file = io.BytesIO()
    if faces == "blur":
        small = face.resize((BLURRED_SIDE, BLURRED_SIDE), Image.Resampling.BOX)
        step = 256 // BLURRED_LEVELS
        levels = np.asarray(small) // step * step + step // 2
        Image.fromarray(levels.astype(np.uint8)).save(file, "PNG", optimize=True)
        return Thumbnail(_url("image/png", file.getvalue()), BLURRED_SIDE)
    face.resize((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS).save(file, "JPEG", quality=SHOWN_QUALITY)
    return Thumbnail(_url("image/jpeg", file.getvalue()), SHOWN_SIDE)


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
