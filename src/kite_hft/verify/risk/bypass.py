"""Layer 6, by hand or CI, cold: `verify bypass` (and `verify risk --bypass`): who reaches the broker's API?

A real engine trades on the simulator. A small shared library, compiled here and loaded into every
process of the engine, writes down each connect() and the first line of each request that is sent:
below Python, uvloop and every library. Then

- no process but ORDERS has connected to the API's port, except the supervisor, which fetches the
  list of instruments before there is an ORDERS, by GET, and, where the API's host gives the feeds' one-time
  addresses (Upstox), the keepers of feeds, by GET of these alone; with --http, where prices come by HTTP, a
  feed asks there for quotes, by GET of these alone;
- the requests that left ORDERS' sockets, the simulator's own log, the calls that the engine counted
  (evidence.csv) and the orders of its report are the same, but for orders that the engine has paid for
  and taken back while they waited for a connection (orders.csv: REFUSED, NOT_CONNECTED): no socket has those;
- by the source: only net/, the simulator's servers and the control socket import a socket library,
  only ORDERS makes a transport of order calls, and the connection below that one is taken by it and by the
  line for quotes alone, which a feed that asks for prices holds.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kite_hft.engine.processes.control import ControlError, ask
from kite_hft.engine.runs.runs import accounts
from kite_hft.net.http import fetch
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.verify.brokers.choosing import add_broker, words_of
from kite_hft.verify.brokers.running import addressed, facts_of
from kite_hft.verify.brokers.told import only_order_calls
from kite_hft.verify.campaign import ROOT, CampaignError, show_progress
from kite_hft.verify.risk.audit import Seen, compiled, own_eyes, seen_in

PACKAGE: Final = ROOT / "src/kite_hft"
ACCOUNT: Final = "BYPASS"
START_S: Final = 60.0
LOOK_S: Final = 0.25
ORDER_VERBS: Final = {"POST": "PLACE", "PUT": "MODIFY", "DELETE": "CANCEL"}
SUPERVISOR: Final = "supervisor"
ORDERS: Final = "orders"
SOCKETS: Final = frozenset(
    {"socket", "ssl", "picows", "aiohttp", "websockets", "requests", "h11", "pycurl", "socketserver"}
    | {"http.client", "http.server", "urllib.request", "urllib3", "httpx", "_socket", "_ssl", "smtplib"}
)
MAY_OPEN: Final = ("net/", "sim/server/", "engine/processes/control.py", "verify/")
"""engine/processes/control.py: the unix socket of a person's command line."""
MAY_TAKE: Final[Mapping[str, frozenset[str]]] = {
    "kite_hft.net.connection.Connection": frozenset({"net/http.py", "net/quotes.py"}),
    "kite_hft.net.quotes": frozenset({"engine/market/polled.py"}),
}
"""Who holds a bare connection, and the line that sends quotes alone."""
MAY_CALL: Final = frozenset(
    {"engine/orders/transports.py", "net/hosts.py", "net/sandboxed.py", "app/day/asking.py"}
)
"""The last is no part of a run: a person asks the broker with it (doctor, morning, end-of-day, incident)."""


@dataclass(frozen=True, slots=True)
class Manner:
    """Who besides ORDERS has to speak to a broker's API, and about what.

    fetched: paths that the supervisor may GET. doors: paths at which the keepers of feeds ask for the address
    of a websocket. streams: how the path of a websocket's own request begins: it is none of the API's.
    quotes: how a request for prices begins, where a feed asks for them.
    """

    fetched: tuple[str, ...]
    streams: tuple[str, ...]
    doors: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()


MANNERS: Final = {
    "kite": Manner(("/instruments", "/_sim/"), ("/?",), quotes=("/quote?", "/quote/ltp?")),
    "upstox": Manner(
        ("/market-quote/instruments/", "/_sim/"),
        ("/market-data-feeder/", "/portfolio-feed/"),
        ("/v3/feed/market-data-feed/authorize", "/v2/feed/portfolio-stream-feed/authorize"),
        ("/v3/market-quote/quotes?", "/v3/market-quote/ltp?"),
    ),
}
FEEDS: Final = ("market-", "feed-")
KEEPERS: Final = (*FEEDS, "updates")
"""How the names of processes begin that keep a websocket."""


def judge(
    seen: Seen,
    port: int,
    names: Mapping[int, str],
    server: Sequence[Mapping[str, Any]],
    evidence: Sequence[Mapping[str, str]],
    report: Mapping[str, Any],
    side: BrokerSide = KITE_SIDE,
    *,
    http: bool = False,
    taken_back: Collection[str] = (),
) -> list[str]:
    """What is wrong with a run. port: of the API. names: pid -> process, of the engine. server: the
    simulator's log of requests (no GETs). evidence: rows of evidence.csv. http: prices come by HTTP.
    taken_back: tags of orders that the engine says never left.
    """
    wrong, manner = [], MANNERS[side.name]
    for pid, to in seen.connects:
        name = names.get(pid, f"an unknown process ({pid})")
        asks = http and name.startswith(FEEDS)
        if to == port and name not in (ORDERS, SUPERVISOR) and not asks and not _keeps(name, manner):
            wrong.append(f"{name} connected to the API's port")
    asked = [(names.get(pid, str(pid)), verb, path) for pid, verb, path in seen.requests]
    api = [(name, verb, path) for name, verb, path in asked if not path.startswith(manner.streams)]
    quotes = 0
    for name, verb, path in api:
        if name == SUPERVISOR and (verb != "GET" or not path.startswith(manner.fetched)):
            wrong.append(f"the supervisor sent {verb} {path}")
        elif http and name.startswith(FEEDS) and verb == "GET" and path.startswith(manner.quotes):
            quotes += 1
        elif _keeps(name, manner) and verb == "GET" and path.startswith(manner.doors):
            continue
        elif name not in (ORDERS, SUPERVISOR):
            wrong.append(f"{name} sent {verb} {path}")
    at_socket = Counter(ORDER_VERBS[verb] for name, verb, _ in api if name == ORDERS and verb in ORDER_VERBS)
    at_server = Counter(ORDER_VERBS[str(row["method"])] for row in only_order_calls(side, server))
    counted = Counter(row["call"] for row in evidence if row["part"])  # else it is no call
    paid = sum(1 for row in evidence if row["call"] == "PLACE" and row["name"] in taken_back)
    counted["PLACE"] -= paid
    reads = sum(1 for name, verb, _ in api if name == ORDERS and verb == "GET")
    for call in ORDER_VERBS.values():
        told = {"socket": at_socket[call], "server": at_server[call], "engine": counted[call]}
        if len(set(told.values())) != 1:
            wrong.append(f"{call}: {told}")
    counted_reads = sum(n for call, n in counted.items() if call not in ORDER_VERBS.values())
    if reads != counted_reads:
        wrong.append(f"reads: {reads} at the socket, {counted_reads} by the engine")
    if report["orders"]["sent"] != at_socket["PLACE"] + paid:
        wrong.append(f"the report has {report['orders']['sent']} orders sent, {at_socket['PLACE']} left")
    if not at_socket["PLACE"]:
        wrong.append("no order left: nothing was tried")
    if http and not quotes:
        wrong.append("no feed asked for a quote: nothing was tried")
    return wrong


def _keeps(name: str, manner: Manner) -> bool:
    """A process that asks the API for the address of its websocket."""
    return bool(manner.doors) and name.startswith(KEEPERS)


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def source_faults(package: Path = PACKAGE) -> list[str]:
    """Modules that could reach the broker's API by themselves, and must not."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        name, found = path.relative_to(package).as_posix(), imports_of(path)
        if (sockets := found & SOCKETS) and not name.startswith(MAY_OPEN):
            wrong.append(f"{name} imports {', '.join(sorted(sockets))}")
        calls = "kite_hft.net.http.HttpTransport" in found and not name.startswith("verify/")
        if calls and name not in MAY_CALL:
            wrong.append(f"{name} can make a transport of order calls")
        for module, may in MAY_TAKE.items():
            if module in found and name not in may and not name.startswith("verify/"):
                wrong.append(f"{name} takes {module}")
    return wrong


# The run


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run of simulator and engine under the library.

    Raises:
        CampaignError: they do not come up, or there is no compiler.
    """
    library, log = compiled(folder), folder / "audit.txt"
    log.touch()
    environment = {**os.environ, "XDG_STATE_HOME": str(folder), "KHFT_AUDIT": str(log)}
    environment["LD_PRELOAD"] = str(library)
    side = side_of(options.broker)
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", side.name, "--port", "0"]
    command += [
        "--die-with-parent",
        "--instruments",
        str(options.instruments),
        "--rate",
        "5",
        "--seed",
        str(options.seed),
    ]
    command += ["--exchange-time", "2026-11-20T10:00:00"]
    simulator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    engine: subprocess.Popen[bytes] | None = None
    try:
        assert simulator.stdout is not None
        ready = simulator.stdout.readline()
        if not ready.startswith("ready "):
            raise CampaignError("the simulator did not start; what it said stands above")
        told = dict(word.split("=", 1) for word in ready.split()[1:])
        port = int(told["api"].rsplit(":", 1)[1])
        own_eyes(environment, port, log)
        config, report = folder / "config.yaml", folder / "report.json"
        config.write_text(json.dumps(configuration(told, side, http=options.http)))  # JSON is YAML
        words = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)]
        with (folder / "engine.out").open("wb") as out:
            engine = subprocess.Popen(
                [*words, "--report", str(report)], env=environment, stdout=out, stderr=out
            )
        names = live_through(engine, folder, options.duration)
        engine.send_signal(signal.SIGTERM)
        code = engine.wait(90)
        server = json.loads(fetch(f"{told['api']}/_sim/requests")[1])["requests"]
    finally:
        if engine is not None and engine.poll() is None:
            engine.kill()
            engine.wait(30)
        simulator.terminate()
        simulator.communicate(timeout=30)
    if not report.exists():
        raise CampaignError(f"the engine left no report (exit code {code}), see engine.out")
    seen = seen_in(log.read_text())
    rows = [row for path in folder.glob("kite_hft/*/*/*/evidence.csv") for row in _csv(path)]
    orders = (row for path in folder.glob("kite_hft/*/*/*/orders.csv") for row in _csv(path))
    back = {row["tag"] for row in orders if (row["status"], row["reason"]) == ("REFUSED", "NOT_CONNECTED")}
    said = json.loads(report.read_text())
    wrong = [] if code == 0 else [f"the engine ended with exit code {code}"]
    wrong += judge(seen, port, names, server, rows, said, side, http=options.http, taken_back=back)
    return {
        "wrong": wrong,
        "processes": sorted(set(names.values())),
        "connects": dict(Counter(names.get(pid, str(pid)) for pid, _ in seen.connects)),
        "to_the_api": dict(Counter(names.get(pid, str(pid)) for pid, to in seen.connects if to == port)),
        "requests": dict(Counter(f"{names.get(pid, pid)} {verb}" for pid, verb, _ in seen.requests)),
        "at_the_server": dict(Counter(row["method"] for row in server)),
    }


def _csv(path: Path) -> Iterable[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(line for line in file if not line.startswith("#"))


def live_through(engine: subprocess.Popen[bytes], folder: Path, duration_s: float) -> dict[int, str]:
    """Let the engine trade; every process that it ever had, by pid.

    Raises:
        CampaignError: it does not become ready, or ends.
    """
    names = {engine.pid: SUPERVISOR}
    began = trading = time.monotonic()
    while time.monotonic() - trading < duration_s:
        if engine.poll() is not None:
            raise CampaignError(f"the engine ended by itself (exit code {engine.returncode}), see engine.out")
        rows = processes(folder)
        if not rows:
            trading = time.monotonic()
            if trading - began > START_S:
                raise CampaignError(f"no engine that answers within {START_S:g} s")
        names |= {int(row["pid"]): str(row["process"]) for row in rows if row.get("pid")}
        show_progress(
            round(time.monotonic() - trading), round(duration_s), f"{time.monotonic() - began:.0f} s"
        )
        time.sleep(LOOK_S)
    return names


def processes(folder: Path) -> list[Mapping[str, Any]]:
    """The engine's processes, by its own word; none while it starts."""
    try:
        note = next((a.running for a in accounts(folder / "kite_hft", elsewhere=False) if a.running), None)
        rows: list[Mapping[str, Any]] = ask(Path(note.control), {"do": "status"})["processes"] if note else []
    except (ControlError, OSError, ValueError):
        return []
    return rows


def configuration(told: Mapping[str, str], side: BrokerSide, *, http: bool = False) -> dict[str, Any]:
    """An engine that trades much. http: with prices that are asked for."""
    by_http = {"datafeed": {"primary_source": "http"}, "risk": {"stale_tick_s": 4.0}} if http else {}
    return {
        **by_http,
        "mode": "sim",
        "account": f"{ACCOUNT}_{os.getpid()}",
        **addressed(side.name, told),
        "strategies": [
            {"name": "kite_hft.verify.engine.supervise_probe:Probe", "form": "A", "params": {"every": 7}},
        ],
        "trading": {"date": "2026-11-20", **facts_of(side.name)},
    }  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify bypass", description=__doc__)
    add_broker(made)
    made.add_argument("--duration", type=float, default=30.0, help="seconds of trading (default 30)")
    made.add_argument("--instruments", type=int, default=60)
    made.add_argument("--seed", type=int, default=7)
    made.add_argument("--http", action="store_true", help="prices by HTTP instead of a websocket")
    made.add_argument("--keep", type=Path, help="folder that gets the run")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The campaign; one JSON line. Returns 1 on a miss."""
    options = parser().parse_args(argv)
    faults = source_faults()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = run(options, folder)
        except CampaignError as error:
            found = {"wrong": [str(error)]}
    found["wrong"] = [*faults, *found["wrong"]]
    ok = not found["wrong"]
    words = f"{words_of(side_of(options.broker))} --seed {options.seed}{' --http' * options.http}"
    replay = {} if ok else {"again": f"python -m kite_hft.verify bypass{words} --keep FOLDER"}
    print(json.dumps({"campaign": "bypass", "broker": options.broker, "ok": ok, **found, **replay}))
    return int(not ok)
