"""The call that gives a websocket's address away, and where a redirect may lead."""

from __future__ import annotations

import asyncio
import socket

import pytest
import raw_server

from kite_hft.net.authorize import AddressRefused, authorized, redirect_target, safe_websocket

GIVEN = "ws://127.0.0.1:9/feed?code=secret"


def ask(answer: bytes, parse=lambda body: body.decode()) -> tuple[str | AddressRefused, bytes]:
    heard: list[bytes] = []

    def script(peer: socket.socket) -> None:
        heard.append(raw_server.read_request(peer))
        peer.sendall(answer)

    with raw_server.serve(script) as port:
        call = authorized(
            f"http://127.0.0.1:{port}/v3/authorize?x=1", [("Authorization", "Bearer t")], parse,
            lambda status, body: body.decode(),
        )  # fmt: skip
        try:
            return asyncio.run(call), heard[0]
        except AddressRefused as refusal:
            return refusal, heard[0]


def test_the_address_is_what_the_answer_says() -> None:
    found, request = ask(raw_server.answer(GIVEN.encode()))
    assert found == GIVEN
    assert request.startswith(b"GET /v3/authorize?x=1 ") and b"Authorization: Bearer t" in request


@pytest.mark.parametrize("status", [401, 403, 423, 500])
def test_another_status_is_a_refusal_with_its_words(status: int) -> None:
    found, _ = ask(raw_server.answer(b"UDAPI1: no", f"{status} X"))
    assert isinstance(found, AddressRefused) and (found.status, str(found)) == (status, "UDAPI1: no")


@pytest.mark.parametrize(
    "given",
    [b"ws://feed.example/a", b"wss://feed.example/a", b"http://127.0.0.1/a", b"", b"ws://127.0.0.1:0/"],
)
def test_an_address_that_must_not_be_used_is_refused_and_not_repeated(given: bytes) -> None:
    found, _ = ask(raw_server.answer(given))
    assert isinstance(found, AddressRefused) and found.status == 0 and "example" not in str(found)


def test_an_answer_without_an_address_is_refused() -> None:
    def parse(body: bytes) -> str:
        raise ValueError("secret text")

    found, _ = ask(raw_server.answer(b"{}"), parse)
    assert isinstance(found, AddressRefused) and "secret" not in str(found)


def test_no_answer_is_an_os_error() -> None:
    with pytest.raises(OSError):
        asyncio.run(authorized("http://127.0.0.1:1/authorize", [], str))


def test_a_plain_address_elsewhere_is_never_called() -> None:
    with pytest.raises((AddressRefused, OSError)):
        asyncio.run(authorized("http://192.0.2.1/authorize", [], str))


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("wss://a.example/x", "wss://b.example/y?code=1", "wss://b.example/y?code=1"),
        ("wss://a.example/x", "https://b.example/y", "wss://b.example/y"),
        ("wss://a.example/x/z", "/y", "wss://a.example/y"),
        ("wss://a.example/x", "ws://b.example/y", ""),  # TLS is never given up
        ("wss://a.example/x", "ws://127.0.0.1/y", ""),
        ("ws://127.0.0.1:5/x", "ws://127.0.0.1:6/y", "ws://127.0.0.1:6/y"),
        ("ws://127.0.0.1:5/x", "wss://b.example/y", ""),
        ("wss://a.example/x", "", ""),
        ("wss://a.example/x", "ftp://b.example/", ""),
    ],
)
def test_where_a_redirect_leads(url: str, location: str, target: str) -> None:
    assert redirect_target(url, location) == target


def test_what_is_a_safe_address() -> None:
    assert safe_websocket("wss://a.example/") and safe_websocket("ws://localhost:1/")
    assert not any(map(safe_websocket, ["ws://a.example/", "wss://", "wss://a:99999/", "https://a.example"]))
