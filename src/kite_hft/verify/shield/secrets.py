"""Layer 6, by hand or CI, cold: `verify secrets`: made-up secrets, looked for everywhere after a bad day.

A vault is made with them; its password goes to the engine by a descriptor. The engine trades on the
simulator with its interpreter's debug mode on, alerts go to an address that is a secret itself and does
not answer, children end by SIGSEGV (ORDERS first, which holds the token), the token dies, and
`kite-hft incident` packs the run. While it runs, arguments, environments and the shared memory of all its
processes are searched, their memory is asked for as another process of the same user would, and what
stands in it is compared with what each may know; afterwards standard output and error, and all that the run
left: journal, log, crash files, reports, archive, and whatever a core file could be.

The api key counts as a secret, too: it stands in the login's address and the websocket's, which go to the
broker, and on no disk, in no log.

The campaign distrusts itself: in each searched place lies a decoy that must be found, a process that hides
nothing must be readable and leave a core file, and the crashes must have been told of by the debug mode.
At the end each secret is planted in the run's folder in each of its forms: it must be found.
--short: ORDERS alone ends, and the token lives.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from kite_hft.engine.keys import vault
from kite_hft.engine.runs.runs import NOTE, read_note, running, shared_home
from kite_hft.net.http import fetch
from kite_hft.verify.brokers.running import addressed, facts_of, simulated
from kite_hft.verify.campaign import CampaignError
from kite_hft.verify.shield.canaries import Search, forms
from kite_hft.verify.shield.decoys import (
    core_files,
    cores_go_elsewhere,
    decoys,
    dump_core,
    holder,
    not_found,
    plain,
    plant_left,
    plant_shared,
    real,
)
from kite_hft.verify.shield.looking import held_in_memory, may_dump, readable_by_others

ACCOUNT: Final = f"VERIFYSECRETS{os.getpid()}"
START_S: Final = 120.0
CRASH_S: Final = 5.0
BACK_S: Final = 30.0
API_KEY: Final = "cnryApiKey7hQ2vB9xTz"
SIMULATOR: Final = (
    *("-m", "kite_hft.sim", "--broker", "kite", "--port", "0", "--instruments", "20", "--rate", "10"),
    *("--packets-per-frame", "20", "--seed", "7", "--die-with-parent", "--cash", "500000000"),
    *("--exchange-time", "2026-11-20T10:00:00", "--start-when-subscribed", "--api-key", API_KEY),
)
MADE_UP: Final = {
    "api key": API_KEY,
    "api secret": "cnrySecret/0q+Xz7&PbV4w",
    "sandbox token": "cnrySandbox.8Hk2+mT/5yLs",
    "second factor": "CNRYJBSWY3DPEHPK3PXPQ2T7",
    "master password": "cnry master: horse/battery+42",
    "webhook": "cnryWebhook9fQ2xLr7Tn",
    "heartbeat": "cnryHeartbeat4dKw8ZpV1",
}
SUPERVISOR_ALONE: Final = ("api secret", "sandbox token", "second factor", "master password")
"""What no other process may have in its memory."""
SESSION: Final = ("api key", "access token")
CHILD: Final = "kite_hft.engine.processes.child"
SESSIONLESS: Final = ("spare", "compute", "recorder")
"""How the names of processes begin that call no broker."""
TOLD: Final = ("was killed by signal 11", "Fatal Python error: Segmentation fault", "Extension modules:")
"""What the interpreter's debug mode and the supervisor say of a crash."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify secrets", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--seconds", type=float, default=5.0, help="how long the engine trades undisturbed (5)")
    made.add_argument("--short", action="store_true", help="ORDERS alone ends, and the token lives")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """One JSON line; 1 when a secret lay anywhere, or the search is blind."""
    options = parser().parse_args(argv)
    began = time.monotonic()

    def say(step: str) -> None:
        print(f"    {time.monotonic() - began:6.1f} s  {step}", file=sys.stderr, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="kite_hft-secrets-") as name:
            told, wrong = searched(Path(name), options.seconds, say, short=options.short)
    except CampaignError as error:
        print(f"verify secrets: {error}", file=sys.stderr)
        return 1
    said: dict[str, Any] = {"campaign": "secrets", "ok": not wrong, **told, "wrong": wrong[:30]}
    said["seconds"] = round(time.monotonic() - began, 1)
    if wrong:
        said["replay"] = (
            f"python -m kite_hft.verify secrets --seconds {options.seconds:g}" + " --short" * options.short
        )
    print(json.dumps(said))
    return int(bool(wrong))


def searched(
    folder: Path, seconds: float, say: Callable[[str], None], *, short: bool
) -> tuple[dict[str, Any], list[str]]:
    """(what was looked at, what was wrong). say: takes each step, for people.

    Raises:
        CampaignError: simulator or engine did not run.
    """
    with simulated([sys.executable, *SIMULATOR]) as (told, _pid), holder(folder) as decoy:
        canaries = {**MADE_UP, "access token": told["access_token"]}
        config = prepare(folder, told)
        search, look = Search({**canaries, **decoys()}), Look(canaries)
        with trading(folder, config) as engine:
            say("the engine starts")
            await_active(folder, engine)
            time.sleep(seconds)
            say("arguments, environments, memory and shared memory are searched")
            wrong = look_alive(engine, search, look, decoy)
            say("children end by SIGSEGV")
            crashed = crash(engine, folder, 1 if short else 100)
            time.sleep(1.0 if short else CRASH_S)
            wrong += look_alive(engine, search, look)
            if not short:
                end_token(told["api"])
                time.sleep(CRASH_S / 2)
        say("the run is packed, and all that it left is searched")
        wrong += unproved(folder, crashed)
        packed = incident(folder)
        cores, left_out = cored(folder, decoy, wrong)
        plant_left(run_folder(folder), folder / "engine.out")
        given = (config, folder / "credentials.vault")  # where the user put them
        search.tree(folder, "files", given)
        wrong += real(search.hits) + not_found(search.hits, left_out)
        if not packed:
            wrong.append("kite-hft incident packed nothing")
        missed = planted(folder, search, canaries)
        wrong += missed
    return {"canaries": len(canaries), "looked_at": search.looked, "crashed": crashed, "cores": cores,
            "hidden_processes": look.hidden, "in_memory": look.held, "hits": len(real(search.hits)),
            "decoys_found": len(decoys()) - len(not_found(search.hits, set())),
            "planted_found": not missed}, wrong  # fmt: skip


class Look:
    """What was seen of processes. hidden: how many showed nothing; held: process -> secrets in its memory."""

    def __init__(self, canaries: dict[str, str]) -> None:
        self.canaries = canaries
        self.hidden = 0
        self.held: dict[str, list[str]] = {}

    def outside(self, names: dict[int, str], decoy: int | None) -> list[str]:
        """As another process of this user sees them; what is wrong."""
        seen = readable_by_others([*names, *([decoy] if decoy else [])])
        shown = seen.pop(decoy) if decoy else ["environ", "maps"]
        ends = time.monotonic() + BACK_S
        while any(seen.values()) and time.monotonic() < ends:  # a spare hides itself when it has begun
            time.sleep(0.5)
            seen = readable_by_others([*names])
        wrong = [] if {"environ", "maps"} <= set(shown) else ["blind: a process that hides nothing is hidden"]
        wrong += [f"{names[pid]} shows its {', '.join(what)} to others" for pid, what in seen.items() if what]
        self.hidden = sum(not what for what in seen.values())
        return wrong

    def inside(self, names: dict[int, str], decoy: int | None, supervisor: int) -> list[str]:
        """What stands in their memory, where we may look; what is wrong."""
        if (
            decoy
            and (found := held_in_memory(decoy, decoys())) is not None
            and "decoy in memory" not in found
        ):
            return ["blind: what a process holds was not found in its memory"]
        wrong = []
        for pid, name in names.items():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found = held_in_memory(pid, self.canaries)
                if found is None:
                    continue
                self.held[name] = found
                barred: tuple[str, ...] = () if pid == supervisor else SUPERVISOR_ALONE
                barred += SESSION if name.startswith(SESSIONLESS) else ()
                wrong += [f"{name} has the {what} in its memory" for what in found if what in barred]
        return wrong


def prepare(folder: Path, told: dict[str, str]) -> Path:
    """The vault and the configuration, which holds the alerts' addresses alone; its path."""
    folder.chmod(0o700)
    keys = {
        "api_key": told["api_key"],
        "access_token": told["access_token"],
        "access_token_until": "2099-01-01T06:00:00+05:30",
        "api_secret": MADE_UP["api secret"],
        "totp_secret": MADE_UP["second factor"],
    }
    contents = {"kite/default": keys, "upstox/default": {"sandbox_token": MADE_UP["sandbox token"]}}
    vault.create(folder / "credentials.vault", MADE_UP["master password"].encode(), contents)
    section = addressed("kite", told)
    section["kite"] = {key: section["kite"][key] for key in ("api_url", "ws_url")}
    config = folder / "config.yaml"
    settings = {
        "mode": "sim",
        "account": ACCOUNT,
        **section,
        "credentials": {"file": str(folder / "credentials.vault")},
        "strategies": [{"name": "kalman_simple", "form": "A",
                        "params": {"threshold": 0.0005, "warmup": 50, "quantity": 10}}],
        "trading": {"date": "2026-11-20", **facts_of("kite")},
        "alerts": {
            "webhook": f"http://127.0.0.1:9/{MADE_UP['webhook']}",
            "heartbeat_url": f"http://127.0.0.1:9/{MADE_UP['heartbeat']}",
            "heartbeat_s": 1.0,
        },
    }  # fmt: skip
    config.write_text(json.dumps(settings))
    config.chmod(0o600)
    return config


@contextlib.contextmanager
def trading(folder: Path, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The engine, with the master password on a descriptor and the interpreter's debug mode on."""
    reading, writing = os.pipe()
    os.write(writing, MADE_UP["master password"].encode() + b"\n")
    os.close(writing)
    command = plain([sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)])
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "PYTHONASYNCIODEBUG": "1"}
    environment |= {"PYTHONFAULTHANDLER": "1", "PYTHONTRACEMALLOC": "1"}
    with (folder / "engine.out").open("wb") as out:
        engine = subprocess.Popen(
            [*command, "--password-fd", str(reading)], pass_fds=[reading], env=environment, stdout=out,
            stderr=out, cwd=folder,
        )  # fmt: skip
    os.close(reading)
    try:
        yield engine
    finally:
        engine.send_signal(signal.SIGTERM)
        try:
            engine.wait(30)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()


def await_active(folder: Path, engine: subprocess.Popen[bytes]) -> None:
    """Until prices come. Raises CampaignError."""
    deadline = time.monotonic() + START_S
    while b"connected to" not in (folder / "engine.out").read_bytes():
        if engine.poll() is not None or time.monotonic() > deadline:
            raise CampaignError(f"the engine did not start: {(folder / 'engine.out').read_text()[-500:]}")
        time.sleep(0.1)


def family(engine: subprocess.Popen[bytes]) -> dict[int, str]:
    """pid -> name of the engine's processes, the supervisor first."""
    supervisor = psutil.Process(engine.pid)
    found = {supervisor.pid: "supervisor"}
    for child in supervisor.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            words = child.cmdline()
            at = words.index(CHILD) if CHILD in words else -1
            # it has the name of its role once it has one
            found[child.pid] = words[at + 1] if at > 0 and child.name().startswith("python") else child.name()
    return found


def look_alive(
    engine: subprocess.Popen[bytes], search: Search, look: Look, decoy: subprocess.Popen[str] | None = None
) -> list[str]:
    """Search the processes and the run's shared memory; what may write core files or shows itself.

    decoy: the process that is there to be found.
    """
    wrong, names = [], family(engine)
    for pid, name in names.items():
        search.process(pid)
        with contextlib.suppress(OSError):
            if may_dump(pid):
                wrong.append(f"{name} may write a core file")
    if decoy:
        search.process(decoy.pid)
    wrong += look.outside(names, decoy.pid if decoy else None)
    wrong += look.inside(names, decoy.pid if decoy else None, engine.pid)
    notes = [note for note in running() if note.account == ACCOUNT]
    if not notes:
        return [*wrong, "no note of the run in shared memory: nothing of it was searched"]
    laid = plant_shared(Path(notes[0].shm)) if decoy else None
    for folder in [Path(note.shm) for note in notes]:
        search.tree(folder, "shared memory")
    for path in shared_home().iterdir():  # locks and notes of accounts
        with contextlib.suppress(OSError):
            if path.is_file():
                search.file(path, "shared memory, locks")
    if laid:
        laid.unlink(missing_ok=True)
    return wrong


def unproved(folder: Path, crashed: Sequence[str]) -> list[str]:
    """What the crashes must have left in the engine's words, and did not."""
    said = (folder / "engine.out").read_text(errors="replace")
    wrong = [f"no crash at debug level: {words!r} was not said" for words in TOLD if words not in said]
    if "orders" not in crashed or "orders was killed by signal 11" not in said:
        wrong.append("ORDERS, which holds the token, did not crash")
    return wrong


def cored(folder: Path, decoy: subprocess.Popen[str], wrong: list[str]) -> tuple[dict[str, Any], set[str]]:
    """(what came of core files, decoys that could not be planted). One is due of the decoy, none of ours."""
    ours = core_files(folder)
    wrong += [f"a core file of the engine: {path.name}" for path in ours]
    number, elsewhere = dump_core(decoy), cores_go_elsewhere()
    made = [path for path in core_files(folder) if path not in ours]
    told: dict[str, Any] = {"engine": len(ours), "decoy": len(made), "decoy_ended_by": number}
    if elsewhere:
        told["kernel_gives_cores_to"] = elsewhere
    elif not made:
        told["no_core_because"] = "the hard limit of core files is 0 here"
    return told, set() if made else {"core"}


def end_token(api: str) -> None:
    """The simulator refuses the token from now on."""
    kind = [("Content-Type", "application/json")]
    fetch(f"{api}/_sim/inject", kind, method="POST", body=b'{"kind": "token_death"}')


def crash(engine: subprocess.Popen[bytes], folder: Path, most: int) -> list[str]:
    """End children one after another as a wild pointer would, ORDERS first; their names."""
    known = family(engine)
    names = {pid: name for pid, name in known.items() if pid != engine.pid}
    due = sorted(names, key=lambda pid: names[pid] != "orders")[:most]
    for pid in due:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSEGV)
            time.sleep(1.0)
    ends = time.monotonic() + BACK_S
    while b"orders is back" not in (folder / "engine.out").read_bytes() and time.monotonic() < ends:
        time.sleep(0.2)
    return [names[pid] for pid in due]


def run_folder(folder: Path) -> Path:
    """Of the one run below the campaign's state directory. Raises CampaignError."""
    found = [path.parent for path in (folder / "state").rglob(NOTE) if read_note(path)]
    if not found:
        raise CampaignError("the run left no folder")
    return found[0]


def incident(folder: Path) -> bool:
    """Pack the run; whether there is an archive."""
    (folder / "packed").mkdir()
    command = [sys.executable, "-m", "kite_hft.app.cli", "incident", "--account", ACCOUNT, "--out", "packed"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False, timeout=60)
    (folder / "incident.out").write_bytes(done.stdout + done.stderr)
    return any((folder / "packed").iterdir())


def planted(folder: Path, search: Search, canaries: dict[str, str]) -> list[str]:
    """Which planted forms are not found."""
    path = folder / "state/planted.log"
    rows = [(f"{name}, {how}", form) for name, text in canaries.items() for how, form in forms(text).items()]
    path.write_bytes(b"".join(b"[" + form + b"]\n" for _, form in rows))
    seen = Search(canaries)
    seen.tree(path.parent, "planted")
    path.unlink()
    search.looked["planted forms"] = len(rows)
    return [f"planted and not found: {name}" for name, _ in rows if f"{path}: {name}" not in seen.hits]
