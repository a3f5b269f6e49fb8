"""kite-hft kill-switch against the simulated Upstox: looked at, thrown, proven by orders that are refused."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_tools import FILES, QUIET, engine, own
from login_tools import CONSOLE, Desk, free_port
from raw_server import certificate, read_request, serve
from sim_tools import Running
from upstox_sim import Sdk, Upstox, upstox

from kite_hft.app.keys.login import login
from kite_hft.configuring.models.broker import FILES as BROKERS_FILES
from kite_hft.engine.orders.latch import read_latch

SEGMENTS = ("NSE_EQ", "BSE_EQ", "NSE_FO", "BSE_FO", "NCD_FO", "BCD_FO", "MCX_FO", "NSE_COM")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state directory; the verbs under test have it from their environment."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/kite_hft"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Upstox]:
    with upstox("--instruments", "4", "--latency-us", "0", "--no-limits", folder=tmp_path) as running:
        yield running


def at(folder: Path, running: Running, *, logged_in: bool = True) -> Desk:
    desk = Desk(folder, "upstox", running, "")
    desk.console = CONSOLE
    desk.put(redirect_url=desk.app["redirect_uri"])
    if logged_in:
        log_in(desk)
    return desk


def log_in(desk: Desk) -> str:
    code, said = desk.call(login, f"{desk.fresh_code()}\n")
    assert code == 0, said
    return desk.values()["access_token"]


def verb(desk: Desk, *words: str, stdin: str = "") -> tuple[int, str]:
    with desk.verb("kill-switch", *words) as process:
        said, _ = process.communicate(stdin, timeout=60)
        assert "Traceback" not in said and "a fault of this program" not in said, said
        return process.returncode, said


def answer(said: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said[said.index("{\n") :])
    return found


def placed(server: Upstox, token: str) -> list[Any]:
    """What the official client hears when it buys one share at the market."""
    key = server.keys()[0]
    words = {"quantity": 1, "product": "I", "validity": "DAY", "price": 0.0, "instrument_token": key}
    words |= {"order_type": "MARKET", "transaction_type": "BUY", "disclosed_quantity": 0}
    body = {"model": "PlaceOrderV3Request", "trigger_price": 0.0, "is_amo": False, "slice": False, **words}
    with Sdk(server, token) as client:
        return client.call("OrderApiV3", "place_order", body)


def sent(server: Upstox) -> list[str]:
    """Calls that change something, as the simulator has them."""
    return [row["path"] for row in json.loads(server.running.get("/_sim/requests"))["requests"]]


def test_thrown_it_refuses_the_official_clients_orders(server: Upstox, state: Path, tmp_path: Path) -> None:
    desk = at(tmp_path, server.running)
    code, said = verb(desk, "--status")
    assert code == 0 and said.count("may be traded") == len(SEGMENTS) and "STOPPED" not in said, said
    code, said = verb(desk, stdin="somebody else\n")
    assert code == 1 and "Type SIM001 to confirm" in said and "nothing was changed" in said, said
    for nearly in ("sim001", "upstox-SIM001", "SIM"):
        assert verb(desk, "--yes", nearly)[0] == 1
    assert verb(desk)[0] == 1, "nobody answers"
    assert "/v2/user/kill-switch" not in sent(server) and not (state / "kills.jsonl").exists()

    code, said = verb(desk, "--segment", "nse_fo", stdin="SIM001\n")
    assert code == 0, said
    for words in ("in NSE_FO:", "for twelve hours", "today's token ends", "GTTs that wait", "positions"):
        assert words in said, said
    assert "Upstox shows it: NSE_FO stopped" in said and "access_token" not in desk.values()
    log_in(desk)
    code, said = verb(desk, "--yes", "SIM001", "--json")
    found = answer(said)
    assert code == 0 and found["proven"] and found["token_ended"], said
    assert found["changed"] == [name for name in SEGMENTS if name != "NSE_FO"], "the other is stopped already"
    assert all(row["stopped"] for row in found["segments"].values())

    token = log_in(desk)
    kind, status, body = placed(server, token)
    assert (kind, status) == ("refused", 400) and "kill switch" in body["errors"][0]["message"]
    code, said = verb(desk, "--status", "--json")
    assert code == 0 and all(row["stopped"] for row in answer(said)["segments"].values())
    code, said = verb(desk, "--yes", "SIM001")
    assert code == 0 and "nothing to do" in said and "kite-hft logout" in said
    code, said = verb(desk, "--off", "--yes", "SIM001")
    assert code == 1 and "UDAPI1185" in said and "12 hours" in said, said
    assert desk.taken(), "a refused change ends no session"
    lines = [json.loads(line) for line in (state / "kills.jsonl").read_text().splitlines()]
    assert [row["became"] for row in lines] == ["is sent", "shown"] * 2 + ["is sent", "refused"]
    assert lines[0]["segments"] == {"NSE_FO": True} and lines[0]["user_id"] == "SIM001"
    assert token not in (state / "kills.jsonl").read_text() and token not in said


def test_positions_are_named_and_stand_in_the_way(server: Upstox, state: Path, tmp_path: Path) -> None:
    desk = at(tmp_path, server.running)
    kind, *_ = placed(server, desk.values()["access_token"])
    assert kind == "answer"
    code, said = verb(desk, "--yes", "SIM001", "--json")
    found = answer(said)
    assert code == 1 and found["outcome"] == "refused" and not found["proven"], said
    (held,) = found["open"]["positions"]
    assert "UDAPI1184" in said and "kite-hft kill --flatten" in said and held["position"] in said
    assert desk.taken() and not any(row["stopped"] for row in found["segments"].values())


def test_without_a_way_nothing_is_sent(server: Upstox, state: Path, tmp_path: Path) -> None:
    desk = at(tmp_path, server.running, logged_in=False)
    code, said = verb(desk, "--yes", "SIM001", "--json")
    assert code == 3 and "kite-hft login" in said and not answer(said)["ok"]
    desk.put(access_token="not-a-token")
    code, said = verb(desk, "--status")
    assert code == 3 and "kite-hft login" in said and "not-a-token" not in said, said
    log_in(desk)
    desk.put(user_id="ZZ9999")
    code, said = verb(desk, "--yes", "ZZ9999")
    assert code == 1 and "is of SIM001" in said, said
    desk.put(user_id="SIM001")
    assert verb(desk, "--segment", "NSE", "--yes", "SIM001")[0] == 2
    assert verb(desk, "--status", "--off")[0] == 2
    code, said = verb(desk, "--broker", "kite")
    assert code == 1 and "Console" in said and "kite-hft kill" in said
    words = json.loads(desk.config.read_text())
    words["upstox"]["api_url"] = f"http://127.0.0.1:{free_port()}"
    desk.config.write_text(json.dumps(words))
    code, said = verb(desk, "--yes", "SIM001")
    assert code == 3 and "nothing listens there" in said and "(upstox.api_url)" in said
    assert "/v2/user/kill-switch" not in sent(server)


def test_a_certificate_that_nobody_trusts_gets_no_token(server: Upstox, state: Path, tmp_path: Path) -> None:
    desk = at(tmp_path, server.running)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path / "keys", "localhost"))
    heard: list[bytes] = []
    with serve(lambda peer: heard.append(peer.recv(4096)), context) as port:
        words = json.loads(desk.config.read_text())
        words["upstox"]["api_url"] = f"https://localhost:{port}"
        desk.config.write_text(json.dumps(words))
        code, said = verb(desk, "--yes", "SIM001")
    assert code == 3 and "certificate is not trusted" in said and not heard, said


def test_an_answer_that_is_lost_is_not_proven(server: Upstox, state: Path, tmp_path: Path) -> None:
    """The change goes to a host in between, which does it and hangs up."""
    desk = at(tmp_path, server.running)

    def between(peer: Any) -> None:
        while head := read_request(peer):
            method, path = head.split(b" ", 2)[:2]
            body = head.partition(b"\r\n\r\n")[2]
            status, found = server.call(
                method.decode(), path.decode(), json.loads(body) if body else None, desk_token
            )
            if method == b"POST":
                return
            text = json.dumps(found).encode()
            peer.sendall(
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(text)}\r\n\r\n".encode()
                + text
            )

    desk_token = desk.values()["access_token"]
    with serve(between) as port:
        words = json.loads(desk.config.read_text())
        words["upstox"]["api_url"] = f"http://127.0.0.1:{port}"
        desk.config.write_text(json.dumps(words))
        code, said = verb(desk, "--yes", "SIM001", "--json")
    assert code == 3 and "NOT PROVEN" in said and not answer(said)["proven"], said
    assert sent(server).count("/v2/user/kill-switch") == 1, "nothing is sent twice"
    lines = [json.loads(line) for line in (state / "kills.jsonl").read_text().splitlines()]
    assert [row["became"] for row in lines] == ["is sent", "not proven"]


def test_an_engine_with_this_login_is_killed_first(tmp_path: Path, state: Path) -> None:
    """Its account has no cash, so that no position stands in the way."""
    name = own("SWITCH")
    files = FILES | {key: str(path) for key, path in BROKERS_FILES["upstox"].items()}
    trading = "".join(f"  {key}: {Path('config').resolve() / path}\n" for key, path in files.items())
    market = 'simulator: {instruments: 20, cash: 1, exchange_time: "2026-11-20T10:00:00"}\n'
    with engine(
        tmp_path, name, f"broker: upstox\n{market}trading:\n  date: 2026-11-20\n{trading}{QUIET}"
    ) as run:
        run.until(lambda status: status["state"]["state"] == "ACTIVE", 60)
        out = (tmp_path / "engine.out").read_text().split()
        api = next(word for word in out if word.startswith("http://127.0.0.1"))
        desk = Desk(tmp_path, "upstox", Running(run.process, "", api, "", ""), "")
        desk.console = CONSOLE
        desk.put(redirect_url=desk.app["redirect_uri"])
        log_in(desk)
        code, said = verb(desk, "--yes", "SIM001", "--json")
        found = answer(said)
        assert run.json("status")["state"]["state"] == "KILLED"
        assert code == 0 and found["proven"], said
    (row,) = found["engines"]
    folder = state / f"upstox-{name}"
    assert row == {"account": f"upstox-{name}", "latch": str(folder / "KILL"), "confirmed": True}
    assert f"an engine runs on upstox-{name}: it is killed first" in said
    latch = read_latch(folder)
    assert latch is not None and "kill switch at Upstox" in latch.reason
    lines = [json.loads(line) for line in (folder / "kills.jsonl").read_text().splitlines()]
    assert [line["do"] for line in lines] == ["kill", "kill_switch", "kill_switch"], "killed, then sent"
    assert [line.get("became") for line in lines] == [None, "is sent", "shown"]
