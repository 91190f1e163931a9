"""Types of the private extension module, kept by hand and checked with stubtest."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

_Groups: TypeAlias = NDArray[np.int64] | None
_Progress: TypeAlias = Callable[[int, int], bool | None] | None

class _Certificate(TypedDict):
    rows_scanned: int
    pairs: int
    candidates: int
    rescored: int
    skipped_rows: int
    scanned_again: int
    reach: NDArray[np.float32]

class _BuildInfo(TypedDict):
    version: str
    compiler: str
    debug: bool
    cuda_built: bool
    cuda_emulated: bool
    cuda_devices: int
    cuda_reason: str

class Prepared:
    def __init__(
        self,
        rows: Any,
        codes: NDArray[np.uint8],
        scale: NDArray[np.float32],
        residual: NDArray[np.float32],
        norm: NDArray[np.float64],
        metric: str,
    ) -> None: ...
    def add_nibbles(self, threads: int) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def dim(self) -> int: ...

class FileGallery:
    def __init__(self, files: Sequence[tuple[int, int, bytes]], rows: int, dim: int, dtype: str) -> None: ...

class _Scan:
    def feed(
        self,
        rows: Any,
        first_id: int,
        groups: _Groups,
        threads: int,
        skip_nonfinite: bool,
        progress: _Progress,
    ) -> None: ...
    def feed_prepared(
        self, prepared: Prepared, first_id: int, groups: _Groups, threads: int, progress: _Progress
    ) -> None: ...
    def feed_file(
        self,
        file: FileGallery,
        first_id: int,
        groups: _Groups,
        threads: int,
        skip_nonfinite: bool,
        progress: _Progress,
    ) -> None: ...

class TopKScan(_Scan):
    def __init__(
        self,
        queries: Any,
        metric: str,
        k: int,
        threshold: float,
        exclude_self: bool,
        first_query_id: int,
        query_groups: _Groups,
    ) -> None: ...
    def finish(self, scores: NDArray[np.float32], ids: NDArray[np.int64]) -> None: ...
    def certificate(self) -> _Certificate: ...

class CountScan(_Scan):
    def __init__(
        self,
        queries: Any,
        metric: str,
        thresholds: Sequence[float],
        exclude_self: bool,
        first_query_id: int,
        query_groups: _Groups,
    ) -> None: ...
    def finish(self, counts: NDArray[np.int64]) -> None: ...

class PairScan(_Scan):
    def __init__(
        self,
        queries: Any,
        metric: str,
        threshold: float,
        max_pairs: int,
        found_before: int,
        exclude_self: bool,
        triangle: bool,
        first_query_id: int,
        query_groups: _Groups,
    ) -> None: ...
    def finish(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]: ...

class DistributionScan(_Scan):
    def __init__(
        self,
        queries: Any,
        bins: int,
        tail: float,
        exclude_self: bool,
        triangle: bool,
        first_query_id: int,
        query_groups: _Groups,
    ) -> None: ...
    def add_to(self, non_mated: NDArray[np.uint64], mated: NDArray[np.uint64]) -> None: ...
    def max_error(self, worst_row: float) -> float: ...
    @property
    def worst_row(self) -> float: ...

class CudaPrepared:
    def __init__(
        self, rows: Any, metric: str, skip_nonfinite: bool, device: int, stream: int, precision: str
    ) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def device(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def skipped_rows(self) -> int: ...
    @property
    def code_bytes(self) -> int: ...
    @property
    def row_bytes(self) -> int: ...

class _CudaScan:
    def feed(
        self,
        rows: Any,
        first_id: int,
        groups: _Groups,
        threads: int,
        skip_nonfinite: bool,
        progress: _Progress,
    ) -> None: ...
    def feed_prepared(
        self, prepared: CudaPrepared, first_id: int, groups: _Groups, threads: int, progress: _Progress
    ) -> None: ...
    def feed_file(
        self,
        file: FileGallery,
        first_id: int,
        groups: _Groups,
        threads: int,
        skip_nonfinite: bool,
        progress: _Progress,
    ) -> None: ...

class CudaTopKScan(_CudaScan):
    def __init__(
        self,
        queries: Any,
        metric: str,
        k: int,
        threshold: float,
        exclude_self: bool,
        first_query_id: int,
        query_groups: _Groups,
        device: int,
        stream: int,
        budget: int,
        precision: str,
    ) -> None: ...
    def finish(self, scores: NDArray[np.float32], ids: NDArray[np.int64]) -> None: ...
    def finish_on_device(self, scores: int, ids: int) -> None: ...
    def certificate(self) -> _Certificate: ...
    @staticmethod
    def bytes_per_query(dim: int, k: int) -> int: ...

class CudaCountScan(_CudaScan):
    def __init__(
        self,
        queries: Any,
        metric: str,
        thresholds: Sequence[float],
        exclude_self: bool,
        first_query_id: int,
        query_groups: _Groups,
        device: int,
        stream: int,
        budget: int,
        precision: str,
    ) -> None: ...
    def finish(self, counts: NDArray[np.int64]) -> None: ...

class CudaPairScan(_CudaScan):
    def __init__(
        self,
        queries: Any,
        metric: str,
        threshold: float,
        max_pairs: int,
        found_before: int,
        exclude_self: bool,
        triangle: bool,
        first_query_id: int,
        query_groups: _Groups,
        device: int,
        stream: int,
        budget: int,
        precision: str,
    ) -> None: ...
    def finish(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]: ...

class CudaDistributionScan(_CudaScan):
    def __init__(
        self,
        queries: Any,
        bins: int,
        tail: float,
        exclude_self: bool,
        triangle: bool,
        first_query_id: int,
        query_groups: _Groups,
        device: int,
        stream: int,
        budget: int,
        precision: str,
    ) -> None: ...
    def add_to(self, non_mated: NDArray[np.uint64], mated: NDArray[np.uint64]) -> None: ...
    def max_error(self, worst_row: float) -> float: ...
    @property
    def worst_row(self) -> float: ...

def cuda_normalize(rows: Any, out: NDArray[np.float32], device: int, stream: int) -> None: ...
def cuda_normalize_on_device(rows: Any, out: int, device: int, stream: int) -> None: ...
def active_isa() -> str: ...
def available_isas() -> list[str]: ...
def build_info() -> _BuildInfo: ...
def default_threads() -> int: ...
def normalize(rows: Any, out: NDArray[np.float32], threads: int) -> None: ...
def padded_dim(dim: int) -> int: ...
def prepare(
    rows: Any,
    codes: NDArray[np.uint8],
    scale: NDArray[np.float32],
    residual: NDArray[np.float32],
    norm: NDArray[np.float64],
    threads: int,
    skip_nonfinite: bool,
    progress: _Progress,
) -> int: ...
def set_isa(name: str) -> None: ...
def tile_rate(threads: int) -> float: ...
