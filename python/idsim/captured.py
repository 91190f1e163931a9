"""A search that is made once and launched many times, alone or in a CUDA graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim import _core
from idsim.arrays import as_matrix, cuda_device
from idsim.devices import device_name, stream_handle
from idsim.engines import CudaEngine, address_of
from idsim.options import checked_k, worst_score
from idsim.results import TopK

if TYPE_CHECKING:
    from typing import Literal

    from idsim.index import Index

__all__ = ["CapturedSearch"]


class CapturedSearch:
    """A search of one number of queries over an `idsim.Index` on a CUDA device; made by `Index.capture`.

    A launch searches for what the memory of the queries holds when the device comes to it, and writes to the same
    `scores` and `ids` each time. The host neither waits nor allocates, so that a launch can be captured into a graph of
    the caller's; outside a capture it launches a graph of its own. Scratch is shared: let one launch be ordered behind
    another. It has to outlive the graphs that it was captured into.

    Attributes
    ----------
    scores : array
        float32 [q, k] on the device.
    ids : array
        int64 [q, k] on the device. The row of a query with NaN or Inf is padding: ids -1, scores -inf (l2: +inf).
    """

    def __init__(
        self,
        index: Index,
        queries: Any,
        k: int,
        *,
        exclude: Literal["self"] | None,
        threshold: float | None,
        out: tuple[Any, Any] | None,
        stream: Any,
    ) -> None:
        rows, k = as_matrix(queries, "queries"), checked_k(k)
        prepared = index.prepared
        if not isinstance(prepared, _core.CudaPrepared) or cuda_device(rows) != prepared.device:
            msg = (
                f"capture needs an Index and queries on one CUDA device; the Index is on "
                f"{device_name(index.device)!r}, the queries are on {device_name(cuda_device(rows))!r}"
            )
            raise ValueError(msg)
        if prepared.row_place == "fetched":
            msg = (
                "capture needs an Index whose rows the device can read: they lie on the host, which would have to wait "
                "for the device to fetch them; make the Index with rows='device'"
            )
            raise ValueError(msg)
        if exclude is not None and exclude != "self":
            msg = f"exclude must be None or 'self' in a search that is captured, not {exclude!r}"
            raise ValueError(msg)
        self._queries = queries
        self._device = prepared.device
        engine = CudaEngine(self._device, stream_handle(stream, self._device, queries), None)
        _, (self.scores, self.ids) = engine.outputs(out, queries, (int(rows.shape[0]), k))
        if any(cuda_device(part) is None or isinstance(part, _core.CudaArray) for part in self):
            msg = "out must be given, as arrays on the device that can be written to again and again"
            raise TypeError(msg)
        self._replay = _core.CudaReplay(
            rows,
            prepared,
            k,
            worst_score(index.metric, threshold),
            exclude == "self",
            address_of(self.scores),
            address_of(self.ids),
            engine.stream,
        )

    def __iter__(self) -> Any:
        return iter((self.scores, self.ids))

    def launch(self, stream: Any = None) -> TopK:
        """Queue the search.

        Parameters
        ----------
        stream : object, optional
            As in `idsim.search`. Default: the current stream of the queries' library; in ``torch.cuda.graph`` the one
            that is captured.

        Returns
        -------
        TopK
            `scores` and `ids`, ready in stream order.
        """
        self._replay.launch(stream_handle(stream, self._device, self._queries))
        return TopK(self.scores, self.ids)

    def check(self, stream: Any = None) -> None:
        """Wait for the last launch and look for queries with NaN or Inf.

        Raises
        ------
        ValueError
            There is one; the first is named.
        """
        bad = self._replay.nonfinite_query(stream_handle(stream, self._device, self._queries))
        if bad >= 0:
            msg = f"queries row {bad} holds NaN or Inf"
            raise ValueError(msg)
