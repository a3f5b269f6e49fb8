#!/usr/bin/env python3
"""Switch on the hook that refuses commits with keys, tokens and .env files; exit code 1 when it cannot be."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from kite_hft.app.setup.scanning import switch_on  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    try:
        print(switch_on(parser.parse_args().root))
    except ValueError as error:
        print(f"setup_git_security: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
