"""Layer 6, by hand, cold: what Tab offers for the values of options. Reads names of folders and files alone.

A completion that cannot be had offers nothing: it never says anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

BROKERS: Final = ("kite", "upstox")
MODES: Final = ("sim", "paper", "live")
KDFS: Final = ("argon2id", "scrypt", "pbkdf2")


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def brokers(incomplete: str) -> list[str]:
    return _fitting(BROKERS, incomplete)


def modes(incomplete: str) -> list[str]:
    return _fitting(MODES, incomplete)


def kdfs(incomplete: str) -> list[str]:
    return _fitting(KDFS, incomplete)


def accounts(incomplete: str) -> list[str]:
    """Accounts that have run with the usual state directory."""
    return _fitting((folder.name.partition("-")[2] for folder in _account_folders()), incomplete)


def strategies(incomplete: str) -> list[str]:
    """Strategies of each account's newest run."""
    names: set[str] = set()
    for folder in _account_folders():
        try:
            note = json.loads((folder / "latest" / "run.json").read_bytes())
            names.update(map(str, note["strategies"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return _fitting(names, incomplete)


def environments(incomplete: str) -> list[str]:
    """NAME of each config.NAME.yaml beside the usual configuration."""
    usual = Path(os.environ.get("KITE_CONFIG_PATH") or "config/config.yaml")
    try:
        found = list(usual.parent.glob(f"{usual.stem}.*{usual.suffix}"))
    except (OSError, ValueError):
        return []
    return _fitting((path.name.split(".", 1)[1].removesuffix(usual.suffix) for path in found), incomplete)


def _account_folders() -> list[Path]:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    try:
        return [path for path in Path(state, "kite_hft").iterdir() if "-" in path.name and path.is_dir()]
    except OSError:
        return []
