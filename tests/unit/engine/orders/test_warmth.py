"""When rehearsals are due, and how they end."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from orders_world import World

from kite_hft.engine.orders import warmth
from kite_hft.engine.orders.warmth import EVERY_NS, FOR_NS, LOOK_NS, Warmth, warmth_of
from kite_hft.net.mirror import MirrorError
from kite_hft.trading.sending.rehearsal import RehearsalError

NOW = 10**12


class Walks:
    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.like = error, []  # type: ignore[var-annotated]

    def walk(self, like: object, now_ns: int) -> None:
        self.like.append(like)
        if self.error is not None:
            raise self.error


def made(
    last_ns: int, error: Exception | None = None, last: object = "intent"
) -> tuple[Warmth, Walks, list[str]]:
    said: list[str] = []
    walks: Any = Walks(error)
    stage: Any = SimpleNamespace(
        express=SimpleNamespace(last=last, last_ns=last_ns), outbox=SimpleNamespace(stirred=0), idle=True
    )
    clock: Any = SimpleNamespace(mono_ns=lambda: next(TIMES))
    return Warmth(stage, walks, clock, said.append), walks, said


TIMES = itertools.count(NOW, 1000)
"""Each look at the clock takes a microsecond."""


def test_they_are_due_while_orders_leave_and_no_longer() -> None:
    for age_ns, due in ((0, True), (FOR_NS - 1, True), (FOR_NS, False), (2**62, False)):
        warm, _, _ = made(NOW - age_ns)
        assert warm.until_ns(NOW, NOW + 10 * EVERY_NS) == NOW + (EVERY_NS if due else 10 * EVERY_NS)
        assert warm.until_ns(NOW, NOW + 5) == NOW + 5, "never past what else is due"


def test_who_looks_rehearses_as_soon_as_an_order_has_come_to_rest() -> None:
    warm, walks, _ = made(NOW)
    stage: Any = warm._stage
    far_ns = NOW + 10 * EVERY_NS
    assert warm.look_until_ns(NOW, far_ns) == NOW + EVERY_NS, "nothing has happened"
    stage.outbox.stirred, stage.idle = 1, False
    assert warm.look_until_ns(NOW, far_ns) == NOW + EVERY_NS, "more is to come of it"
    stage.idle = True
    assert warm.look_until_ns(NOW, far_ns) == NOW + LOOK_NS
    assert warm.look_until_ns(NOW, NOW + 5) == NOW + 5, "never past what else is due"
    warm.keep(NOW)
    assert walks.like and warm.look_until_ns(NOW, far_ns) == NOW + EVERY_NS, "once is enough"
    stage.outbox.stirred, warm.over = 2, True
    assert warm.look_until_ns(NOW, far_ns) == far_ns, "no order is rehearsed any more"


@pytest.mark.parametrize("at", [1, 3])
def test_a_look_ends_with_what_comes_with_the_time_and_for_sleep(at: int) -> None:
    warm, walks, _ = made(next(TIMES))
    asked: list[int] = []

    def came(until_ns: int) -> bool:
        """Something comes in look `at`; until then time passes."""
        asked.append(until_ns)
        if len(asked) < at:
            while next(TIMES) < until_ns:
                pass
        return True

    assert warm.look(came, NOW + FOR_NS) and len(asked) == at
    assert len(walks.like) == at - 1, (
        "one rehearsal each time that nothing has come, and none before what has"
    )
    walks.like.clear()
    assert not warm.look(lambda until_ns: False, NOW + FOR_NS) and not walks.like, "it is time to sleep"
    due_ns = next(TIMES) + 2
    assert warm.look(lambda until_ns: True, due_ns) and not walks.like, "what is due comes first"


def test_an_order_like_the_last_one() -> None:
    warm, walks, said = made(NOW)
    warm.keep(NOW)
    assert walks.like == ["intent"] and not said
    warm, walks, _ = made(NOW, last=None)
    warm.keep(NOW)
    assert not walks.like


@pytest.mark.parametrize("kind", [OSError, RehearsalError, ValueError])
def test_the_first_fault_ends_them_and_is_told(kind: type[Exception]) -> None:
    warm, walks, said = made(NOW, kind("no more"))
    warm.keep(NOW)
    warm.keep(NOW)
    assert len(walks.like) == 1 and said == ["orders: no order is rehearsed any more: no more"]
    assert warm.over and warm.until_ns(NOW, NOW + 10 * EVERY_NS) == NOW + 10 * EVERY_NS


def test_a_stage_is_rehearsed_with_a_connection_to_ourselves(tmp_path: Path) -> None:
    world, said = World().start(), list[str]()
    with contextlib.ExitStack() as held:
        warm = warmth_of(world.stage, world.stage._ports, tmp_path, world.clock, held, said.append)
        assert warm is not None and not said
        world.send(1)
        warm.keep(world.clock.mono)
        assert warm._rehearsal.walked == 1 and not warm.over


def test_where_it_cannot_be_the_engine_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(clock: object) -> None:
        raise MirrorError("no connection to ourselves")

    monkeypatch.setattr(warmth, "Mirror", none)
    world, said = World(), list[str]()
    with contextlib.ExitStack() as held:
        assert warmth_of(world.stage, world.stage._ports, tmp_path, world.clock, held, said.append) is None
        assert said == ["orders: no order is rehearsed: no connection to ourselves"]
        world.stage.express = None
        assert warmth_of(world.stage, world.stage._ports, tmp_path, world.clock, held, said.append) is None
