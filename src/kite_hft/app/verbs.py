"""Layer 6, by hand, cold: the verbs of `kite-hft`, gathered: one file each."""

from __future__ import annotations

import typer

from kite_hft.app.alerts import alerts
from kite_hft.app.convert import convert
from kite_hft.app.halt import halt
from kite_hft.app.journal import journal
from kite_hft.app.kill import kill
from kite_hft.app.orders import orders
from kite_hft.app.pnl import pnl
from kite_hft.app.positions import positions
from kite_hft.app.recording import recording
from kite_hft.app.resolve import resolve
from kite_hft.app.resume import resume
from kite_hft.app.status import status
from kite_hft.app.stop import stop
from kite_hft.app.subscribe import subscribe, unsubscribe
from kite_hft.app.token import token
from kite_hft.app.top import top

LOOK = (status, top, positions, orders, pnl, alerts)
STEER = (stop, kill, halt, resume, resolve, subscribe, unsubscribe, token)
FILES = (journal, recording, convert)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Look at a trading engine and steer it. Looking never disturbs it.",
)


@app.callback()
def _verbs() -> None:
    """Look at a trading engine and steer it."""


for _panel, _group in (("Look", LOOK), ("Steer a running engine", STEER), ("Files", FILES)):
    for _verb in _group:
        app.command(rich_help_panel=_panel)(_verb)
