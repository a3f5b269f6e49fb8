"""The verbs of kite-hft as programs call them: one object each, no question that hangs, Ctrl-C, odd files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from engine_tools import engine, own

CONSOLE = [sys.executable, "-m", "kite_hft.app.cli"]
ODD: dict[str, bytes] = {
    "binary": bytes(range(256)) * 40,
    "empty": b"",
    "nul": b"mode: sim\0\n",
    "tabs": b"mode:\tsim\n\tbroker: kite\n",
    "list": b"- mode\n- sim\n",
    "scalar": b"42\n",
    "loop": b"a: &a [*a]\nb: &b {c: *b}\n",
    "deep": b"[" * 5000,
    "bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9)) for n in range(97, 104)),
    "tagged": b'!!python/object/apply:os.system ["echo harm"]\n',
    "twice": b"mode: sim\nmode: paper\n",
    "latin": "account: \xe9".encode("latin1"),
    "wrong": b"mode: [1]\nrisk: 5\ntrading: []\nstrategies: {a: b}\n",
}
NAMED = (
    ("config", "check"), ("config", "show"), ("instruments", "refresh", "-c"), ("instruments", "universe"),
    ("doctor", "-c"), ("morning", "-c"), ("end-of-day", "-c"), ("metadata", "-c"), ("run",), ("login", "-c"),
    ("incident", "-c"), ("credentials", "--import"), ("credentials", "--status", "--file"), ("journal",),
    ("recording",), ("convert",), ("config", "schema", "--into"), ("status", "--state"),
)  # fmt: skip
ALL_OF_THEM = """
import contextlib, io, json, os, signal, sys
from kite_hft.app.verbs import app
signal.signal(signal.SIGALRM, lambda *_: sys.exit("hangs"))
for line in json.load(open(sys.argv[1])):
    out, err, code = io.StringIO(), io.StringIO(), None
    signal.alarm(30)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(line, prog_name="kite-hft")
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([line, code, out.getvalue(), err.getvalue()]), flush=True)
"""


def home_of(folder: Path) -> dict[str, str]:
    """The environment of a person who has nothing yet."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("KITE_", "XDG_", "COLUMNS"))}
    names = {"HOME": "", "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
    kept |= {name: str(folder / "home" / word) for name, word in names.items()}
    kept["PYTHONPATH"] = str(Path("src").resolve())
    return kept


def test_odd_files_are_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, body in ODD.items():
        (tmp_path / name).write_bytes(body)
    places = [*ODD, "folder", "pipe", "nowhere/x", "x" * 5000]
    lines = [[*verb, place, "--json"] for verb in NAMED for place in places]
    (tmp_path / "lines.json").write_text(json.dumps(lines))
    done = subprocess.run(
        [sys.executable, "-c", ALL_OF_THEM, "lines.json"], cwd=tmp_path, env=home_of(tmp_path),
        capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    assert len(rows) == len(lines), (lines[len(rows)], done.returncode, done.stderr[-2000:])
    taken = [["config", "show", "empty"], ["config", "check", "empty"]]
    for line, code, out, err in rows:
        assert "Traceback" not in out + err and "a fault of this program" not in err, (line, err)
        assert code in (0, 1, 2, 3) and "harm" not in out, (line, code, err)
        assert code or line[:3] in taken or line[:2] == ["incident", "-c"], (line, out)
        assert isinstance(json.loads(out), dict), (line, out)
        assert "error" not in json.loads(out) or err.strip(), line


ASKING = (
    ["credentials"], ["credentials", "--reset"], ["login"], ["logout"], ["config", "init"],
    ["resume", "--state", "."], ["token", "--state", "."], ["stop", "--state", "."],
    ["resolve", "1", "--absent", "--state", "."], ["run", "config.yaml"], ["end-of-day"],
)  # fmt: skip


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_nobody_is_asked_where_nobody_is(tmp_path: Path, words: list[str]) -> None:
    """Verbs that ask, with a closed standard input."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *CONSOLE, *words, "--json"], cwd=tmp_path, env=home_of(tmp_path),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2, 3) and "Traceback" not in done.stderr, (done.returncode, done.stderr)
    assert json.loads(done.stdout)["exit_code"] == done.returncode


def test_a_running_engine_answers_programs(tmp_path: Path) -> None:
    with engine(tmp_path, own("JSON")) as made:
        made.until(lambda status: bool(status["state"]["state"] == "ACTIVE"))
        name = f"kite-{made.account}"

        def ask(*words: str, stdin: str = "", code: int = 0) -> dict[str, Any]:
            command = [*CONSOLE, *words, "--json", "--account", made.account]
            done = subprocess.run(
                command, env=made.env, input=stdin, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == code and "Traceback" not in done.stderr, (
                words,
                done.stdout,
                done.stderr,
            )
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        assert ask("halt", "a look") == {"account": name, "state": "HALTED", "reason": "a look"}
        assert ask("resume", stdin="no\n", code=1)["error"].startswith("not resumed")
        assert ask("resume", stdin=f"{name}\n")["was_latched"] == ["HALTED: a look"]
        assert ask("resume", stdin=f"{name}\n", code=1)["error"].startswith("nothing is latched")
        assert ask("subscribe", "NSE:SBIN", "--mode", "ltp") == {
            "mode": "ltp",
            "instruments": {"NSE:SBIN": True},
        }
        assert ask("unsubscribe", "NSE:SBIN")["instruments"] == {"NSE:SBIN": True}
        assert "NOBODY" in ask("subscribe", "NSE:NOBODY", code=1)["error"]
        picture = ask("top")
        assert picture["ticks_per_s"] > 0 and {row["name"] for row in picture["processes"]} >= {"orders"}
        assert "refuses it" in ask("token", stdin="rubbish\n", code=1)["error"]
        assert ask("aux", "--seconds", "0", code=1)["exit_code"] == 1
        assert "--yes" in ask("stop", code=1)["error"]
        killed = ask("kill", "a test")
        assert [row["confirmed"] for row in killed["accounts"]] == [True] and killed["state"] == "KILLED"
        stopped = ask("stop", "--yes")
        assert (stopped["ended"], stopped["policy"]) == (True, "cancel")
        assert stopped["report"]["ticks"]["received"] > 0 and made.process.wait(10) == 0
        journal = Path(stopped["folder"]) / "journal.bin"
        done = subprocess.run(
            [*CONSOLE, "journal", str(journal), "--json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert len(json.loads(done.stdout)["records"]) > 3


def waits_or_ends(process: subprocess.Popen[str], deadline: float) -> None:
    """Until it sleeps for half a second on end: the interpreter itself, while it starts, knows no Ctrl-C."""
    asleep = 0
    while asleep < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        asleep = asleep + 1 if state == "S" else 0


@pytest.mark.parametrize("words", [["login", "--token"], ["credentials"]], ids=["login", "credentials"])
def test_ctrl_c_ends_in_a_line(tmp_path: Path, words: list[str]) -> None:
    """While a verb waits for standard input."""
    env = home_of(tmp_path)
    process = subprocess.Popen(
        [*CONSOLE, *words, "--json"], cwd=tmp_path, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    waits_or_ends(process, time.monotonic() + 60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode in (3, 130) and "Traceback" not in err, (process.returncode, err)
    assert not out or "error" in json.loads(out)
