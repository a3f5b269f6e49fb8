"""Layer 6, by hand or CI, cold: `verify bypass` (and `verify risk --bypass`): who reaches the broker's API?

A real engine trades on the simulator. A small shared library, compiled here and loaded into every
process of the engine, writes down each connect() and the first line of each request that is sent:
below Python, uvloop and every library. Then

- no process but ORDERS has connected to the API's port, except the supervisor, which fetches the
  list of instruments before there is an ORDERS, by GET;
- the requests that left ORDERS' sockets, the simulator's own log, the calls that the engine counted
  (evidence.csv) and the orders of its report are the same;
- by the source: only net/, the simulator's servers and the control socket import a socket library,
  and only ORDERS makes a transport of order calls.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.engine.control import ControlError, ask
from kite_hft.engine.runs import accounts
from kite_hft.net.http import fetch
from kite_hft.verify.campaign import FACTS, ROOT, CampaignError, show_progress

PACKAGE: Final = ROOT / "src/kite_hft"
ACCOUNT: Final = "BYPASS"
START_S: Final = 60.0
LOOK_S: Final = 0.25
ORDER_VERBS: Final = {"POST": "PLACE", "PUT": "MODIFY", "DELETE": "CANCEL"}
SUPERVISOR: Final = "supervisor"
ORDERS: Final = "orders"
FETCHED: Final = ("/instruments", "/_sim/")
SOCKETS: Final = frozenset(
    {"socket", "ssl", "picows", "aiohttp", "websockets", "requests", "h11", "pycurl", "socketserver"}
    | {"http.client", "http.server", "urllib.request", "urllib3", "httpx", "_socket", "_ssl", "smtplib"}
)
MAY_OPEN: Final = ("net/", "sim/server/", "engine/control.py", "verify/")
"""engine/control.py: the unix socket of a person's command line."""
MAY_CALL: Final = frozenset({"engine/orders.py"})

SHIM: Final = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int log_fd = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("KHFT_AUDIT");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (fd >= 0) { log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 700); close(fd); }
}

static void say(const char *text, int n) {
    if (log_fd >= 0 && n > 0) syscall(SYS_write, log_fd, text, n);
}

static void sent(int fd, const void *data, size_t size) {
    static const char *verbs[] = {"GET /", "POST /", "PUT /", "DELETE /"};
    const char *text = data;
    char line[256];
    for (int i = 0; data && i < 4; i++) {
        size_t n = strlen(verbs[i]);
        if (size < n || memcmp(text, verbs[i], n)) continue;
        size_t end = 0;
        while (end < size && end < 180 && text[end] != '\r' && text[end] != '\n') end++;
        say(line, snprintf(line, sizeof line, "S %d %d %.*s\n", getpid(), fd, (int)end, text));
        return;
    }
}

int connect(int fd, const struct sockaddr *to, socklen_t size) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    char host[INET6_ADDRSTRLEN] = "", line[256];
    int port = 0;
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    if (to && to->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)to;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        port = ntohs(in->sin_port);
    } else if (to && to->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)to;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        port = ntohs(in->sin6_port);
    }
    if (port) say(line, snprintf(line, sizeof line, "C %d %d %s %d\n", getpid(), fd, host, port));
    return real(fd, to, size);
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    static ssize_t (*real)(int, const void *, size_t, int);
    if (!real) real = dlsym(RTLD_NEXT, "send");
    sent(fd, data, size);
    return real(fd, data, size, flags);
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    sent(fd, data, size);
    return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) real = dlsym(RTLD_NEXT, "writev");
    if (n > 0) sent(fd, parts[0].iov_base, parts[0].iov_len);
    return real(fd, parts, n);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    static ssize_t (*real)(int, const struct msghdr *, int);
    if (!real) real = dlsym(RTLD_NEXT, "sendmsg");
    if (message && message->msg_iovlen) sent(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len);
    return real(fd, message, flags);
}
"""


@dataclass(slots=True)
class Seen:
    """What the library wrote down. connects: (pid, port); requests: (pid, method, path)."""

    connects: list[tuple[int, int]] = field(default_factory=list)
    requests: list[tuple[int, str, str]] = field(default_factory=list)


def seen_in(text: str) -> Seen:
    """The log's lines."""
    seen = Seen()
    for line in text.splitlines():
        kind, pid, *rest = line.split(" ")
        if kind == "C":
            seen.connects.append((int(pid), int(rest[2])))
        elif kind == "S" and len(rest) >= 3:
            seen.requests.append((int(pid), rest[1], rest[2]))
    return seen


def judge(
    seen: Seen,
    port: int,
    names: Mapping[int, str],
    server: Sequence[Mapping[str, Any]],
    evidence: Sequence[Mapping[str, str]],
    report: Mapping[str, Any],
) -> list[str]:
    """What is wrong with a run. port: of the API. names: pid -> process, of the engine. server: the
    simulator's log of requests (no GETs). evidence: rows of evidence.csv.
    """
    wrong = []
    for pid, to in seen.connects:
        name = names.get(pid, f"an unknown process ({pid})")
        if to == port and name not in (ORDERS, SUPERVISOR):
            wrong.append(f"{name} connected to the API's port")
    api = [(names.get(pid, str(pid)), verb, path) for pid, verb, path in seen.requests if _for_api(path)]
    for name, verb, path in api:
        if name == SUPERVISOR and (verb != "GET" or not path.startswith(FETCHED)):
            wrong.append(f"the supervisor sent {verb} {path}")
        elif name not in (ORDERS, SUPERVISOR):
            wrong.append(f"{name} sent {verb} {path}")
    at_socket = Counter(ORDER_VERBS[verb] for name, verb, _ in api if name == ORDERS and verb in ORDER_VERBS)
    at_server = Counter(
        ORDER_VERBS[str(row["method"])] for row in server if str(row["path"]).startswith("/orders")
    )
    counted = Counter(row["call"] for row in evidence if row["part"])  # else it is no call
    reads = sum(1 for name, verb, _ in api if name == ORDERS and verb == "GET")
    for call in ORDER_VERBS.values():
        told = {"socket": at_socket[call], "server": at_server[call], "engine": counted[call]}
        if len(set(told.values())) != 1:
            wrong.append(f"{call}: {told}")
    counted_reads = sum(n for call, n in counted.items() if call not in ORDER_VERBS.values())
    if reads != counted_reads:
        wrong.append(f"reads: {reads} at the socket, {counted_reads} by the engine")
    if report["orders"]["sent"] != at_socket["PLACE"]:
        wrong.append(f"the report has {report['orders']['sent']} orders sent, {at_socket['PLACE']} left")
    if not at_socket["PLACE"]:
        wrong.append("no order left: nothing was tried")
    return wrong


def _for_api(path: str) -> bool:
    return not path.startswith("/?")  # else it opens a market-data websocket


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
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", "kite", "--port", "0", "--die-with-parent"]
    command += ["--instruments", str(options.instruments), "--rate", "5", "--seed", str(options.seed)]
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
        config.write_text(json.dumps(configuration(told)))  # JSON is YAML
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
    wrong = [] if code == 0 else [f"the engine ended with exit code {code}"]
    wrong += judge(seen, port, names, server, rows, json.loads(report.read_text()))
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


def compiled(folder: Path) -> Path:
    """The library.

    Raises:
        CampaignError: there is no C compiler, or it fails.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CampaignError("no C compiler: apt install gcc")
    source, library = folder / "audit.c", folder / "audit.so"
    source.write_text(SHIM)
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CampaignError(f"the library was not compiled: {done.stderr[-400:]}")
    return library


def own_eyes(environment: Mapping[str, str], port: int, log: Path) -> None:
    """A program that does what nobody may: the library has to see it. Its lines are forgotten then.

    Raises:
        CampaignError: it was not seen.
    """
    code = (
        "import socket\n"
        f"s = socket.create_connection(('127.0.0.1', {port}))\n"
        "s.sendall(b'DELETE /nothing HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "s.recv(100)"
    )
    subprocess.run([sys.executable, "-c", code], env=dict(environment), check=True, timeout=30)
    seen = seen_in(log.read_text())
    if not any(to == port for _, to in seen.connects) or not any(v == "DELETE" for _, v, _ in seen.requests):
        raise CampaignError("the library is blind: a connection made on purpose was not written down")
    os.truncate(log, 0)


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
        note = next((a.running for a in accounts(folder / "kite_hft") if a.running), None)
        rows: list[Mapping[str, Any]] = ask(Path(note.control), {"do": "status"})["processes"] if note else []
    except (ControlError, OSError, ValueError):
        return []
    return rows


def configuration(told: Mapping[str, str]) -> dict[str, Any]:
    """An engine that trades much."""
    return {
        "mode": "sim",
        "account": f"{ACCOUNT}_{os.getpid()}",
        "kite": {
            "ws_url": told["ws"], "api_url": told["api"], "api_key": told["api_key"],
            "access_token": told["access_token"],
        },
        "strategies": [
            {"name": "kite_hft.verify.engine.supervise_probe:Probe", "form": "A", "params": {"every": 7}},
        ],
        "trading": {"date": "2026-11-20", **FACTS},
    }  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify bypass", description=__doc__)
    made.add_argument("--duration", type=float, default=30.0, help="seconds of trading (default 30)")
    made.add_argument("--instruments", type=int, default=60)
    made.add_argument("--seed", type=int, default=7)
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
    replay = {} if ok else {"again": f"python -m kite_hft.verify bypass --seed {options.seed} --keep FOLDER"}
    print(json.dumps({"campaign": "bypass", "ok": ok, **found, **replay}))
    return int(not ok)
