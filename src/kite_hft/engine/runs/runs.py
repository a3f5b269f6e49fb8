"""Layer 5, whoever looks, cold: which engines run, and which runs there were.

A running engine leaves a note, `run.json`, in its folder in shared memory and in its run folder:
who it is and where its things lie. Looking is passive: files are read and /proc is asked, no lock is
taken (an engine that starts at that moment must not find its account taken), nothing is written.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from kite_hft.engine.runs.run_folder import account_tag
from kite_hft.plain import plain_bytes

SHM: Final = Path("/dev/shm")
NOTE: Final = "run.json"


class NoRun(Exception):
    """There is nothing to look at; the message says what was looked for and what to do."""


FEED_ACCOUNTS: Final = ("FEED", *(f"FEED{number}" for number in range(2, 10)))
"""Accounts of the engines that programs start for prices alone (app/face), one each; they cannot trade."""


@dataclass(frozen=True, slots=True)
class RunNote:
    """What a run says of itself. Paths as text, so that the note is plain JSON.

    processes: one dict each with name, stages, connection, worker. strategies: number (as text) -> name.
    connections: how many instruments each carries at the start. data_brokers: where prices come from.
    charges: file name in the run folder of the charges that apply on `day` (YYYY-MM-DD), the day that is
    traded.
    """

    broker: str
    account: str
    mode: str
    run: str
    folder: str
    shm: str
    control: str
    pid: int
    start_ticks: int
    started_real_ns: int
    processes: list[dict[str, Any]] = field(default_factory=list)
    strategies: dict[str, str] = field(default_factory=dict)
    connections: list[int] = field(default_factory=list)
    data_brokers: list[str] = field(default_factory=lambda: ["kite"])
    charges: str = ""
    day: str = ""

    def alive(self) -> bool:
        """Whether the supervisor that wrote the note still runs."""
        return lives(self.pid, self.start_ticks)

    @property
    def title(self) -> str:
        return f"{self.broker}-{self.account}"


@dataclass(frozen=True, slots=True)
class Account:
    """One account of this user: its folder of runs, and the engine that runs on it now, if any."""

    broker: str
    name: str
    folder: Path
    running: RunNote | None
    starting_pid: int = 0  # an engine holds the account and has not left its note yet

    @property
    def title(self) -> str:
        return f"{self.broker}-{self.name}"

    @property
    def tag(self) -> str:
        return account_tag(self.broker, self.name)


def lives(pid: int, ticks: int) -> bool:
    """Whether the process that started at `ticks` (field 22 of /proc/<pid>/stat) still runs.

    One that has ended and was not waited for (a zombie) does not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return ticks > 0 and int(fields[19]) == ticks and fields[0] not in (b"Z", b"X")


def shared_home() -> Path:
    """This user's folder in shared memory; it exists while an engine runs."""
    return SHM / f"kite_hft-{os.getuid()}"


def announce(note: RunNote) -> None:
    """Leave the note where people and tools look: in shared memory and in the run folder.

    Raises:
        OSError: one of the two cannot be written.
    """
    text = json.dumps(asdict(note), indent=2) + "\n"
    for folder in (note.folder, note.shm):
        path = Path(folder) / NOTE
        fresh = path.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text)
        fresh.replace(path)


def read_note(path: Path) -> RunNote | None:
    """The note of a run; None: there is none, or it is damaged or of another version."""
    try:
        note = msgspec.json.decode(plain_bytes(path), type=RunNote)
    except (OSError, ValueError, RecursionError, msgspec.DecodeError):
        return None
    whole = all(isinstance(row.get("name"), str) and _words(row.get("stages")) for row in note.processes)
    return note if whole and all(number.isdecimal() for number in note.strategies) else None


def _words(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(word, str) for word in found)


def running(home: Path | None = None) -> list[RunNote]:
    """Notes of all engines of this user that run now, oldest first."""
    home = home or shared_home()
    found = [note for path in home.glob(f"*/{NOTE}") if (note := read_note(path)) and note.alive()]
    return sorted(found, key=lambda note: note.started_real_ns)


def lock_holder(lock: Path) -> int:
    """The process that has the lock file of an account open; 0: nobody."""
    try:
        first = lock.read_text().partition("\n")[0]  # watchdog/handover.py writes below it
        pid = int(first.removeprefix("process ").strip() or 0)
        fds = os.listdir(f"/proc/{pid}/fd") if pid else []
    except PermissionError:  # it shows its descriptors to nobody, the kernel's list of locks to all
        return pid if holds_lock(pid, lock) else 0
    except (OSError, ValueError):
        return 0
    for fd in fds:
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}") == str(lock):
                return pid
        except OSError:
            continue
    return 0


def holds_lock(pid: int, lock: Path) -> bool:
    """Whether a process holds flock on a file, by /proc/locks (proc(5))."""
    try:
        rows, inode = Path("/proc/locks").read_text(), lock.stat().st_ino
    except OSError:
        return False
    found = re.findall(r"FLOCK\s+ADVISORY\s+WRITE\s+(\d+)\s+[^:\s]+:[^:\s]+:(\d+)\s", rows)
    return (str(pid), str(inode)) in found


def accounts(root: Path, home: Path | None = None, *, elsewhere: bool = True) -> list[Account]:
    """Accounts with runs below the state directory `root`; where there are none, accounts on which an
    engine runs that was started with another state directory. Not `elsewhere`: a person has named the
    directory, and means no other engine."""
    home = home or shared_home()
    live = {(note.broker, note.account): note for note in running(home)}
    found: dict[tuple[str, str], Account] = {}
    for path in sorted(root.glob("*-*")) if root.is_dir() else []:
        broker, _, name = path.name.partition("-")
        if path.is_dir() and not path.is_symlink() and (path / "latest").is_symlink():
            note = live.get((broker, name))
            starting = 0 if note else lock_holder(home / f"{account_tag(broker, name)}.lock")
            if note and not elsewhere and not Path(note.folder).resolve().is_relative_to(path.resolve()):
                note = None
            found[broker, name] = Account(broker, name, path, note, starting)
    if not found and elsewhere:
        return [Account(n.broker, n.account, Path(n.folder).parent.parent, n) for n in live.values()]
    return list(found.values())


def choose(
    found: list[Account], account: str | None, broker: str | None, *, must_run: bool = False
) -> Account:
    """The one account that is meant: the only one, or the only one with an engine on it.

    account: its name, or as everything shows it, with the broker's in front.

    An engine that a program of prices has started is never meant beside one that trades: a notebook must not
    stand between a person and `kite-hft kill`.

    Raises:
        NoRun: none, or several; the message names them and the option that tells them apart.
    """
    fitting = [a for a in found if account in (None, a.name, a.title) and broker in (None, a.broker)]
    if account is None:
        fitting = _without_feeds(fitting, must_run=must_run)
    live = [a for a in fitting if a.running is not None]
    wanted = " ".join(
        f"--{name} {value}" for name, value in (("broker", broker), ("account", account)) if value
    )
    if must_run and not live:
        starting = next((a for a in fitting if a.starting_pid), None)
        if starting:
            raise NoRun(f"the engine on {starting.title} is still starting (process {starting.starting_pid})")
        known = f" on {wanted}" if wanted else ""
        raise NoRun(f"no engine is running{known}; start one: kite-hft run FILE")
    if must_run or (len(fitting) > 1 and len(live) == 1):
        fitting = live
    if not fitting:
        known = ", ".join(a.title for a in found)
        hint = (
            f"; there are {known}" if known else "; nothing has run with this state directory (--state DIR)"
        )
        near = next((a.name for a in found if a.name.lower() == (account or "").lower()), None)
        meant = f"; did you mean --account {near}?" if near and near != account else ""
        raise NoRun(f"no run of {wanted or 'any account'}{hint}{meant}")
    if len(fitting) > 1:
        names = ", ".join(f"{a.title}{' (running)' if a.running else ''}" for a in fitting)
        brokers = len({a.broker for a in fitting}) > 1 and len({a.name for a in fitting}) < len(fitting)
        hint = "--broker NAME --account NAME" if brokers else "--account NAME"
        raise NoRun(f"several accounts: {names}; say which with {hint}")
    return fitting[0]


def _without_feeds(fitting: list[Account], *, must_run: bool) -> list[Account]:
    """The same without the accounts of programs, where another one can be meant."""
    trading = [a for a in fitting if a.name not in FEED_ACCOUNTS]
    return trading if trading and (not must_run or any(a.running for a in trading)) else fitting


def newest_folder(account: Account) -> tuple[Path, str]:
    """(the folder of the running engine, else of the newest run that came to trade; the name of the
    newest run when that never did, or "").

    Raises:
        NoRun: there is no run folder at all.
    """
    if account.running:
        return Path(account.running.folder), ""
    folders = sorted((p for p in account.folder.glob("????-??-??/*") if p.is_dir()), key=_by_start)
    if not folders:
        raise NoRun(f"{account.folder}: no run folder is left")
    newest = folders[-1]
    traded = next((path for path in reversed(folders) if (path / "journal.bin").exists()), newest)
    return traded, "" if traded == newest else f"{newest.parent.name}/{newest.name}"


def _by_start(folder: Path) -> tuple[str, str, int]:
    """Date, time of day, and number within that second: 100017, 100017-1, 100017-10."""
    base, _, attempt = folder.name.partition("-")
    return folder.parent.name, base, int(attempt) if attempt.isdecimal() else 0


def strategy_names(folder: Path) -> dict[int, str]:
    """Number -> name of the strategies of a run, as its note has them."""
    note = read_note(folder / NOTE)
    return {int(number): name for number, name in note.strategies.items()} if note else {}
