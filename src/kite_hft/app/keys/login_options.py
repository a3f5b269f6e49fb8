"""Layer 6, by hand, cold: options of `kite-hft login` and `kite-hft logout`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class BrokerName(StrEnum):
    """Whom one can log in at."""

    KITE = "kite"
    UPSTOX = "upstox"


BrokerChoice = Annotated[
    BrokerName | None, typer.Option("--broker", help="Default: the only one in the vault, else the run's.")
]
ProfileChoice = Annotated[
    str | None, typer.Option("--profile", help="Which account of the broker, in the vault.")
]
ConfigChoice = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="KITE_CONFIG_PATH",
        help="Configuration with addresses and profile (default: config/config.yaml).",
    ),
]
Status = Annotated[
    bool, typer.Option("--status", help="Which tokens there are, and until when; 1 when none is good.")
]
Check = Annotated[bool, typer.Option("--check", help="With --status: ask the broker, too.")]
Totp = Annotated[bool, typer.Option("--totp", help="Show the one-time code of now, from the vault.")]
Browser = Annotated[bool, typer.Option("--browser", help="Open the page in this machine's browser.")]
Qr = Annotated[
    bool | None, typer.Option("--qr/--no-qr", help="The address as a QR code (default: on a terminal).")
]
Approve = Annotated[
    bool, typer.Option("--approve", help="Upstox: the user approves on his phone, without the page.")
]
Listen = Annotated[
    int,
    typer.Option(min=0, max=65535, metavar="PORT", help="With --approve: port that the notifier leads to."),
]
Token = Annotated[bool, typer.Option("--token", help="Type in a day's token that was made elsewhere.")]
Sandbox = Annotated[bool, typer.Option("--sandbox", help="Upstox: type in the sandbox's token (30 days).")]
Analytics = Annotated[
    bool, typer.Option("--analytics", help="Upstox: type in the analytics token (1 year, reads only).")
]
Issued = Annotated[
    str, typer.Option(metavar="YYYY-MM-DD", help="When a token that is typed in was made (default: today).")
]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait for the login to come back.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait until a running engine goes on.")]
EngineAccount = Annotated[
    str | None, typer.Option("--account", help="Give the token to the engine of this account alone.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Also while an engine runs with this broker.")]
