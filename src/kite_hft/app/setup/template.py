"""Layer 6, by hand, cold: the commented configuration that `kite-hft config init` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kite_hft.configuring.models.broker import FILES
from kite_hft.configuring.models.market import TradingSection

LOSS_DEFAULT: Final = 5000.0
SIM_DAY: Final = "2026-11-20"
MODES: Final = {"kite": "ltp, quote, full", "upstox": "ltpc, option_greeks, full"}


def template(broker: str, mode: str, account: str, max_daily_loss: float, dated: Path | None = None) -> str:
    """The text of a configuration. dated: the folder with rules/ and calendar/, if not the file's own."""
    parts = [
        _head(broker, mode, account),
        _simulator() if mode == "sim" else _keys(broker),
        _datafeed(broker, mode),
        _strategies(mode),
        _risk(max_daily_loss),
        _trading(broker, mode, dated),
        PERFORMANCE,
        _alerts(mode),
    ]
    return "\n".join(parts)


def _head(broker: str, mode: str, account: str) -> str:
    return f"""\
# Configuration of kite_hft. Every key: docs/configuration.md. `kite-hft config check` looks at this file and
# at all that it names, `kite-hft config show` tells each value in force and where it is from.
# Keys and tokens do not belong here: `kite-hft credentials` keeps them in an encrypted vault.
# What differs from one environment to another stands in config.NAME.yaml beside this file, and is taken with
# --environment NAME; variables like KITE_RISK__MAX_POSITIONS=5 come over both.

mode: {mode:<16} # sim: the simulator; paper: real prices, no order leaves the machine; live: real orders
broker: {broker:<14} # kite or upstox: who gets the orders
account: {account:<13} # your name for the account; mode live asks for it at each start
# profile: speed       # speed: cores of their own, huge pages; lean: little memory, nothing recorded
"""


def _keys(broker: str) -> str:
    return f"""\
credentials:
  profile: default     # of {broker} in the vault; `kite-hft login` gets the day's token
# {broker}: {{bind_address: 203.0.113.7}}   # of several addresses the one that {broker} has registered
"""


def _simulator() -> str:
    return f"""\
simulator:
  instruments: 20
  rate: 10             # ticks per second and instrument
  seed: 7              # the price path comes from here
  exchange_time: "{SIM_DAY}T10:00:00"   # the simulator's market is always open
  cash: 1000000        # rupees
"""


def _datafeed(broker: str, mode: str) -> str:
    instruments = "all" if mode == "sim" else "[NSE:INFY, NSE:SBIN]"
    return f"""\
datafeed:
  instruments: {instruments}   # what you trade or watch: EXCHANGE:SYMBOL
  mode: full           # {MODES[broker]}; equity_mode, futures_mode, options_mode: by kind
  store_ticks: true    # into the run folder; `kite-hft convert` makes Parquet of it
  tick_storage_format: binary   # binary: 64 bytes a tick; frames: what came on the wire; both
"""


def _strategies(mode: str) -> str:
    threshold, quantity = ("0.0005", 150) if mode == "sim" else ("0.001", 1)
    return f"""\
strategies:
  - name: kalman_simple   # or path/to/file.py:Class
    form: B               # A: a class in Python; B: compiled
    instruments: all
    params:
      threshold: {threshold}
      warmup: 50
      quantity: {quantity}
"""


def _risk(max_daily_loss: float) -> str:
    return f"""\
risk:                      # rupees; the gate refuses what is above
  max_daily_loss: {max_daily_loss:g}     # net of charges; then:
  on_daily_loss: reduce    # reduce: only exits; kill: entries cancelled, too; flatten: all is closed
  max_order_value: 200000
  max_position_size: 100000
  max_positions: 20
  max_exposure: 1000000
  # capital: 500000        # with it daily_loss_limit, drawdown_limit and max_single_stock are shares of it
"""


def _trading(broker: str, mode: str, dated: Path | None) -> str:
    lines = ["trading:"]
    if mode == "sim":
        lines.append(f"  date: {SIM_DAY}     # the simulated day; without it today")
    if dated is not None:
        rows = {"calendar": TradingSection.model_fields["calendar"].default, **FILES[broker]}
        rows |= {name: TradingSection.model_fields[name].default for name in ("market", "indices")}
        lines += [f"  {name}: {dated / path}" for name, path in rows.items()]
    lines += [
        "  # hours come from the calendar; market_start and market_end (HH:MM:SS) override it",
        "  # limits of calls come from trading.rules, dated files under config/rules",
        "  intent_deadline_s: 2.0   # an order that could not leave for so long is dropped",
    ]
    return "\n".join(lines) + "\n"


PERFORMANCE: Final = """\
performance:
  ring_buffer_size: 131072   # ticks kept in memory, 192 bytes each
  batch_size: 1000
  wait: auto               # spin, yield, park, adaptive; auto: by the number of cores
"""


def _alerts(mode: str) -> str:
    needed = "mode live needs one of hook, webhook and Telegram" if mode == "live" else "who is told when"
    show = (
        "\n  naked_limit: 100000000 # rupees without a stop: the example keeps none" if mode == "sim" else ""
    )
    return f"""\
alerts:                    # {needed}
  remind_s: 300{show}
  # hook: ["/bin/sh", "-c", "cat >> $HOME/kite_hft_alerts.txt"]
  # webhook, Telegram, heartbeat: secrets, `kite-hft credentials --broker alerts` keeps them in the vault
"""
