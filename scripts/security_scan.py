#!/usr/bin/env python3
"""Look for secrets in the repository and for files that others can read; exit code 1 when there are any."""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from kite_hft.app.setup import scanning  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--staged", action="store_true", help="only what the next commit would take (the hook)"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    if options.staged:
        found, more = scanning.staged(options.root), {}
    else:
        from kite_hft.engine.keys.vault import default_path

        vault = default_path(os.environ)
        found = scanning.scan(options.root, vault)
        more = {"vault": f"{vault} ({'there' if vault.exists() else 'none yet: kite-hft credentials'})"}
    print(scanning.told(found, as_json=options.json, more=more))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
