"""Layer 5, supervisor, cold: whether hours of one's own leave time to close what must not stay overnight.

At a broker `trading.market_end` moves neither his square-off nor the end of the engine's day, and after it
nothing is sent: positions that are to be closed later would be left to the broker, and stops not placed.
"""

from __future__ import annotations

from kite_hft.engine.orders.market_facts import is_simulated, phases_of, rules_of_day
from kite_hft.engine.plan.days import trading_day
from kite_hft.sessions import ist_midnight_ns, ist_text, seconds_of_day
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.units import NS_PER_S


def refuse_early_end(
    settings: Settings, now_real_ns: int, instruments: InstrumentTable | None = None
) -> None:
    """instruments: of the run; None: not known yet, and only what is too early for all of them is refused.

    Raises:
        SettingsError: trading.market_end is before the hour until which positions are closed.
    """
    end = settings.trading.market_end
    if not end or is_simulated(settings) or phases_of(settings, now_real_ns) is None:
        return
    day = trading_day(settings, now_real_ns)
    ends = rules_of_day(settings, day).day_ends
    exchanges = None if instruments is None else {row.exchange for row in instruments if not row.is_index}
    flat_by = {
        name: min(e.flat_by_ns for e in ends if name in e.exchanges) for e in ends for name in e.exchanges
    }
    asked = {name: at_ns for name, at_ns in flat_by.items() if exchanges is None or name in exchanges}
    pick = min if exchanges is None else max
    if not asked or seconds_of_day(end) * NS_PER_S >= (until_ns := pick(asked.values())):
        return
    name = next(name for name, at_ns in asked.items() if at_ns == until_ns)
    until = ist_text(ist_midnight_ns(day) + until_ns)[11:]
    raise SettingsError(
        f"trading.market_end {end} is before {until}, until which the engine closes intraday positions "
        f"of {name}: after market_end it sends no order, and they would be left to the broker. Leave "
        "market_start and market_end out (hours come from the calendar then), or set a later market_end; to "
        "stop earlier, end the run with `kite-hft stop --flatten`"
    )
