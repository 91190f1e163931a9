"""Manifests changed so that their own checksum still agrees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idsim.gallery.format import MANIFEST
from idsim.strict_json import canonical_json


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object], name: str = MANIFEST) -> None:
    """Change a manifest and seal it again."""
    content = json.loads((folder / name).read_text())
    content.pop("sha256")
    change(content)
    content["sha256"] = hashlib.sha256(canonical_json(content)).hexdigest()
    (folder / name).write_text(json.dumps(content))
