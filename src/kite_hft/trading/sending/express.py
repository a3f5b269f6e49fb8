"""Layer 2, orders process, hot where a plain placement waits alone: the express way (_express.Express).

Compiled, it does for such a placement what the parts of the stage do one after the other. It is made only
of parts that are what it was written for: where one has been put in another's place, as the campaigns do
that plant faults, every intent goes the parts' own way.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from kite_hft._entering import Entering
from kite_hft._express import Express
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderRequest
from kite_hft.trading.exits.giving_way import GivingWay
from kite_hft.trading.exits.keeping import Keeper
from kite_hft.trading.exits.stewards import Stewards
from kite_hft.trading.gate.judging import Gate
from kite_hft.trading.gate.states import States
from kite_hft.trading.intents import Intent
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.records import intent_payload
from kite_hft.trading.sending import desk as desk_module
from kite_hft.trading.sending import work as work_module
from kite_hft.trading.sending.budget import Budget
from kite_hft.trading.sending.calls import Calls
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.throttle import EgressGate, Throttle
from kite_hft.trading.sending.work import Work
from kite_hft.units import NS_PER_S

_REPLACED: Final[dict[Any, tuple[str, ...]]] = {
    Intake: ("take", "_take_in", "consider", "_waits", "_number", "send", "commit", "start"),
    GivingWay: ("make_room",),
    Gate: ("judge", "_count"),
    Desk: (
        "place",
        "_work_of",
        "_offer",
        "send",
        "_dispatch",
        "_journal",
        "_leave",
        "withhold",
        "journal_waiting",
    ),
    Entering: ("enter",),
    Book: ("add",),
    Throttle: ("offer", "expired", "take", "free_at"),
    Budget: ("left",),
    EgressGate: ("refuses", "_too_many"),
    Outbox: ("journal", "heed_journal"),
    Calls: ("submit",),
    Keeper: ("act",),
    Stewards: ("act",),
    JournalWriter: ("state",),
    desk_module: ("request_of", "intent_payload"),
    work_module: ("request_of",),
}
"""What the express way does in place of these."""


def _parts() -> list[Any]:
    return [vars(owner)[name] for owner, names in _REPLACED.items() for name in names]


_GENUINE: Final = _parts()


class Stage(Protocol):
    """An order stage, as far as its parts go."""

    active: bool
    outbox: Outbox
    states: States
    desk: Desk
    gate: Gate
    intake: Intake
    keeper: Keeper


def express_of(stage: Stage, ports: Ports, config: OrdersConfig, calls: Calls[Any]) -> Express | None:
    """The express way of an order stage; None: its parts, or its settings, are not such that it could be.

    With fsync_before_send every order waits for the disk.
    """
    genuine = all(part is known for part, known in zip(_parts(), _GENUINE, strict=True))
    if not genuine or config.fsync_before_send:
        return None
    entering = getattr(stage.desk.enter_intent, "__self__", None)
    if not isinstance(entering, Entering):
        return None
    writer = getattr(ports.journal_state, "__self__", None)
    kinds = work_module.SIDES, work_module.ORDER_TYPES, work_module.PRODUCTS, work_module.VALIDITIES
    return Express(
        stage=stage,
        intake=stage.intake,
        desk=stage.desk,
        outbox=stage.outbox,
        calls=calls,
        states=stage.states,
        ports=ports,
        keeper=stage.keeper,
        gate=stage.desk.egress.gate,
        passes=stage.gate.passes,
        entering=entering,
        journal=writer if isinstance(writer, JournalWriter) else None,
        payload=intent_payload,
        kinds=kinds,
        types=(Intent, Work, OrderRequest),
        entry_wait_ns=round(config.entry_wait_s * NS_PER_S),
        protection=config.risk.market_protection,
        latch_again_ns=desk_module.LATCH_AGAIN_NS,
    )
