"""Layer 2, orders process, hot: Upstox as the order stage sees it: all of its calls closed over one table."""

from __future__ import annotations

from functools import partial
from typing import Final

from kite_hft.brokers.upstox import account, basket, books, calls, gtt, market
from kite_hft.brokers.upstox.answers import parse_outcome, parse_trigger_outcome
from kite_hft.brokers.upstox.keys import Names, require_keys
from kite_hft.trading.broker import Broker
from kite_hft.trading.instruments import InstrumentTable

NAME: Final = "upstox"


def upstox(instruments: InstrumentTable, sandbox: bool = False, algo_name: str = "") -> Broker:
    """The adapter for a run's instruments.

    sandbox: its one host takes orders only, and no triggers; its books are kept by brokers/upstox/sandbox.py.
    algo_name: of an algorithm registered with the exchange; goes out as X-Algo-Name.

    Raises:
        KeyMissing: a tradable instrument has no Upstox key.
    """
    require_keys(instruments)
    names = Names(instruments)
    return Broker(
        name=NAME,
        place=calls.place,
        modify=calls.modify,
        cancel=calls.cancel,
        order_book=calls.order_book,
        trade_book=calls.trade_book,
        positions=account.positions,
        margins=account.margins,
        parse_outcome=parse_outcome,
        parse_orders=partial(books.parse_orders, names),
        parse_trades=partial(books.parse_trades, names),
        parse_positions=partial(books.parse_positions, names),
        parse_funds=account.parse_funds,
        parse_update=partial(books.parse_update, names),
        auth_headers=partial(calls.auth_headers, algo_name),
        trigger_place=gtt.place,
        trigger_modify=gtt.modify,
        trigger_delete=gtt.delete,
        triggers=gtt.triggers,
        parse_trigger_outcome=parse_trigger_outcome,
        parse_triggers=partial(gtt.parse_triggers, names),
        parse_trigger_update=partial(gtt.parse_update, names),
        quotes=partial(market.quotes, names),
        parse_bands=partial(market.parse_bands, names),
        holdings=account.holdings,
        parse_holdings=partial(account.parse_holdings, names),
        basket_margin=basket.margin,
        parse_basket_margin=basket.parse_margin,
        modify_whole=True,
        trigger_legs_max=0 if sandbox else gtt.LEGS_MAX,
        trigger_limit_apart=False,
        order_paths=() if sandbox else calls.ORDER_PATHS,
        protection_percent=calls.PROTECTION_PERCENT,
        no_order="100000000000000",  # ids begin with the date, and no month is 00
        register_at="Upstox, My Apps (static IP; one change a week, and it ends all tokens)",
        catch_all=True,
        used_with_open=True,
        lists_fired=False,
    )
