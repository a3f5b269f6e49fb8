"""What the tests of the simulator's faults share: injecting, the log, waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sim_tools import Running


def wait(condition: Callable[[], Any]) -> Any:
    """What `condition` returns once it is true; at most 20 s."""
    deadline = time.monotonic() + 20
    while not (met := condition()):
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.02)
    return met


def inject(running: Running, **row: Any) -> int:
    """Inject one row; how many rows the log had before."""
    before = len(running.faults())
    assert running.post("/_sim/inject", row) == {"injected": 1}
    return before


def logged(running: Running, before: int, kind: str, many: int = 1) -> list[dict[str, Any]]:
    """The rows that the log has more than before: so many, of that kind, numbered on, of this minute."""
    rows = running.faults()[before:]
    assert [row["kind"] for row in rows] == [kind] * many
    assert [row["seq"] for row in rows] == list(range(before + 1, before + many + 1))
    assert all(abs(row["at_ns"] - time.time_ns()) < 60e9 for row in rows)
    return rows
