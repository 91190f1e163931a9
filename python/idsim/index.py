"""A gallery prepared once and searched many times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from idsim import _core
from idsim.arrays import as_matrix, cuda_device
from idsim.captured import CapturedSearch
from idsim.devices import device_name
from idsim.engines import CudaEngine, RowPlace
from idsim.memory import sent_row_bytes
from idsim.options import checked_precision, resolve_threads, skips
from idsim.placement import chosen_device, engine_at
from idsim.split import SplitEngine, SplitPrepared
from idsim.topk import search

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from idsim.devices import Place
    from idsim.feeding import ScanFeed
    from idsim.options import Exclude, Metric, Nonfinite, Precision, Progress
    from idsim.results import TopK

__all__ = ["Index"]


class Index:
    """A gallery with its codes: of 8 bits, on a CUDA device also of 16.

    The rows themselves are kept where they are (not copied) and read for the few candidates that the codes
    cannot decide; they must not change.

    Parameters
    ----------
    gallery : array
        [n, d] float32, float16, bfloat16 or float64 on the CPU.
    metric : {"cosine", "dot", "l2"}
        Of the searches.
    nonfinite : {"raise", "skip"}
        A row with NaN or Inf raises, or is never returned.
    four_bit : bool
        Also keep 4-bit codes (d / 2 + 8 bytes a row) where the instruction set in use has kernels for them (vnni,
        amx): searches of one or two queries then read half the bytes. Results are the same.
    threads : int, optional
        For the preparation. Default: one per core.
    progress : callable, optional
        As in `idsim.search`; not called for a CUDA device.
    device : None, "cpu", "cuda", "cuda:N", "cuda:N,M" or "cuda:all", optional
        Where the index is kept and searched, a range of the rows on each of several devices; rows that lie elsewhere
        are copied there. Default: where they lie.
    stream : object, optional
        Of the preparation; see `idsim.search`.
    rows : {"auto", "device", "host"}
        Where an index on a device keeps the rows that lie on the host: copied to the device, or on the host, from where
        the few that the codes cannot decide are read. "auto": on the device if they fit the budget.
    memory_budget : int, optional
        Bytes of each device for codes and rows. Default: what is free, but for what a search takes.
    precision : {"auto", "int8", "float16"}, optional
        On a CUDA device: the codes to keep. 16 bits take twice the memory and pay where k is more than about 3e-4 of
        the rows. "auto": 8 bits, or 16 on a device without 8-bit tensor cores.

    Raises
    ------
    ValueError, TypeError
        As in `idsim.search`.
    MemoryError
        The codes do not fit the device, or the budget.

    Examples
    --------
    >>> import numpy as np, idsim
    >>> rows = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
    >>> index = idsim.Index(rows)
    >>> scores, ids = index.search(rows[:3], k=1)
    >>> ids.ravel()
    array([0, 1, 2])
    """

    def __init__(
        self,
        gallery: Any,
        *,
        metric: Metric = "cosine",
        nonfinite: Nonfinite = "raise",
        four_bit: bool = True,
        threads: int | None = None,
        progress: Progress | None = None,
        device: str | None = None,
        stream: Any = None,
        rows: RowPlace = "auto",
        memory_budget: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        matrix = as_matrix(gallery, "gallery")
        if rows not in {"auto", "device", "host"}:
            msg = f"rows must be 'auto', 'device' or 'host', not {rows!r}"
            raise ValueError(msg)
        place = chosen_device(device, cuda_device(matrix))
        checked_precision(precision, on_device=place is not None)
        engine = engine_at(place, stream, memory_budget, matrix, precision=precision)
        if isinstance(engine, CudaEngine | SplitEngine):
            self._set_on_device(matrix, metric, engine.prepare(matrix, metric, skips(nonfinite), rows))
            return
        if rows == "device":
            msg = "rows='device' needs a device, and the index is made on the CPU"
            raise ValueError(msg)
        n, dim = int(matrix.shape[0]), int(matrix.shape[1])
        codes = np.empty((n, _core.padded_dim(dim)), np.uint8)
        scale, residual = np.empty(n, np.float32), np.empty(n, np.float32)
        norm = np.empty(n, np.float64)
        skipped = _core.prepare(
            matrix, codes, scale, residual, norm, resolve_threads(threads), skips(nonfinite), progress
        )
        self._set(matrix, codes, scale, residual, norm, metric, skipped)
        if four_bit:
            self._add_nibbles(threads)

    def _set(
        self,
        rows: Any,
        codes: NDArray[np.uint8],
        scale: NDArray[np.float32],
        residual: NDArray[np.float32],
        norm: NDArray[np.float64],
        metric: Metric,
        skipped: int,
    ) -> None:
        self._rows = rows
        self._codes, self._scale, self._residual, self._norm = codes, scale, residual, norm
        self._metric: Metric = metric
        self._skipped = skipped
        self._nibble_bytes = 0
        self._prepared: _core.Prepared | _core.CudaPrepared | SplitPrepared = _core.Prepared(
            rows, codes, scale, residual, norm, metric
        )

    def _set_on_device(self, rows: Any, metric: Metric, prepared: _core.CudaPrepared | SplitPrepared) -> None:
        self._rows = rows
        self._metric = metric
        self._skipped = prepared.skipped_rows
        self._nibble_bytes = 0
        self._prepared = prepared

    def _add_nibbles(self, threads: int | None) -> None:
        if isinstance(self._prepared, _core.Prepared):
            self._nibble_bytes = self._prepared.add_nibbles(resolve_threads(threads))

    def __len__(self) -> int:
        return self._prepared.rows

    @property
    def dim(self) -> int:
        """Columns of the gallery."""
        return self._prepared.dim

    @property
    def pinned(self) -> bool:
        """Whether only one engine can search it, for codes on a device stay there and those of the CPU can be sent."""
        return self.device is not None

    @property
    def device(self) -> Place:
        """The number of the CUDA device that keeps the index, or those of several. None stands for the CPU."""
        return None if isinstance(self._prepared, _core.Prepared) else self._prepared.device

    def sent_to_device(self) -> tuple[str, int]:
        """Return how the rows reach a device, and the bytes of one; of `idsim.memory.form_of`."""
        form = "host_codes"
        if not isinstance(self._prepared, _core.Prepared):
            form = "host_index" if self._prepared.row_place == "fetched" else "index"
        return form, sent_row_bytes(self._rows)

    @property
    def precision(self) -> str:
        """The codes that decide most pairs, "int8" or "float16"."""
        return "int8" if isinstance(self._prepared, _core.Prepared) else self._prepared.precision

    @property
    def array(self) -> Any:
        """The rows."""
        return self._rows

    @property
    def metric(self) -> Metric:
        """The metric that the index was prepared for."""
        return self._metric

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        exclude: Exclude = None,
        threshold: float | None = None,
        out: tuple[Any, Any] | None = None,
        threads: int | None = None,
        memory_budget: int | None = None,
        progress: Progress | None = None,
        certificate: bool = False,
    ) -> TopK:
        """Find the k best rows for each query; see `idsim.search`."""
        return search(
            queries,
            self,
            k,
            exclude=exclude,
            threshold=threshold,
            out=out,
            threads=threads,
            memory_budget=memory_budget,
            progress=progress,
            certificate=certificate,
        )

    def capture(
        self,
        queries: Any,
        k: int = 10,
        *,
        exclude: Literal["self"] | None = None,
        threshold: float | None = None,
        out: tuple[Any, Any] | None = None,
        stream: Any = None,
    ) -> CapturedSearch:
        """Make a search that can be launched many times and captured into a CUDA graph.

        Parameters
        ----------
        queries : array
            [q, d] on the device of the index. Each launch searches for what its memory then holds.
        k, exclude, threshold, out
            As in `idsim.search`, but that labels cannot be excluded; results lie on the device.
        stream : object, optional
            That the queries are ready on; see `idsim.search`.

        Returns
        -------
        CapturedSearch
            All memory is allocated, for all queries at once.

        Raises
        ------
        ValueError, TypeError
            Index and queries are not on one device, or the device cannot read the rows (`info`: "fetched"), and as in
            `idsim.search`.
        CudaError
            The stream is being captured.
        """
        return CapturedSearch(self, queries, k, exclude=exclude, threshold=threshold, out=out, stream=stream)

    @property
    def prepared(self) -> _core.Prepared | _core.CudaPrepared | SplitPrepared:
        """What the engine keeps of the gallery."""
        return self._prepared

    def vectors(self, start: int = 0, stop: int | None = None) -> Any:
        """Return rows `start` to `stop` of the gallery as they were given, not copied."""
        return self._rows[start:stop]

    def resolve_metric(self, metric: Metric | None) -> Metric:
        """Return the index's metric; refuse another."""
        if metric not in {None, self._metric}:
            msg = f"the index was prepared for metric={self._metric!r}, not {metric!r}"
            raise ValueError(msg)
        return self._metric

    def feed_into(
        self, scan: ScanFeed, *, groups: NDArray[np.int64] | None, progress: Progress | None
    ) -> None:
        """Feed all rows to a scan."""
        scan.feed_prepared(self._prepared, 0, groups=groups, progress=progress)

    def info(self) -> dict[str, Any]:
        """Describe the index.

        Returns
        -------
        dict
            ``rows``, ``dim``, ``metric``, ``dtype`` of the rows, ``skipped_rows``; ``code_bytes`` (8-bit codes and
            their stats), ``nibble_bytes`` (4-bit codes) and ``row_bytes`` (on a device: of the copy there, 0 where
            the rows lay there before); ``row_place``: where rows are read, "host", "device", "mapped" (by the device,
            on the host) or "fetched" (by the host, for the device); ``tiers``: what is read to decide a pair, in order;
            ``instruction_set``, or the device; ``mean_residual``: average share of a row that its codes do not hold,
            None on a device.
        """
        if not isinstance(self._prepared, _core.Prepared):
            return self._info_of_device(self._prepared)
        finite = self._norm > 0
        share = self._residual[finite] / self._norm[finite]
        stats = self._scale.nbytes + self._residual.nbytes + self._norm.nbytes
        tiers = ["int8 codes", "canonical float64 score of the rows"]
        if self._nibble_bytes:
            tiers.insert(0, "4-bit codes (few queries)")
        terms = len(self) * (12 if self._metric == "l2" else 8)
        return {
            "rows": len(self),
            "dim": self.dim,
            "metric": self._metric,
            "dtype": str(self._rows.dtype).removeprefix("torch."),
            "skipped_rows": self._skipped,
            "code_bytes": self._codes.nbytes + stats + terms,
            "nibble_bytes": self._nibble_bytes,
            "row_bytes": int(np.prod(self._rows.shape)) * self._rows.dtype.itemsize,
            "row_place": "host",
            "tiers": tiers,
            "instruction_set": _core.active_isa(),
            "mean_residual": float(share.mean()) if share.size else 0.0,
        }

    def _info_of_device(self, prepared: _core.CudaPrepared | SplitPrepared) -> dict[str, Any]:
        return {
            "rows": len(self),
            "dim": self.dim,
            "metric": self._metric,
            "dtype": str(self._rows.dtype).removeprefix("torch."),
            "skipped_rows": self._skipped,
            "code_bytes": prepared.code_bytes,
            "nibble_bytes": 0,
            "row_bytes": prepared.row_bytes,
            "row_place": prepared.row_place,
            "tiers": [f"{prepared.precision} codes", "canonical float64 score of the rows"],
            "instruction_set": device_name(prepared.device),
            "mean_residual": None,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index, rows included, as a new gallery with codes.

        Raises
        ------
        FileExistsError
            The folder exists: nothing is overwritten.
        TypeError
            The rows are of a type that NumPy does not have.
        ValueError
            The index is on a CUDA device; one made on the CPU has the same codes.
        """
        if self.device is not None:
            msg = "an Index on a CUDA device is not saved; save one made with device='cpu', its codes are the same"
            raise ValueError(msg)
        from idsim.gallery import index_files  # noqa: PLC0415 - the layer above, only for its file format

        arrays = (self._codes, self._scale, self._residual, self._norm)
        index_files.save_index(Path(path), np.asarray(self._rows), arrays, self._metric)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Index:
        """Read an index that was saved, rows included, into memory (bfloat16 rows as float32).

        Raises
        ------
        GalleryError
            The folder is damaged, or no saved index.
        """
        from idsim.gallery import index_files  # noqa: PLC0415 - the layer above, only for its file format

        stored = index_files.load_index(Path(path))
        index = cls.__new__(cls)
        index._set(stored.rows, *stored.arrays, cast("Metric", stored.metric), stored.skipped_rows)
        index._add_nibbles(None)
        return index
