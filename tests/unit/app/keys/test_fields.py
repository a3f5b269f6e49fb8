"""Names and values that the vault takes."""

from __future__ import annotations

import pytest

from kite_hft.app.keys.fields import (
    ASKED,
    HIDDEN,
    TAKEN,
    NotTaken,
    merged,
    require_name,
    require_value,
    section_of,
    take_lines,
    warnings,
)
from kite_hft.engine.keys.contents import VaultError


def test_every_name_that_is_asked_for_is_taken() -> None:
    for broker, names in ASKED.items():
        assert set(names) <= TAKEN[broker]
    assert {"access_token_until", "sandbox_token_until", "analytics_token_until"} <= TAKEN["upstox"]
    assert "sandbox_token" not in TAKEN["kite"]
    secret = {name for names in TAKEN.values() for name in names if name.endswith(("_token", "secret"))}
    assert secret <= HIDDEN


def test_unknown_names_bring_the_nearest() -> None:
    with pytest.raises(NotTaken, match="did you mean api_key"):
        require_name("kite", "apikey", login_secrets=False)
    with pytest.raises(NotTaken, match="it has access_token"):
        require_name("kite", "zzz", login_secrets=False)
    for name in ("password", "totp_secret"):
        with pytest.raises(NotTaken, match="--login-secrets"):
            require_name("kite", name, login_secrets=False)
        require_name("kite", name, login_secrets=True)


@pytest.mark.parametrize(
    ("broker", "profile"), [("zerodha", "x"), ("kite", ""), ("kite", "a/b"), ("kite", "a b")]
)
def test_a_place_is_a_broker_and_a_word(broker: str, profile: str) -> None:
    with pytest.raises(NotTaken):
        section_of(broker, profile)
    assert section_of("upstox", "a-b.C_1") == "upstox/a-b.C_1"


def test_values_that_cannot_be_right() -> None:
    for name, value in (("api_key", ""), ("api_key", "two words"), ("access_token", "caf\u00e9"),
                        ("access_token_until", "tomorrow")):  # fmt: skip
        with pytest.raises(NotTaken) as told:
            require_value(name, value)
        assert not value or value not in str(told.value)
    require_value("password", "two words")
    require_value("access_token_until", "2026-11-22T06:00:00+05:30")


def test_how_a_person_is_told_stands_beside_the_brokers() -> None:
    assert section_of("alerts", "default") == "alerts/default"
    lines = {"webhook": "https://w.example/x", "KITE_TELEGRAM_TOKEN": "1:B", "KITE_TELEGRAM_CHAT_ID": "7",
             "KITE_API_KEY": "k"}  # fmt: skip
    found, left = take_lines(lines, "alerts", "default", login_secrets=False)
    assert not left and found == {
        "alerts/default": {
            "webhook": "https://w.example/x",
            "telegram_bot_token": "1:B",
            "telegram_chat_id": "7",
        },
        "kite/default": {"api_key": "k"},
    }
    for name, value in (("webhook", "http://canary.example"), ("heartbeat_url", "canary")):
        with pytest.raises(NotTaken, match=f"{name}: expected https") as told:
            require_value(name, value)
        assert "canary" not in str(told.value)
    with pytest.raises(NotTaken, match="alerts has no value 'api_key'"):
        require_name("alerts", "api_key", login_secrets=False)


def test_lines_of_a_script() -> None:
    lines = {"master_password": "p", "api_key": " k ", "UPSTOX_ACCESS_TOKEN": "u", "HOME": "/x",
             "KITE_PASSWORD": "w", "KITE_API_SECRET": ""}  # fmt: skip
    found, left = take_lines(lines, "kite", "main", login_secrets=False)
    assert found == {"kite/main": {"api_key": "k"}, "upstox/main": {"access_token": "u"}}
    assert len(left) == 2
    with pytest.raises(NotTaken, match="did you mean"):
        take_lines({"api_keey": "k"}, "kite", "main", login_secrets=False)


def test_a_new_token_forgets_the_end_of_the_old_one() -> None:
    there = {
        "kite/a": {"access_token": "old", "access_token_until": "2020-01-01T06:00:00+05:30", "api_key": "k"}
    }
    merged(there, {"kite/a": {"access_token": "new"}})
    assert there == {"kite/a": {"access_token": "new", "api_key": "k"}}
    until = "2026-11-22T06:00:00+05:30"
    merged(there, {"kite/a": {"access_token_until": until, "access_token": "newer"}})
    assert there["kite/a"]["access_token_until"] == until
    with pytest.raises(VaultError):
        merged(there, {"kite/a": {"api_key": "a\x00b"}})


def test_both_factors_in_one_place_are_warned_of() -> None:
    (line,) = warnings({"kite/a": {"password": "x", "totp_secret": "y"}, "kite/b": {"password": "x"}})
    assert line.startswith("kite/a") and "both factors" in line


def test_half_of_telegram_is_warned_of() -> None:
    (line,) = warnings({"alerts/x": {"telegram_chat_id": "7"}, "alerts/y": {"webhook": "w"}})
    assert line.endswith("--broker alerts --profile x --set telegram_bot_token")
    assert not warnings({"alerts/x": {"telegram_chat_id": "7", "telegram_bot_token": "1:B"}})
