"""Layer 6, by hand, cold: options by which verbs name a configuration. Loads little."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from kite_hft.app.completing import environments

USUAL: Final = Path("config/config.yaml")
"""What `kite-hft config init` writes, and every verb reads where no other file is named."""

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config", "-c", envvar="KITE_CONFIG_PATH", help="Configuration file (YAML).", show_default=True
    ),
]
EnvironmentOption = Annotated[
    str | None,
    typer.Option(
        "--environment",
        metavar="NAME",
        help="Take config.NAME.yaml over config.yaml (default: $KITE_ENVIRONMENT).",
        autocompletion=environments,
    ),
]
