"""Layer 6, by hand, cold: the verbs of `kite-hft`, each a file that loads when it is called."""

from __future__ import annotations

from typing import Final

import typer

from kite_hft.app.lazily import MARKUP, Verb, group_of

VERBS: Final = (
    Verb(
        "credentials",
        "keys.credentials:credentials",
        "Keep the keys of your brokers, and how you are told of alerts, in one encrypted file: the vault.",
        "Keys",
    ),
    Verb(
        "login",
        "keys.login:login",
        "Log in at the broker: once a day, by hand, on the broker's own page.",
        "Keys",
    ),
    Verb(
        "logout",
        "keys.login:logout",
        "End the day's token at the broker, and take it out of the vault.",
        "Keys",
    ),
    Verb(
        "config",
        "setup.config:config",
        "Write, check and show the configuration.",
        "Set up",
    ),
    Verb(
        "instruments",
        "setup.instruments:verb",
        "The brokers' instrument lists of the day: fetch, look up, choose from, compare.",
        "Set up",
    ),
    Verb(
        "metadata",
        "setup.metadata:metadata",
        "Gather daily bars of many years, and make metadata.parquet and metadata.json of them.",
        "Set up",
    ),
    Verb(
        "doctor",
        "day.doctor.verb:doctor",
        "Look at everything that a live day needs, and say how to mend what is not right.",
        "Day",
    ),
    Verb(
        "morning",
        "day.morning.verb:morning",
        "One look before the day, ending in GO, REDUCE-ONLY or NO-GO, and why.",
        "Day",
    ),
    Verb(
        "end-of-day",
        "day.ending.end_of_day:end_of_day",
        "After the close: stop the engine, compare the day with the broker, save the history, export "
        "the files.",
        "Day",
    ),
    Verb(
        "incident",
        "day.incident.verb:incident",
        "Pack everything about a run into one archive, for a broker's ticket or for yourself.",
        "Day",
    ),
    Verb("run", "steer.run:run", "Run the trading engine with a configuration file.", "Run"),
    Verb(
        "status",
        "look.status:status",
        "Processes, connections, state, open alerts, working orders, positions and P&L.",
        "Look",
    ),
    Verb(
        "top",
        "look.top:top",
        "Watch a running engine: rates, lag, latency by stage, processes, connections, instruments.",
        "Look",
    ),
    Verb(
        "positions",
        "look.positions:positions",
        "Open positions with gross, charges and net; `stop` says whether a stop at the broker protects them.",
        "Look",
    ),
    Verb(
        "orders",
        "look.orders:orders",
        "Orders that may still fill; with --all every order of the run.",
        "Look",
    ),
    Verb(
        "pnl",
        "look.pnl:pnl",
        "Profit and loss of the run in rupees: realised, unrealised, gross, charges, net.",
        "Look",
    ),
    Verb("alerts", "look.alerts:alerts", "Alerts of the run that wait for somebody, worst first.", "Look"),
    Verb(
        "aux",
        "files.aux:aux",
        "Greeks, deeper levels, auction figures, bars and market states of a running engine, as JSON lines.",
        "Look",
    ),
    Verb(
        "stop",
        "steer.stop:stop",
        "Stop the engine in order: first what stays open is said, then you are asked.",
        "Steer a running engine",
    ),
    Verb(
        "kill",
        "steer.kill:kill",
        "Kill trading at once, without asking: nothing opens any more, every entry is cancelled.",
        "Steer a running engine",
    ),
    Verb(
        "kill-switch",
        "steer.kill_switch:kill_switch",
        "Lock the account at the broker, as the last resort: Upstox's own kill switch, by segment.",
        "Steer a running engine",
    ),
    Verb(
        "halt",
        "steer.halt:halt",
        "Halt trading at once, without asking: no opening order any more until `kite-hft resume`.",
        "Steer a running engine",
    ),
    Verb(
        "cancel-all",
        "steer.cancel_all:cancel_all",
        "Cancel every order that would open something, at once, without asking; the engine trades on.",
        "Steer a running engine",
    ),
    Verb(
        "resume",
        "steer.resume:resume",
        "Let trading go on after a kill, a halt, a limit or a guard: shows what is latched, then asks.",
        "Steer a running engine",
    ),
    Verb(
        "resolve",
        "steer.resolve:resolve",
        "Say what became of an order whose fate the engine does not know, after a look into the "
        "broker's app.",
        "Steer a running engine",
    ),
    Verb(
        "subscribe",
        "steer.subscribe:subscribe",
        "Subscribe instruments of the run, or change their mode, while the engine trades.",
        "Steer a running engine",
    ),
    Verb(
        "unsubscribe",
        "steer.subscribe:unsubscribe",
        "End the market data of instruments of the run; orders in them are refused as stale from then on.",
        "Steer a running engine",
    ),
    Verb(
        "token",
        "steer.token:token",
        "Give the running engine a new access token, after a new login.",
        "Steer a running engine",
    ),
    Verb(
        "journal",
        "files.journal:journal",
        "Print a journal as JSON, one line per record: the header first, then how the file ends.",
        "Files",
    ),
    Verb(
        "recording",
        "files.recording:recording",
        "Describe a recording: kind, connection, rows or frames, times, and every gap that was counted.",
        "Files",
    ),
    Verb(
        "convert",
        "files.convert:convert",
        "Convert recorded ticks to a Parquet file for pandas, polars or DuckDB.",
        "Files",
    ),
)

app = typer.Typer(
    name="kite-hft",
    cls=group_of(VERBS),
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    help="Run a trading engine, look at it and steer it. Looking never disturbs it.\n\n"
    "`kite-hft VERB --help` tells all of a verb. Every verb takes --json: one object on standard output, "
    "also for what goes wrong. Exit codes: 0 done, 1 not so or refused, 2 command line or configuration, 3 "
    "not ready, 4 a process failed, 130 Ctrl-C.",
)


@app.callback()
def _verbs() -> None:
    """Has no options of its own."""
