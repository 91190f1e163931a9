"""Seeds and series as they are written."""

from __future__ import annotations

import pickle

import pytest

from idsim.generators.seeds import parse_seeds
from idsim.generators.series import make_series


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", [5]), ("0-3", [0, 1, 2, 3]), ("7,0-2, 4 - 5", [0, 1, 2, 4, 5, 7]), ("4294967295", [2**32 - 1])],
)
def test_seeds_come_ascending(text, expected):
    seeds = parse_seeds(text)
    assert list(seeds) == expected
    assert len(seeds) == len(expected)
    assert seeds[1:3] == expected[1:3]
    assert seeds[-1] == expected[-1]
    assert list(pickle.loads(pickle.dumps(seeds))) == expected


def test_a_range_takes_no_memory():
    seeds = parse_seeds("0-49999999,60000000-99999999")
    assert len(seeds) == 90_000_000
    assert seeds[50_000_000] == 60_000_000
    with pytest.raises(IndexError):
        seeds[90_000_000]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be like"), ("a", "must be like"), ("1-", "must be like"), ("-1", "must be like"),
        ("1..3", "must be like"), ("٣", "must be like"), ("1,", "must be like"), ("9-3", "backwards: write 3-9"),
        ("4294967296", "beyond"), ("0-9,5", "seed 5 is named twice"), ("3,3", "seed 3 is named twice"),
        ("0-4294967295", "more than 100000000"), ("9" * 30, "must be like"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_seeds(text)


def test_a_series_is_every_combination():
    series = make_series(["run/snapshot-1.pkl", "run/snapshot-2.pkl"], [0.5, 1.0], [])
    assert [(entry.name, entry.psi) for entry in series] == [
        ("snapshot-1-psi0.5", 0.5), ("snapshot-1-psi1", 1.0), ("snapshot-2-psi0.5", 0.5), ("snapshot-2-psi1", 1.0),
    ]  # fmt: skip


def test_names_are_folder_names_and_unique():
    networks = ["a/net.pkl", "b/net.pkl", "b/NET.pkl", "model.py:draw", "toy:../..", "/", "net-2"]
    names = [entry.name for entry in make_series(networks, [], [])]
    assert names == ["net", "net-2", "NET-3", "model-draw", "generator", "generator-2", "net-2-2"]
    psi = [0.1 + 0.2, 0.3, -0.5]
    assert [entry.name for entry in make_series(["a"], psi, [7])] == [
        "a-psi0.30000000000000004-label7", "a-psi0.3-label7", "a-psi-0.5-label7",
    ]  # fmt: skip


def test_several_ranges_of_seeds_are_sets_of_their_own():
    series = make_series(["net.pkl"], [0.5], [3], ["0-9999", "10-12, 13,20"])
    assert [(entry.name, entry.seeds) for entry in series] == [
        ("net-psi0.5-label3-seeds0-9999", "0-9999"), ("net-psi0.5-label3-seeds10-13_20", "10-13,20"),
    ]  # fmt: skip
    (alone,) = make_series(["net.pkl"], [], [], ["0-9, 20"])
    assert (alone.name, alone.seeds) == ("net", "0-9, 20")
    assert make_series(["net.pkl"], [], [])[0].seeds == ""


def test_a_long_list_of_seeds_has_a_short_name():
    texts = [",".join(str(seed) for seed in range(start, 200, 2)) for start in (0, 1)]
    names = [entry.name for entry in make_series(["net"], [], [], [*texts, texts[0] + ",199"])]
    assert all(len(name) < 40 for name in names)
    assert names[0].startswith("net-seeds0-198-")
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (["0-9", "0-9"], "the seeds 0-9 are named twice"),
        (["0-9", "0-4,5-9"], "the seeds 0-4,5-9 are named twice"),
        (["0-9", ""], "must be like"),
    ],
)
def test_ranges_that_mean_nothing_are_refused(seeds, words):
    with pytest.raises(ValueError, match=words):
        make_series(["net"], [], [], seeds)


@pytest.mark.parametrize(
    ("text", "expected"), [("7,0-2, 4 - 5", "0-2,4-5,7"), ("0-4,5-9", "0-9"), ("3,4", "3-4"), ("5", "5")]
)
def test_seeds_are_written_the_shortest_way(text, expected):
    assert str(parse_seeds(text)) == expected
    assert list(parse_seeds(expected)) == list(parse_seeds(text))


@pytest.mark.parametrize(
    ("networks", "psi", "labels", "words"),
    [
        ([], [], [], "at least one generator"),
        (["a", "a"], [], [], "generator a is named twice"),
        (["a"], [0.5, 0.5], [], "psi 0.5 is named twice"),
        (["a"], [float("nan")], [], "finite"),
        (["a"], [], [-1], "at least 0"),
    ],
)
def test_a_series_that_means_nothing_is_refused(networks, psi, labels, words):
    with pytest.raises(ValueError, match=words):
        make_series(networks, psi, labels)
