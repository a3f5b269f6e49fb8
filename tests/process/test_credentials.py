"""The vault by its commands, as processes: scripts, a person at a terminal, an engine with its keys."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
import yaml
from engine_tools import kite_hft, own
from sim_tools import simulator
from vault_tools import place

from kite_hft.engine.keys.contents import Contents
from kite_hft.engine.keys.vault import create, read

CONFIG = Path("config").resolve()
SCRIPT = [sys.executable, "scripts/setup_credentials.py"]
MASTER = "correct horse battery"
SECRET = "canary-secret-0001"
WITHOUT_PTRACE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 19, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_PTRACE: root alone sees everything
os.execv(sys.argv[1], sys.argv[1:])
"""
SEEN = """
import sys
for pid in sys.argv[1:]:
    try:
        open(f"/proc/{pid}/mem", "rb").close()
        print("open")
    except PermissionError:
        print("closed")
"""


def script(env: dict[str, str], *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, *words], env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("KITE_MASTER_PASSWORD", "COLUMNS")}
    return kept | {"KITE_HFT_VAULT": str(place(tmp_path)), "XDG_STATE_HOME": str(tmp_path / "state")}


def test_a_script_sets_it_up_by_standard_input(tmp_path: Path, env: dict[str, str]) -> None:
    lines = f"master_password={MASTER}\napi_key=k\napi_secret={SECRET}\nUPSTOX_ACCESS_TOKEN=u\n"
    done = script(env, stdin=lines)
    assert done.returncode == 0 and SECRET not in done.stdout + done.stderr, done.stderr
    assert read(place(tmp_path), MASTER.encode()) == {
        "kite/default": {"api_key": "k", "api_secret": SECRET},
        "upstox/default": {"access_token": "u"},
    }
    told = kite_hft(
        env, "credentials", "--status", "--names", "--json", "--password-fd", "0", stdin=f"{MASTER}\n"
    )
    assert set(json.loads(told.stdout)["contents"]["kite/default"]) == {"api_key", "api_secret"}
    wrong = script(env, "--set", "api_key", stdin="master_password=not the right one\nx\n")
    assert wrong.returncode == 1 and "password is wrong" in wrong.stderr and "Traceback" not in wrong.stderr
    assert script(env, "--reset", "--yes").returncode == 0 and not place(tmp_path).exists()


def test_scripts_at_the_same_time_lose_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    create(place(tmp_path), MASTER.encode(), {}, "argon2id")
    names = ("api_key", "api_secret", "user_id")
    started = [
        subprocess.Popen([*SCRIPT, "--set", name], env=env, stdin=subprocess.PIPE, text=True)
        for name in names
    ]
    for process in started:
        assert process.stdin
        process.stdin.write(f"master_password={MASTER}\n{SECRET}\n")
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert set(read(place(tmp_path), MASTER.encode())["kite/default"]) == set(names)


@pytest.mark.parametrize("prompts", [1, 3])
def test_ctrl_c_at_a_terminal_leaves_the_file_whole(
    tmp_path: Path, env: dict[str, str], prompts: int
) -> None:
    """What is typed is not shown; after Ctrl-C the old file is there, byte for byte."""
    path = place(tmp_path)
    create(path, MASTER.encode(), {"kite/default": {"api_key": "k"}}, "argon2id")
    before = path.read_bytes()
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        SCRIPT, env=env, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    shown, answered, deadline = b"", 0, time.monotonic() + 60
    answers = [MASTER, "new-key", SECRET, "AB1234"]
    while time.monotonic() < deadline:
        if not select.select([leader], [], [], 0.5)[0]:
            if answered > prompts:  # pressed between the prompt and its read: again, as a person would
                process.send_signal(signal.SIGINT)
            continue
        try:
            shown += os.read(leader, 4096)
        except OSError:  # the terminal is closed: the process has ended
            break
        if shown.endswith(b": "):
            if answered == prompts:
                process.send_signal(signal.SIGINT)
            elif answered < prompts:
                os.write(leader, answers[answered].encode() + b"\n")
            answered += 1
    assert process.wait(30) == 130
    os.close(leader)
    text = shown.decode()
    assert "nothing was changed" in text and "Traceback" not in text
    assert MASTER not in text and SECRET not in text
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def paper(folder: Path, account: str, ws_url: str, api_url: str) -> Path:
    """Paper trading on the prices of a simulator; the configuration has no key."""
    made = yaml.safe_load((CONFIG / "demo.yaml").read_text())
    made |= {"mode": "paper", "account": account, "kite": {"ws_url": ws_url, "api_url": api_url}}
    made["strategies"][0]["form"] = "A"
    made["trading"] |= {
        "calendar": str(CONFIG / "calendar/india.yaml"),
        "rules": str(CONFIG / "rules/kite_2026-04-01.yaml"),
        "market": str(CONFIG / "rules/market_2026-08-03.yaml"),
        "charges": str(CONFIG / "rules/charges_zerodha_2026-04-01.yaml"),
    }
    path = folder / "engine.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def engine(config: Path, env: dict[str, str], password: str) -> subprocess.Popen[str]:
    """An engine that can see no other process's memory, with its password on a descriptor."""
    out, into = os.pipe()
    os.write(into, f"{password}\n".encode())
    os.close(into)
    words = [
        sys.executable,
        "-c",
        WITHOUT_PTRACE,
        sys.executable,
        "-m",
        "kite_hft.engine",
        "--plain",
        "--config",
    ]
    process = subprocess.Popen(
        [*words, str(config), "--password-fd", str(out)], env=env, pass_fds=[out], text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.close(out)
    return process


class Heart(BaseHTTPRequestHandler):
    """Whoever waits for the engine's heartbeat."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


def test_an_engine_takes_its_keys_from_the_vault_and_shows_its_memory_to_nobody(
    tmp_path: Path, env: dict[str, str]
) -> None:
    with (
        simulator("--port", "0", "--instruments", "5", "--rate", "5") as server,
        HTTPServer(("127.0.0.1", 0), Heart) as heart,
    ):
        threading.Thread(target=heart.serve_forever, daemon=True).start()
        contents: Contents = {
            "kite/default": {"api_key": server.api_key, "access_token": server.access_token},
            "alerts/default": {"heartbeat_url": f"http://127.0.0.1:{heart.server_port}/{SECRET}"},
        }
        create(place(tmp_path), MASTER.encode(), contents)
        account = own("VAULT")
        config = paper(tmp_path, account, server.ws, server.api)
        refused = engine(config, env, "not the right one")
        said, _ = refused.communicate(timeout=60)
        assert refused.returncode == 3 and "password is wrong" in said, said
        process = engine(config, env, MASTER)
        try:
            deadline, status = time.monotonic() + 60, ""
            while '"computed": 0' in status or '"computed"' not in status:
                assert process.poll() is None and time.monotonic() < deadline, status
                time.sleep(0.3)
                status = kite_hft(env, "status", "--account", account, "--json").stdout
            pids = [process.pid, *(c.pid for c in psutil.Process(process.pid).children(recursive=True))]
            command = [sys.executable, "-c", WITHOUT_PTRACE, sys.executable, "-c", SEEN]
            stranger = subprocess.Popen([sys.executable, "-c", WITHOUT_PTRACE, "/bin/sleep", "60"])
            time.sleep(0.5)
            seen = subprocess.run(
                [*command, *map(str, [*pids, stranger.pid])], capture_output=True, text=True, check=True
            ).stdout.split()
            stranger.kill()
            stranger.wait()
            assert len(pids) >= 4 and seen == ["closed"] * len(pids) + ["open"], seen
            arguments = [psutil.Process(pid).cmdline() for pid in pids]
            secrets = server.access_token, MASTER, SECRET
            assert not any(secret in word for row in arguments for word in row for secret in secrets)
            assert f"/{SECRET}" in Heart.asked  # how somebody is told came out of the vault as well
        finally:
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
            heart.shutdown()
        assert process.returncode == 0 and server.access_token not in said and SECRET not in said, said
        assert not [
            path
            for path in (tmp_path / "state").rglob("*")
            if path.is_file() and SECRET.encode() in path.read_bytes()
        ]
