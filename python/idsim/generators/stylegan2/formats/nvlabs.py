"""Pickles of NVlabs' stylegan2-ada-pytorch and stylegan3: modules that are persisted with their source."""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, Any

from idsim.generators.stylegan2.formats.base import Findings, LazyTensor, Reader
from idsim.inert.records import Persistent

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KNOWN_SOURCES", "read_persistent"]

# SHA-256 of the text of the modules as it stands in the repositories.
KNOWN_SOURCES = {
    "53b4e1ec457171d4e2c1454d48013765ab626141c35cdd383b020950effe11a5": "stylegan2-ada-pytorch",
    "b6f14e8fa2a95de4d38218fef31380c6a70de770f585107e209ff83075c307ef": "stylegan3, networks_stylegan2",
    "06082fb3e8929e477f58fb8bc78e7ecb9a9209eb01444272d1d153c85a6a89f7": "stylegan3, networks_stylegan3",
}
MAX_MODULES = 1000
MAX_DEPTH = 8

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
_CONV = re.compile(r"synthesis\.b\d+\.conv[01]\Z")
_CLAMPED = re.compile(r"synthesis\.b\d+\.(conv[01]|torgb)\Z")
_DENSE = re.compile(r"mapping\.fc\d+\Z")
_AFFINE = re.compile(r"synthesis\.b\d+\.(conv[01]|torgb)\.affine\Z|mapping\.embed\Z")
_BLOCK = re.compile(r"synthesis\.b(\d+)\Z")


class _Modules:
    """The modules of a network by their dotted names.

    Attributes
    ----------
    tensors : dict of str to LazyTensor
        Parameters and buffers.
    attributes : dict of str to dict
        Plain attributes of every module.
    sources : list of str
        SHA-256 of the embedded texts.
    """

    def __init__(self, reader: Reader, root: Persistent) -> None:
        self.reader = reader
        self.tensors: dict[str, LazyTensor] = {}
        self.attributes: dict[str, dict[Any, Any]] = {}
        self.sources: list[str] = []
        self._texts: set[int] = set()
        self._walk(root, "", 0)

    def _walk(self, module: Persistent, path: str, depth: int) -> None:
        if depth > MAX_DEPTH or len(self.attributes) >= MAX_MODULES:
            self.reader.refuse(path, "modules are nested too deeply, or there are too many")
        state = module.state
        self.attributes[path] = state
        if id(module.source) not in self._texts:
            # One text object stands for all modules of a source: memoised in the file.
            self._texts.add(id(module.source))
            digest = hashlib.sha256(module.source.encode("utf-8", "surrogatepass")).hexdigest()
            self.sources += [digest] * (digest not in self.sources)
        hidden = state.get("_non_persistent_buffers_set") or set()
        for name, value in self._items(state, "_parameters", path):
            self.tensors[f"{path}{name}"] = self.reader.tensor(f"{path}{name}", value)
        for name, value in self._items(state, "_buffers", path):
            if type(hidden) is not set or name not in hidden:
                self.tensors[f"{path}{name}"] = self.reader.tensor(f"{path}{name}", value)
        for name, value in self._items(state, "_modules", path):
            if type(value) is not Persistent:
                self.reader.refuse(f"{path}{name}", "it is not a module of NVlabs' persistence")
            self._walk(value, f"{path}{name}.", depth + 1)

    def _items(self, state: dict[Any, Any], key: str, path: str) -> Iterator[tuple[str, object]]:
        items = state.get(key)
        if not isinstance(items, dict):
            self.reader.refuse(f"{path}{key}", "it is missing")
        for name, value in items.items():
            if type(name) is not str or not _NAME.match(name):
                self.reader.refuse(f"{path}{key}", "it holds something without a proper name")
            if value is not None:
                self.reader.check_count(path, len(self.tensors))
                yield name, value

    def values(self, pattern: re.Pattern[str], key: str) -> Iterator[tuple[str, Any]]:
        """Yield module and value for the modules of a pattern that have an attribute."""
        for path, state in self.attributes.items():
            if pattern.match(path[:-1]) and key in state:
                yield path[:-1], state[key]

    def common(self, pattern: re.Pattern[str], key: str, default: object) -> Any:
        """Return an attribute that all modules of a pattern share."""
        found = [default]
        for number, (path, value) in enumerate(self.values(pattern, key)):
            if type(value) not in (int, float, str, type(None)):
                self.reader.refuse(f"{path}.{key}", "it is not a plain value")
            if number and value != found[-1]:
                self.reader.refuse(
                    f"{path}.{key}", f"{value!r:.80}, where other layers have {found[-1]!r:.80}"
                )
            found.append(value)
        return found[-1]


def read_persistent(reader: Reader, content: dict[Any, Any], network: str) -> Findings:
    """Find a generator in the value of a pickle."""
    root = content.get(network)
    if type(root) is not Persistent:
        held = sorted(str(key)[:40] for key, value in content.items() if type(value) is Persistent)
        reader.refuse(network, f"the file holds no such network; it holds {held}")
    modules = _Modules(reader, root)
    kwargs = modules.attributes[""].get("_init_kwargs")
    # The stylegan3 repository passes the options of the synthesis network flat.
    flat = isinstance(kwargs, dict) and "synthesis_kwargs" not in kwargs and "channel_base" in kwargs
    layout = "stylegan3 repository, StyleGAN2 configuration" if flat else "stylegan2-ada-pytorch"
    found = Findings(layout, network, modules.tensors, sources=modules.sources)
    if "synthesis.b4.const" not in modules.tensors:
        return found  # refused by its structure, with a name where it has one
    found.conv_clamp = reader.clamp("synthesis conv_clamp", modules.common(_CLAMPED, "conv_clamp", None))
    found.lr_multiplier = reader.number("mapping bias_gain", modules.common(_DENSE, "bias_gain", 0.01))
    found.activation = _activation(reader, modules)
    found.fp16_resolutions = _half_blocks(reader, modules)
    found.kimg = reader.kimg(content)
    _check_gains(reader, modules)
    known = [KNOWN_SOURCES.get(digest) for digest in found.sources]
    if None in known:
        found.warnings.append("the embedded source is not a known one: the original may compute otherwise")
    return found


def _activation(reader: Reader, modules: _Modules) -> str:
    dense = modules.common(_DENSE, "activation", "lrelu")
    conv = modules.common(_CONV, "activation", "lrelu")
    if type(conv) is not str or conv != dense:
        reader.refuse("activation", f"{conv!r:.80} in the synthesis and {dense!r:.80} in the mapping network")
    if (linear := modules.common(_AFFINE, "activation", "linear")) != "linear":
        reader.refuse("affine.activation", f"{linear!r:.80}, where 'linear' is known")
    return conv


def _half_blocks(reader: Reader, modules: _Modules) -> tuple[int, ...]:
    blocks = []
    for path, value in modules.values(_BLOCK, "use_fp16"):
        if type(value) is not bool:
            reader.refuse(f"{path}.use_fp16", "it is not true or false")
        if value:
            blocks.append(int(path.removeprefix("synthesis.b")[:6]))
    return tuple(sorted(blocks))


def _check_gains(reader: Reader, modules: _Modules) -> None:
    """Refuse a layer whose gain is not the one that follows from its shape: its maths differs."""
    for pattern in (_DENSE, _AFFINE, _CLAMPED):
        for path, value in modules.values(pattern, "weight_gain"):
            shape = modules.tensors[f"{path}.weight"].shape if f"{path}.weight" in modules.tensors else ()
            fan_in = math.prod(shape[1:])
            if not fan_in:
                reader.refuse(f"{path}.weight", "it is missing or empty")
            scale = modules.attributes[path + "."].get("bias_gain", 1) if pattern is not _CLAMPED else 1
            expected = reader.number(f"{path}.bias_gain", scale) / math.sqrt(fan_in)
            gain = reader.number(f"{path}.weight_gain", value)
            if not math.isclose(gain, expected, rel_tol=1e-5):
                reader.refuse(f"{path}.weight_gain", f"{gain}, where {expected} follows from the shape")
    for path, value in modules.values(_AFFINE, "bias_gain"):
        if value != 1:
            reader.refuse(f"{path}.bias_gain", "it is not 1")
    for path, value in modules.values(_CONV, "up"):
        if type(value) is not int or value != (2 if path.endswith("conv0") else 1):
            reader.refuse(f"{path}.up", "conv0 doubles the resolution, conv1 keeps it")
