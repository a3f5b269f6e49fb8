"""All verbs of kite-hft: their page, their help, what they load, how they answer, what Tab offers."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer
from typer.testing import CliRunner

from kite_hft.app import answering, completing
from kite_hft.app.command_page import commands, exit_codes, written
from kite_hft.app.lazily import Verb, group_of, joined, load
from kite_hft.app.verbs import VERBS, app
from kite_hft.engine.runs import runs

PAGE = Path("docs/commands.md")
ALL = list(commands())
WORDS = [words for _, words, _ in ALL]
HEAVY = {
    "numpy",
    "numba",
    "pyarrow",
    "pandas",
    "aiohttp",
    "picows",
    "h11",
    "yaml",
    "psutil",
    "msgspec",
    "segno",
}
"""Only the verb that is called may load it."""


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder and home, in which no engine, vault or configuration is."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in ("KITE_CONFIG_PATH", "KITE_ENVIRONMENT", "KITE_MASTER_PASSWORD", "KITE_HFT_VAULT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "SHM", tmp_path)  # nobody else's engine is meant
    return tmp_path


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_the_list_says_what_the_verb_says(verb: Verb) -> None:
    module, _, name = verb.place.partition(":")
    found = getattr(import_module(f"kite_hft.app.{module}"), name)
    text = found.info.help if isinstance(found, typer.Typer) else inspect.cleandoc(found.__doc__)
    first = " ".join(text.split("\n\n")[0].split())
    assert (
        first.startswith(verb.line.rstrip(".:")[:20])
        if isinstance(found, typer.Typer)
        else first == verb.line
    )


def test_the_page_is_of_today() -> None:
    text = PAGE.read_text("utf-8")
    assert written(text) == text, "python -m kite_hft.app.command_page docs/commands.md"
    assert all(f"| `{words}` |" in text for words in WORDS) and len(WORDS) == len(set(WORDS))
    with pytest.raises(ValueError, match="verbs: begin"):
        written("no place")


@pytest.mark.parametrize("words", WORDS)
def test_every_verb_names_its_exit_codes_and_takes_json(words: str) -> None:
    command = next(one for _, name, one in ALL if name == words)
    codes = exit_codes(command)
    assert 0 in codes and set(codes) <= {0, 1, 2, 3, 4, 130}, codes
    (option,) = [one for one in command.params if "--json" in one.opts]
    assert option.default is False and option.help


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", ["", *dict.fromkeys(words.split()[0] for words in WORDS), *WORDS])
def test_help_reads_well(words: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is too long, and none ends where the source's does: the next word would not have fitted."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", columns)  # read when it is imported
    done = CliRunner().invoke(app, [*words.split(), "--help"])
    assert done.exit_code == 0 and "Usage: " in done.stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    prose = [line.strip() for line in lines if not set(line[:1]) & set("╭│╰")]
    for line, following in pairwise(prose):
        if line and following and not line.startswith("Usage:"):
            assert len(line) + 1 + len(following.split()[0]) > columns - 4, f"{line!r} breaks early"


def test_a_paragraph_with_a_form_keeps_it() -> None:
    assert joined("a\nb\n\nc\n- d\n\n  x\n  y") == "a b\n\nc\n- d\n\n  x\n  y"


def loaded_by(*words: str, **env: str) -> set[str]:
    """The modules that the console command has loaded at its end."""
    script = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    script += "sys.argv[0] = 'kite-hft'; from kite_hft.app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *words], env={**os.environ, **env}, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    return set(done.stderr.splitlines()[-1].split())


def test_help_and_completion_load_no_verb() -> None:
    tab = {"COMP_WORDS": "kite-hft d", "COMP_CWORD": "1", "_KITE_HFT_COMPLETE": "complete_bash"}
    for found in (loaded_by("--help"), loaded_by(**tab)):
        assert sorted(found & HEAVY) == []
        ours = {name for name in found if name.startswith("kite_hft.")}
        assert ours == {
            f"kite_hft.{n}"
            for n in ("app", "app.cli", "app.verbs", "app.lazily", "app.answering", "app.output", "loading")
        }


def test_kill_loads_little_before_its_latch() -> None:
    found = loaded_by("kill", "--help")
    assert not found & {"numpy", "numba", "pyarrow", "aiohttp", "cryptography", "asyncio", "psutil"}


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(
    "line", [(), ("--no-such-option",), ("a", "b", "c", "d")], ids=["bare", "option", "more"]
)
def test_with_json_there_is_one_object_whatever_happens(
    words: str, line: tuple[str, ...], nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kite_hft.engine.keys import private

    monkeypatch.setattr(private, "harden_process", lambda: None)  # this process goes on
    for name, module in list(sys.modules.items()):
        if name.startswith("kite_hft.") and hasattr(module, "harden_process"):
            monkeypatch.setattr(module, "harden_process", lambda: None)
    done = CliRunner().invoke(app, [*words.split(), *line, "--json"], input="")
    found = json.loads(done.stdout)
    assert isinstance(found, dict) and "Traceback" not in done.stderr
    assert done.exit_code in (0, 1, 2, 3), (words, done.stderr)
    if "error" in found:
        assert (found["ok"], found["exit_code"]) == (False, done.exit_code) and done.exit_code
        assert found["error"].split()[0] in " ".join(done.stderr.replace("│", " ").split())
    if line:
        assert done.exit_code == 2 or "error" in found


PROMPTED = {"pressed": KeyboardInterrupt, "nobody": EOFError}


def a_verb(name: str) -> Any:
    """Verbs that end in every way there is."""
    command = typer.Typer(add_completion=False)

    @command.command(name)
    def verb(as_json: answering.JsonOption = False) -> None:
        """What it does."""
        if name == "fault":
            raise ZeroDivisionError("one by nothing")
        if name == "refused":
            answering.say("on the way")
            raise answering.refuse("refused", "there is none", answering.NOT_SO)
        if name == "answered":
            answering.print_json({"verdict": "NO"})
            raise answering.refuse("answered", "it is not so", answering.NOT_SO)
        if name == "interrupted":
            raise KeyboardInterrupt
        if name in ("pressed", "nobody"):
            asking = sys.modules[typer.prompt.__module__]
            with mock.patch.object(asking, "visible_prompt_func", side_effect=PROMPTED[name]):
                typer.prompt("which", err=True)
        answering.say("done")

    return typer.main.get_command(command)


@pytest.mark.parametrize(
    ("name", "code", "found"),
    [
        ("fault", 4, {"ok": False, "error": "a fault of this program: ZeroDivisionError: one by nothing "
                      "(KITE_DEBUG=1 shows where)", "exit_code": 4}),
        ("refused", 1, {"ok": False, "error": "there is none", "exit_code": 1}),
        ("answered", 1, {"verdict": "NO"}),
        ("interrupted", 130, {"ok": False, "error": "broken off", "exit_code": 130}),
        ("pressed", 130, {"ok": False, "error": "broken off; nothing was done", "exit_code": 130}),
        ("nobody", 1, {"ok": False, "error": "broken off; nothing was done", "exit_code": 1}),
    ],
)  # fmt: skip
def test_each_way_to_end(
    name: str, code: int, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KITE_DEBUG", raising=False)
    table = (Verb(name, "nowhere:nothing", "What it does."), Verb("other", "nowhere:nothing", "Another."))
    made = typer.Typer(cls=group_of(table, lambda verb: a_verb(verb.name)))
    made.callback()(lambda: None)
    done = CliRunner().invoke(made, [name, "--json"])
    assert done.exit_code == code and json.loads(done.stdout) == found
    assert name in ("answered", "interrupted") or found["error"] in done.stderr
    done = CliRunner().invoke(made, [name])
    assert done.exit_code == code and "Traceback" not in done.stderr
    assert not answering.wanted(), "what one verb wants is over with it"
    monkeypatch.setenv("KITE_DEBUG", "1")
    if name == "fault":
        assert "Traceback" in CliRunner().invoke(made, [name]).stderr


def test_a_verb_is_loaded_once_it_is_called() -> None:
    done = CliRunner().invoke(app, ["kil"])
    assert done.exit_code == 2 and "Did you mean 'kill'" in done.stderr
    assert {verb.name for verb in VERBS} == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert load(next(verb for verb in VERBS if verb.name == "config")).commands.keys() >= {"check", "init"}


def test_what_tab_offers(nowhere: Path) -> None:
    assert completing.accounts("") == completing.strategies("") == completing.environments("") == []
    run = nowhere / "home/kite_hft/kite-AB1234/latest"
    run.mkdir(parents=True)
    (nowhere / "home/kite_hft/upstox-CD1").mkdir()
    assert completing.accounts("") == ["AB1234", "CD1"] and completing.accounts("AB") == ["AB1234"]
    for damaged in (b"\xff", b"[]", b'{"strategies": 5}'):
        (run / "run.json").write_bytes(damaged)
        assert completing.strategies("") == []
    (run / "run.json").write_text('{"strategies": {"1": "kalman_simple", "2": "mine"}}')
    assert completing.strategies("k") == ["kalman_simple"]
    (nowhere / "config").mkdir()
    for name in ("config.yaml", "config.live.yaml", "config.old.live.yaml", "other.yaml"):
        (nowhere / "config" / name).touch()
    assert completing.environments("l") == ["live"]
    assert completing.brokers("u") == ["upstox"] and completing.modes("p") == ["paper"]
    assert completing.kdfs("") == ["argon2id", "pbkdf2", "scrypt"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_get_a_script_and_completions(shell: str, nowhere: Path) -> None:
    (nowhere / "home/kite_hft/kite-AB1234").mkdir(parents=True)
    env = {**os.environ, "SHELL": f"/bin/{shell}"}

    def asked(**more: str) -> str:
        script = "import sys; sys.argv[0] = 'kite-hft'; from kite_hft.app.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", script], env=env | more, capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL, check=False,
        ).stdout  # fmt: skip

    script = asked(_KITE_HFT_COMPLETE=f"source_{shell}")
    assert "_KITE_HFT_COMPLETE=complete_" in script and "kite-hft" in script
    for line, expected in (("kite-hft en", "end-of-day"), ("kite-hft status --account A", "AB1234"),
                           ("kite-hft config sch", "schema")):  # fmt: skip
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)} if shell == "bash" else {}
        more = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"} if not words else {}
        assert re.search(rf"\b{expected}\b", asked(_KITE_HFT_COMPLETE=f"complete_{shell}", **words, **more))
