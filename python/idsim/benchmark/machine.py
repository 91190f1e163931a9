"""The machine: what it is, what it can do at most, and the thread count that every tool gets."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import idsim
from idsim import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Peaks", "best_seconds", "describe_machine", "measure_peaks", "pin_threads"]

PACKAGES = (
    "numpy", "torch", "faiss-cpu", "scikit-learn", "usearch", "simsimd", "numkong", "threadpoolctl",
)  # fmt: skip
GEMM_SIZE = 4096
SMALL_GEMM = 256
SLOW_PRODUCT_S = 1.0  # products that take longer are known from small matrices
READ_BYTES = 1 << 30
GEMM_ROUNDS, TILE_ROUNDS, READ_ROUNDS = 5, 10, 12
CLOCK_PAUSE_S = 0.05


def _module(name: str) -> Any:
    """Import an optional package, or return None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@contextmanager
def pin_threads(threads: int) -> Iterator[None]:
    """Give every library that is installed the same number of threads for the duration."""
    torch, faiss, control = _module("torch"), _module("faiss"), _module("threadpoolctl")
    torch_before = torch.get_num_threads() if torch else 0
    faiss_before = faiss.omp_get_max_threads() if faiss else 0
    limits = control.threadpool_limits(limits=threads) if control else None
    if torch:
        torch.set_num_threads(threads)
    if faiss:
        faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        if faiss:
            faiss.omp_set_num_threads(faiss_before)
        if torch:
            torch.set_num_threads(torch_before)
        if limits is not None:
            limits.restore_original_limits()


@dataclass(frozen=True)
class Peaks:
    """What the machine reaches with the threads of the run; 0 where nothing could measure it.

    ``float32``, ``bfloat16`` and ``int8`` are GFLOP/s (int8: GOP/s) of the fastest installed product of two
    matrices of 2048 or 4096 rows and columns, for int8 of idsim's own tiles where those are faster;
    ``read`` is GB/s of the fastest plain read of 1 GiB.
    """

    float32: float
    bfloat16: float
    int8: float
    read: float

    def arithmetic(self, kind: str) -> float:
        """Return the peak of "float32", "bfloat16" or "int8"."""
        return float(getattr(self, kind))

    def share(self, arithmetic: str, gflops: float, gbs: float) -> tuple[float, str]:
        """Return the larger share of the machine that two rates are, and of which peak it is one."""
        ceiling = self.arithmetic(arithmetic)
        computed = gflops / ceiling if ceiling else 0.0
        read = gbs / self.read if self.read else 0.0
        return (computed, f"{arithmetic} peak") if computed >= read else (read, "read bandwidth")

    def best_of(self, other: Peaks) -> Peaks:
        """Return the higher of two measurements, peak by peak: other load only lowers them."""
        return Peaks(
            max(self.float32, other.float32),
            max(self.bfloat16, other.bfloat16),
            max(self.int8, other.int8),
            max(self.read, other.read),
        )

    def to_dict(self) -> dict[str, float]:
        """Return the fields for JSON."""
        return asdict(self)


def best_seconds(ways: Sequence[Callable[[], Any]], rounds: int) -> float:
    """Return the seconds of the fastest way; the rounds of all ways take turns, so that load meets all."""
    best = float("inf")
    for turn in range(rounds + 1):
        for way in ways:
            time.sleep(CLOCK_PAUSE_S)
            start = time.perf_counter()
            way()
            if turn:  # the first round warms up
                best = min(best, time.perf_counter() - start)
    return best


def _works(way: Callable[[], Any]) -> bool:
    """Whether this build of the library has such a product."""
    try:
        way()
    except (RuntimeError, TypeError, AttributeError):
        return False
    return True


def _products(size: int) -> tuple[list[Callable[[], Any]], ...]:
    """Return the float32, bfloat16 and int8 products of two matrices of this size."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, size, size), dtype=np.float32)
    out = np.empty_like(first)
    float32: list[Callable[[], Any]] = [lambda: np.matmul(first, second, out=out)]
    bfloat16: list[Callable[[], Any]] = []
    int8: list[Callable[[], Any]] = []
    torch = _module("torch")
    if torch is not None:
        left, right, result = (torch.from_numpy(array) for array in (first, second, out))
        half = left.to(torch.bfloat16), right.to(torch.bfloat16), result.to(torch.bfloat16)
        codes = [torch.randint(-127, 128, (size, size), dtype=torch.int8) for _ in range(2)]
        float32.append(lambda: torch.mm(left, right, out=result))
        bfloat16.append(lambda: torch.mm(half[0], half[1], out=half[2]))
        int8.append(lambda: torch._int_mm(*codes))
    return float32, bfloat16, int8


def _product_rates(size: int) -> list[float]:
    """Return GFLOP/s of the fastest float32, bfloat16 and int8 product of two matrices of this size.

    A library without kernels for a type may need minutes for one product of large matrices: what small ones say is too
    slow is not repeated with large ones.
    """

    def seconds(ways: list[Callable[[], Any]]) -> float:
        able = [way for way in ways if _works(way)]
        return best_seconds(able, GEMM_ROUNDS) if able else float("inf")

    small = [seconds(ways) for ways in _products(min(size, SMALL_GEMM))]
    growth = max(1.0, (size / SMALL_GEMM) ** 3)
    rates = [2.0 * min(size, SMALL_GEMM) ** 3 / spent / 1e9 for spent in small]
    if growth > 1:
        for kind, (spent, ways) in enumerate(zip(small, _products(size), strict=True)):
            if spent * growth <= SLOW_PRODUCT_S:
                rates[kind] = max(rates[kind], 2.0 * size**3 / seconds(ways) / 1e9)
    return rates


def _tile_rate(threads: int) -> float:
    """Return GOP/s of idsim's own 8-bit tiles on rows in the cache: no search can be faster."""
    rates = []
    for _ in range(TILE_ROUNDS):
        time.sleep(CLOCK_PAUSE_S)
        rates.append(_core.tile_rate(threads))
    return max(rates) / 1e9


def _read_rate(threads: int, size: int) -> float:
    """Return GB/s: the best of several reductions that read every byte once."""
    values = np.ones(size // 4, dtype=np.float32)
    parts = np.array_split(values, threads)
    words = [part.view(np.uint32) for part in parts]
    torch = _module("torch")
    with ThreadPoolExecutor(threads) as pool:
        ways: list[Callable[[], Any]] = [
            lambda: list(pool.map(np.bitwise_or.reduce, words)),
            lambda: list(pool.map(lambda part: np.dot(part, part), parts)),
        ]
        if torch is not None:
            tensor = torch.from_numpy(values)
            ways += [tensor.sum, tensor.max]
        return values.nbytes / best_seconds(ways, READ_ROUNDS) / 1e9


def measure_peaks(threads: int, *, gemm_size: int = GEMM_SIZE, read_bytes: int = READ_BYTES) -> Peaks:
    """Measure the machine with ``threads`` threads; call it inside :func:`pin_threads`."""
    products = [_product_rates(size) for size in (gemm_size // 2, gemm_size)]
    float32, bfloat16, int8 = (max(rates) for rates in zip(*products, strict=True))
    return Peaks(float32, bfloat16, max(int8, _tile_rate(threads)), _read_rate(threads, read_bytes))


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    return next((value.strip() for name, value in fields if name.strip() == "model name"), "unknown")


def _memory_gib() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _blas_kernels() -> dict[str, str]:
    """Return version and kernels of the BLAS libraries in this process, by the package that brought them."""
    control = _module("threadpoolctl")
    found = {}
    for library in control.threadpool_info() if control else ():
        if library["user_api"] == "blas":
            owner = Path(library["filepath"]).parent.name.removesuffix(".libs")
            words = (library["internal_api"], library["version"], library.get("architecture"))
            found[owner] = " ".join(word for word in words if word)
    return dict(sorted(found.items()))


def describe_machine(threads: int) -> dict[str, Any]:
    """Return what a reader needs to judge a number: processor, memory, threads and versions."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "instruction_set": _core.active_isa(),
        "memory_gib": _memory_gib(),
        "governor": governor.read_text(encoding="utf-8").strip() if governor.exists() else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "blas": _blas_kernels(),
        "versions": {"idsim": idsim.__version__, **{package: _version(package) for package in PACKAGES}},
    }
