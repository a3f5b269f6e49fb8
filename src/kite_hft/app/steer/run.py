"""Layer 6, by hand, cold: `kite-hft run`: the engine with a configuration, until Ctrl-C."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from kite_hft.app.answering import JsonOption, print_json, refuse
from kite_hft.app.keys.vault_options import PasswordFdOption
from kite_hft.app.output import forgive_lost_output
from kite_hft.app.setup.options import EnvironmentOption
from kite_hft.loading import loading

LiveOption = Annotated[
    str | None,
    typer.Option(
        "--live",
        metavar="ACCOUNT",
        help="Confirm mode live for this account; without it the account is asked for at the start.",
    ),
]


def run(
    config: Annotated[
        Path,
        typer.Argument(
            envvar="KITE_CONFIG_PATH", help="Configuration file (YAML), for example examples/kalman_ml.yaml."
        ),
    ],
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds; else run until Ctrl-C.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also copy report.json to this file.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live panel.")] = False,
    password_fd: PasswordFdOption = None,
    environment: EnvironmentOption = None,
    live: LiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the trading engine with a configuration file.

    The same as `python -m kite_hft.engine --config FILE`. Stopping is orderly: entries that rest are
    cancelled, stops at the broker stay, and what stays open is said. Keys that the configuration leaves
    empty come from the vault: kite-hft credentials, kite-hft login. Mode live shows what will trade and asks
    for the account, or takes it from --live.

    --json gives the report as an object at the end; all else goes to standard error.

    Exit codes: 0 in order, 1 mode live was not confirmed, 2 wrong configuration, 3 machine or session not
    ready, 4 a process failed.
    """
    with loading():
        from kite_hft.engine.command import main, started  # loads all of the engine

    if not as_json:
        try:
            return main(config, duration, report, plain, password_fd, environment, live)
        finally:
            forgive_lost_output()  # the run's log has all that was said
    with tempfile.TemporaryDirectory(prefix="kite-hft-") as folder, redirect_stdout(sys.stderr):
        kept = report or Path(folder) / "report.json"
        code, wrong = started(config, duration, kept, True, password_fd, environment, live)
        found = json.loads(kept.read_text("utf-8")) if not wrong and kept.exists() else None
    if wrong:
        raise refuse("run", wrong, code)
    print_json({"exit_code": code, "report": found})
    raise typer.Exit(code)
