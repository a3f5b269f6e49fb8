"""Layer 6, by hand, cold: `kite-hft`, the console command.

`kite-hft kill` loads its own file alone, so that the latch is set a second earlier; every other verb comes
from verbs.py.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The console command."""
    if sys.argv[1:2] == ["kill"]:
        import typer

        from kite_hft.app.kill import kill

        alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
        alone.command()(kill)
        alone(args=sys.argv[2:], prog_name="kite-hft kill")
    else:
        from kite_hft.app.verbs import app

        app()


if __name__ == "__main__":
    main()
