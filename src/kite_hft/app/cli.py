"""Layer 6, by hand, cold: `kite-hft`, the console command."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

from kite_hft.app.output import take_streams

INTERRUPTED = 130
COLUMNS_MIN = 40


def main() -> None:
    """The console command."""
    take_streams()
    _use_sane_columns(os.environ)
    try:
        from kite_hft.app.verbs import app

        app(prog_name="kite-hft")
    except KeyboardInterrupt:  # while something loads
        sys.exit(INTERRUPTED)


def _use_sane_columns(environ: MutableMapping[str, str]) -> None:
    """COLUMNS as a width in which words can be read: a terminal of no size says 0."""
    told = environ.get("COLUMNS", "")
    if told and not (told.isascii() and told.isdecimal() and int(told) > 0):
        del environ["COLUMNS"]
    elif told and int(told) < COLUMNS_MIN:
        environ["COLUMNS"] = str(COLUMNS_MIN)


if __name__ == "__main__":
    main()
