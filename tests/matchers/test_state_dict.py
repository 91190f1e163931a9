"""State dicts: where they stand in files, how their names begin, and what is refused."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from idsim.errors import MatcherError  # noqa: E402
from idsim.matchers.state_dict import read_state_dict  # noqa: E402

SHAPES = {"conv1.weight": (4, 3, 3, 3), "bn1.running_mean": (4,), "fc.bias": (2,)}


def state(prefix="", dtype=torch.float32):
    rng = np.random.default_rng(0)
    return {
        prefix + name: torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(dtype)
        for name, shape in SHAPES.items()
    }


def saved(tmp_path, content, **options):
    path = tmp_path / "weights.pth"
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "module.backbone."])
def test_prefixes_of_wrappers_are_left_out(tmp_path, prefix):
    content = {**state(prefix), prefix + "bn1.num_batches_tracked": torch.tensor(7)}
    found = read_state_dict(saved(tmp_path, content), SHAPES)
    assert list(found.arrays) == list(SHAPES)
    for name, tensor in state().items():
        assert np.array_equal(found.arrays[name], tensor.numpy())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["state_dict", "model", "backbone"])
def test_training_states_hold_the_network_below_a_name(tmp_path, place, zipped):
    content = {"epoch": 3, place: OrderedDict(state("module.")), "optimizer": {"state": {}}}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
    found = read_state_dict(path, SHAPES)
    assert np.array_equal(found.arrays["fc.bias"], state()["fc.bias"].numpy())
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_head_beside_the_network_is_not_read(tmp_path):
    content = {**state("model."), "head.kernel": torch.zeros(2, 7, dtype=torch.float64)}
    assert set(read_state_dict(saved(tmp_path, content), SHAPES).arrays) == set(SHAPES)


def test_a_head_inside_the_network_must_be_known(tmp_path):
    path = saved(tmp_path, {**state(), "logits.weight": torch.zeros(7, 2)})
    assert set(read_state_dict(path, SHAPES, heads=("logits.",)).arrays) == set(SHAPES)
    with pytest.raises(MatcherError, match=r"it has logits\.weight, which the network has not"):
        read_state_dict(path, SHAPES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_exactly(tmp_path, dtype):
    found = read_state_dict(saved(tmp_path, state(dtype=dtype)), SHAPES)
    assert np.array_equal(found.arrays["conv1.weight"], state(dtype=dtype)["conv1.weight"].float().numpy())


def test_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "weights.safetensors"
    safetensors.save_file(state("module."), path)
    found = read_state_dict(path, SHAPES)
    assert np.array_equal(found.arrays["conv1.weight"], state()["conv1.weight"].numpy())


def without(name):
    return {key: value for key, value in state().items() if key != name}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (without("fc.bias"), r"names: it lacks fc\.bias$"),
        ({**state(), "fc.bias": torch.zeros(3)}, r"fc\.bias: its shape is \[3\], the network's is \[2\]"),
        ({**state(), "fc.bias": torch.zeros(2, dtype=torch.float64)}, r"fc\.bias: its elements are f8"),
        ({**state(), "fc.bias": torch.zeros(2, dtype=torch.int64)}, r"fc\.bias: its elements are i8"),
        ({**state(), "fc.bias": "text"}, r"lacks fc\.bias"),
        ([1, 2], "list, not a state dict"),
        ({1: torch.zeros(1)}, "texts"),
        ({}, r"it lacks conv1\.weight"),
    ],
)
def test_other_contents_are_named(tmp_path, content, words):
    with pytest.raises(MatcherError, match=words):
        read_state_dict(saved(tmp_path, content), SHAPES)


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    witness = tmp_path / "witness"

    class Hostile:
        def __reduce__(self):
            return (open, (str(witness), "w"))

    path = saved(tmp_path, {**state(), "more": Hostile()})
    with pytest.raises(MatcherError):
        read_state_dict(path, SHAPES)
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Hostile(), protocol=2))
    with pytest.raises(MatcherError):
        read_state_dict(plain, SHAPES)
    assert not witness.exists()


def test_a_whole_module_is_refused(tmp_path):
    with pytest.raises(MatcherError, match="whole PyTorch modules are not read"):
        read_state_dict(saved(tmp_path, torch.nn.Linear(2, 2)), SHAPES)


def test_another_hash_is_refused(tmp_path):
    path = saved(tmp_path, state())
    read_state_dict(path, SHAPES, sha256=hashlib.sha256(path.read_bytes()).hexdigest().upper())
    with pytest.raises(MatcherError, match="sha256: it is"):
        read_state_dict(path, SHAPES, sha256="00" * 32)


@pytest.mark.parametrize(
    ("data", "words"), [(b"\x1f\x8b123", "gzip"), (b"<html>", "web page"), (b"", "no pickle")]
)
def test_other_files_are_told_apart(tmp_path, data, words):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(MatcherError, match=words):
        read_state_dict(path, SHAPES)


def test_a_cut_file_is_refused(tmp_path):
    path = saved(tmp_path, state())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MatcherError):
        read_state_dict(path, SHAPES)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MatcherError, match=r"nothing\.pth"):
        read_state_dict(tmp_path / "nothing.pth", SHAPES)
