"""The control socket: requests, answers, strangers, and clients that misbehave."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.processes import control
from kite_hft.engine.processes.control import ControlError, ControlServer, Lines, ask


def answer(message: dict[str, Any]) -> dict[str, Any]:
    if message["do"] == "fail":
        raise ControlError("it cannot be done: try later")
    return {"ok": True, "echo": message["do"]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ControlServer]:
    made = ControlServer(tmp_path / "control.sock", answer)
    ending = threading.Event()

    def serve() -> None:
        while not ending.wait(0.002):
            made.serve()

    thread = threading.Thread(target=serve)
    thread.start()
    yield made
    ending.set()
    thread.join()
    made.close()
    assert not (tmp_path / "control.sock").exists()


def test_requests_are_answered(tmp_path: Path, server: ControlServer) -> None:
    path = tmp_path / "control.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert ask(path, {"do": "status"}) == {"ok": True, "echo": "status"}
    with pytest.raises(ControlError, match="try later"):
        ask(path, {"do": "fail"})
    with pytest.raises(ControlError, match="bad request"):
        ask(path, {"no": "verb"})
    assert len(server.filenos()) <= 4


def test_a_client_in_pieces_and_one_that_sends_rubbish(tmp_path: Path, server: ControlServer) -> None:
    with socket.socket(socket.AF_UNIX) as slow, socket.socket(socket.AF_UNIX) as rude:
        slow.connect(str(tmp_path / "control.sock"))
        rude.connect(str(tmp_path / "control.sock"))
        slow.sendall(b'{"do": "st')
        rude.sendall(b"rubbish\n")
        rude.settimeout(5)
        assert rude.recv(100) == b"", "hung up on"
        slow.sendall(b'atus"}\n')
        slow.settimeout(5)
        assert json.loads(slow.recv(1000)) == {"ok": True, "echo": "status"}


def test_other_users_are_refused(
    tmp_path: Path, server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ControlError, match=r"cannot be asked|without an answer|no engine listens"):
        ask(tmp_path / "control.sock", {"do": "status"})


def test_no_engine_and_one_that_is_silent(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="is it running"):
        ask(tmp_path / "none.sock", {"do": "status"})
    silent = ControlServer(tmp_path / "silent.sock", answer)
    with pytest.raises(ControlError, match="did not answer"):
        ask(tmp_path / "silent.sock", {"do": "status"}, 0.05)
    silent.close()


def test_lines_are_bounded_and_objects() -> None:
    lines = Lines()
    assert lines.add(b'{"a"') == [] and lines.add(b": 1}\n{") == [{"a": 1}]
    with pytest.raises(ControlError, match="longer"):
        lines.add(b"x" * (control.LINE_BYTES_MAX + 1))
    with pytest.raises(ControlError, match="JSON object"):
        Lines().add(b"[1]\n")


@pytest.mark.parametrize(
    "error", [OverflowError("inf"), RuntimeError("x"), OSError(28, "full"), StopIteration()]
)
def test_a_request_that_cannot_be_handled_is_answered_and_ends_nothing(
    tmp_path: Path, error: Exception
) -> None:
    def fails(message: dict[str, Any]) -> dict[str, Any]:
        raise error

    made = ControlServer(tmp_path / "control.sock", fails)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "control.sock"))
        client.sendall(b'{"do": "subscribe", "tokens": [1e999]}\n')
        made.serve()
        assert "bad request" in json.loads(client.recv(1000))["error"]
    made.close()


def test_json_without_a_bottom_is_no_message() -> None:
    with pytest.raises(ControlError, match="not JSON"):
        Lines().add(b"[" * 200_000 + b"\n")


def test_clients_that_say_nothing_make_room_for_one_that_asks(tmp_path: Path, server: ControlServer) -> None:
    idle = [socket.socket(socket.AF_UNIX) for _ in range(2 * control.CLIENTS_MAX)]
    try:
        for client in idle[: control.CLIENTS_MAX]:
            client.connect(str(tmp_path / "control.sock"))
        assert ask(tmp_path / "control.sock", {"do": "status"})["ok"]
    finally:
        for client in idle:
            client.close()


def test_a_client_that_asks_on_and_on_and_reads_nothing_is_hung_up_on(tmp_path: Path) -> None:
    made = ControlServer(tmp_path / "control.sock", lambda message: {"long": "x" * 100_000})
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(tmp_path / "control.sock"))
        deaf.sendall(b'{"do": "status"}\n' * 100)
        made.serve()
    assert len(made.filenos()) == 1
    made.close()
