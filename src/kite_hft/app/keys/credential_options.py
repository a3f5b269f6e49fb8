"""Layer 6, by hand, cold: the options of `kite-hft credentials`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kite_hft.app.completing import kdfs

Broker = Annotated[
    str, typer.Option("--broker", help="kite or upstox; or alerts: webhook, Telegram, heartbeat.")
]
Show = Annotated[
    bool, typer.Option("--status", help="Show where the vault is and how it is sealed; no password needed.")
]
Names = Annotated[
    bool, typer.Option("--names", help="With --status: which values there are, and when tokens end.")
]
One = Annotated[
    str, typer.Option("--set", metavar="NAME", help="Set one value, as api_secret; it is asked for.")
]
Gone = Annotated[str, typer.Option("--remove", metavar="NAME", help="Take one value out.")]
Source = Annotated[
    Path | None,
    typer.Option("--import", help="Take keys from a .env file, or an encrypted file of the older design."),
]
Salt = Annotated[
    Path | None, typer.Option("--salt", help="With --import: its salt file (default: .salt beside it).")
]
Turn = Annotated[
    bool, typer.Option("--rotate", help="Another master password, and with --kdf another derivation.")
]
Reset = Annotated[bool, typer.Option("--reset", help="Delete the vault, after you have confirmed it.")]
Yes = Annotated[bool, typer.Option("--yes", help="With --reset: do not ask.")]
Kdf = Annotated[
    str,
    typer.Option("--kdf", help="Key derivation: argon2id (default), scrypt or pbkdf2.", autocompletion=kdfs),
]
LoginSecrets = Annotated[
    bool, typer.Option("--login-secrets", help="Also take the login's password or TOTP secret: see above.")
]
