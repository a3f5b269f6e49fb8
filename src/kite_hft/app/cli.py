"""Layer 6, by hand, cold: `kite-hft`, the console command."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    """The console command."""
    if sys.stdin is None:  # whoever started us has closed it: there is nobody to ask
        sys.stdin = open(os.devnull)  # noqa: SIM115
    try:
        from kite_hft.app.verbs import app

        app(prog_name="kite-hft")
    except KeyboardInterrupt:  # while something loads
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
