"""ONNX Runtime, told to report nothing.

Its official builds (seen with 1.32 on Linux) report to Microsoft how they are used, from the moment on that they are
loaded: they keep a database in the user's cache folder. Setting ``ORT_DISABLE_TELEMETRY`` before that turns it off.
"""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["import_onnxruntime"]

SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """Return the module onnxruntime; a value that the user gave the switch stays.

    Raises
    ------
    ModuleNotFoundError
        It is not installed (the extra ``onnx``).
    """
    loaded_before = "onnxruntime" in sys.modules
    user_decides = SWITCH in os.environ
    os.environ.setdefault(SWITCH, "1")
    import onnxruntime

    if loaded_before and not user_decides:
        onnxruntime.disable_telemetry_events()
    return onnxruntime
