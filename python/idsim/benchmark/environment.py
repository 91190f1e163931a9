"""The environment variables that decide which kernels other libraries use.

A variable that holds a rival to an older instruction set flatters us, and so does a rival that does not know
the processor: FAISS 1.15.1 brings OpenBLAS 0.3.15, which takes kernels for AMD Barcelona (SSE) on Zen 5 and
is then 4 times slower than with the AVX-512 kernels that it also has. The libraries read these variables
when they are loaded, so a benchmark that finds others starts again with the right ones.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from idsim import _core
from idsim.benchmark import avx2
from idsim.errors import IdsimError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["corrected", "start_again_if_held", "wanted"]

# Whatever else may hold a library back, beyond what a run that is held to AVX2 sets itself.
HELD = (*avx2.ENVIRONMENT, "OPENBLAS_L2_SIZE", "DNNL_MAX_CPU_ISA")
STARTED_AGAIN = "IDSIM_BENCHMARK_STARTED_AGAIN"


def wanted(*, only_avx2: bool = False) -> dict[str, str]:
    """Return the variables that a benchmark sets: OpenBLAS's best kernels for this machine, or AVX2."""
    if only_avx2:
        return dict(avx2.ENVIRONMENT)
    available = _core.available_isas()
    if "avx512" in available:
        return {"OPENBLAS_CORETYPE": "SkylakeX"}
    return {"OPENBLAS_CORETYPE": "Haswell"} if "avx2" in available else {}


def corrected(environment: Mapping[str, str], right: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the variables of ``right`` and none else that holds a library back."""
    return {**{name: value for name, value in environment.items() if name not in HELD}, **right}


def start_again_if_held(*, only_avx2: bool = False) -> None:
    """Replace this process by the same command with the right environment; return if it has it already.

    Says so in one line on standard error. Call it before anything is measured or written.

    Raises
    ------
    IdsimError
        The process has been started again and still finds other values: something sets them at start.
    """
    again = os.environ.pop(STARTED_AGAIN, None)
    before = dict(os.environ)
    after = corrected(before, wanted(only_avx2=only_avx2))
    if after == before:
        return
    names = [name for name in HELD if before.get(name) != after.get(name)]
    changes = ", ".join(f"{name}={after[name]}" if name in after else f"no {name}" for name in names)
    if again:
        raise IdsimError(f"a benchmark needs {changes}, but something sets that otherwise when Python starts")
    sys.stdout.flush()
    sys.stderr.write(f"starting again with {changes}: this decides which kernels other libraries use\n")
    sys.stderr.flush()
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, {**after, STARTED_AGAIN: "1"})  # noqa: S606
