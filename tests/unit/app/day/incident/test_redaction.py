"""Secrets by value and by shape."""

from __future__ import annotations

import pytest

from kite_hft.app.day.incident.redaction import BLANK, Redactor, redactor
from kite_hft.settings import Settings

SETTINGS = Settings.model_validate(
    {
        "kite": {"api_key": "canarykey01", "access_token": "canarytoken01"},
        "alerts": {"webhook": "https://example.com/canaryhook", "telegram_bot_token": "1:canarybot",
                   "telegram_chat_id": "99887766"},
    }
)  # fmt: skip
VAULT = {
    "kite/default": {
        "api_secret": "canarysecret",
        "user_id": "AB1234",
        "access_token_until": "2026-11-21T06:00",
    }
}


@pytest.mark.parametrize(
    "value",
    [
        "canarykey01",
        "canarytoken01",
        "https://example.com/canaryhook",
        "1:canarybot",
        "99887766",
        "canarysecret",
    ],
)
def test_every_known_value_goes_wherever_it_stands(value: str) -> None:
    found = redactor(SETTINGS, VAULT)
    text = f"at {value} and again ({value})".encode()
    assert (
        value.encode() not in found.clean(text) and found.clean(text).count(BLANK) == 2 and found.holds(text)
    )


def test_what_is_no_secret_stays() -> None:
    text = b"AB1234 sold 10 NSE:X, tag kdt4kkb00000000001kq, until 2026-11-21T06:00"
    assert redactor(SETTINGS, VAULT).clean(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: token unknownkey:unknowntoken",
        "ws?api_key=unknownkey&access_token=unknowntoken",
        '{"access_token": "unknowntoken", "apiKey": "unknownkey"}',
        "Authorization: Bearer unknowntoken-0123",
        "said token unknownkey:unknowntoken to it",
        "enctoken=unknowntoken; other=1",
    ],
)
def test_secrets_of_another_day_go_by_their_shape(text: str) -> None:
    cleaned = Redactor().clean(text.encode())
    assert b"unknown" not in cleaned and BLANK in cleaned


def test_a_value_that_holds_another_goes_whole() -> None:
    found = Redactor((b"longer-secret-value", b"secret-value"))
    assert found.clean(b"longer-secret-value") == BLANK


def test_words_that_were_blanked_before_stay_as_they_are() -> None:
    text = b"api_key: <not copied>\naccess_token: <secret>\n"
    assert Redactor().clean(text) == text
