"""Layer 5, supervisor, cold: what a person is told once, before the first run of an installation."""

from __future__ import annotations

from pathlib import Path
from typing import Final

INSTALL: Final = "install"
"""File of the state directory that the first run makes (run_folder.install_id)."""
DISCLAIMER: Final = """\
This program trades by itself. Trading loses money, fast when something is
wrong, and nobody but you answers for it: neither the authors nor the software
give any warranty, and nothing here is advice.
  - Try every change on the simulator first (mode: sim), then in paper, before
    money is at stake.
  - A broker's sandbox acknowledges orders and fills none: it tests the shape of
    a request, not a strategy.
  - Size positions so that you can bear the loss, set risk.max_daily_loss, and
    do not leave it unwatched.
  - Keep to your broker's terms and the exchange's rules for algorithms:
    registration, static IP, limits.
"""


def is_first_run(root: Path) -> bool:
    """Whether nothing has run with this state directory yet. root: the folder of the accounts' folders."""
    return not (root / INSTALL).exists()
