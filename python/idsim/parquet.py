"""Parquet files of unknown origin, opened with limits. pyarrow is imported inside the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

__all__ = ["import_pyarrow", "open_parquet"]

# Limits on the Parquet footer; Arrow's own defaults (100 MB, 1e6) allow far larger allocations.
_FOOTER_STRING_BYTES = 16 << 20
_FOOTER_ITEMS = 1 << 20


def import_pyarrow() -> Any:
    """Return the module ``pyarrow``, or raise an error that says how to get it."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "tables and columns need pyarrow: pip install 'idsim[audit]'",
            name="pyarrow",
        ) from None
    return pyarrow


def open_parquet(path: str | os.PathLike[str]) -> Any:
    """Open a Parquet file of unknown origin with limits on its footer."""
    import_pyarrow()
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        path,
        memory_map=False,
        pre_buffer=False,
        thrift_string_size_limit=_FOOTER_STRING_BYTES,
        thrift_container_size_limit=_FOOTER_ITEMS,
        page_checksum_verification=True,
    )
