"""Cold: simulator (REST only), generator and engine as processes, started, spoken to and ended.

The engine is the real one, `python -m kite_hft.engine` with a configuration file, by default in a
folder that disappears afterwards. kite.api_url is the simulator's, kite.ws_url (upstox.feed_url) the
generator's: orders go to the simulated exchange, ticks come from the generator. Each process
dies with this one (prctl PR_SET_PDEATHSIG), whatever ends it; each is in a session of its own, so that
Ctrl-C reaches only this one, which ends them in order.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cython_peers import extension

from kite_hft.engine.runs.runs import RunNote, running
from kite_hft.verify.brokers.running import addressed, facts_of
from load.profiles import Load

BENCHMARKS: Final = Path(__file__).resolve().parent.parent
ROOT: Final = BENCHMARKS.parent
ACCOUNTS: Final = 16
START_S: Final = 180.0
STOP_S: Final = 90.0
PR_SET_PDEATHSIG: Final = 1
LOOPBACK_RULES: Final = ROOT / "config/rules/loopback_limits.yaml"
_libc: Final = ctypes.CDLL(None)


class RigError(Exception):
    """Something did not start or ended too early; the message says what it printed last."""


class Interrupted(Exception):
    """Ctrl-C or a termination signal: wind down and print what there is."""


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


@dataclass(slots=True)
class Child:
    """One process with a pipe to its standard input and from its standard output."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    output: bytes = b""
    recent: list[str] = field(default_factory=list)

    def line(self, timeout_s: float) -> str | None:
        """Its next whole line of output; None: not within the time.

        Raises:
            RigError: it has ended.
        """
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self.output:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, left))
            if not readable:
                return None
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                self.recent.extend(filter(None, [self.output.decode(errors="replace")]))
                self.output = b""
                raise self.failure("ended")
            self.output += data
        text, _, self.output = self.output.partition(b"\n")
        return text.decode()

    def tell(self, **message: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def drain(self) -> None:
        """Take what it printed, so that it never waits for us."""
        with contextlib.suppress(RigError):
            while (text := self.line(0.0)) is not None:
                self.recent.append(text)
        del self.recent[:-30]

    def failure(self, what: str) -> RigError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        errors = self.log.read_text(errors="replace").strip()[-2000:]
        said = "\n".join([*self.recent, *filter(None, [errors])])
        code = self.process.poll()
        return RigError(f"the {self.name} {what} (exit code {code}); it said last:\n{said or '(nothing)'}")

    def end(self, number: int = signal.SIGTERM, most_s: float = 20.0) -> int:
        """Ask it to end, wait, and kill it where that does not help; returns its exit code."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(most_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


def start(name: str, argv: list[str], folder: Path, **environment: str) -> Child:
    """Start one; what it says on standard error goes to a file of the folder."""
    log = folder / f"{name}.log"
    path = os.pathsep.join([str(BENCHMARKS), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    with log.open("wb") as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **environment},
            preexec_fn=_die_with_parent,
        )  # fmt: skip
    return Child(name, process, log)


@dataclass(slots=True)
class Rig:
    """The three processes of a run. `folder` holds configuration, logs and report, `state` is the
    engine's state directory."""

    load: Load
    folder: Path
    state: Path
    account: str
    simulator: Child | None = None
    generator: Child | None = None
    engine: Child | None = None
    note: RunNote | None = None
    ws_url: str = ""
    told: dict[str, str] = field(default_factory=dict)  # the simulator's ready line
    connections: int = 0

    @property
    def board(self) -> Path:
        return self.folder / "board"

    @property
    def report_path(self) -> Path:
        return self.folder / "report.json"

    def start_generator(self) -> None:
        """A new generator (an earlier one is ended) that listens at ws_url.

        Raises:
            RigError: it did not come up.
        """
        if self.generator is not None:
            self.generator.end()
        self.board.write_bytes(bytes(64))
        argv = [sys.executable, "-m", "load.generator", "--instruments", str(self.load.instruments)]
        argv += ["--packets-per-frame", str(self.load.packets), "--seed", str(self.load.seed)]
        argv += ["--broker", self.load.broker, "--relay", self.told.get("api", "")]
        if self.load.broker == "upstox":
            extension("patch")  # built before anybody waits for a frame
        self.generator = start("generator", [*argv, "--board", str(self.board)], self.folder)
        self.ws_url = self._ready(self.generator).split()[1]

    def start_engine(self) -> None:
        """Simulator, generator, engine; returns when every instrument is subscribed.

        Raises:
            RigError: one of them ended, or nothing happened for START_S.
        """
        self.simulator = start("simulator", simulator_command(self.load), self.folder)
        self.told = dict(word.split("=", 1) for word in self._ready(self.simulator).split()[1:])
        self.start_generator()
        config = self.folder / "config.yaml"
        wanted = configuration(self.load, self.account, self.told, self.ws_url)
        config.write_text(json.dumps(wanted))  # JSON is YAML
        argv = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)]
        argv += ["--report", str(self.report_path)]
        self.engine = start("engine", argv, self.folder, XDG_STATE_HOME=str(self.state))
        self.connections = self.await_clients([self.engine])
        self.note = next((note for note in running() if note.account == self.account), None)
        if self.note is None:
            raise RigError("the engine runs, and its note is not in /dev/shm: another build?")

    def await_clients(self, children: list[Child]) -> int:
        """Until the generator's clients have subscribed all instruments; returns how many clients."""
        assert self.generator is not None
        self.generator.tell(do="await", tokens=self.load.instruments)
        deadline = time.monotonic() + START_S
        while (text := self.generator.line(0.1)) is None:
            for child in children:
                child.drain()
                if child.process.poll() is not None:
                    child.drain()
                    raise child.failure("ended before it had subscribed")
            if time.monotonic() > deadline:
                raise children[0].failure(f"had not subscribed after {START_S:g} s")
        return int(json.loads(text)["connections"])

    def _ready(self, child: Child) -> str:
        text = child.line(START_S)
        if text is None or not text.startswith("ready"):
            raise child.failure(f"did not say ready within {START_S:g} s ({text!r})")
        return text

    def stop_engine(self) -> tuple[dict[str, Any], int]:
        """(report, exit code) of the engine, ended in order; {} where it wrote none."""
        if self.engine is None:
            return {}, 0
        engine, self.engine = self.engine, None
        deadline = time.monotonic() + STOP_S
        if engine.process.poll() is None:
            engine.process.send_signal(signal.SIGTERM)
        while engine.process.poll() is None and time.monotonic() < deadline:
            engine.drain()
            time.sleep(0.02)
        code = engine.end(signal.SIGKILL)
        shm = Path(self.note.shm) if self.note else None
        if shm is not None and shm.exists():  # it had to be killed
            shutil.rmtree(shm, ignore_errors=True)
        report = json.loads(self.report_path.read_text()) if self.report_path.exists() else {}
        return report, code

    def close(self) -> None:
        """End whatever still runs."""
        self.stop_engine()
        for child in (self.generator, self.simulator):
            if child is not None:
                child.end()
        self.generator = self.simulator = None


@contextlib.contextmanager
def rig(load: Load, keep: Path | None = None) -> Iterator[Rig]:
    """A rig whose processes are gone afterwards; `keep`: its folder stays."""
    folder = keep or Path(tempfile.mkdtemp(prefix="kite_hft-load-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with account() as (state, name):
            made = Rig(load, folder.resolve(), state, name)
            try:
                yield made
            finally:
                made.close()
                if keep is not None and made.note is not None:
                    shutil.move(made.note.folder, folder / "run")
                sweep(state, name)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def account() -> Iterator[tuple[Path, str]]:
    """(state directory, account) that no other load test uses now.

    Both stay the same over runs for the compiled strategies that the engine keeps there, as a user's
    engine does: a process that has to compile one holds some 60 MB more.

    Raises:
        RigError: ACCOUNTS load tests are running.
    """
    base = os.environ.get("XDG_CACHE_HOME") or ""
    state = (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "kite_hft-load"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(1, ACCOUNTS + 1):
        fd = os.open(state / f"LOAD_{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        try:
            sweep(state, f"LOAD_{number}")
            yield state, f"LOAD_{number}"
        finally:
            os.close(fd)
        return
    raise RigError(f"{ACCOUNTS} load tests are running on this machine: one at a time measures something")


def sweep(state: Path, name: str) -> None:
    """Remove the runs of an account: a next start would go on from them. Compiled strategies stay."""
    for path in (state / "kite_hft").glob(f"*-{name}/*"):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.name != "numba":
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Signals raise Interrupted, once; a second one is left to the default."""

    def on_signal(number: int, _frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    yield


def simulator_command(load: Load) -> list[str]:
    """The simulator: its REST API with the same instruments; its own market never starts."""
    argv = [sys.executable, "-m", "kite_hft.sim", "--broker", load.broker, "--port", "0", "--no-limits"]
    argv += ["--instruments", str(load.instruments), "--seed", str(load.seed), "--die-with-parent"]
    argv += ["--exchange-time", "2026-11-20T10:00:00", "--latency-us", "0"]
    return [*argv, "--start-when-subscribed", str(10**6)]


def configuration(load: Load, account: str, told: dict[str, str], ws_url: str) -> dict[str, Any]:
    """The engine's configuration for a load. told: the simulator's ready line; ws_url: the generator's."""
    params: dict[str, Any] = {"threshold": load.threshold, "warmup": load.warmup, "quantity": 10}
    if load.strategy == "probe":
        params = {"every": load.every}
    strategy = {"name": load.strategy, "form": "B", "copies": "per_connection", "params": params}
    access = addressed(load.broker, told)
    if load.broker == "upstox":
        access["upstox"] |= {"feed_url": ws_url.replace("ws:", "http:"), "keys_counted": "connection"}
    else:
        access["kite"]["ws_url"] = ws_url
    facts = facts_of(load.broker) | ({"rules": str(LOOPBACK_RULES)} if load.limits else {})
    performance: dict[str, Any] = {
        "ring_buffer_size": 65536 * load.connection_count,
        "send_stamp": load.mode == "full",
        "packing": load.packing,
        "wait": load.wait,
    }
    return {
        "mode": "sim",
        "account": account,
        **access,
        "datafeed": {"mode": load.mode, "connections": load.connections},
        "strategies": [] if load.strategy == "none" else [strategy] * load.strategies,
        "risk": {"max_order_value": 200_000, "max_positions": 20},
        "trading": {"date": "2026-11-20", **facts},
        "performance": performance,
    }  # fmt: skip
