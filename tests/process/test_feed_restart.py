"""A killed feed process: its successor goes on in counters, numbering and what is known of each slot."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from kite_hft.engine.processes.control import ask
from kite_hft.engine.runs.runs import NOTE, read_note
from kite_hft.trading.instruments import read_csv
from kite_hft.verify.prices import chain

WITH_SPARES = True


def control_socket(folder: Path) -> Path:
    """Where the engine of this run folder listens."""
    (note,) = folder.rglob(f"20*/*/{NOTE}")
    found = read_note(note)
    assert found is not None
    return Path(found.control)


@pytest.mark.parametrize(("packing", "name"), [("separate", "feed-1"), ("fused", "market-1")])
def test_a_killed_feed_goes_on_where_it_was(tmp_path: Path, packing: str, name: str) -> None:
    options = chain.parser().parse_args(
        ["--instruments", "60", "--rate", "10", "--duration", "6", "--packing", packing, "--connections", "2",
         "--packets-per-frame", "5"]
    )  # fmt: skip
    told: list[dict[str, int]] = []
    killed: list[int] = []

    def kill(stats: dict[str, Any], engine: int, _simulator: int) -> None:
        if stats.get("ticks", 0) > 600 and not told:
            tokens = read_csv(next(tmp_path.rglob("instruments.csv"))).tokens()
            told.append(
                ask(control_socket(tmp_path), {"do": "unsubscribe", "tokens": tokens[1::2][:5].tolist()})[
                    "told"
                ]
            )
        if stats.get("ticks", 0) > 1200 and not killed:
            (process,) = [p for p in psutil.Process(engine).children() if p.name() == name]
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    done = chain.run_pair(
        chain.simulator_command(options), lambda told: chain.configuration(options, told), tmp_path, kill
    )
    assert killed and done.code == 0
    ticks = done.report["ticks"]
    first, second = ticks["by_connection"]
    assert (first["restarts"], second["restarts"]) == (0, 1)
    assert second["connects"] == second["disconnects"] == 2 and first["connects"] == 1
    assert ticks["published"] == ticks["computed"] + ticks["lost"]
    # The server sends to living connections only; what lay in the dead process's socket is gone.
    assert 0 <= done.stats["ticks"] - ticks["received"] < 100
    # Each connection sends 300 ticks a second: far more came after the restart than before it.
    assert second["received"] > 700
    assert second["gaps"] > 20 and first["gaps"] == 0  # instruments whose gap has ended
    assert not any(ticks["malformed"].values())
    # What a person unsubscribed before the kill stays so.
    assert told == [{name: 5}]
    assert sorted(c["subscribed"] for c in done.stats["connections"]) == [25, 30]
