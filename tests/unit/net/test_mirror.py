"""A transport that reaches nobody."""

from __future__ import annotations

import socket

import pytest

from kite_hft.clock import ManualClock
from kite_hft.net import mirror
from kite_hft.net.connection import Phase
from kite_hft.net.mirror import Mirror, MirrorError
from kite_hft.trading.broker import HttpRequest

POST = HttpRequest("POST", "/orders/regular", b"a=1&b=2", "text/plain")


def test_calls_leave_encrypted_and_arrive_at_its_own_other_end() -> None:
    made = Mirror(ManualClock(10**9))
    try:
        for number in range(1, 4):
            made.submit(number, POST)
            seen = made._far.recv(65536, socket.MSG_PEEK)
            assert len(seen) > len(POST.body) + 50 and POST.body not in seen
            assert made._line.phase is Phase.BUSY and made._line._exchange.request_id == number
            made.forget()
            assert made._line.phase is Phase.IDLE
            with pytest.raises(BlockingIOError):
                made._far.recv(1)
        assert not made._done, "nobody answers"
    finally:
        made.close()
        made.close()


def test_both_ends_are_on_this_machine_and_nobody_listens_any_more() -> None:
    made = Mirror(ManualClock(10**9))
    near, far = made._line._socket, made._far
    assert near.getpeername() == far.getsockname() and near.getsockname() == far.getpeername()
    assert far.getsockname()[0] == "127.0.0.1"
    with socket.socket() as other:
        assert other.connect_ex(far.getsockname()) != 0
    made.close()


def test_somebody_who_comes_first_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    old = socket.create_connection
    server = socket.create_server

    def accepts(*words: object, **more: object) -> socket.socket:
        made = server(("127.0.0.1", 0), backlog=2)
        strangers.append(old(made.getsockname()))
        return made

    strangers: list[socket.socket] = []
    monkeypatch.setattr(mirror.socket, "create_server", accepts)
    with pytest.raises(MirrorError, match="somebody else"):
        Mirror(ManualClock(10**9))
    for end in strangers:
        end.close()


def test_a_machine_without_the_suite_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "ANONYMOUS", "NO-SUCH-SUITE")
    with pytest.raises(MirrorError, match="TLS"):
        Mirror(ManualClock(10**9))
