"""People whose number of images nobody of the other set has cannot change places."""

from __future__ import annotations

import numpy as np
import pytest

from idsim.audit.diagnostics.exchange import exchange_finding


def people(*images):
    return np.repeat(np.arange(len(images)), images)


@pytest.mark.parametrize(
    ("training", "holdout", "possible", "severity"),
    [
        ([2, 2, 3], [3, 2, 2, 2], 3, "info"),
        ([12, 12, 12], [1, 1, 1, 1], 0, "error"),
        ([12, 12, 1], [1, 1, 1, 1], 1, "warning"),
        ([12, 1], [1, 1, 5], 1, "info"),
    ],
)
def test_who_can_change_places(training, holdout, possible, severity):
    found = exchange_finding(people(*training), people(*holdout))
    assert found.severity == severity
    assert found.numbers["exchangeable"] == possible
    assert found.numbers["persons"] == len(training)
    assert f"{possible} of {len(training)} people" in found.sentence


def test_nobody_can_and_it_is_said_what_follows():
    found = exchange_finding(people(12, 12), people(1, 1, 1))
    assert "p-value is 1, whatever the generator does" in found.sentence
    assert found.numbers["mean_images"] == [12.0, 1.0]
