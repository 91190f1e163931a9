"""The names that a checkpoint may use, each an exact pair of module and name, and what stands for it."""

from __future__ import annotations

from idsim.inert.records import Element, Symbol

__all__ = ["ELEMENTS", "PICKLE", "STORAGES", "TORCH", "Names", "advice"]

Names = dict[tuple[str, str], Symbol | Element]

# The simple types of NumPy, without byte order.
ELEMENTS = {
    code: Element(code, int(code[1])) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")
}

STORAGES: Names = {
    ("torch", f"{name}Storage"): element
    for name, element in {
        "Float": ELEMENTS["f4"],
        "Half": ELEMENTS["f2"],
        "BFloat16": Element("bf2", 2),
        "Double": ELEMENTS["f8"],
        "Long": ELEMENTS["i8"],
        "Int": ELEMENTS["i4"],
        "Short": ELEMENTS["i2"],
        "Char": ELEMENTS["i1"],
        "Byte": ELEMENTS["u1"],
        "Bool": ELEMENTS["b1"],
    }.items()
}

_NUMPY: Names = {
    ("numpy", "dtype"): Symbol.DTYPE,
    ("numpy", "ndarray"): Symbol.ARRAY,
    ("_codecs", "encode"): Symbol.ENCODE,
    **{
        (f"numpy.{core}.multiarray", name): symbol
        for core in ("core", "_core")
        for name, symbol in (("_reconstruct", Symbol.RECONSTRUCT), ("scalar", Symbol.SCALAR))
    },
}

_COMMON: Names = {
    **_NUMPY,
    ("torch._utils", "_rebuild_tensor_v2"): Symbol.TENSOR,
    ("torch._utils", "_rebuild_parameter"): Symbol.PARAMETER,
    ("collections", "OrderedDict"): Symbol.ORDERED_DICT,
    ("builtins", "set"): Symbol.SET,
    ("__builtin__", "set"): Symbol.SET,
}

# Pickles of NVlabs' PyTorch and TensorFlow code.
PICKLE: Names = {
    **_COMMON,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Symbol.PERSISTENT,
    ("torch.nn.parameter", "_rebuild_parameter"): Symbol.PARAMETER,
    ("torch.storage", "_load_from_bytes"): Symbol.STORAGE_BYTES,
    ("dnnlib.util", "EasyDict"): Symbol.EASY_DICT,
    ("dnnlib.tflib.network", "Network"): Symbol.NETWORK,
}

# The pickle inside what `torch.save` writes.
TORCH: Names = {
    **_COMMON,
    **STORAGES,
    ("argparse", "Namespace"): Symbol.NAMESPACE,
    ("torch", "Size"): Symbol.SIZE,
}

_FAMILIES = {
    "torch.nn": "whole PyTorch modules are not read; networks of the EG3D and StyleGAN-XL families hold them",
    "training": "networks of the EG3D family hold such names",
    "__main__": "it is an object of the script that wrote the file; save a state dict instead",
}


def advice(module: str) -> str:
    """Return what is known of files that name something of `module`, or an empty text."""
    for prefix, text in _FAMILIES.items():
        if module == prefix or module.startswith(prefix + "."):
            return f" ({text})"
    return ""
