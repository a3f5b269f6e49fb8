"""A host for orders beside the API's: who gets which call, and who stands in."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import raw_server

from kite_hft.clock import SystemClock
from kite_hft.net.hosts import ASIDE_NS, Host, Hosts
from kite_hft.net.http import HttpSettings, HttpTransport, _Waiting
from kite_hft.net.sandboxed import SandboxTransport
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

CLOCK = SystemClock()
QUICK = HttpSettings(timeout_s=5.0, connect_timeout_s=0.5, queue_s=0.3)
PATHS = ("/v3/order/place", "/v3/order/cancel")
PLACE = HttpRequest("POST", "/v3/order/place", b"{}", "application/json")
CANCEL = HttpRequest("DELETE", "/v3/order/cancel?order_id=1")
GTT = HttpRequest("POST", "/v3/order/gtt/place", b"{}", "application/json")
BOOK = HttpRequest("GET", "/v2/order/retrieve-all")


class Server:
    """Answers with its name; the test may change the status, or let it answer nothing."""

    def __init__(self, name: str) -> None:
        self.name, self.status, self.calls = name, "200 OK", []

    def script(self, peer: socket.socket) -> None:
        while request := raw_server.read_request(peer):
            self.calls.append(request.split(b" ", 2)[1].decode())
            if not self.status:
                return
            peer.sendall(raw_server.answer(self.name.encode(), self.status))


class Bench:
    def __init__(self) -> None:
        self.api, self.hft = Server("api"), Server("hft")
        self.said: list[str] = []
        self.now_shift_ns = 0
        self.number = 0
        self.hosts: Hosts

    def now(self) -> int:
        return CLOCK.mono_ns() + self.now_shift_ns

    def call(self, request: HttpRequest) -> HttpResponse | TransportError:
        self.number += 1
        self.hosts.submit(self.number, request)
        pause = threading.Event()
        for _ in range(5000):
            for number, result in self.hosts.poll():
                assert number == self.number
                return result
            pause.wait(0.001)
        raise AssertionError("no answer")

    def body(self, request: HttpRequest) -> str:
        result = self.call(request)
        assert isinstance(result, HttpResponse), result
        return result.body.decode()

    def await_standing(self) -> None:
        pause = threading.Event()
        for _ in range(3000):
            if all(host.transport.takes_orders() for host in self.hosts.orders):
                return
            self.hosts.poll()
            pause.wait(0.001)
        raise AssertionError("never connected")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    with contextlib.ExitStack() as held:
        api_port = held.enter_context(raw_server.serve(made.api.script))
        hft_port = held.enter_context(raw_server.serve(made.hft.script))
        api = HttpTransport(f"http://127.0.0.1:{api_port}", CLOCK, settings=QUICK)
        hft = HttpTransport(f"http://127.0.0.1:{hft_port}", CLOCK, settings=HttpSettings(2, 0, 5.0, 0.5, 0.3))
        made.hosts = Hosts(api, [Host("hft", hft), Host("api", api)], PATHS, made.now, made.said.append)
        held.callback(made.hosts.close)
        made.await_standing()
        yield made


def test_order_calls_go_to_the_order_host_and_all_else_to_the_api(bench: Bench) -> None:
    assert [bench.body(r) for r in (PLACE, CANCEL, GTT, BOOK)] == ["hft", "hft", "api", "api"]
    assert not bench.said


@pytest.mark.parametrize("status", ["502 Bad", "503 Bad", "504 Bad"])
def test_a_failing_host_is_passed_over_for_a_while(bench: Bench, status: str) -> None:
    bench.hft.status = status
    assert bench.body(PLACE) == "hft"  # its answer is the call's: nothing is sent twice
    assert bench.body(PLACE) == "api" == bench.body(CANCEL) and len(bench.hft.calls) == 1
    assert "order calls go to api, no longer to hft" in bench.said
    bench.now_shift_ns = ASIDE_NS + 1
    bench.hft.status = "200 OK"
    assert bench.body(PLACE) == "hft"


def test_a_call_without_an_answer_is_not_sent_again(bench: Bench) -> None:
    bench.hft.status = ""
    result = bench.call(PLACE)
    assert isinstance(result, TransportError) and result.sent
    assert bench.api.calls == [] and len(bench.hft.calls) == 1
    assert bench.body(PLACE) == "api"


def test_a_refusal_by_the_broker_is_no_failure_of_the_host(bench: Bench) -> None:
    bench.hft.status = "400 Bad"
    assert [bench.body(PLACE), bench.body(PLACE)] == ["hft", "hft"]


def test_a_call_that_was_not_to_leave_any_more_is_no_failure_of_the_host(bench: Bench) -> None:
    hft = bench.hosts.orders[0].transport
    for withheld, body in ((True, "hft"), (False, "api")):
        bench.hosts._under_way[99] = bench.hosts.orders[0]
        hft._give_up(_Waiting(99, PLACE, 0), "the order has ended", 0, withheld=withheld)
        while not bench.hosts.poll():
            hft._due_ns = 0
        assert bench.body(PLACE) == body


def test_when_all_fail_the_first_that_stands_is_taken(bench: Bench) -> None:
    bench.hft.status = bench.api.status = "503 Bad"
    assert [bench.body(PLACE), bench.body(PLACE), bench.body(PLACE)] == ["hft", "api", "hft"]


def test_a_host_that_is_not_there_is_passed_over() -> None:
    api = Server("api")
    with raw_server.serve(api.script) as port, contextlib.ExitStack() as held:
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=QUICK)
        gone = HttpTransport("http://127.0.0.1:1", CLOCK, settings=QUICK)
        made = Bench()
        made.hosts = Hosts(transport, [Host("gone", gone), Host("api", transport)], PATHS, made.now)
        held.callback(made.hosts.close)
        pause = threading.Event()
        while not transport.takes_orders():
            made.hosts.poll()
            pause.wait(0.001)
        assert made.body(PLACE) == "api"


def test_it_is_waited_for_as_one_transport_is(bench: Bench) -> None:
    import select

    bench.hosts.submit(1, BOOK)
    poll = select.poll()
    poll.register(bench.hosts.fileno(), select.POLLIN)
    assert poll.poll(2000)  # an answer of any host makes the one descriptor readable
    told: list[bytes] = []
    bench.hosts.dated = lambda date, sent, received: told.append(date)
    assert bench.hosts.api.dated is not None and bench.hosts.next_deadline_ns() is not None
    bench.hosts.use_headers([("Authorization", "Bearer new")])
    assert bench.hosts.last_failure() == ""


class Patient:
    """Exits and cancels wait on; nothing is stopped."""

    def waits(self, request_id: int) -> None: ...

    def urgent(self, request_id: int) -> bool:
        return True

    def waits_on(self, request_id: int) -> bool:
        return True

    def placed(self, request_id: int) -> bool:
        return True

    def stops(self, request_id: int) -> str:
        return ""

    def wrote(self, request_id: int, at_ns: int | None) -> None: ...


@pytest.mark.parametrize("request_", [PLACE, CANCEL])
def test_an_exit_that_one_host_has_no_connection_for_goes_by_another_once(request_: HttpRequest) -> None:
    """Both connections to the first host hang; to the other one stands."""
    api, hang = Server("api"), threading.Event()

    def hangs(peer: socket.socket) -> None:
        while raw_server.read_request(peer):
            hang.wait(10)
            return

    with raw_server.serve(api.script) as api_port, raw_server.serve(hangs) as hft_port:
        one = HttpTransport(f"http://127.0.0.1:{api_port}", CLOCK, settings=QUICK)
        settings = HttpSettings(2, 0, 20.0, 0.5, 0.1)
        hft = HttpTransport(f"http://127.0.0.1:{hft_port}", CLOCK, settings=settings)
        said: list[str] = []
        hosts = Hosts(one, [Host("hft", hft), Host("api", one)], PATHS, CLOCK.mono_ns, said.append)
        hosts.follower = Patient()
        pause = threading.Event()
        while not (one.free() and all(c.fresh() for c in hft._orders.connections)):
            hosts.poll()
            pause.wait(0.001)
        for number in (1, 2, 3):
            hosts.submit(number, PLACE if number < 3 else request_)
        found: list[tuple[int, HttpResponse | TransportError]] = []
        end_ns = CLOCK.mono_ns() + 5 * 10**9
        while not found and CLOCK.mono_ns() < end_ns:
            found += hosts.poll()
            pause.wait(0.001)
        hang.set()
        hosts.close()
    ((number, result),) = found
    assert number == 3 and isinstance(result, HttpResponse) and result.body == b"api"
    assert api.calls == [request_.path] and any("had no connection" in line for line in said)


def test_hosts_need_one() -> None:
    with pytest.raises(ValueError, match="no host"):
        Hosts(None, [], PATHS, CLOCK.mono_ns)  # type: ignore[arg-type]


class Book:
    """A sandbox's: knows the order calls, keeps what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, str]] = []

    def answer(self, request: HttpRequest) -> HttpResponse | TransportError | None:
        if request.path == PLACE.path:
            return None
        if request.method == "GET":
            return HttpResponse(200, b"kept here")
        return TransportError("does not exist in the sandbox", sent=False)

    def took(self, request: HttpRequest, response: HttpResponse, time_text: str) -> None:
        self.told.append((request.path, response.status, time_text))


def test_a_sandbox_gets_its_own_calls_alone() -> None:
    server, book = Server("sandbox"), Book()
    with raw_server.serve(server.script) as port:
        http = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=QUICK)
        made = Bench()
        made.hosts = SandboxTransport(http, book, CLOCK.mono_ns, lambda: "2026-11-20 10:00:00")  # type: ignore[assignment]
        try:
            assert made.body(BOOK) == "kept here" and made.body(PLACE) == "sandbox"
            refused = made.call(GTT)
            assert isinstance(refused, TransportError) and not refused.sent
            made.hosts.submit(99, BOOK)
            assert made.hosts.next_deadline_ns() == 0  # an answer is ready: nobody waits
            [(_, answer)] = made.hosts.poll()
            assert isinstance(answer, HttpResponse) and answer.received_ns >= answer.sent_ns > 0
        finally:
            made.hosts.close()
    assert server.calls == [PLACE.path] and book.told == [(PLACE.path, 200, "2026-11-20 10:00:00")]


def test_a_connection_that_is_found_closed_by_who_looks_for_another_host_is_made_anew() -> None:
    """The broker has just hung up, and no `poll` of that host has seen it."""
    accepted, hang_up = list[int](), threading.Event()

    def script(peer: socket.socket) -> None:
        accepted.append(1)
        if len(accepted) == 1:
            hang_up.wait(10)
        else:
            raw_server.read_request(peer)

    with raw_server.serve(script) as port:
        settings = HttpSettings(1, 0, 5.0, 0.5, 0.3)
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=settings)
        pause, end_ns = threading.Event(), CLOCK.mono_ns() + 5 * 10**9
        while not transport.takes_orders():
            transport.poll()
            pause.wait(0.001)
        transport.poll()
        assert transport.next_deadline_ns() is None, "it has nothing to do by itself"
        hang_up.set()
        while transport.free():
            pause.wait(0.001)
        while not (transport.takes_orders() and len(accepted) == 2) and CLOCK.mono_ns() < end_ns:
            transport.poll()
            pause.wait(0.001)
        assert transport.free()
        transport.close()
