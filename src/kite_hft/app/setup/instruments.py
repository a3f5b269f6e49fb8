"""Layer 6, by hand, cold: `kite-hft instruments`: the day's lists: fetch, look up, choose, compare."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from kite_hft.app.answering import USAGE, refuse
from kite_hft.app.picture import JsonOption, print_json
from kite_hft.app.setup import instruments_screen as screen
from kite_hft.app.setup.lists_at_hand import AtHand, at_hand, telling
from kite_hft.app.setup.options import USUAL, ConfigOption, EnvironmentOption
from kite_hft.engine.market.hours import check_instruments
from kite_hft.engine.market.strategies import StrategyError
from kite_hft.engine.plan.day_changes import day_changes
from kite_hft.engine.plan.masters import load_masters
from kite_hft.engine.plan.universes import choose
from kite_hft.trading.lists.chains import chain as chain_of
from kite_hft.trading.lists.masters import facts
from kite_hft.trading.lists.search import search

verb = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="The brokers' instrument lists of the day: fetch and check them, look an instrument up, see an "
    "option chain, try a universe, compare with yesterday.\n\n"
    "Lists are kept in $XDG_CACHE_HOME/kite_hft/masters (by default ~/.cache) and proved each time they are "
    "read; each verb fetches what is missing. Exit codes: 0 in order, 1 not found or refused, 2 wrong "
    "command "
    "line or configuration, 3 a list cannot be had.",
)

ExchangeOption = Annotated[
    str | None,
    typer.Option("--exchange", metavar="NAME", help="Only this exchange: NSE, BSE, NFO, BFO, MCX."),
]


@verb.command()
def refresh(
    config: ConfigOption = USUAL,
    environment: EnvironmentOption = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Also take a list that is small, or shrank or grew much since yesterday."
        ),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Fetch only what is missing or no longer the day's.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch the day's lists, check them and keep them. Do it after 08:30 IST: Kite makes its list then.

    A list is refused, with the reason, when it is cut short, doubled, of an earlier day, or when more than a
    fifth of the instruments that still live are gone since yesterday. Yesterday's list is never taken
    instead.

    Exit codes: 0 kept, 1 not written, 2 command line or configuration, 3 a list cannot be had, or is
    refused.
    """
    with telling("refresh"):
        known = at_hand(config, environment)
        with screen.progress(as_json, len(known.accesses)) as say:
            for access in known.accesses:
                say(f"{access.broker}: fetching and checking", 0)
                load_masters(
                    known.settings,
                    [access],
                    known.now_ns,
                    known.cache,
                    known.say,
                    accept=accept,
                    renew=not keep,
                )
                say(f"{access.broker}: kept", 1)
        rows = known.states()
        if as_json:
            return print_json({"day": str(known.today), "lists": rows})
        screen.show_lists(rows)


@verb.command()
def find(
    text: Annotated[
        list[str], typer.Argument(help="Words that name, symbol or key contain, as: nifty 24000 ce")
    ],
    exchange: ExchangeOption = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only EQ, FUT, CE, PE or INDEX.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = 20,
    config: ConfigOption = USUAL,
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find instruments by words; shares and near expiries first.

    Exit codes: 0 found, 1 nothing found, 2 command line or configuration, 3 a list cannot be had.
    """
    with telling("find"):
        masters, words = at_hand(config, environment).masters(), " ".join(text)
        rows = search(masters.rows, words, masters.day, exchange=exchange, kind=kind)
        found = [facts(row, masters.day) for row in masters.looked_up(rows[:limit])]
        if as_json:
            print_json({"day": str(masters.day), "found": len(rows), "instruments": found})
        else:
            screen.show_found(words, found, len(rows), masters)
        if not found:
            raise typer.Exit(1)


@verb.command()
def show(
    key: Annotated[str, typer.Argument(help="EXCHANGE:SYMBOL, token, or Upstox key ('NSE_FO|55775').")],
    token: Annotated[
        int | None, typer.Option("--token", help="The token that stands beside it: it must be of the same.")
    ] = None,
    config: ConfigOption = USUAL,
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything that the lists say of one instrument, and whether orders for it would pass.

    With --token the two must name one instrument: an INSTRUMENT_TOKEN that does not belong to its
    INSTRUMENT_KEY is an error that names both.

    Exit codes: 0 found, 1 no such instrument, or the two differ, 2 command line or configuration, 3 a
    list cannot be had.
    """
    with telling("show"):
        masters = at_hand(config, environment).masters()
        names: dict[str, str | int] = {"instrument": int(key) if key.isdecimal() else key}
        row = masters.same(names | ({} if token is None else {"token": token}))
        found = facts(row, masters.day)
        if as_json:
            return print_json({"day": str(masters.day), "instrument": found})
        screen.show_one(found, masters)


@verb.command()
def chain(
    underlying: Annotated[str, typer.Argument(help="NIFTY, SENSEX, RELIANCE, ...")],
    expiry: Annotated[
        str, typer.Option("--expiry", help="nearest, next, weekly, monthly, or YYYY-MM-DD.")
    ] = "nearest",
    exchange: ExchangeOption = None,
    around: Annotated[
        float | None, typer.Option("--around", metavar="PRICE", help="Mark the strike at the money.")
    ] = None,
    strikes: Annotated[
        int, typer.Option("--strikes", min=0, help="So many on either side of it; 0: all of them.")
    ] = 10,
    config: ConfigOption = USUAL,
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
) -> None:
    """The option chain of an underlying: strikes with call and put, its expiries, its futures.

    Exit codes: 0 shown, 1 there is none, 2 command line or configuration, 3 a list cannot be had.
    """
    with telling("chain"):
        masters = at_hand(config, environment).masters()
        when = _day_or_word(expiry)
        found = chain_of(masters.rows, underlying, masters.day, when, exchange)
        money = None if around is None else found.strikes[found.at_the_money(around)]
        if around is not None and strikes:
            found = found.around(around, strikes)
        if as_json:
            return print_json(screen.chain_record(found, masters, money))
        screen.show_chain(found, masters, money)


@verb.command()
def universe(
    file: Annotated[Path, typer.Argument(help="YAML with rules, or a CSV of names (docs/instruments.md).")],
    price: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="NAME=RUPEES", help="Price of an underlying, not the broker's last."),
    ] = None,
    config: ConfigOption = USUAL,
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try a universe: what it picks today, and why the rest is left out. Nothing is traded.

    Exit codes: 0 it picks something, 1 it cannot be used, 2 command line or configuration, 3 a list
    cannot be had.
    """
    with telling("universe"):
        known = at_hand(config, environment)
        masters = known.masters()
        picked = choose(file, masters, known.priced_by(), known.say, known.caps_file(), _prices(price or []))
        rows = [facts(row, masters.day) for row in masters.looked_up(picked.rows)]
        if as_json:
            return print_json(screen.universe_record(file, masters, rows, picked))
        screen.show_universe(file, masters, rows, picked)


@verb.command()
def changes(
    every: Annotated[
        bool, typer.Option("--all", help="Of all instruments, not only of those that are traded.")
    ] = False,
    config: ConfigOption = USUAL,
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is not as it was yesterday: lots, ticks, freeze quantities, contracts that went, restrictions.

    A configured quantity that is no whole lot today is an error: exit code 1.

    Exit codes: 0 compared, 1 a configured quantity is no whole lot today, 2 command line or
    configuration, 3 a list cannot be had.
    """
    with telling("changes"):
        known = at_hand(config, environment)
        only, odd = None, ""
        if not every:
            only, odd = _traded(known)
        found = day_changes(known.settings, known.now_ns, known.cache, only)
        if as_json:
            print_json(screen.changes_record(found, odd))
        else:
            screen.show_changes(found, odd, every=only is None)
        if odd:
            raise typer.Exit(1)


def _traded(known: AtHand) -> tuple[set[str] | None, str]:
    """(names of what the configuration trades, None: all; what cannot be traded as it is configured)."""
    table = known.chosen()
    if not len(table):
        return None, ""
    names = {
        name for row in table for name in (row.key, row.symbol, row.name if row.kind != "EQ" else row.key)
    }
    try:
        for line in check_instruments(known.settings, table, known.now_ns):
            known.say(line)
    except StrategyError as error:
        return names, str(error)
    return names, ""


def _day_or_word(text: str) -> dt.date | str:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return text


def _prices(given: list[str]) -> dict[str, float]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = 0.0
        if not equals or not found[name] > 0:
            raise refuse("instruments universe", f"--price {text}: write NAME=RUPEES", USAGE)
    return found
