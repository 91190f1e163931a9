"""Options of ``pytest bench``: which cases, and how much time each may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench import grid
from bench.run import Galleries
from idsim.benchmark import Case, Effort, measure_peaks, pin_threads
from idsim.benchmark.environment import start_again_if_held

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK_ROWS = 100_000


def pytest_configure(config: pytest.Config) -> None:
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.suspend_global_capture(in_=True)  # the new process would write into this one's capture
    start_again_if_held()
    capture.resume_global_capture()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("idsim")
    group.addoption("--idsim-table", action="store_true", help="the reduced table at full size")
    group.addoption("--idsim-select", action="append", default=[], help='words of a case, "q=32 d=512"')
    group.addoption("--idsim-seconds", type=float, default=2.0, help="aim for the rounds of one case")
    group.addoption("--idsim-threads", type=int, default=2)


def chosen_cases(config: pytest.Config) -> list[Case]:
    """Return the cases of this run: by default five batches on 100,000 rows."""
    table = grid.reduced() if config.getoption("--idsim-table") else quick_cases()
    return grid.matching(table, config.getoption("--idsim-select"))


def quick_cases() -> list[Case]:
    return [Case(queries, QUICK_ROWS) for queries in (1, 8, 64, 256)] + [
        Case(256, QUICK_ROWS, mode="one-shot")
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "measured" in metafunc.fixturenames:
        cases = chosen_cases(metafunc.config)
        metafunc.parametrize("measured", cases, ids=[c.name.replace(" ", ",") for c in cases], indirect=True)


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Pin the threads of every library and measure the machine."""
    threads = request.config.getoption("--idsim-threads")
    effort = Effort(seconds=request.config.getoption("--idsim-seconds"))
    with pin_threads(threads):
        size = {} if request.config.getoption("--idsim-table") else {"gemm_size": 1024, "read_bytes": 1 << 28}
        peaks = measure_peaks(threads, **size)
        yield {"threads": threads, "effort": effort, "peaks": peaks, "galleries": Galleries(None)}
