"""Saved and restored, and told its orders again: the same in both forms, and never twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kite_hft.layout import ORDER_EVENT, EventKind, OrderStatus
from kite_hft.strategies.hosts import CompiledHost, PythonHost, new_batch
from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled

SLOTS = np.arange(4, dtype=np.uint32)
BATCH = new_batch(8, SLOTS + 1000, np.full(4, 100.0))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numba")
    folder.chmod(0o700)
    return folder


def hosts(cache: Path) -> list[PythonHost | CompiledHost]:
    return [
        PythonHost(KalmanSimple(), 1, BATCH),
        CompiledHost(KalmanSimpleCompiled(), 1, BATCH, cache_dir=cache),
    ]


def event(kind: EventKind, status: OrderStatus, seq: int, position: int = 0) -> np.ndarray:
    made = np.zeros(1, ORDER_EVENT)
    made["strategy"], made["slot"], made["product"] = 1, 2, 3
    made["kind"], made["status"], made["strategy_seq"], made["position"] = kind, status, seq, position
    return made


def order_in_flight(host: PythonHost | CompiledHost) -> int:
    if isinstance(host, CompiledHost):
        return int(host.states["order_seq"][2])
    mine = host.strategy._slots.get(2)  # type: ignore[attr-defined]
    return mine.order_id if mine else 0


def test_snapshots_of_orders_are_taken_once(cache: Path) -> None:
    for host in hosts(cache):
        again = event(EventKind.SNAPSHOT, OrderStatus.OPEN, 7, position=5)
        for _ in range(2):
            host.events(again, 1)
            assert order_in_flight(host) == 7 and host.positions["qty"][2] == 5
        host.events(event(EventKind.SNAPSHOT, OrderStatus.OPEN, 6, position=5), 1)
        assert order_in_flight(host) == 7, "what it knows of stands"
        host.events(event(EventKind.SNAPSHOT, OrderStatus.COMPLETE, 7, position=6), 1)
        assert order_in_flight(host) == 0 and host.positions["qty"][2] == 6
        host.events(event(EventKind.SNAPSHOT, OrderStatus.COMPLETE, 7, position=6), 1)
        host.events(event(EventKind.SNAPSHOT, OrderStatus.CANCELLED, 0, position=6), 1)
        assert order_in_flight(host) == 0 and host.positions["qty"][2] == 6


def test_what_is_saved_comes_back(cache: Path) -> None:
    for host, fresh in zip(hosts(cache), hosts(cache), strict=True):
        host.events(event(EventKind.SNAPSHOT, OrderStatus.OPEN, 7, position=5), 1)
        host.outbox.next_seq = 9
        saved = {k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in host.save(SLOTS[1:]).items()}
        assert fresh.restore(saved, SLOTS[1:])
        assert fresh.outbox.next_seq == 9 and order_in_flight(fresh) == 7
        assert fresh.positions.tobytes() == host.positions.tobytes()
        with pytest.raises(ValueError, match="3 rows saved, 4 slots"):
            fresh.restore(saved, SLOTS)
