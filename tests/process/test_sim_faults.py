"""Each websocket and update fault as a client sees it on the wire, and its row in the log, once."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from fault_tools import inject, logged, wait
from kiteconnect import KiteConnect
from raw_ticks import Client, checksum
from sim_tools import Running, simulator


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    arguments = ("--instruments", "20", "--rate", "10", "--packets-per-frame", "5", "--seed", "5")
    with simulator(*arguments, "--no-limits", "--latency-us", "2000") as process:
        yield process


class Watched(Client):
    """A connection, and what the server had sent before it to others."""

    def __init__(self, running: Running) -> None:
        wait(lambda: not running.stats()["connections"])
        self.running, self.before = running, running.stats()
        super().__init__(running.ws_url)
        rows = running.get("/instruments").decode().splitlines()[1:]
        self.subscribe([int(line.split(",")[0]) for line in rows])
        assert self.read(until=lambda: len(self.ticks) > 60)

    def whole(self) -> dict[str, int]:
        """When it has ended: what the server counts for it, which must be what was read."""
        wait(lambda: not self.running.stats()["connections"])
        after = self.running.stats()
        names = ("ticks", "packets", "spoiled", "withheld", "frames", "texts", "orders", "labels", "pongs")
        sent = {name: after[name] - self.before[name] for name in names}
        assert sent["ticks"] == len(self.ticks)
        assert (after["checksum"] - self.before["checksum"]) % 2**64 == checksum(self.ticks)
        assert sent["packets"] == len(self.ticks) + self.unknown
        assert sent["texts"] == len(self.texts)
        assert sent["pongs"] == len(self.pongs)
        return sent

    def gap(self) -> float:
        """The longest time between two binary frames, in seconds."""
        times = [at for at, _ in self.frames]
        return max(b - a for a, b in itertools.pairwise(times))


@pytest.fixture
def client(running: Running) -> Iterator[Watched]:
    """The one open connection: all instruments in mode full, ticking."""
    made = Watched(running)
    yield made
    made.ws.shutdown()


@pytest.fixture
def kite(running: Running) -> Iterator[KiteConnect]:
    made = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
    yield made
    made.reqsession.close()


# -- connections


def talk(sock: socket.socket, data: bytes) -> None:
    """Send again and again, until the connection is gone."""
    sock.settimeout(5)
    with sock, contextlib.suppress(OSError):
        while True:
            sock.sendall(data)


def test_drop_is_a_fin_after_all_that_was_sent(running: Running, client: Watched) -> None:
    # A close with unread input would be a RST: so the client never stops talking.
    data = websocket.ABNF.create_frame(bytes(100), websocket.ABNF.OPCODE_PONG).format() * 50
    talking = threading.Thread(target=talk, args=(client.ws.sock.dup(), data))
    talking.start()
    before = inject(running, kind="drop", connection=0)
    client.read()
    client.ws.shutdown()
    talking.join(10)
    assert client.ended == "eof" and not talking.is_alive()
    (row,) = logged(running, before, "drop")
    assert (row["connection"], row["count"], row["parameters"]) == (0, 1, {})
    client.whole()


def test_reset_is_a_rst_after_all_that_was_sent(running: Running, client: Watched) -> None:
    before = inject(running, kind="reset", connection=0)
    client.read()
    assert client.ended == "reset"
    (row,) = logged(running, before, "reset")
    assert (row["connection"], row["count"], row["parameters"]) == (0, 1, {})
    client.whole()


def test_silence_is_not_even_a_heartbeat_or_a_pong(running: Running, client: Watched) -> None:
    before = inject(running, kind="silence", **{"for": 3})
    client.read(0.2)
    quiet_from = len(client.frames)
    client.ws.ping("still there?")
    client.read(1.0)
    assert (len(client.frames), client.pongs, client.ended) == (quiet_from, [], None)
    client.read(until=lambda: len(client.frames) > quiet_from + 3)
    client.ws.ping("and now?")
    client.read(until=lambda: client.pongs)
    assert client.pongs == [b"and now?"] and client.gap() > 2.5
    assert logged(running, before, "silence")[0]["parameters"] == {"for": 3.0}
    client.close()
    wait(lambda: not running.stats()["connections"])
    assert running.stats()["withheld"] - client.before["withheld"] > 200


def test_half_open_reads_and_answers_nothing_and_is_dropped_in_the_end(
    running: Running, client: Watched
) -> None:
    before = inject(running, kind="half_open", **{"for": 4})
    client.read(0.2)
    quiet_from = len(client.frames)
    client.say("unsubscribe", [256265])
    client.ws.ping("there?")
    client.read(0.5)
    assert (len(client.frames), client.pongs, client.ended) == (quiet_from, [], None)
    # It holds no place meanwhile: three others find one, and the first of them has its number.
    others = [Client(running.ws_url) for _ in range(3)]
    assert [one["number"] for one in running.stats()["connections"]] == [0, 0, 1, 2]
    for other in others:
        other.close()
    client.read()
    assert client.ended in ("eof", "reset")
    logged(running, before, "half_open")


def test_a_half_open_connection_may_keep_its_place(running: Running, client: Watched) -> None:
    before = inject(running, kind="half_open", keeps_place=True, **{"for": 3})
    others = [Client(running.ws_url) for _ in range(2)]
    with pytest.raises(Exception, match="429"):
        Client(running.ws_url)
    for other in others:
        other.close()
    client.read()
    assert client.ended in ("eof", "reset")
    logged(running, before, "half_open")


def test_a_slow_consumer_gets_all_at_once_and_then_the_end(running: Running, client: Watched) -> None:
    before = inject(running, kind="slow_consumer", **{"for": 1.2})
    client.read()
    assert client.ended == "eof" and client.gap() > 1.0
    logged(running, before, "slow_consumer")
    burst_from = max(
        range(1, len(client.frames)), key=lambda i: client.frames[i][0] - client.frames[i - 1][0]
    )
    assert len(client.frames) - burst_from >= 40  # 1.2 s of 40 frames a second
    client.whole()


# -- frames


@pytest.mark.parametrize(
    ("row", "damage"),
    [
        ({"kind": "truncate"}, "cut_packet"),
        ({"kind": "wrong_count", "by": 1}, "wrong_count"),
        ({"kind": "wrong_count", "by": 40_000}, "wrong_count"),
        ({"kind": "wrong_count", "by": -1}, "trailing_bytes"),
        ({"kind": "wrong_count", "by": -9}, "trailing_bytes"),
    ],
)
def test_a_damaged_frame_is_of_one_class_and_counted_tick_by_tick(
    running: Running, client: Watched, row: dict[str, Any], damage: str
) -> None:
    before = inject(running, connection=0, count=4, **row)
    client.read(until=lambda: len(client.malformed) == 4)
    client.read(0.3)
    assert client.malformed == [damage] * 4
    rows = logged(running, before, row["kind"], many=4)
    client.ws.sock.settimeout(5)
    inject(running, kind="drop")
    client.read()
    sent = client.whole()
    assert sent["spoiled"] == sum(one["spoiled"] for one in rows)
    if row.get("by", 1) < 0:
        assert sent["spoiled"] > 0


def test_unknown_packets_stand_between_whole_ones(running: Running, client: Watched) -> None:
    before = inject(running, kind="unknown_packet", count=5, length=33)
    client.read(until=lambda: client.unknown == 5)
    logged(running, before, "unknown_packet", many=5)
    inject(running, kind="drop")
    client.read()
    assert client.whole()["spoiled"] == 0 and client.malformed == []


# -- order updates


def resting(kite: KiteConnect) -> str:
    """A buy that is taken and does not trade: at the lower circuit."""
    low = kite.quote("NSE:INFY")["NSE:INFY"]["lower_circuit_limit"]
    made = kite.place_order("regular", "NSE", "INFY", "BUY", 1, "MIS", "LIMIT", price=low)
    wait(lambda: kite.order_history(made)[-1]["status"] == "OPEN")
    return str(made)


def told(client: Watched, order_id: str) -> list[str]:
    return [u["status"] for u in client.updates() if u["order_id"] == order_id]


def test_update_double(running: Running, client: Watched, kite: KiteConnect) -> None:
    order_id = resting(kite)
    before = inject(running, kind="update_double")
    kite.cancel_order("regular", order_id)
    client.read(until=lambda: len(told(client, order_id)) == 2)
    client.read(0.3)
    assert told(client, order_id) == ["CANCELLED", "CANCELLED"]
    assert logged(running, before, "update_double")[0]["order_id"] == order_id


def test_update_late_and_on_one_connection_only(running: Running, client: Watched, kite: KiteConnect) -> None:
    other = Client(running.ws_url)
    order_id = resting(kite)
    before = inject(running, kind="update_late", connection=1, **{"for": 0.8})
    kite.cancel_order("regular", order_id)
    client.read(until=lambda: told(client, order_id))
    other.read(until=other.updates)
    assert other.texts[-1][0] - client.texts[-1][0] > 0.5
    assert logged(running, before, "update_late")[0]["parameters"] == {"for": 0.8}
    other.close()


def test_update_reorder_swaps_two(running: Running, client: Watched, kite: KiteConnect) -> None:
    first, second = resting(kite), resting(kite)
    before = inject(running, kind="update_reorder", **{"for": 10})
    kite.cancel_order("regular", first)
    wait(lambda: kite.order_history(first)[-1]["status"] == "CANCELLED")
    assert running.faults()[before:] == []
    kite.cancel_order("regular", second)
    client.read(until=lambda: told(client, first))
    assert [u["order_id"] for u in client.updates()][-2:] == [second, first]
    (row,) = logged(running, before, "update_reorder")
    assert (row["order_id"], row["swapped_with"]) == (first, second)


def test_update_lost_is_in_the_book_and_nowhere_else(
    running: Running, client: Watched, kite: KiteConnect
) -> None:
    order_id = resting(kite)
    before = inject(running, kind="update_lost")
    kite.cancel_order("regular", order_id)
    wait(lambda: kite.order_history(order_id)[-1]["status"] == "CANCELLED")
    client.read(0.4)
    assert told(client, order_id) == []
    assert logged(running, before, "update_lost")[0]["status"] == "CANCELLED"


def test_update_label_comes_before_the_real_one(running: Running, client: Watched, kite: KiteConnect) -> None:
    order_id = resting(kite)
    before = inject(running, kind="update_label")
    kite.cancel_order("regular", order_id)
    client.read(until=lambda: len(told(client, order_id)) == 2)
    assert told(client, order_id) == ["UPDATE", "CANCELLED"]
    assert logged(running, before, "update_label")[0]["order_id"] == order_id
    inject(running, kind="drop")
    client.read()
    assert client.whole()["labels"] == 1
