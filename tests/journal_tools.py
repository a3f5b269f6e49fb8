"""A journal that takes some records and not others, and the process that comes after such a one."""

from __future__ import annotations

from typing import Any

from orders_world import World

from kite_hft.memory.journal import JournalError, Kind, Record
from kite_hft.trading.records import encode_json
from kite_hft.trading.recovery.resuming import failed_payload

FULL = "journal write failed: No space left on device"


def takes_no(world: World, *kinds: Kind) -> None:
    """The journal takes no record of these kinds; without any: it takes all again."""
    append = type(world.journal).append

    def failing(kind: Kind, time_ns: int, payload: bytes) -> int:
        if kind in kinds:
            raise JournalError(FULL)
        return append(world.journal, kind, time_ns, payload)

    world.journal.append = failing  # type: ignore[method-assign]


def note(world: World) -> None:
    """The record that a process begins with when the one before it could not write its journal any more."""
    takes_no(world)
    world.journal.append(Kind.STATE, world.clock.real_ns(), encode_json(failed_payload(FULL)))


def after(world: World, **more: Any) -> World:
    """The next process of the same run; it is not started yet."""
    takes_no(world)
    world.broker.ready.clear()
    fresh = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), config=world.config, intents=world.intents,
        texts=world.texts, events=world.events, counters=world.counters,
        more={"restarted": True, "counted": dict(world.stage.outbox.totals)} | more,
    )  # fmt: skip
    fresh.quote()
    return fresh


def of_kind(world: World, kind: Kind) -> list[dict[str, Any]]:
    """What the journal holds of a kind."""
    records: list[Record] = world.journal.records
    return [record.data() for record in records if record.kind is kind]
