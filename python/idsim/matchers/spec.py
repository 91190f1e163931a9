"""The specification of a matcher: what is done to a crop before its network and to a vector after it.

A specification is a TOML file. Nothing in it is guessed: what decides the pixels that a network sees (size, colour
order, pixel map, alignment) has no default, and every key that is not known is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.errors import MatcherError
from idsim.files import InputFile
from idsim.matchers.base import METRICS
from idsim.matchers.spec_fields import SpecTable
from idsim.strict_json import canonical_json

if TYPE_CHECKING:
    import os

__all__ = [
    "ALIGN_MODES",
    "COLORS",
    "FLIPS",
    "KINDS",
    "LAYOUTS",
    "TEMPLATES",
    "AlignSpec",
    "InputSpec",
    "MatcherSpec",
    "OutputSpec",
    "ScoreSpec",
    "parse_spec",
    "read_spec",
    "spec_from_table",
]

KINDS = ("onnx", "torch", "dlib", "callable")
LAYOUTS = ("NCHW", "NHWC")
COLORS = ("RGB", "BGR")
ALIGN_MODES = ("similarity5", "box_margin", "dlib_chip", "ffhq_fixed", "none")
FLIPS = ("none", "sum", "concat")
# Template of five points -> height and width of the crop that its coordinates are for.
TEMPLATES = {"arcface112": (112, 112), "sphereface112x96": (112, 96)}

MAX_BYTES = 1 << 16
MAX_SIDE = 4096
MAX_DIM = 1 << 16


@dataclass(frozen=True)
class InputSpec:
    """What the network is fed.

    Attributes
    ----------
    size : tuple of int
        Height and width of a crop in pixels.
    color : {"RGB", "BGR"}
        Order of the channels that the network is fed.
    layout : {"NCHW", "NHWC"}
        Order of the axes that the network is fed.
    mean, std : tuple of float
        The pixel map (x - mean) / std of x from 0 to 255: one number, or three in the order of `color`.
    embedded : bool
        The pixel map is inside the network, which is fed 0 to 255.
    prewhiten : bool
        Instead of `mean` and `std`: each crop less its own mean, divided by the larger of its own standard
        deviation and 1 / sqrt(3 * height * width).
    name : str
        Name of the network's input; empty: the only one.
    extra : tuple of str
        Names of further inputs, which this package cannot feed: such a matcher is described, not run.
    """

    size: tuple[int, int]
    color: str
    layout: str = "NCHW"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    embedded: bool = False
    prewhiten: bool = False
    name: str = ""
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlignSpec:
    """How a crop is cut out of a picture.

    Attributes
    ----------
    mode : str
        ``similarity5``: five points are brought onto a template; ``box_margin``: the detector's box with a
        margin; ``dlib_chip``: dlib's chip with padding 0.25; ``ffhq_fixed``: a fixed square of pictures that
        are aligned as FFHQ is; ``none``: the pictures are crops.
    template : str
        Of ``similarity5``, a key of `TEMPLATES`; empty otherwise.
    margin : int
        Of ``box_margin``: pixels of the finished crop that lie outside the box, both sides together.
    antialias : bool
        Shrink with a filter. The pipelines that the networks were trained with mostly do not.
    """

    mode: str
    template: str = ""
    margin: int = 0
    antialias: bool = False


@dataclass(frozen=True)
class OutputSpec:
    """What the network gives and what is made of it.

    Attributes
    ----------
    dim : int
        Elements of the network's vector for one crop.
    name : str
        Name of the network's output; empty: the one at `index`.
    index : int
        Position of the output among the network's outputs, where `name` is empty.
    norm_output : str or int
        Name or position of an output with the length that the vector had: the vector is multiplied by it. Empty:
        there is none.
    normalise : bool
        Divide the finished vector by its Euclidean length.
    center : str
        A ``.npy`` file beside the specification with a vector that is subtracted before `normalise`, or empty.
    keep_norm : bool
        The length before `normalise` means something (quality) and is kept.
    """

    dim: int
    name: str = ""
    index: int = 0
    norm_output: str | int = ""
    normalise: bool = True
    center: str = ""
    keep_norm: bool = False


@dataclass(frozen=True)
class ScoreSpec:
    """How two embeddings are compared.

    Attributes
    ----------
    metric : {"cosine", "l2"}
        Cosine similarity, or Euclidean distance.
    default_threshold : float or None
        A threshold that is in use elsewhere: for checks, never for a verdict.
    """

    metric: str
    default_threshold: float | None = None

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score means a better match."""
        return self.metric == "cosine"


@dataclass(frozen=True)
class MatcherSpec:
    """The specification of a matcher.

    Attributes
    ----------
    name : str
        Lower-case name: letters, digits, ``.``, ``_`` and ``-``.
    kind : str
        What runs it, one of `KINDS`. A model file of another type, given when the matcher is opened, decides.
    licence : str
        Licence of the weights.
    input : InputSpec
    align : AlignSpec
    output : OutputSpec
    score : ScoreSpec
    flip : {"none", "sum", "concat"}
        What is made of the vectors of a crop and of its mirror image, before anything else is done to them.
    version : int
        Version of the specification.
    file : str
        The model file, beside the specification or absolute; may be given when the matcher is opened.
    sha256 : str
        SHA-256 of the model file in hexadecimal; empty: any file.
    external_data : bool
        The model may keep tensors in plain files beside it.
    architecture : str
        Of weights without a graph: the name of the network they are for.
    title, source : str
        What it is, and where these facts are from.
    notes : tuple of str
        What to know before results are trusted.
    """

    name: str
    kind: str
    licence: str
    input: InputSpec
    align: AlignSpec
    output: OutputSpec
    score: ScoreSpec
    flip: str = "none"
    version: int = 1
    file: str = ""
    sha256: str = ""
    external_data: bool = False
    architecture: str = ""
    title: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()
    # The file it was read from; relative paths start from its folder.
    path: str = field(default="", compare=False)

    @property
    def dim(self) -> int:
        """Elements of a finished embedding, twice the network's where flips are concatenated."""
        return self.output.dim * (2 if self.flip == "concat" else 1)

    def describe(self) -> dict[str, Any]:
        """Return everything here that embeddings depend on, and the licence, as plain JSON values."""
        kept = ("name", "version", "kind", "licence", "architecture", "flip")
        return {key: getattr(self, key) for key in kept} | {
            "input": _plain(self.input),
            "align": _plain(self.align),
            "output": _plain(self.output),
            "score": _plain(self.score),
            "metric": self.score.metric,
            "dim": self.dim,
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `describe` in canonical JSON."""
        return hashlib.sha256(canonical_json(self.describe())).hexdigest()

    def beside(self, file: str) -> Path:
        """Return the path of a file that the specification names."""
        return Path(self.path).parent / Path(file).expanduser() if self.path else Path(file).expanduser()


def read_spec(path: str | os.PathLike[str]) -> MatcherSpec:
    """Read a specification.

    Raises
    ------
    MatcherError
        The file cannot be read, is no TOML, or does not say what it must; names the key and what is allowed.
    """
    with InputFile(path, MatcherError) as file:
        if file.size > MAX_BYTES:
            raise MatcherError(path, "size", f"{file.size} bytes, at most {MAX_BYTES} are read")
        data = bytes(file.read(0, file.size))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MatcherError(path, f"byte {error.start}", "the text is not UTF-8") from error
    return parse_spec(text, path)


def parse_spec(text: str, path: str | os.PathLike[str]) -> MatcherSpec:
    """Return the specification that a TOML text holds; `path` is for messages and relative files."""
    try:
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise MatcherError(path, "text", f"not the TOML that is expected: {error}") from error
    return spec_from_table(value, path)


def spec_from_table(value: dict[str, Any], path: str | os.PathLike[str]) -> MatcherSpec:
    """Return the specification that a table, as TOML gives it, holds; `path` is for messages and relative files."""
    table = SpecTable(value, path, "specification", MatcherError)
    name = table.pattern("name", r"[a-z0-9][a-z0-9._-]{0,63}", "lower-case letters, digits, '.', '_' and '-'")
    kind = table.choice("kind", KINDS)
    input_, align = _input(table.section("input")), _align(table.section("align"))
    output, score = _output(table.section("output")), _score(table.section("score"))
    tta = table.section("tta", required=False)
    flip = tta.choice("flip", FLIPS, "none")
    tta.finish()
    spec = MatcherSpec(
        name=name,
        kind=kind,
        licence=table.filled("licence"),
        input=input_,
        align=align,
        output=output,
        score=score,
        flip=flip,
        version=table.whole("version", 1, 2**31 - 1, 1),
        file=table.word("file"),
        sha256=table.pattern("sha256", r"[0-9a-f]{64}|", "64 hexadecimal digits, lower case, or nothing", ""),
        external_data=table.flag("external_data"),
        architecture=table.word("architecture"),
        title=table.word("title"),
        source=table.word("source"),
        notes=table.words("notes"),
        path=str(path),
    )
    table.finish()
    _check(spec, table)
    return spec


def _input(table: SpecTable) -> InputSpec:
    size = table.wholes("size", 2, 1, MAX_SIDE, "height and width in pixels")
    color = table.choice("color", COLORS)
    embedded, prewhiten = table.flag("embedded"), table.flag("prewhiten")
    mapped = table.has("mean") or table.has("std")
    if embedded + prewhiten + mapped != 1:
        table.refuse("mean", "exactly one of mean with std, embedded = true, and prewhiten = true is needed")
    mean = table.numbers("mean", (1, 3)) if mapped else (0.0,)
    std = table.numbers("std", (1, 3)) if mapped else (1.0,)
    if not all(value > 0 for value in std):
        table.refuse("std", f"must be above 0, not {list(std)}")
    result = InputSpec(
        size=(size[0], size[1]),
        color=color,
        layout=table.choice("layout", LAYOUTS, "NCHW"),
        mean=mean,
        std=std,
        embedded=embedded,
        prewhiten=prewhiten,
        name=table.word("name"),
        extra=table.words("extra"),
    )
    table.finish()
    return result


def _align(table: SpecTable) -> AlignSpec:
    mode = table.choice("mode", ALIGN_MODES)
    for key, wanted in (("template", "similarity5"), ("margin", "box_margin")):
        if table.has(key) and mode != wanted:
            table.refuse(key, f"belongs to the mode {wanted}, and the mode is {mode}")
    result = AlignSpec(
        mode=mode,
        template=table.choice("template", tuple(TEMPLATES)) if mode == "similarity5" else "",
        margin=table.whole("margin", 0, MAX_SIDE) if mode == "box_margin" else 0,
        antialias=table.flag("antialias"),
    )
    table.finish()
    return result


def _output(table: SpecTable) -> OutputSpec:
    result = OutputSpec(
        dim=table.whole("dim", 1, MAX_DIM),
        name=table.word("name"),
        index=table.whole("index", 0, 63, 0),
        norm_output=table.word_or_whole("norm_output", 63),
        normalise=table.flag("normalise", required=True),
        center=table.word("center"),
        keep_norm=table.flag("keep_norm"),
    )
    table.finish()
    return result


def _score(table: SpecTable) -> ScoreSpec:
    metric = table.choice("metric", METRICS)
    threshold = table.numbers("default_threshold", (1,))[0] if table.has("default_threshold") else None
    table.finish()
    return ScoreSpec(metric, threshold)


def _check(spec: MatcherSpec, table: SpecTable) -> None:
    """Refuse what is right by itself and wrong together."""
    size, align = spec.input.size, spec.align
    if align.template:
        wanted = TEMPLATES[align.template]
        if size[0] * wanted[1] != size[1] * wanted[0]:
            table.refuse(
                "align.template",
                f"{align.template} is for crops of {wanted[0]} x {wanted[1]} or in that proportion, and "
                f"input.size is {size[0]} x {size[1]} (height x width)",
            )
    if align.mode == "box_margin" and align.margin >= min(size):
        table.refuse("align.margin", f"must be below the size of the crop {list(size)}, not {align.margin}")
    threshold = spec.score.default_threshold
    if threshold is not None and not (
        -1 <= threshold <= 1 if spec.score.metric == "cosine" else 0 <= threshold < math.inf
    ):
        allowed = "from -1 to 1 for cosine" if spec.score.metric == "cosine" else "at least 0 for l2"
        table.refuse("score.default_threshold", f"must be {allowed}, not {threshold}")


def _plain(value: Any) -> dict[str, Any]:
    return {
        key: list(item) if isinstance(item, tuple) else item
        for key, item in dataclasses.asdict(value).items()
    }
