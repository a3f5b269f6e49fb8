"""What the tests of the Python face share: a configuration against a simulator, a script as a child
process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from engine_tools import FILES
from sim_tools import Running

UPSTOX_FILES = {
    "rules": "rules/upstox_2026-04-01.yaml",
    "charges": "rules/charges_upstox_2026-04-01.yaml",
}


def feed_config(folder: Path, running: Running, *, broker: str = "kite", more: str = "") -> Path:
    """A configuration that leads to a simulator which stands for the broker; `more`: sections as YAML."""
    files = FILES | (UPSTOX_FILES if broker == "upstox" else {})
    rules = "".join(f"  {key}: {Path('config').resolve() / name}\n" for key, name in files.items())
    if broker == "kite":
        where = f"kite: {{ws_url: '{running.ws}', api_url: '{running.api}', api_key: {running.api_key}}}\n"
    else:
        master = f"{running.api}/market-quote/instruments/exchange/complete.json.gz"
        where = (
            f"upstox: {{feed_url: '{running.api}', api_url: '{running.api}', hft_url: '{running.api}', "
            f"failover: [], instruments_url: '{master}'}}\n"
        )
    path = folder / "config.yaml"
    path.write_text(
        f"mode: paper\nbroker: {broker}\naccount: FACE{os.getpid()}\n{where}"
        f"trading:\n  date: 2026-11-20\n{rules}{more or 'performance: {ring_buffer_size: 65536}'}\n"
    )
    return path


def environment(folder: Path, config: Path | None) -> dict[str, str]:
    """Of a script: its own state directory, the package, and its configuration."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("KITE_", "UPSTOX_"))}
    env |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "home")}
    env |= {"PYTHONPATH": str(Path("src").resolve()), "PYTHONUNBUFFERED": "1"}
    return env | ({"KITE_CONFIG_PATH": str(config)} if config is not None else {})


class Script:
    """A user's script as a process of its own; it ends with the block."""

    def __init__(self, folder: Path, text: str, env: dict[str, str], *words: str) -> None:
        self.path, self.out = folder / "script.py", folder / "script.out"
        self.path.write_text(text)
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(self.path), *words], env=env, stdout=out, stderr=out, cwd=Path.cwd()
            )

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        return self.out.read_text()

    def until(self, words: str, seconds: float = 90.0) -> str:
        """What it has printed, as soon as `words` are in it."""
        deadline = time.monotonic() + seconds
        while words not in self.said:
            assert self.process.poll() is None or words in self.said, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)
        return self.said

    def interrupt(self) -> int:
        """Ctrl-C; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def end(self) -> str:
        """Its own end, in order; what it has printed."""
        assert self.process.wait(100) == 0, self.said
        return self.said
