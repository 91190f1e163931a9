"""Matchers in ONNX form, run by ONNX Runtime on a CPU or a GPU.

The preprocessing of the specification is built into the graph, so one code runs every matcher: crops of uint8 in,
embeddings of float32 out. Every run has the same batch, the last one padded: a device chooses its kernels once, and
a crop gets the same bytes whatever it comes with.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.errors import CudaError, MatcherError
from idsim.matchers.base import checked_crops
from idsim.matchers.center import read_center
from idsim.matchers.onnx_file import read_onnx
from idsim.matchers.onnx_graph import CROPS, EMBEDDINGS, NORMS, fold
from idsim.matchers.onnx_runtime import import_onnxruntime
from idsim.matchers.onnx_trial import try_model
from idsim.matchers.options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from idsim.matchers.spec import MatcherSpec

__all__ = ["OnnxEmbedder", "open_session"]

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
CPU_BATCH, GPU_BATCH = 4, 64


class _Buffer(NamedTuple):
    """Contiguous memory of a host or a device; `owner` keeps it alive."""

    address: int
    device: str
    number: int
    shape: tuple[int, ...]
    owner: Any


class OnnxEmbedder:
    """An embedding network in ONNX form.

    Parameters
    ----------
    spec : MatcherSpec
        The specification.
    file : path-like, optional
        The model; by default the one that the specification names.
    options : RunOptions, optional
        How it is run.
    trusted : collection of str
        SHA-256 of model files that need no trial run in a process of their own.

    Raises
    ------
    MatcherError
        The model is refused, or does not fit the specification.
    CudaError
        A GPU is required, and ONNX Runtime cannot use one.
    ModuleNotFoundError
        onnx or onnxruntime is not installed (the extra ``onnx``).
    """

    def __init__(
        self,
        spec: MatcherSpec,
        file: str | os.PathLike[str] | None = None,
        options: RunOptions | None = None,
        *,
        trusted: Collection[str] = (),
    ) -> None:
        onnxruntime = import_onnxruntime()
        if file is None and not spec.file:
            raise MatcherError(spec.path or spec.name, "file", "is missing: the model file must be named")
        path = spec.beside(spec.file) if file is None else file
        self.spec = spec
        self.options = options or RunOptions()
        self.name, self.metric, self.dim, self.size = spec.name, spec.score.metric, spec.dim, spec.input.size
        self._path = os.fspath(path)
        self._runtime = onnxruntime
        providers, self._device, self._number = _providers(onnxruntime, self.options)
        source = read_onnx(path, sha256=spec.sha256, external_data=spec.external_data)
        center, self._center = read_center(spec)
        graph = fold(source, spec, self._path, center)
        self._files = source.files
        self.warnings = graph.warnings
        for warning in graph.warnings:
            logging.getLogger("idsim").warning("%s: %s", self._path, warning)
        if not set(source.files.values()) <= set(trusted):
            try_model(graph.data, spec.input.size, spec.dim, self._path)
        self._session = _session(onnxruntime, graph.data, providers, self.options, self._path)
        if self.provider == CPU:
            self._device, self._number = "cpu", 0
        self._batch = self.options.batch or (CPU_BATCH if self._device == "cpu" else GPU_BATCH)

    @property
    def provider(self) -> str:
        """The execution provider of ONNX Runtime that runs the model."""
        return str(self._session.get_providers()[0])

    def describe(self) -> dict[str, Any]:
        """Return the specification, the hashes of the files, and what runs them."""
        return self.spec.describe() | {
            "runtime": "onnx",
            "library": f"onnxruntime {self._runtime.__version__}",
            "provider": self.provider,
            "batch": self._batch,
            "files": self._files,
            "center_sha256": self._center,
        }

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings ``[n, dim]`` of crops, uint8 ``[n, height, width, 3]`` RGB.

        Raises
        ------
        TypeError, ValueError
            The crops have another type or shape.
        MatcherError
            An embedding is not finite.
        """
        return self._embed(crops)[0]

    def embed_with_norms(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the embeddings ``[n, dim]`` and the lengths ``[n]`` that they had before they were normalised.

        Raises
        ------
        ValueError
            The specification does not keep lengths (``keep_norm``).
        """
        vectors, norms = self._embed(crops)
        if norms is None:
            raise ValueError(f"the matcher {self.name} keeps no lengths: output.keep_norm is false")
        return vectors, norms

    def embed_into(self, crops: Any, out: Any) -> None:
        """Write the embeddings of crops into memory that is there already, on a host or on the matcher's device.

        Nothing is copied: the network reads `crops` and writes `out` where they lie, a row range of a larger array for
        instance. Arrays are NumPy's or know DLPack. What made `crops` on a device must have finished. All runs have the
        same batch, the last one going back over rows already done; fewer rows than a batch are a smaller run.

        Parameters
        ----------
        crops : array
            uint8 ``[n, height, width, 3]`` RGB, C-contiguous.
        out : array
            float32 ``[n, dim]``, C-contiguous, writable.
        """
        source = self._buffer(crops, "crops", "uint8", (*self.size, 3))
        target = self._buffer(out, "out", "float", (self.dim,), writable=True)
        count = source.shape[0]
        if target.shape[0] != count:
            raise ValueError(f"out has {target.shape[0]} rows, and there are {count} crops")
        rows = min(self._batch, count)
        for start in range(0, count, rows or 1):
            first = min(start, count - rows)
            self._run(source, target, first, rows)

    def _embed(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        crops = checked_crops(crops, self.size)
        count = len(crops)
        vectors = np.empty((count, self.dim), dtype=np.float32)
        norms = np.empty(count, dtype=np.float32) if self.spec.output.keep_norm else None
        padded = np.zeros((self._batch, *self.size, 3), dtype=np.uint8)
        part = np.empty((self._batch, self.dim), dtype=np.float32)
        lengths = None if norms is None else np.empty((self._batch, 1), dtype=np.float32)
        for start in range(0, count, self._batch):
            stop = min(start + self._batch, count)
            padded[: stop - start] = crops[start:stop]
            self._run(_host(padded), _host(part), 0, self._batch, None if lengths is None else _host(lengths))
            vectors[start:stop] = part[: stop - start]
            if norms is not None and lengths is not None:
                norms[start:stop] = lengths[: stop - start, 0]
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise MatcherError(self._path, f"crop {bad[0]}", "its embedding is not finite")
        return vectors, norms

    def _run(
        self, source: _Buffer, target: _Buffer, first: int, rows: int, norms: _Buffer | None = None
    ) -> None:
        """Run rows of a buffer into the same rows of another."""
        binding = self._session.io_binding()
        crop_bytes, row_bytes = 3 * self.size[0] * self.size[1], 4 * self.dim
        binding.bind_input(
            CROPS,
            source.device,
            source.number,
            np.uint8,
            [rows, *source.shape[1:]],
            source.address + first * crop_bytes,
        )
        binding.bind_output(
            EMBEDDINGS,
            target.device,
            target.number,
            np.float32,
            [rows, self.dim],
            target.address + first * row_bytes,
        )
        if norms is not None:
            binding.bind_output(NORMS, norms.device, norms.number, np.float32, [rows, 1], norms.address)
        elif self.spec.output.keep_norm:
            binding.bind_output(NORMS)
        binding.synchronize_inputs()
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # the runtime has no base class of its errors
            raise MatcherError(self._path, "run", f"ONNX Runtime says: {error}"[:500]) from error
        binding.synchronize_outputs()

    def _buffer(
        self, array: Any, what: str, dtype: str, row: tuple[int, ...], *, writable: bool = False
    ) -> _Buffer:
        """Return the memory of an array, NumPy's or one that knows DLPack."""
        if isinstance(array, np.ndarray):
            found = {"uint8": "uint8", "float32": "float"}.get(array.dtype.name, array.dtype.name)
            if not array.flags.c_contiguous or (writable and not array.flags.writeable):
                raise ValueError(f"{what} must be C-contiguous{' and writable' if writable else ''}")
            buffer = _host(array)
        elif hasattr(array, "__dlpack__"):
            value = self._runtime.OrtValue.from_dlpack(array)
            found = value.data_type().removeprefix("tensor(").removesuffix(")")
            number = int(array.__dlpack_device__()[1])
            buffer = _Buffer(
                value.data_ptr(), value.device_name().lower(), number, tuple(value.shape()), value
            )
        else:
            raise TypeError(
                f"{what} must be an array of NumPy's or one that knows DLPack, not {type(array).__name__}"
            )
        if found != dtype or buffer.shape[1:] != row or len(buffer.shape) != len(row) + 1:
            wanted = {"float": "float32"}.get(dtype, dtype)
            raise ValueError(f"{what} must be {wanted} {['n', *row]}, not {found} {list(buffer.shape)}")
        if buffer.device != "cpu" and (buffer.device, buffer.number) != (self._device, self._number):
            raise ValueError(
                f"{what} lies on {buffer.device}:{buffer.number}, and the matcher runs on {self._device}:{self._number}"
            )
        return buffer


def _host(array: NDArray[Any]) -> _Buffer:
    return _Buffer(array.ctypes.data, "cpu", 0, array.shape, array)


def _providers(runtime: Any, options: RunOptions) -> tuple[list[Any], str, int]:
    """Return the execution providers, and the kind and number of the device."""
    offered = runtime.get_available_providers()
    kind, _, number = options.device.partition(":")
    if kind == "cpu" or (kind == "auto" and CUDA not in offered and not options.require_gpu):
        return [CPU], "cpu", 0
    if CUDA not in offered:
        raise CudaError(
            f"a GPU is asked for, and this ONNX Runtime {runtime.__version__} offers only {', '.join(offered)}: "
            "install onnxruntime-gpu in its place"
        )
    settings = {
        "device_id": number or "0",
        # Chosen from the shape alone: the exhaustive search takes seconds and may choose another kernel each time.
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
    }
    return [(CUDA, settings), CPU], "cuda", int(number or 0)


def _session(runtime: Any, data: bytes, providers: list[Any], options: RunOptions, path: str) -> Any:
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 3
    try:
        session = runtime.InferenceSession(data, settings, providers=providers)
    except Exception as error:  # the runtime has no base class of its errors
        raise MatcherError(path, "model", f"ONNX Runtime says: {error}"[:500]) from error
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    # Where a library of the GPU is missing, the runtime warns and runs on the CPU.
    if session.get_providers()[0] != wanted:
        if options.device == "auto" and not options.require_gpu:
            logging.getLogger("idsim").warning("%s: no GPU can be used, the CPU runs it", path)
            return session
        raise CudaError(
            f"a GPU is asked for, and ONNX Runtime could not start {wanted}: its CUDA libraries are missing"
        )
    return session


def open_session(data: bytes, options: RunOptions, path: str) -> Any:
    """Return a session of ONNX Runtime for a model of another kind than embedders.

    Raises
    ------
    MatcherError
        ONNX Runtime refuses the model.
    CudaError
        A GPU is required, and ONNX Runtime cannot use one.
    """
    onnxruntime = import_onnxruntime()
    return _session(onnxruntime, data, _providers(onnxruntime, options)[0], options, path)
