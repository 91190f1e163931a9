"""Pictures from folders of strangers: listed without following anything, decoded without trusting anything.

Only regular files are opened, with the kernel told not to follow a link that appears meanwhile. The content, not
the name, decides what a file is. Whatever is wrong with one picture is a reason, never an exception.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FORMATS", "Listed", "Listing", "Picture", "decode", "list_images", "read_bytes", "shown"]

FORMATS = ("JPEG", "PNG", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_PIXELS = 40_000_000  # from the header, before anything is decoded; a 177 Mpx PNG may have 172 KB
MAX_FILE_BYTES = 256 << 20
MAX_DEPTH = 16
TOO_MUCH_MEMORY = "decoding it takes more memory than a picture should"


class Listed(NamedTuple):
    """A picture file: its name below the root as shown and as opened."""

    item: str
    path: Path


class Listing(NamedTuple):
    """What is in a folder: pictures, and what was left out with the reason; both in order of their names."""

    images: list[Listed]
    skipped: list[tuple[str, str]]


class Picture(NamedTuple):
    """A decoded picture (uint8 ``[height, width, 3]`` RGB), or the reason why there is none."""

    pixels: NDArray[np.uint8] | None
    reason: str


def shown(path: Path) -> str:
    """Return a path as text that any file can hold: other bytes than UTF-8 come as hexadecimal escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def list_images(root: Path) -> Listing:
    """List the pictures below a folder.

    Links, FIFOs, sockets and devices are skipped and listed, as are folders deeper than 16 levels and files
    with a suffix that is none of a picture; files and folders whose name starts with a dot are ignored.

    Raises
    ------
    OSError
        `root` is no folder, or cannot be read.
    """
    images: list[Listed] = []
    skipped: list[tuple[str, str]] = []
    _walk(root, root, 0, images, skipped)
    return Listing(sorted(images), sorted(skipped))


def _walk(folder: Path, root: Path, depth: int, images: list[Listed], skipped: list[tuple[str, str]]) -> None:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        item = shown(path.relative_to(root))
        if entry.is_symlink():
            skipped.append((item, "it is a symbolic link"))
        elif entry.is_dir(follow_symlinks=False):
            if depth >= MAX_DEPTH:
                skipped.append((item, f"it is a folder deeper than {MAX_DEPTH} levels"))
            else:
                _walk(path, root, depth + 1, images, skipped)
        elif not entry.is_file(follow_symlinks=False):
            skipped.append((item, "it is no regular file"))
        elif path.suffix.lower() not in SUFFIXES:
            skipped.append((item, "its name has no suffix of a picture"))
        else:
            images.append(Listed(item, path))


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises
    ------
    OSError
        It is a link or no regular file, is larger than 256 MiB, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if status.st_size > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {MAX_FILE_BYTES} bytes", str(path))
        return file.read()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, *, writable: bool = True) -> Picture:
    """Decode a picture: JPEG, PNG or WebP, the first frame, turned upright by its EXIF tag, as RGB.

    Transparency is dropped, as ``face_recognition`` does. Needs Pillow (the extra ``audit``).

    Parameters
    ----------
    data : bytes
        The content of the file.
    writable : bool
        Whether the pixels may be written to; where not, a copy is saved.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    return Picture(None, f"it has {width} x {height} pixels, more than {MAX_PIXELS} in all")
                ImageOps.exif_transpose(picture, in_place=True)  # otherwise an upright one is copied
                pixels = _rgb(picture)
    except Exception as error:  # noqa: BLE001 - decoders raise whatever a damaged file makes them raise
        return Picture(None, _reason(error))
    return Picture(pixels.copy() if writable and not pixels.flags.writeable else pixels, "")


def _rgb(picture: Any) -> NDArray[np.uint8]:
    """Return the pixels of an opened picture; of 16-bit grey the upper bytes, where Pillow would cut at 255."""
    if picture.mode.startswith("I"):
        grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    pixels: NDArray[np.uint8] = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    return pixels


def _reason(error: Exception) -> str:
    """Return the same words for the same file: without the address of an object in memory."""
    if isinstance(error, MemoryError):
        return TOO_MUCH_MEMORY
    if type(error).__name__ == "UnidentifiedImageError":
        return "it is no JPEG, PNG or WebP picture"
    text = re.sub(r" ?<[^<>]* at 0x[0-9a-f]+>", "", str(error))
    return f"it cannot be decoded ({type(error).__name__}: {text})"
