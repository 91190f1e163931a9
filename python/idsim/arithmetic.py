"""PyTorch's switches for arithmetic, set for the time of a computation and put back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["full_float32"]


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 in float32, and the same way every time, whatever the user has switched on.

    PyTorch's own default takes TensorFloat-32, with 10 bits of mantissa, for convolutions on a GPU;
    ``torch.set_float32_matmul_precision("medium")`` takes bfloat16 for products on a CPU.
    """
    import torch

    backends = torch.backends
    operations = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
    before = [operation.fp32_precision for operation in operations]
    switches = backends.cudnn.benchmark, backends.cudnn.deterministic
    try:
        for operation in operations:
            operation.fp32_precision = "ieee"
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, True
        yield
    finally:
        for operation, precision in zip(operations, before, strict=True):
            operation.fp32_precision = precision
        backends.cudnn.benchmark, backends.cudnn.deterministic = switches
