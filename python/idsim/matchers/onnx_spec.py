"""Specifications inside ONNX files: TOML text among the metadata, under the key ``idsim.spec``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.errors import MatcherError
from idsim.matchers.onnx_file import parse_onnx, read_plain
from idsim.matchers.spec import MAX_BYTES, parse_spec, read_spec

if TYPE_CHECKING:
    import os

    from idsim.matchers.spec import MatcherSpec

__all__ = ["KEY", "spec_inside", "text_inside", "write_spec_into"]

KEY = "idsim.spec"


def text_inside(path: str | os.PathLike[str]) -> str | None:
    """Return the text of the specification that an ONNX file carries; None: it carries none.

    Raises
    ------
    MatcherError
        The file cannot be read or is no ONNX model, or the text is too long or there twice.
    ModuleNotFoundError
        onnx is not installed (the extra ``onnx``).
    """
    path = Path(path)
    return _text(parse_onnx(read_plain(path), path), path)


def spec_inside(path: str | os.PathLike[str]) -> MatcherSpec | None:
    """Return the specification that an ONNX file carries, checked like a file; None: it carries none.

    Raises
    ------
    MatcherError
        As of `text_inside`; or the specification does not say what it must.
    """
    text = text_inside(path)
    return None if text is None else replace(_checked(text, Path(path)), file=Path(path).name)


def write_spec_into(
    model: str | os.PathLike[str], spec: str | os.PathLike[str], output: str | os.PathLike[str]
) -> None:
    """Write a copy of an ONNX file that carries a specification, in place of one that it may carry already.

    Parameters
    ----------
    model : path-like
        The ONNX file, which stays as it is.
    spec : path-like
        The specification's TOML file, without ``file`` and ``sha256``.
    output : path-like
        The copy; must not be there yet. Files with tensors that the model names are not copied.

    Raises
    ------
    MatcherError
        The model or the specification is refused.
    FileExistsError
        `output` is there.
    """
    model, spec = Path(model), Path(spec)
    read_spec(spec)
    text = spec.read_text(encoding="utf-8")
    _checked(text, spec)
    proto = parse_onnx(read_plain(model), model)
    others = [entry for entry in proto.metadata_props if entry.key != KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(others)
    proto.metadata_props.add(key=KEY, value=text)
    with Path(output).open("xb") as file:
        file.write(proto.SerializeToString())


def _text(proto: Any, path: Path) -> str | None:
    found = [entry.value for entry in proto.metadata_props if entry.key == KEY]
    if not found:
        return None
    if len(found) > 1:
        raise MatcherError(path, KEY, f"is there {len(found)} times among the metadata")
    if len(found[0].encode()) > MAX_BYTES:
        raise MatcherError(path, KEY, f"{len(found[0].encode())} bytes, at most {MAX_BYTES} are read")
    return str(found[0])


def _checked(text: str, path: Path) -> MatcherSpec:
    """Return a specification that stands, or may stand, inside a file."""
    spec = parse_spec(text, path)
    for key in ("file", "sha256"):
        if getattr(spec, key):
            raise MatcherError(
                path, key, "must be left out of a specification inside a model: it is of that very file"
            )
    return spec
