"""A CT that is planned in seconds, and an engine that runs in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cheap_case import write_cheap_case


@pytest.fixture(scope="session")
def ct(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_cheap_case(tmp_path_factory.mktemp("cheap") / "a")


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run tasks in this process; yields the names of those computed."""
    pytest.importorskip("distributed")
    from planner.cohort import engine
    from planner.cohort.one import run_case

    computed: list[str] = []

    @contextmanager
    def nobody(*_: Any) -> Iterator[None]:
        yield None

    def one_by_one(_client: Any, tasks: Any, tell: Callable[..., None]) -> None:
        for task in tasks:
            computed.append(task.case.id)
            tell(task, run_case(task))

    monkeypatch.setattr(engine, "local", nobody)
    monkeypatch.setattr(engine, "dashboard_of", lambda _client: "")
    monkeypatch.setattr(engine, "run_tasks", one_by_one)
    return computed
