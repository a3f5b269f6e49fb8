"""The campaign of TLS lets nothing pass, and notices a way out that verifies nothing."""

from __future__ import annotations

import json
import shutil
import ssl
from typing import Any

import pytest

from kite_hft.verify.shield import tls

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command"),
    # a websocket that is given up before its upgrade was answered is closed by the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("case", "door"),
    [
        ("expired", "kite websocket"),
        ("wrong host", "orders (REST)"),
        ("authority nobody knows", "upstox order updates"),
        ("not yet valid", "reads (REST)"),
    ],
)
def test_every_way_out_refuses(case: str, door: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tls.main(["--case", case, "--door", door]) == 0
    found = told(capsys)
    assert found["tried"] == found["refused"] == found["sound_let_through"] == 1
    assert found["plain_refused"] == 7


def test_a_websocket_that_verifies_nothing_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", ssl._create_unverified_context)
    assert tls.main(["--case", "self-signed", "--door", "kite websocket"]) == 1
    found = told(capsys)
    assert found["wrong"] == ["self-signed at kite websocket"]
    assert "--case 'self-signed' --door 'kite websocket'" in found["replay"]


def test_plain_addresses_of_other_machines_are_refused() -> None:
    assert all(row["ok"] for row in tls.plain_refused())
