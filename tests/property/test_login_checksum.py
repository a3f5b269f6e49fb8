"""Kite's checksum and login page against the official client, for any keys."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from kiteconnect import KiteConnect

from kite_hft.brokers.kite.login import login_url, session_request

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


class Client(KiteConnect):  # type: ignore[misc]
    """The official client, whose calls are kept instead of sent."""

    def _post(self, route: str, url_args: Any = None, params: Any = None, **_more: Any) -> dict[str, Any]:
        self.sent = (self._routes[route], params)
        return {"login_time": None}


@given(key=WORDS, secret=WORDS, token=WORDS)
def test_the_exchange_is_the_official_clients(key: str, secret: str, token: str) -> None:
    client = Client(api_key=key)
    client.generate_session(token, secret)
    path, form = client.sent
    ours = session_request("https://api.kite.trade", key, secret, token, "")
    assert ours.url == f"https://api.kite.trade{path}"
    assert dict(parse_qsl(ours.body.decode(), strict_parsing=True)) == form


@given(key=st.text(st.sampled_from("abcdefghij0123456789"), min_size=1, max_size=20))
def test_the_login_page_is_the_official_clients(key: str) -> None:
    theirs, ours = urlsplit(KiteConnect(api_key=key).login_url()), urlsplit(login_url(key, "", ""))
    assert (ours.scheme, ours.netloc, ours.path) == (theirs.scheme, theirs.netloc, theirs.path)
    assert parse_qs(ours.query) == parse_qs(theirs.query)
