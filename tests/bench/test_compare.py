from __future__ import annotations

import pytest
from bench.compare import combine, judge, paired_ratios


def test_a_round_is_head_over_base() -> None:
    assert paired_ratios([(1.0, 2.0, 2.0, 1.0), (1.0, 1.0, 3.0, 3.0)]) == [2.0, 1.0]


def test_a_steady_drift_of_the_machine_cancels() -> None:
    # Every run is 10 % slower than the one before it; the commits are equal.
    times = [1.0 + 0.1 * step for step in range(40)]
    rounds = [tuple(times[at : at + 4]) for at in range(0, 40, 4)]
    assert paired_ratios(rounds) == pytest.approx([1.0] * 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ratios", "slower"),
    [
        ([1.0, 1.01, 0.99, 1.0, 1.02], False),
        ([1.2, 1.21, 1.19, 1.2, 1.22], True),
        ([1.09, 1.09, 1.09, 1.09, 1.09], False),  # below the limit, however steady
        ([0.7, 0.8, 1.15, 1.5, 1.6], False),  # above the limit, but within the spread
        ([1.3, 1.3, 1.3, 0.9, 1.3, 1.3, 1.3], True),  # one lucky round does not excuse it
        ([1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0], False),  # one unlucky round does not condemn it
        ([0.5, 0.5, 0.5, 0.5, 0.5], False),
    ],
)
def test_verdict(ratios: list[float], slower: bool) -> None:
    assert judge("case", ratios).slower is slower


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5 rounds"):
        judge("case", [1.0] * 4)


def test_every_pair_of_processes_must_agree() -> None:
    slow, fair = [1.3] * 5, [1.0] * 5
    assert combine([slow, slow, slow], "case").slower
    verdict = combine([slow, fair], "case")
    assert not verdict.slower
    assert verdict.rounds == 10
    assert verdict.ratio == pytest.approx(1.15)
