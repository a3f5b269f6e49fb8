"""Layer 6, by hand, cold: options of every verb that opens the vault. Loads little."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PasswordFdOption = Annotated[
    int | None,
    typer.Option(
        "--password-fd",
        min=0,
        metavar="N",
        help="Descriptor whose first line is the master password of the vault.",
    ),
]
VaultFileOption = Annotated[
    Path | None,
    typer.Option("--file", help="The vault (default: $KITE_HFT_VAULT, else ~/.config/kite_hft)."),
]
ProfileOption = Annotated[str, typer.Option("--profile", help="Which account of the broker, in the vault.")]
