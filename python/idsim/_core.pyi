"""Types of the private extension module, kept by hand and checked with stubtest."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

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
    @property
    def rows(self) -> int: ...
    def slice(self, first: int, rows: int) -> FileGallery: ...

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
        list_threshold: float | None = None,
        max_pairs: int = 0,
        found_before: int = 0,
        triangle: bool = False,
    ) -> None: ...
    def finish(self, scores: NDArray[np.float32], ids: NDArray[np.int64]) -> None: ...
    def finish_pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]: ...
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

class _SearchPlan(TypedDict):
    query_chunk: int
    candidates: int
    precision: Literal["int8", "float16", "float32"]
    part_rows: int
    fetched_rows: int
    query_bytes: int
    candidate_bytes: int
    result_bytes: int
    sample_bytes: int
    part_bytes: int
    fetch_bytes: int
    pinned_bytes: int
    total: int
    least: int

class _IndexPlan(TypedDict):
    code_bytes: int
    row_bytes: int
    rows_fit: bool

def plan_search(
    queries: int,
    query_bytes: int,
    rows: int,
    row_bytes: int,
    dim: int,
    k: int,
    form: str,
    budget: int,
    precision: str = "auto",
    int8_tensor_cores: bool = True,
) -> _SearchPlan: ...
def plan_index(
    rows: int,
    dim: int,
    row_bytes: int,
    budget: int,
    precision: str = "auto",
    int8_tensor_cores: bool = True,
) -> _IndexPlan: ...
def cuda_int8_tensor_cores(device: int) -> bool: ...
def cuda_memory(device: int) -> tuple[int, int]: ...

class CudaPrepared:
    def __init__(
        self,
        rows: Any,
        metric: str,
        skip_nonfinite: bool,
        host_rows: bool,
        device: int,
        stream: int,
        precision: str,
        first_row: int = 0,
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
    @property
    def row_place(self) -> Literal["device", "mapped", "fetched"]: ...

class CudaArray:
    def __init__(self, shape: tuple[int, int], dtype: str, device: int, stream: int) -> None: ...
    @staticmethod
    def copy_of(rows: Any, device: int, stream: int, source_stream: int) -> CudaArray: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    def __getitem__(self, rows: slice) -> CudaArray: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...

class CudaReplay:
    def __init__(
        self,
        queries: Any,
        prepared: CudaPrepared,
        k: int,
        threshold: float,
        exclude_self: bool,
        scores: int,
        ids: int,
        stream: int,
    ) -> None: ...
    def launch(self, stream: int) -> None: ...
    def nonfinite_query(self, stream: int) -> int: ...

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
        self,
        prepared: CudaPrepared | Prepared,
        first_id: int,
        groups: _Groups,
        threads: int,
        progress: _Progress,
    ) -> None: ...
    def feed_range(
        self,
        prepared: Prepared,
        start: int,
        stop: int,
        first_id: int,
        groups: _Groups,
        progress: _Progress,
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

def cuda_copy_to_device(array: NDArray[Any], to: int, device: int, stream: int) -> None: ...
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
