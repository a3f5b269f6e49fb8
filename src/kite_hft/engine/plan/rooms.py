"""Layer 5, supervisor, cold: how many instruments the data brokers let through, in the modes of a run.

Told before anything connects, and before a change while the engine trades (engine/processes/steering.py):
what Upstox does with too many keys is not documented, and silence is the likeliest.
"""

from __future__ import annotations

from collections.abc import Mapping

from kite_hft.brokers.table import UpstoxKeys, upstox_keys
from kite_hft.configuring.models.broker import mode_of, rules_of
from kite_hft.engine.orders.settings import check_reach, limits_of
from kite_hft.engine.plan.plan import Plan, PlanError, Room
from kite_hft.engine.plan.polled import gap_s_of, polling_words, refuse_unpollable
from kite_hft.engine.plan.session import Session
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.broker import Limits
from kite_hft.trading.instruments import InstrumentTable


def rooms_of(settings: Settings, session: Session, instruments: InstrumentTable) -> list[Room]:
    """The room at each data broker, in their order.

    Raises:
        SettingsError: a rules file that cannot be used. InstrumentError: datafeed.modes names an instrument
            that is not in the list. PlanError: more than can be asked for by HTTP.
    """
    found = []
    for broker in settings.data_brokers:
        limits = limits_of(settings, broker)
        path = rules_of(broker, settings.broker, settings.trading.rules)
        check_reach(limits, path, session.data_of(broker).feed_url)
        modes = slot_modes(settings, instruments, broker)
        if settings.datafeed.is_polled:
            refuse_unpollable(settings, limits, instruments, broker, modes)
            found.append(Room(len(instruments), 1))
        elif broker == "kite" or limits.loopback_only:
            found.append(Room(limits.instruments_per_connection, limits.connections))
        else:
            found.append(Room(*_keys(settings, limits).room(set(modes.values()), len(instruments))))
    return found


def refuse_excess(
    settings: Settings, instruments: InstrumentTable, plan: Plan, modes: Mapping[int, str] | None = None
) -> None:
    """Look once more at what each connection of Upstox is to carry, mode by mode; or at what is to be asked
    for by HTTP.

    modes: slot -> mode (Upstox's word), of all that would be subscribed; None: as at the start.

    Raises:
        PlanError: more than the broker streams, or lets us ask for; it says what to do.
    """
    if settings.datafeed.is_polled:
        for broker in settings.data_brokers:
            asked = slot_modes(settings, instruments, broker) if modes is None else modes
            refuse_unpollable(settings, limits_of(settings, broker), instruments, broker, asked)
        return
    if "upstox" not in settings.data_brokers:
        return
    limits = limits_of(settings, "upstox")
    if limits.loopback_only:
        return
    modes = slot_modes(settings, instruments, "upstox") if modes is None else modes
    connections = []
    for connection in plan.connections:
        if connection.broker == "upstox":
            wanted: dict[str, list[int]] = {}
            for slot in connection.slots:
                if slot in modes:
                    wanted.setdefault(modes[slot], []).append(slot)
            connections.append(wanted)
    try:
        _keys(settings, limits).check(connections)
    except ValueError as error:
        raise PlanError(str(error)) from None


def polled_lines(settings: Settings, instruments: InstrumentTable) -> list[str]:
    """What is said of prices by HTTP: how old they get, and what does not come with them; [] where a
    websocket brings them. Raises as rooms_of.
    """
    if not settings.datafeed.is_polled:
        return []
    brokers = settings.data_brokers
    limits: dict[str, Limits] = {broker: limits_of(settings, broker) for broker in brokers}
    modes: dict[str, Mapping[int, str]] = {b: slot_modes(settings, instruments, b) for b in brokers}
    return polling_words(settings, limits, instruments, modes)


def answer_gap_s(settings: Settings) -> float:
    """So long may a feed be silent although nothing is wrong: 0, but where it asks for prices by HTTP.

    Raises:
        SettingsError: as rooms_of.
    """
    if not settings.datafeed.is_polled:
        return 0.0
    shares = (limits_of(settings, broker).polling for broker in settings.data_brokers)
    return max((gap_s_of(share.pace) for share in shares if share is not None), default=0.0)


def _keys(settings: Settings, limits: Limits) -> UpstoxKeys:
    try:
        per_user = settings.upstox.keys_counted == "user"
        return upstox_keys(limits.extras, plus=settings.upstox.plus, per_user=per_user)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def slot_modes(settings: Settings, instruments: InstrumentTable, broker: str) -> Mapping[int, str]:
    """Slot -> the mode in which it is subscribed at the start, in the broker's word; those that are off are
    not there."""
    feed = settings.datafeed
    special = {instruments.resolve(name).slot: mode for name, mode in feed.modes.items()}
    asked = {row.slot: special.get(row.slot) or feed.mode_of(row.kind, row.is_index) for row in instruments}
    return {slot: mode_of(broker, mode) for slot, mode in asked.items() if mode != "off"}
