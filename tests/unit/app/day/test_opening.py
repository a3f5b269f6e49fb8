"""Keys that a configuration has itself: where each stands, and which files have to be closed for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.app.day.doctor.gathering import file_of
from kite_hft.app.day.opening import inline_keys
from kite_hft.settings import DOTENV, read_settings


def test_a_key_is_told_with_the_file_or_the_variable_it_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("mode: paper\nupstox:\n  api_key: abc\n")
    (tmp_path / ".env").write_text("KITE_API_KEY=def\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITE_ACCESS_TOKEN", "ghi")
    found = inline_keys(read_settings(path))
    assert set(found) == {"upstox.api_key", "kite.api_key", "kite.access_token"}
    files = {key: file_of(origin) for key, origin in found.items()}
    assert files == {"upstox.api_key": path, "kite.api_key": DOTENV, "kite.access_token": None}
    assert found["kite.access_token"].source == "KITE_ACCESS_TOKEN"
