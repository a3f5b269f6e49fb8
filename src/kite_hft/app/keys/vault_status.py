"""Layer 6, by hand, cold: `kite-hft credentials --status`: what is in the vault, without a secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kite_hft.engine.keys.contents import Contents, VaultMissing
from kite_hft.engine.keys.ends import SUFFIX, until_ns, until_text
from kite_hft.engine.keys.vault import status


def look(path: Path, contents: Contents | None, now_real_ns: int) -> dict[str, Any]:
    """All of `--status --json`. contents: None without the password: no names are known then.

    Raises:
        VaultError: there is a file, and it cannot be used.
    """
    try:
        found = status(path)
    except VaultMissing:
        return {"file": str(path), "exists": False}
    return {
        "file": str(path),
        "exists": True,
        "encryption": "AES-256-GCM",
        "kdf": found.kdf,
        "strength": found.strength,
        "bytes": found.bytes,
        "changed": until_text(found.changed_real_ns),
        "contents": None if contents is None else {s: _named(v, now_real_ns) for s, v in contents.items()},
    }


def _named(values: dict[str, str], now_real_ns: int) -> dict[str, Any]:
    """Names, and when tokens end. user_id and redirect_url are no secrets, and still not shown."""
    rows: dict[str, Any] = {}
    for name in sorted(values):
        if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in values:
            continue
        end_ns = until_ns(values, name)
        rows[name] = {
            "until": None if end_ns is None else until_text(end_ns),
            "ended": None if end_ns is None else end_ns <= now_real_ns,
        }
    return rows


def words(found: dict[str, Any]) -> list[str]:
    """The same for people, a line each."""
    if not found["exists"]:
        return [f"no vault yet: {found['file']}", "kite-hft credentials makes it"]
    lines = [
        f"vault    {found['file']}",
        f"sealed   {found['encryption']}; {found['strength']}",
        f"written  {found['changed'].replace('T', ' ').removesuffix('+05:30')} IST, {found['bytes']:,} bytes",
        f"access   user {os.geteuid()} alone (file 0600, folder 0700); its checksum is right",
    ]
    if found["contents"] is None:
        return [
            *lines,
            "names    --status --names asks for the master password and shows which values there are",
        ]
    for section, names in found["contents"].items():
        lines.append(f"\n{section}")
        for name, row in names.items():
            end = ""
            if row["until"]:
                when = row["until"].replace("T", " ").removesuffix("+05:30")
                end = f"  ENDED {when} IST: kite-hft login" if row["ended"] else f"  until {when} IST"
            lines.append(f"  {name:16} set{end}")
    return lines if found["contents"] else [*lines, "\nit is empty: kite-hft credentials"]
