"""Hold every library to AVX2, as on a machine without AVX-512."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

__all__ = ["ENVIRONMENT", "hold_to_avx2"]

# Read by the libraries when they are loaded: set these before the process starts.
ENVIRONMENT = {
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "FAISS_SIMD_LEVEL": "AVX2",
    "FAISS_OPT_LEVEL": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
}
# What SimSIMD and NumKong call the instruction sets beyond AVX2.
BEYOND = ("skylake", "ice", "icelake", "genoa", "sapphire", "turin", "sapphireamx", "graniteamx", "diamond")


def _disable(library: Any) -> None:
    for name, present in library.get_capabilities().items():
        if present and name in BEYOND:
            library.disable_capability(name)


def hold_to_avx2() -> None:
    """Switch idsim, SimSIMD and NumKong to AVX2; the others follow :data:`ENVIRONMENT`."""
    importlib.import_module("idsim._core").set_isa("avx2")
    for name in ("simsimd", "numkong"):
        if importlib.util.find_spec(name) is not None:
            _disable(importlib.import_module(name))
