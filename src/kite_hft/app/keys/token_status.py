"""Layer 6, by hand, cold: what `kite-hft login` shows of the vault: tokens, ends, the one-time code."""

from __future__ import annotations

import sys
import time
from typing import Any

from kite_hft.app.answering import print_json
from kite_hft.app.keys.broker_calls import person_of
from kite_hft.app.keys.keeping import ACCESS, SANDBOX, api_url, source_of
from kite_hft.app.keys.opened import Opened, token_rows
from kite_hft.app.keys.totp import BadSecret, left_s, secret_of, totp
from kite_hft.brokers.login import LoginError, TokenRefused
from kite_hft.brokers.table import login_of
from kite_hft.settings import Settings
from kite_hft.units import NS_PER_S


def show_code(held: Opened, *, as_json: bool) -> None:
    """The code of now; the next one as well when this one is about to end."""
    text = held.values.get("totp_secret")
    if not text:
        raise LoginError(
            f"{held.section} has no totp_secret in the vault. Keeping it beside the API keys makes one "
            f"factor of two; if you want that all the same: kite-hft credentials --broker {held.broker} "
            f"--profile {held.profile} --set totp_secret --login-secrets"
        )
    try:
        secret = secret_of(text)
    except BadSecret as error:
        raise LoginError(str(error)) from None
    now_s = time.time_ns() // NS_PER_S
    now, left, following = totp(secret, now_s), left_s(now_s), totp(secret, now_s + left_s(now_s))
    if as_json:
        print_json({"code": now, "left_s": left, "next": following})
        return
    print(f"{now}   for {left} s, then {following}")
    print(
        "Type it into the broker's page yourself: logging in by a program is against the broker's terms. A "
        "code that is refused: see timedatectl, a clock that is 30 s off makes wrong codes.",
        file=sys.stderr,
    )


def show_tokens(
    held: Opened,
    settings: Settings,
    broker: str | None,
    profile: str | None,
    *,
    check: bool,
    as_json: bool,
) -> bool:
    """Tokens and their ends; whether one is good. check: the broker is asked, too (a sandbox cannot be)."""
    rows = [
        row for row in token_rows(held.contents, time.time_ns())
        if (broker is None or row["broker"] == broker) and profile in (None, row["profile"])
    ]  # fmt: skip
    for row in rows:
        asked = check and row["token"] != SANDBOX and (row["good"] or not row["until"])
        row["said"] = _said(held, settings, row) if asked else None
        row["good"] = not row["said"] if asked else row["good"]
    if as_json:
        print_json({"vault": str(held.path), "tokens": rows})
    for row in () if as_json else rows:
        until = (row["until"] or "").replace("T", " ").replace("+05:30", " IST") or "(end not known)"
        state = "good until" if row["good"] else "REFUSED, until" if row["said"] else "ENDED"
        state = "not tried: --check" if not row["until"] and row["said"] is None else state
        name, whose = f"{row['broker']}/{row['profile']}", row["user_id"] or ""
        print(f"{name:20} {row['words']:16} {whose:10} {state} {until}  {row['said'] or ''}".rstrip())
    return any(row["good"] for row in rows)


def _said(held: Opened, settings: Settings, row: dict[str, Any]) -> str:
    """What the broker says against a token; "": nothing."""
    values = held.contents[f"{row['broker']}/{row['profile']}"]
    try:
        broker = row["broker"]
        host, source = api_url(settings, broker), source_of(settings, broker)
        person_of(login_of(broker), host, values.get("api_key", ""), values[row["token"]], source)
    except TokenRefused as error:
        return str(error)
    except LoginError as error:
        return str(error) if row["token"] == ACCESS else ""  # a token for reading may not ask for the profile
    return ""
