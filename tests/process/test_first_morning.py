"""docs/first-morning.md, pasted block by block into one shell, from an empty folder to a live day's end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_tools import own
from login_tools import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/first-morning.md"
HEADS = [
    "A broker", "Configuration", "Keys", "Login", "Instruments, doctor, morning", "Paper",
    "Live, on this machine", "The end of the day",
]  # fmt: skip
BLOCK_S = 90.0
BROWSER = (
    '#!/bin/sh\nexec {python} -c "import urllib.request, sys; urllib.request.urlopen(sys.argv[1])" "$1"\n'
)


def blocks(words: dict[str, str]) -> dict[str, list[str]]:
    """Heading -> the blocks below it, with these words in the place of the page's."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^#+ ", PAGE.read_text("utf-8"), flags=re.MULTILINE):
        head, _, body = part.partition("\n")
        for block in re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL):
            for word, other in words.items():
                block = block.replace(word, other)
            found.setdefault(head, []).append(block)
    return found


class Shell:
    """One bash that lives through the morning. A command that fails is told with its line."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder, self._n = folder, 0
        script, self._into = os.pipe()
        self._process = subprocess.Popen(
            ["bash", "--norc", f"/dev/fd/{script}"], cwd=folder, env=env, pass_fds=(script,),
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(script)
        self._send(f"set -E -o pipefail; trap 'echo \"$BASH_COMMAND: code $?\" >> {folder}/failed' ERR")

    def _send(self, line: str) -> None:
        os.write(self._into, f"{line}\n".encode())

    def paste(self, block: str) -> str:
        """Run a block to its end; what it said on both outputs."""
        self._n += 1
        place = self.folder / f"block{self._n}"
        place.with_suffix(".sh").write_text(block)
        self._send(f"source {place}.sh > {place}.out 2>&1; touch {place}.done")
        deadline = time.monotonic() + BLOCK_S
        while not place.with_suffix(".done").exists():
            assert self._process.poll() is None and time.monotonic() < deadline, self.said(place)
            time.sleep(0.05)
        failed = self.folder / "failed"
        assert not failed.exists(), failed.read_text() + self.said(place)
        said = self.said(place)
        assert "Traceback" not in said, said
        return said

    @staticmethod
    def said(place: Path) -> str:
        return place.with_suffix(".out").read_text()

    def end(self) -> None:
        """Whatever it has started ends with it."""
        os.close(self._into)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """In an empty home, with `kite-hft` and `python` of this project, and a browser that needs no screen."""
    tools, home = tmp_path / "bin", tmp_path / "home"
    tools.mkdir()
    home.mkdir()
    for name, words in (("python", ""), ("kite-hft", " -m kite_hft.app.cli")):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
    (tools / "browse").write_text(BROWSER.format(python=sys.executable))
    for tool in tools.iterdir():
        tool.chmod(0o755)
    dropped = ("KITE_", "UPSTOX_", "ZERODHA_", "XDG_", "CREDENTIALS_DIRECTORY", "COLUMNS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    env |= {name: str(home / word) for name, word in (("XDG_STATE_HOME", "state"), ("HOME", ""))}
    env |= {"XDG_CONFIG_HOME": str(home / "config"), "XDG_CACHE_HOME": str(home / "cache"), "DISPLAY": ":0",
            "PATH": f"{tools}:{env['PATH']}", "BROWSER": f"{tools}/browse %s &"}  # fmt: skip
    if "PYTHONPATH" in env:
        env["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in env["PYTHONPATH"].split(os.pathsep))
    made = Shell(home, env)
    try:
        yield made
    finally:
        made.end()


def books(api: str, name: str = "account") -> dict[str, Any]:
    """What the simulator itself says, by its own calls."""
    with urllib.request.urlopen(f"{api}/_sim/{name}", timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def until(what: Callable[[], object], told: Callable[[], str]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


def placements(api: str) -> list[str]:
    """The placing calls that have reached the broker."""
    rows = books(api, "requests")["requests"]
    placing = ("/orders/", "/v2/order/place", "/v3/order/place")
    return [row["path"] for row in rows if row["method"] == "POST" and row["path"].startswith(placing)]


@pytest.mark.usefixtures("open_for_entries")
@pytest.mark.parametrize(("broker", "until_ist"), [("kite", "06:00:00"), ("upstox", "03:30:00")])
def test_the_first_morning(shell: Shell, broker: str, until_ist: str) -> None:
    ports, account = [str(free_port()) for _ in range(3)], own(f"REHEARSAL{broker.upper()}")
    words = dict(zip(("8790", "8791", "8765"), ports, strict=True))
    words |= {"REHEARSAL": account, "BROKER=kite": f"BROKER={broker}"}
    api, folder = f"http://127.0.0.1:{ports[1]}", shell.folder / "first-morning"
    page = blocks(words)
    assert list(page) == HEADS
    shell.paste(*page["A broker"])
    until(lambda: "ready " in (folder / "simulator.log").read_text(), (folder / "simulator.log").read_text)

    written, checked = map(shell.paste, page["Configuration"])
    assert "written for mode paper" in written and "the engine would start with it" in checked
    assert (folder / "config/config.yaml").stat().st_mode & 0o777 == 0o600
    secret = books(api, "app")["api_secret"]
    kept = shell.paste(*page["Keys"])
    assert "api_key, api_secret, redirect_url are in" in kept and f"{broker}/default" in kept
    assert not (shell.folder / "home/config/kite_hft").exists()  # the real vault is another one
    said = shell.paste(*page["Login"])
    assert said.count("SIM001") == 2 and said.count("good until") == 2 and until_ist in said

    said = shell.paste(*page["Instruments, doctor, morning"])
    assert "5  20" in said.replace("instruments", "") and "FAIL" not in said and "NO-GO" not in said, said
    assert re.search(r"^ready", said, re.MULTILINE) and said.rstrip().endswith("GO"), said

    run, asked, seen = page["Paper"]
    said = shell.paste(run)
    assert re.search(r"1 sent, 1 filled", said), said
    assert json.loads(shell.paste(asked))["orders"] == [] and placements(api) == []
    assert "NAKED_POSITION" in shell.paste(seen)

    start, look, latches = page["Live, on this machine"]
    assert shell.paste(start).rstrip().endswith("GO")
    log = folder / "live.log"
    until(lambda: books(api)["trades"], log.read_text)
    until(lambda: len(naked(folder)) == 2, log.read_text)
    (order,) = books(api)["orders"]
    assert order["tradingsymbol"] in ("INFY", "SBIN") and order["transaction_type"] == "BUY"
    assert (
        order["quantity"] == 1
        and order["status"].upper() == "COMPLETE"
        and order["product"] == {"kite": "CNC", "upstox": "D"}[broker]
        and len(placements(api)) == 1
    )
    said = shell.paste(look)
    assert "(live): engine runs" in said and order["order_id"] in said.partition('"orders"')[0], said
    confirmed = log.read_text().partition("confirmed by --live")
    assert "REHEARSAL OF MODE LIVE" in confirmed[0] and "sent, 1 filled" in confirmed[2]
    said = shell.paste(latches)
    assert "is HALTED" in said and f"{broker}-{account}: resumed" in said

    stop, clear = page["The end of the day"]
    said = shell.paste(stop)
    assert "compared with the broker: 2 orders, 0 positions" in said and "nothing stays open" in said, said
    after = books(api)
    assert [row["status"].upper() for row in after["orders"]] == ["COMPLETE"] * 2
    assert sum(row["quantity"] for row in after["positions"]) == 0
    (whole,) = (shell.folder / "state/kite_hft").glob(f"{broker}-*/latest/report.json")
    assert json.loads(whole.read_text())["mode"] == "live"
    said = shell.paste(clear)
    until(lambda: not listens(api), lambda: said)
    assert not (folder / "rehearsal.vault").exists() and not list(shell.folder.rglob("*.vault"))
    for place in shell.folder.rglob("*"):
        if place.is_file() and not place.is_relative_to(shell.folder / "config"):
            assert secret.encode() not in place.read_bytes(), place


def naked(folder: Path) -> list[str]:
    """The alerts that the hook has had of a position without protection, each once."""
    rows = map(json.loads, (folder / "alerts.txt").read_text().splitlines())
    return [row["text"] for row in rows if (row["code"], row["event"]) == ("NAKED_POSITION", "raised")]


def listens(api: str) -> bool:
    try:
        books(api)
    except OSError:
        return False
    return True
