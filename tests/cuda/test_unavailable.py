"""Without a device every request for one says why there is none."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import _core
from idsim.errors import CudaError

pytestmark = pytest.mark.skipif(_core.build_info()["cuda_devices"] > 0, reason="there is a CUDA device")


def test_the_reason_is_told():
    rows = np.ones((3, 4), np.float32)
    reason = _core.build_info()["cuda_reason"]
    assert reason.endswith(".")
    for ask in (
        lambda: idsim.search(rows, rows, 1, device="cuda"),
        lambda: idsim.Index(rows, device="cuda"),
        lambda: idsim.normalize(rows, device="cuda"),
        lambda: idsim.count_above(rows, rows, [0.5], device="cuda"),
        lambda: idsim.pairs_above(rows, device="cuda"),
        lambda: idsim.compare(rows, threshold=0.5, device="cuda"),
        lambda: idsim.score_distribution(rows, device="cuda"),
        lambda: idsim.TopKScan(rows, 1, device="cuda"),
    ):
        with pytest.raises(CudaError) as caught:
            ask()
        assert str(caught.value) == reason
