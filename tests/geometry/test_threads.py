from __future__ import annotations

import threading

import numba
import numpy as np
import pytest

from planner.geometry import threads
from planner.geometry.threads import in_parts


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10, 101])
@pytest.mark.usefixtures("three_threads")
def test_every_place_is_visited_once(size: int) -> None:
    visits = np.zeros(size, int)

    def kernel(out: np.ndarray, start: int, stop: int) -> None:
        out[start:stop] += 1

    in_parts(kernel, size, visits)
    assert (visits == 1).all()


@pytest.mark.usefixtures("three_threads")
def test_the_parts_run_on_different_threads() -> None:
    meeting = threading.Barrier(3, timeout=30)  # passed only when all three are there together

    def kernel(start: int, stop: int) -> None:
        meeting.wait()

    in_parts(kernel, 3)


@pytest.mark.usefixtures("three_threads")
def test_an_error_in_a_part_is_raised() -> None:
    def kernel(start: int, stop: int) -> None:
        if start:
            raise ArithmeticError("second part")

    with pytest.raises(ArithmeticError, match="second part"):
        in_parts(kernel, 2)


def test_the_threads_are_kept() -> None:
    assert threads._pool(2) is threads._pool(2)
