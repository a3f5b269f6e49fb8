"""What tests of a whole engine share: a configuration of its own, starting it, asking it by kite-hft."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kite_hft.app.look.status import look_at
from kite_hft.app.picture import opened

DEMO = Path("config/demo.yaml")
QUIET = "alerts:\n  reject_storm: 1000\n  naked_limit: 100000000\n"
FILES = {
    "calendar": "calendar/india.yaml",
    "rules": "rules/kite_2026-04-01.yaml",
    "charges": "rules/charges_zerodha_2026-04-01.yaml",
    "market": "rules/market_2026-08-03.yaml",
}


def own(account: str) -> str:
    """An account of this test process alone: one account has one engine on a machine."""
    return f"{account}{os.getpid()}"


def demo_config(folder: Path, account: str, extra: str = "") -> Path:
    """config/demo.yaml under an account of its own; `extra`: sections as YAML, instead of the demo's or more.

    The demo has too little cash for all of its orders on purpose: that is no reject storm here.
    """
    text = DEMO.read_text().replace("account: DEMO", f"account: {account}").replace("form: B", "form: A")
    files = "".join(f"  {key}: {Path('config').resolve() / name}\n" for key, name in FILES.items())
    path, extra = folder / "engine.yaml", extra or QUIET
    text = text.replace("trading:\n", f"trading:\n{files}")
    for section in re.findall(r"^(\w+):", extra, re.MULTILINE):
        text = re.sub(rf"^{section}:.*\n(?:[ #].*\n|\n)*", "", text, flags=re.MULTILINE)
    path.write_text(text + extra)
    return path


@dataclass
class Engine:
    """A running engine and where its runs lie."""

    process: subprocess.Popen[str]
    account: str
    env: dict[str, str]

    def ask(self, *words: str, stdin: str = "", code: int = 0, columns: int = 0) -> str:
        """`kite-hft WORDS --account ...`: its standard output; the exit code must be `code`."""
        done = kite_hft(self.env, *words, "--account", self.account, stdin=stdin, columns=columns)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask(*words, "--json"))
        return found

    def until(self, what: Callable[[dict[str, Any]], bool], seconds: float = 30.0) -> dict[str, Any]:
        """`status --json` as soon as `what` holds of it; read here, as each call would be a process."""
        root, deadline = Path(self.env["XDG_STATE_HOME"]) / "kite_hft", time.monotonic() + seconds
        while True:
            with opened(root, self.account, None) as picture:
                status: dict[str, Any] = json.loads(json.dumps(look_at(picture)))
            if what(status):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.2)

    def end(self) -> int:
        """Stop it in order; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()


def kite_hft(
    env: dict[str, str], *words: str, stdin: str = "", columns: int = 0
) -> subprocess.CompletedProcess[str]:
    """One call of the console command; its standard input is a pipe."""
    env = {**env, **({"COLUMNS": str(columns)} if columns else {})}
    command = [sys.executable, "-m", "kite_hft.app.cli", *words]
    return subprocess.run(
        command, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


@contextlib.contextmanager
def engine(folder: Path, account: str, extra: str = "") -> Iterator[Engine]:
    """An engine whose feed is connected; it ends with the block, whatever happens."""
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    env.pop("COLUMNS", None)
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config"]
    with (folder / "engine.out").open("w") as out:
        process = subprocess.Popen(
            [*command, str(demo_config(folder, account, extra))], env=env, stdout=out, stderr=out, text=True
        )
    found = Engine(process, account, env)
    try:
        deadline = time.monotonic() + 60
        while "connected to" not in (folder / "engine.out").read_text():
            assert process.poll() is None, (folder / "engine.out").read_text()
            assert time.monotonic() < deadline, (folder / "engine.out").read_text()
            time.sleep(0.1)
        yield found
    finally:
        found.end()
