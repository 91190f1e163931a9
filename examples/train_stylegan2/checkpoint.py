"""The state of a training in one safetensors file: no pickle, written as a whole or not at all."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from torch.optim import Optimizer

KEY = "train_stylegan2"  # One key only: safetensors does not order several.


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    metadata = {KEY: json.dumps(facts, sort_keys=True)}
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, part, metadata)
    os.replace(part, path)  # noqa: PTH105 - atomic, unlike a rename on every system


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, "pt") as file:
        facts = (file.metadata() or {}).get(KEY)
        if facts is None:
            raise SystemExit(f"{path}: not a checkpoint of this trainer")
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(facts)  # noqa: SIM118 - no mapping


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with the prefix and a dot, without it."""
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """Moments and step counts by the number of the weight: ``3.exp_avg_sq``."""
    state = optimiser.state_dict()["state"]
    return {f"{weight}.{name}": value for weight, values in state.items() for name, value in values.items()}


def restore_optimiser(optimiser: Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        weight, name = key.split(".")
        state.setdefault(int(weight), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
