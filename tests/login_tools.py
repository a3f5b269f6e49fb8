"""What tests of a login share: a vault, a configuration, a browser that goes where it is sent."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import typer
from sim_tools import Running

from kite_hft.app.keys import handing
from kite_hft.app.keys import login as login_module
from kite_hft.engine.keys import vault
from kite_hft.engine.runs.runs import RunNote, running

PASSWORD = b"correct horse battery"
CONSOLE = ("-m", "kite_hft.app.cli")
VERBS = (
    "-c",
    "import typer; from kite_hft.app.keys import handing; handing.running = list; "
    "from kite_hft.app.keys.login import login, logout; app = typer.Typer(); "
    "app.command()(login); app.command()(logout); app()",
)
"""The two verbs alone, which start in half the time of the whole command, on a machine without engines: those
that run are of tests beside."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def sent_to(url: str) -> str:
    """Where the broker's page sends the browser after the login."""
    try:
        urllib.request.build_opener(_Stay).open(url, timeout=20).close()
    except HTTPError as moved:
        with moved:
            return str(moved.headers["Location"])
    raise AssertionError(f"{url} redirects nowhere")


@dataclass
class Desk:
    """A person's machine: vault, configuration, and `kite-hft` with a master password by descriptor."""

    folder: Path
    broker: str
    running: Running
    redirect_url: str
    app: dict[str, str] = field(default_factory=dict)
    console: tuple[str, ...] = VERBS

    def __post_init__(self) -> None:
        self.app = json.loads(self.running.get("/_sim/app"))
        keys = {"api_key": self.app["api_key"], "api_secret": self.app["api_secret"], "user_id": "SIM001"}
        keys |= {"redirect_url": self.redirect_url} if self.redirect_url else {}
        vault.create(self.vault, PASSWORD, {f"{self.broker}/default": keys}, "pbkdf2")
        words = {"broker": self.broker, "credentials": {"file": str(self.vault)},
                 self.broker: {"api_url": self.running.api}}  # fmt: skip
        self.config.write_text(json.dumps(words))

    @property
    def vault(self) -> Path:
        return self.folder / "keys" / "credentials.vault"

    @property
    def config(self) -> Path:
        return self.folder / "login.yaml"

    def values(self) -> dict[str, str]:
        """What the vault holds of this broker."""
        return vault.read(self.vault, PASSWORD)[f"{self.broker}/default"]

    def put(self, **values: str) -> None:
        vault.update(self.vault, PASSWORD, lambda held: held[f"{self.broker}/default"].update(values))

    @contextmanager
    def verb(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """`kite-hft WORDS` under way; its standard output and error are one."""
        read_fd, write_fd = os.pipe()
        os.write(write_fd, PASSWORD + b"\n")
        os.close(write_fd)
        verb, *more = words
        command = [sys.executable, *self.console, verb, "--config", str(self.config)]
        env = {name: value for name, value in os.environ.items() if name != "KITE_MASTER_PASSWORD"}
        process = subprocess.Popen(
            [*command, "--password-fd", str(read_fd), *more], env=env, pass_fds=(read_fd,), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        os.close(read_fd)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def call(self, verb: Callable[..., None], stdin: str = "", **options: Any) -> tuple[int, str]:
        """(exit code, what it said) of a verb that needs no browser, in this process."""
        read_fd, write_fd = os.pipe()
        os.write(write_fd, PASSWORD + b"\n" + stdin.encode())
        os.close(write_fd)
        said = io.StringIO()
        options = {"config": self.config, "password_fd": read_fd} | options
        lines = os.fdopen(read_fd)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
            patch.setattr(sys, "stdin", lines)
            patch.setattr(login_module, "harden_process", lambda: None)  # this process goes on
            patch.setattr(handing, "running", self.engines)
            try:
                verb(**options)
                code = 0
            except typer.Exit as ended:
                code = ended.exit_code
        lines.close()
        return code, said.getvalue()

    def engines(self) -> list[RunNote]:
        """Engines of this machine; those of tests beside are another's."""
        return [note for note in running() if Path(note.folder).is_relative_to(self.folder.resolve())]

    def fresh_code(self) -> str:
        """A request token or code as the page would send it back."""
        app = json.loads(self.running.get("/_sim/app"))
        return str(app["request_token" if self.broker == "kite" else "code"])

    def page_of(self, process: subprocess.Popen[str]) -> str:
        """The address of the login page, as it is shown."""
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("http"):
                return line.strip()
        raise AssertionError(f"no address was shown: {said}")

    def log_in(self, *words: str) -> str:
        """A whole login by pasting; what was said after the address."""
        with self.verb("login", *words) as process:
            back = sent_to(self.page_of(process))
            said, _ = process.communicate(f"{back}\n", timeout=60)
            assert process.returncode == 0, said
            return said

    def taken(self) -> bool:
        """Whether the broker takes the vault's token."""
        token, kite = self.values().get("access_token", ""), self.broker == "kite"
        bearer = f"token {self.app['api_key']}:{token}" if kite else f"Bearer {token}"
        url = self.running.api + ("/user/profile" if kite else "/v2/user/profile")
        request = urllib.request.Request(url, headers={"Authorization": bearer})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return bool(answer.status == 200)
        except HTTPError as refused:
            refused.close()
            return False
