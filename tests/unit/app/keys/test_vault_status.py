"""What a vault shows without showing a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from vault_tools import CONTENTS, PASSWORD, place, quick

from kite_hft.app.keys.vault_status import look, words
from kite_hft.engine.keys.vault import create

NOW_NS = 1_795_393_800_000_000_000  # 2026-11-23 06:00 in India


def test_with_and_without_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    path = place(tmp_path)
    assert look(path, None, NOW_NS) == {"file": str(path), "exists": False}
    assert "kite-hft credentials" in "\n".join(words(look(path, None, NOW_NS)))
    contents = {s: dict(v) for s, v in CONTENTS.items()}
    contents["kite/default"]["access_token_until"] = "2026-11-23T06:00:00+05:30"
    contents["upstox/second"]["access_token_until"] = "2026-11-24T03:30:00+05:30"
    create(path, PASSWORD, contents, "pbkdf2")
    closed = look(path, None, NOW_NS)
    assert closed["contents"] is None and closed["kdf"] == "pbkdf2" and "600,000" in closed["strength"]
    opened = look(path, contents, NOW_NS)
    assert opened["contents"] == {
        "kite/default": {
            "access_token": {"until": "2026-11-23T06:00:00+05:30", "ended": True},
            "api_key": {"until": None, "ended": None},
        },
        "upstox/second": {"access_token": {"until": "2026-11-24T03:30:00+05:30", "ended": False}},
    }
    for found in (closed, opened):
        text = repr(found) + "\n".join(words(found))
        assert not any(value in text for v in CONTENTS.values() for value in v.values())
    text = "\n".join(words(opened))
    assert "ENDED 2026-11-23 06:00:00 IST: kite-hft login" in text and "until 2026-11-24 03:30:00 IST" in text
    assert "it is empty" in "\n".join(words(look(path, {}, NOW_NS)))
