"""From nothing to ticks of the simulator, and what to do next: python scripts/quick_start.py"""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    """Say what is missing, or show ticks."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--seconds", type=float, default=10.0, help="how long ticks are shown (10)")
    made.add_argument("--broker", choices=("kite", "upstox"), default="kite", help="whose protocol (kite)")
    arguments = made.parse_args()
    try:
        from kite_hft.app.face.first_look import first_look
    except ImportError as error:
        print(f"{error}\nBuild first: `make build`, then `. .venv/bin/activate`, and run this again.")
        return 3
    return first_look(arguments.seconds, arguments.broker)


if __name__ == "__main__":
    sys.exit(main())
