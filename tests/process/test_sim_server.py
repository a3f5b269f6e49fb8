"""The simulator as a process: websocket rules by an independent client, replay, command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import websocket
from kiteconnect import KiteTicker
from sim_tools import Running, simulator

PARSER = KiteTicker("key", "token")


def tokens_of(running: Running) -> list[int]:
    return [int(line.split(",")[0]) for line in running.get("/instruments").decode().splitlines()[1:]]


def connect(running: Running) -> websocket.WebSocket:
    ws = websocket.WebSocket()
    ws.settimeout(20)
    ws.connect(running.ws_url, suppress_origin=True)
    return ws


def say(ws: websocket.WebSocket, action: str, value: Any) -> None:
    ws.send(json.dumps({"a": action, "v": value}))


def refused(url: str) -> int:
    plain = socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("?")[0])), timeout=10)
    with plain, pytest.raises(websocket.WebSocketBadStatusException) as error:
        websocket.create_connection(url, timeout=10, socket=plain)
    return int(error.value.status_code)


@pytest.fixture(scope="module")
def running() -> Any:
    with simulator("--instruments", "60", "--rate", "0.2", "--packets-per-frame", "4") as process:
        yield process


def test_wrong_token_is_403(running: Running) -> None:
    assert refused(f"{running.ws}?api_key={running.api_key}&access_token=wrong") == 403


def test_an_address_without_credentials_is_400(running: Running) -> None:
    assert refused(running.ws) == 400
    assert refused(f"{running.ws}?api_key={running.api_key}") == 400
    assert running.stats()["upgrades"]["refused_400"] == 2


def test_the_fourth_connection_is_429_until_one_closes(running: Running) -> None:
    three = [connect(running) for _ in range(3)]
    assert refused(running.ws_url) == 429
    three.pop().close()
    deadline = time.monotonic() + 10
    while len(running.stats()["connections"]) == 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    three.append(connect(running))
    for ws in three:
        ws.close()


def test_snapshot_on_subscribe_and_on_mode(running: Running) -> None:
    ws = connect(running)
    tokens = tokens_of(running)
    say(ws, "subscribe", tokens)
    first = PARSER._parse_binary(ws.recv())
    assert {t["instrument_token"] for t in first} == set(tokens)
    assert {t["mode"] for t in first} == {"quote"}
    say(ws, "mode", ["full", tokens])
    while len(frame := ws.recv()) < 1000:
        pass
    full = PARSER._parse_binary(frame)
    assert {t["mode"] for t in full} == {"full"} and len(full) == len(tokens)
    index = next(t for t in full if t["instrument_token"] == 256265)
    assert "depth" not in index and "exchange_timestamp" in index
    ws.close()


def test_heartbeats_while_idle(running: Running) -> None:
    ws = connect(running)
    assert [len(ws.recv()) for _ in range(2)] == [1, 1]
    ws.ping("there?")
    opcode = None
    while opcode != websocket.ABNF.OPCODE_PONG:
        opcode, data = ws.recv_data(control_frame=True)
    assert data == b"there?"
    ws.close()


def test_too_many_tokens_is_an_error_frame_and_the_connection_lives(running: Running) -> None:
    ws = connect(running)
    say(ws, "subscribe", list(range(5000, 8001)))
    error = None
    while error is None:
        data = ws.recv()
        error = json.loads(data) if isinstance(data, str) else None
    assert error == {"type": "error", "data": "Can't subscribe to more than 3000 instruments."}
    ws.send("nonsense")
    ws.send_binary(b"nonsense")
    say(ws, "unsubscribe", list(range(5000, 8001)))
    say(ws, "subscribe", tokens_of(running)[:1])
    while len(ws.recv()) == 1:
        pass
    ws.close()


@pytest.mark.data
def test_the_recorded_day_arrives_whole(data_dir: Path) -> None:
    """At full speed, in one connection: as many packets as messages, and the sender's own count."""
    folder = str(data_dir / "upstox_v3_20251215")
    with simulator(
        "--replay", folder, "--speed", "0", "--packets-per-frame", "50", "--start-when-subscribed", "9"
    ) as process:
        ws = connect(process)
        tokens = tokens_of(process)
        say(ws, "subscribe", tokens)
        say(ws, "mode", ["full", tokens])
        packets, checksum, gamma = 0, 0, 0x9E3779B97F4A7C15
        mask = 2**64 - 1
        while packets < 216_593:
            frame = ws.recv()
            if len(frame) == 1:
                continue
            (count,) = struct.unpack_from(">H", frame)
            assert 1 <= count <= 50 and len(frame) == 2 + 186 * count
            for length, token, px, volume in struct.iter_unpack(">HII8xI164x", frame[2:]):
                assert length == 184
                z = ((token << 32 | px) + gamma & mask) ^ (volume * gamma & mask)
                z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
                z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
                checksum += z ^ z >> 31
            packets += count
        assert len(ws.recv()) == 1  # then only heartbeats
        ws.close()
        sent = process.end()
    assert (sent["ticks"], sent["taken"], sent["snapshot_ticks"]) == (216_593, 216_593, 0)
    assert sent["ended"] is True
    assert sent["checksum"] == checksum & mask


def test_a_slow_reader_loses_nothing(tmp_path: Path) -> None:
    """40,000 ticks at full speed to somebody who does not read for a while."""
    lines = (
        f"2025-08-04 {10 + i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d},{100 + i}.05\n"
        for i in range(40_000)
    )
    (tmp_path / "index.csv").write_text("".join(lines))
    with simulator("--replay", str(tmp_path), "--speed", "0") as process:
        ws = connect(process)
        say(ws, "subscribe", [256265])
        time.sleep(1.0)
        prices = []
        while len(prices) < 40_000:
            prices += [t["last_price"] for t in PARSER._parse_binary(ws.recv())]
        assert prices == [100 + i + 0.05 for i in range(40_000)]
        ws.close()


def test_a_reader_that_never_reads_cannot_keep_it_alive(tmp_path: Path) -> None:
    lines = (f"2025-08-04 10:00:{i % 60:02d},100.05\n" for i in range(400_000))
    (tmp_path / "index.csv").write_text("".join(lines))
    with simulator("--replay", str(tmp_path), "--speed", "0") as process:
        ws = connect(process)
        say(ws, "subscribe", [256265])
        ws.recv()
        sent = process.end()
        ws.shutdown()
    assert 0 < sent["ticks"] < 400_000


# -- command line


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kite_hft.sim", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--instruments", "0"], 2, "not between 1 and 100000"),
        (["--rate", "0"], 2, "greater than 0"),
        (["--rate", "nan"], 2, "not a number"),
        (["--packets-per-frame", "x"], 2, "invalid whole number value: 'x'"),
        (["--broker", "other"], 2, "invalid choice"),
        (["--exchange-time", "now"], 2, "is not like 2026-11-20T09:15:00"),
        (["--replay", "/nonexistent"], 1, "no recorded data"),
        (["--port", "70000"], 2, "not between 0 and 65535"),
    ],
)
def test_wrong_arguments_are_named_without_a_traceback(arguments: list[str], code: int, text: str) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(running: Running) -> None:
    done = command("--port", running.ws.rsplit(":", 1)[1])
    assert done.returncode == 1
    assert "in use" in done.stderr and "Traceback" not in done.stderr


def test_it_ends_by_itself_and_says_what_it_sent() -> None:
    done = command("--duration", "0.3", stdin=subprocess.DEVNULL)
    ready, sent = done.stdout.splitlines()
    assert done.returncode == 0 and done.stderr == ""
    assert [word.split("=")[0] for word in ready.split()] == ["ready", "ws", "api", "api_key", "access_token"]
    assert json.loads(sent.removeprefix("sent "))["ticks"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_in_order_also_with_open_connections(number: signal.Signals) -> None:
    with simulator("--instruments", "5") as process:
        ws = connect(process)
        say(ws, "subscribe", tokens_of(process))
        ws.recv()
        os.kill(process.process.pid, number)
        opcode = None
        while opcode != websocket.ABNF.OPCODE_CLOSE:
            opcode, data = ws.recv_data(control_frame=True)
        assert data[:2] == struct.pack(">H", 1001)
        assert process.process.wait(20) == 0
        ws.shutdown()


def test_closing_its_input_ends_it() -> None:
    with simulator("--instruments", "5") as process:
        assert process.end()["exchange"] == {
            "orders": 0, "complete": 0, "rejected": 0, "cancelled": 0, "trades": 0, "cash_paise": 10**9,
        }  # fmt: skip
