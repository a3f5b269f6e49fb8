"""The connections that bring order updates: which they are, and what their processes have counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segments as tools

from kite_hft import _counters
from kite_hft.engine.orders.update_links import bringing_updates, heard, update_links
from kite_hft.engine.processes.segments import Segments
from kite_hft.layout import COUNTERS, HISTOGRAMS, TEXT, SegmentKind
from kite_hft.memory import segment
from kite_hft.memory.counters import COUNTER_INDEX
from kite_hft.trading.ports import UpdateLink


def config(*carrying: str, texts: int, mode: str = "live") -> dict[str, Any]:
    connections = [{"number": i, "broker": broker} for i, broker in enumerate(carrying)]
    return {"api": {"mode": mode}, "connections": connections, "texts": list(range(texts))}


@pytest.mark.parametrize(
    ("told", "broker", "wanted"),
    [
        (config("kite", "kite", "kite", texts=3), "kite", [0, 1, 2]),  # beside the prices
        (config("upstox", texts=2), "upstox", [1]),  # a socket for them
        (config("upstox", "upstox", texts=3), "kite", [2]),  # prices from the other
        (config("kite", "upstox", texts=2), "kite", [0]),  # prices from both
        (config("kite", "upstox", texts=3), "upstox", [2]),
        (config("kite", texts=2), "kite", [1]),  # prices by HTTP
        (config("kite", texts=1, mode="paper"), "kite", []),
        (config("upstox", texts=1, mode="sandbox"), "upstox", []),
    ],
)
def test_which_connections_bring_updates(told: dict[str, Any], broker: str, wanted: list[int]) -> None:
    assert bringing_updates(told, broker) == wanted


class Texts:
    """A queue with three texts."""

    def __init__(self) -> None:
        self.left = 3

    def drain(self, out: np.ndarray) -> int:
        taken, self.left = min(self.left, len(out)), max(0, self.left - len(out))
        return taken


@pytest.mark.parametrize(
    ("told", "broker", "wanted"),
    [
        (config("kite", "kite", texts=2), "kite", [3, 3]),
        (config("kite", texts=1, mode="paper"), "kite", [0]),  # the account's own orders are none of paper's
        (config("kite", "upstox", texts=3), "upstox", [0, 0, 3]),
    ],
)
def test_updates_of_another_account_are_taken_and_not_looked_at(
    told: dict[str, Any], broker: str, wanted: list[int]
) -> None:
    queues, out = [Texts() for _ in told["texts"]], np.zeros(8, TEXT)
    sources = heard(told, broker, queues)
    assert [source.drain(out) for source in sources] == wanted
    assert all(queue.left == 0 for queue in queues)


def test_what_they_have_counted(tmp_path: Path) -> None:
    sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
    paths = {
        f"counters-feed-{n}": tools.make(
            tmp_path, SegmentKind.COUNTERS, 1, name=f"counters-feed-{n}", **sizes
        )
        for n in (1, 4)
    }
    held = segment.attach(paths["counters-feed-4"], SegmentKind.COUNTERS, writable=True, claim=False)
    segments = Segments({name: str(path) for name, path in paths.items()})
    look, writer = update_links([1, 4], segments), _counters.CounterWriter(held.view)
    at = COUNTER_INDEX["feed"]
    for name, n in (("connects", 3), ("disconnects", 2), ("texts_dropped", 5)):
        writer.add(at[name], n)
    writer.set(at["connected"], 1)
    writer.set(at["last_frame_ns"], 77)
    assert look() == [UpdateLink(False, 0, 0, 0, 0), UpdateLink(True, 3, 2, 5, 77)]
    del look, writer
    segments.close()
    held.close()
