"""The loss limit of the day: at which paisa it trips, what happens then, and how far the next one is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.memory.journal import Kind
from kite_hft.trading.gate.losses import DailyLoss

LIMIT = 1_000_00  # 1,000 rupees


class World:
    """What surrounds the limit, and all that it was told, in order."""

    def __init__(
        self, action: str = "kill", *, limit: int | None = LIMIT, before: int = 0, latch: bool = True
    ) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.killed = ""

        def tell(*words: Any) -> None:
            self.told.append(words)

        def kill(text: str, flatten: bool) -> None:
            tell("kill", text, flatten)
            self.killed = text if latch else ""

        ports: Any = SimpleNamespace(kill=kill, killed=lambda: self.killed, day_net_paise=before)
        config: Any = SimpleNamespace(max_daily_loss_paise=limit, on_daily_loss=action)
        outbox: Any = SimpleNamespace(
            count=lambda name: tell("count", name), journal=lambda kind, data: tell("journal", kind, data),
            alert=lambda code, text: tell("alert", code, text), halt=lambda text: tell("halt", text),
        )  # fmt: skip
        states: Any = SimpleNamespace(reduce=lambda text, code: tell("reduce", text, code))
        self.limit = DailyLoss(ports, config, outbox, states)


def test_the_limit_is_reached_at_its_very_paisa() -> None:
    for net, reached in ((0, False), (LIMIT, False), (-LIMIT + 1, False), (-LIMIT, True), (-LIMIT - 1, True)):
        world = World()
        assert world.limit.look(net) is reached and bool(world.told) is reached, net
    world = World(limit=None)
    assert world.limit.look(-(10**12)) is False and not world.told


def test_it_is_told_counted_and_journalled_before_anything_is_done() -> None:
    world = World("flatten")
    assert world.limit.look(-LIMIT - 50)
    text = "net loss of the day 1000.50 >= limit 1000.00 rupees"
    assert world.told == [
        ("count", "guards_tripped"),
        ("journal", Kind.GUARD, {"guard": "daily_loss", "net_paise": -LIMIT - 50, "limit_paise": LIMIT,
                                 "action": "flatten"}),
        ("alert", "DAILY_LOSS", f"{text}: flatten"),
        ("kill", text, True),
    ]  # fmt: skip


@pytest.mark.parametrize(("action", "last"), [("kill", "kill"), ("flatten", "kill"), ("reduce", "reduce")])
def test_what_is_configured_happens(action: str, last: str) -> None:
    world = World(action)
    assert world.limit.look(-LIMIT) is True
    assert world.told[-1][0] == last and len(world.told) == 4
    assert world.told[-1][2] == {"kill": False, "flatten": True, "reduce": ""}[action]


def test_a_latch_that_cannot_be_written_halts() -> None:
    world = World(latch=False)
    assert world.limit.look(-LIMIT) is True
    assert [words[0] for words in world.told[-2:]] == ["kill", "halt"]
    assert world.told[-1][1] == world.told[-2][1]


def test_what_the_days_earlier_runs_lost_counts() -> None:
    world = World(before=-LIMIT + 10)
    assert not world.limit.look(-9) and world.limit.look(-10)
    world = World(before=LIMIT)
    assert not world.limit.look(-2 * LIMIT + 1) and world.limit.look(-2 * LIMIT)
    assert world.told[1][2]["net_paise"] == -LIMIT, "of the day, not of the run"


def test_it_takes_as_large_a_loss_once_more_to_trip_again() -> None:
    world = World()
    assert world.limit.look(-LIMIT - 7) and not world.limit.look(-LIMIT - 8)
    assert not world.limit.look(-2 * LIMIT - 6) and world.limit.look(-2 * LIMIT - 7)
    assert "2000.07 >= limit 1000.00 rupees (after 1000.07 that were let pass)" in world.told[-1][1]


def test_a_process_that_is_started_again_knows_what_was_let_pass() -> None:
    world = World()
    world.limit.restore(-LIMIT - 7)
    assert not world.limit.look(-2 * LIMIT - 6) and world.limit.look(-2 * LIMIT - 7)
