"""Sources of pictures: folders, zips, lists and the containers of data sets, all read by number.

A source lists its pictures when it is opened and hands out their bytes; it decodes nothing. Pictures become pixels
in processes of their own (`decoding`), because what strangers put into a file must not reach this one.
"""

from __future__ import annotations

from idsim.sources.base import ImageSource
from idsim.sources.opening import KINDS, SPLITS, open_images

__all__ = ["KINDS", "SPLITS", "ImageSource", "open_images"]
