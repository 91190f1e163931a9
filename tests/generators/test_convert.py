"""Conversion to safetensors, verification, and ``idsim generator``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from idsim import CheckpointError
from idsim.cli import main
from idsim.generators.stylegan2 import Checkpoint, find_problems, isolation, load_checkpoint, save_checkpoint
from support.checkpoints import Shape, Storages, make_weights, persisted, safetensors, snapshot, torch_zip
from support.watch import watched

GOLDEN = Path(__file__).parents[1] / "data" / "stylegan2"
FILES = [
    "g64c3_stripped.pkl",
    "g32resnet_stripped.pkl",
    "g32orig_stripped.pkl",
    "tf32c.pkl",
    "ros32_train.pt",
]


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.config == expected.config
    assert found.weights.keys() == expected.weights.keys()
    assert all(found.weights[name].tobytes() == array.tobytes() for name, array in expected.weights.items())
    assert found.weights_sha256 == expected.weights_sha256


@pytest.mark.parametrize("name", FILES)
def test_a_converted_file_loads_the_same_without_a_pickle(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    before = load_checkpoint(GOLDEN / name)
    target = tmp_path / "g.safetensors"
    entry = save_checkpoint(before, target)
    assert entry.bytes == target.stat().st_size
    from idsim.inert import machine

    monkeypatch.delattr(machine.Machine, "run")
    after = load_checkpoint(target)
    assert_same(after, before)
    assert after.stated_sha256 == before.weights_sha256
    assert find_problems(after, target) == []
    assert after.provenance.converted_from["file_sha256"] == before.provenance.file_sha256
    assert after.provenance.converted_from["layout"] == before.provenance.layout


def test_converting_again_gives_the_same_bytes(tmp_path: Path):
    save_checkpoint(load_checkpoint(GOLDEN / "tf32c.pkl"), tmp_path / "a")
    save_checkpoint(load_checkpoint(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_readers_of_safetensors(tmp_path: Path):
    from safetensors.numpy import load_file

    before = load_checkpoint(GOLDEN / "g64_stripped.pkl")
    save_checkpoint(before, tmp_path / "g")
    read = load_file(tmp_path / "g")
    assert read.keys() == before.weights.keys()
    assert all(read[name].tobytes() == array.tobytes() for name, array in before.weights.items())
    assert read["synthesis.b4.conv1.noise_strength"].shape == ()


def test_nothing_is_overwritten(tmp_path: Path):
    checkpoint = load_checkpoint(GOLDEN / "ros32.pt")
    target = tmp_path / "g"
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        save_checkpoint(checkpoint, target)
    assert target.read_bytes() == b"mine"
    save_checkpoint(checkpoint, target, replace=True)
    assert_same(load_checkpoint(target), checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def damaged(path: Path, change: Callable[[bytearray], None]) -> Path:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    return path


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    save_checkpoint(load_checkpoint(GOLDEN / "ros32.pt"), tmp_path / "g.safetensors")
    return tmp_path / "g.safetensors"


def test_changed_weights_are_found(converted: Path):
    def flip(data: bytearray) -> None:
        data[-9] ^= 1

    damaged(converted, flip)
    problems = find_problems(load_checkpoint(converted), converted)
    assert [problem.place for problem in problems] == ["weights_sha256"]


def test_infinite_weights_are_found(load):
    weights = make_weights(Shape())
    weights["mapping.fc0.bias"][2] = np.nan
    weights["synthesis.b4.const"][0, 0, :2] = np.inf
    problems = find_problems(load(safetensors(weights)), "f")
    assert [(p.place, p.reason) for p in problems] == [
        ("mapping.fc0.bias", "1 elements are NaN or infinite"),
        ("synthesis.b4.const", "2 elements are NaN or infinite"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (r"\"resolution\":32", r"\"resolution\":64", "does not fit the shapes"),
        (r"\"z_dim\":48", r"\"z_dim\":47", "does not fit the shapes"),
        (r"\"use_noise\":true", r"\"use_noise\":1234", "is not true or false"),
        (r"\"conv_clamp\":null", r"\"conv_clamp\":-1.5", "is not positive"),
        (r"\"architecture\":\"skip\"", r"\"architecture\":\"skit\"", "is not skip, resnet or orig"),
        (r"\"activation\":\"lrelu\"", r"\"activation\":\"swish\"", "not one of lrelu, linear"),
        (r"\"fp16_resolutions\":[]", r"\"fp16_resolutions\":{}", "is not an array"),
        (r"\"lr_multiplier\":0.01", r"\"lr_multiplier\":-.01", "not the JSON"),
        (r"\"c_dim\":0", r"\"e_dim\":0", "c_dim: is missing"),
        (r"\"kimg\":null", r"\"kimg\":{}  ", "more than plain values"),
    ],
)
def test_descriptions_that_are_refused(converted: Path, old: str, new: str, reason: str):
    data = converted.read_bytes()
    assert data.count(old.encode()) == 1
    assert len(old) == len(new)
    converted.write_bytes(data.replace(old.encode(), new.encode()))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(converted)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", [*FILES, "ros32_legacy.pt"])
def test_isolation_gives_the_same(name: str):
    path = GOLDEN / name
    here, apart = load_checkpoint(path), load_checkpoint(path, isolate=True)
    assert_same(apart, here)
    assert apart.provenance == here.provenance


def test_isolation_of_a_converted_file(converted: Path):
    here, apart = load_checkpoint(converted), load_checkpoint(converted, isolate=True)
    assert (apart.provenance, apart.stated_sha256) == (here.provenance, here.stated_sha256)
    assert find_problems(apart, converted) == []


def test_isolation_while_torch_runs_threads():
    import torch

    torch.ones(300, 300) @ torch.ones(300, 300)
    assert load_checkpoint(GOLDEN / "ros32.pt", isolate=True).config.resolution == 32


def test_isolation_hands_errors_over(tmp_path: Path):
    path = tmp_path / "f.pkl"
    path.write_bytes(b"\x80\x02cposix\nsystem\n.")
    for isolate in (False, True):
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path, isolate=isolate)
        assert (caught.value.path, caught.value.place) == (str(path), "byte 2")
        assert "posix.system" in caught.value.reason
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "missing", isolate=True)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("__import__('wave')", "something that is forbidden"),
        ("open('/etc/hostname')", "something that is forbidden"),
        ("bytearray(3 << 30)", "takes more memory"),
        ("1 / 0", "failed with ZeroDivisionError: division by zero"),
        ("sum(1 for _ in iter(int, 1))", "ended with -"),
    ],
)
def test_walls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str):
    """Each fault is planted into the process that reads, where it has confined itself."""
    module = tmp_path / "faulty_reader.py"
    module.write_text(
        "import sys\n"
        "from idsim.generators.stylegan2 import reading_process, walls\n"
        "def confine(limits):\n"
        "    limits.seconds = 1\n"
        "    return walls.confine(limits)\n"
        "reading_process.confine = confine\n"
        f"reading_process.read_checkpoint = lambda *_: {fault}\n"
        "reading_process.main(sys.argv[1], sys.argv[2], int(sys.argv[3]))\n"
    )
    monkeypatch.setattr(isolation, "READING_PROCESS", "faulty_reader")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(GOLDEN / "ros32.pt", isolate=True)


def test_reading_causes_no_events():
    for name in FILES:
        with watched(GOLDEN / name) as seen:
            load_checkpoint(GOLDEN / name)
        assert seen == []


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run ``idsim generator`` in this process."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["idsim", "generator", *map(str, arguments)])
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


def test_info(run: Callable[..., Done], tmp_path: Path):
    done = run("info", GOLDEN / "g64c3_stripped.pkl")
    assert done.code == 0, done.err
    for text in (
        "pickle, stylegan2-ada-pytorch, network G_ema",
        "StyleGAN2 skip, outputs within ±256, half precision at 8, 16, 32, 64",
        "64 x 64, 3 channels",
        "labels        3",
        "not in the file",
        "45887ef783f826084a9fd9fe581fb3c6187e9718e458d08aa0fabce1760d4c7e (unknown; never executed)",
    ):
        assert text in done.out
    facts = json.loads(run("info", GOLDEN / "g64c3_stripped.pkl", "--json").out)
    assert facts["config"]["c_dim"] == 3
    assert facts["tensors"] == 96
    assert facts["provenance"]["container"] == "pickle"
    path = tmp_path / "snapshot.pkl"
    shape = Shape()
    path.write_bytes(snapshot(persisted(shape, make_weights(shape)), cur_nimg=25_000_000))
    assert "25,000 kimg" in run("info", path).out


def test_convert_and_verify(run: Callable[..., Done], tmp_path: Path):
    target = tmp_path / "g.safetensors"
    done = run("convert", GOLDEN / "ros32_train.pt", "-o", target, "--network", "G", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["weights_sha256"] == load_checkpoint(target).weights_sha256
    assert "from rosinality" in run("info", target).out
    assert run("verify", target).out.startswith(f"{target}: 79 tensors, all finite")
    again = run("convert", GOLDEN / "ros32.pt", "-o", target)
    assert again.code == 2
    assert "exists already" in again.err
    assert run("convert", GOLDEN / "ros32.pt", "-o", target, "--force").code == 0
    data = bytearray(target.read_bytes())
    data[-1] ^= 0x40
    target.write_bytes(data)
    done = run("verify", target)
    assert (done.code, done.out) == (2, "")
    assert "the tensors are not those that were written" in done.err
    report = json.loads(run("verify", target, "--json").out)
    assert [problem["place"] for problem in report["problems"]] == ["weights_sha256"]


def test_messages_hold_no_control_characters(run: Callable[..., Done], tmp_path: Path):
    weights = {"\x1b[31mred": np.ones(1, np.float32)} | make_weights(Shape())
    path = tmp_path / "f"
    path.write_bytes(safetensors(weights))
    done = run("verify", path)
    assert done.code == 2
    assert "\x1b" not in done.err
    assert "\\x1b[31mred: it is not a tensor of a StyleGAN2 generator" in done.err
    storages = Storages()
    path.write_bytes(
        torch_zip({f"synthesis.{key}": storages.tensor(w) for key, w in weights.items()}, storages)
    )
    assert "\x1b" not in run("info", path).err


def test_a_file_that_is_refused(run: Callable[..., Done], tmp_path: Path):
    path = tmp_path / "f.pkl"
    path.write_bytes(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.")
    for command in (["info", path], ["verify", path], ["convert", path, "-o", tmp_path / "g"]):
        done = run(*command)
        assert (done.code, done.out) == (2, "")
        assert "byte 2: the file names 'os.system'" in done.err
    assert not (tmp_path / "g").exists()
    assert json.loads(run("verify", path, "--json").out)["ok"] is False
