"""Child processes: who learns which secret, long answers, and failures that tell no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.engine.command import dated_files
from kite_hft.engine.plan import launch
from kite_hft.engine.plan.plan import make_plan
from kite_hft.engine.plan.session import Access, Session, SessionError, open_session
from kite_hft.engine.processes.child import redacted
from kite_hft.engine.processes.children import LENGTH, Answers, Child, read_message, start_child
from kite_hft.engine.processes.control import ControlPipe
from kite_hft.engine.processes.warm import MODULES
from kite_hft.settings import KiteSection, Settings

TOKEN = "secret+token/1"
KEY = "thekey"


SINKS = {"webhook": "https://hook.example/a", "telegram_bot_token": "bot-example",
         "telegram_chat_id": "chat-example", "heartbeat_url": "https://beat.example/b"}  # fmt: skip


def run_of(mode: str, packing: str, cores: int) -> Any:
    settings = Settings.model_validate(
        {"mode": mode, "kite": {"api_key": KEY, "access_token": TOKEN}, "performance": {"packing": packing},
         "datafeed": {"store_ticks": True}, "alerts": SINKS}
    )  # fmt: skip
    access = Access("kite", "wss://feed.example", "https://api.example", KEY, TOKEN)
    session = Session(mode, access, (access,))
    plan = make_plan(settings, 5, [], cores, 3000, 3)
    copies = {source: Path("/run/x/y/z") / source.name for source in dated_files(settings)}
    folder = SimpleNamespace(
        path=Path("/run/x/y/z"), config_hash=1, rules_hash=3, install="abc", number=2, copies=copies
    )
    return SimpleNamespace(
        settings=settings, session=session, plan=plan, folder=folder, paths={}, shm=Path("/shm"),
        next_seqs={},
        wake_fds={"orders": 3, "events-0": 4}, clock=SimpleNamespace(mono_ns=lambda: 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "cores", "knowing"),
    [
        ("sim", 2, {"market-0", "orders"}),
        ("sim", 8, {"feed-0", "orders"}),
        ("paper", 2, {"market-0"}),
        ("paper", 8, {"feed-0"}),
    ],
)
def test_only_who_needs_the_token_gets_it(mode: str, cores: int, knowing: set[str]) -> None:
    run = run_of(mode, "auto", cores)
    told = {p.name: json.dumps(launch.child_config(run, p)) for p in run.plan.processes}
    quoted = "secret%2Btoken%2F1"
    assert {name for name, text in told.items() if TOKEN in text or quoted in text} == knowing
    assert {name for name, text in told.items() if KEY in text} == knowing
    assert {name for name, text in told.items() if "api.example" in text} == knowing & {"orders"}
    addresses = ("hook.example", "bot-example", "chat-example", "beat.example")
    assert not [name for name, text in told.items() if any(word in text for word in addresses)]
    for kind in ("plain", "worker", "feed", "orders", "recorder"):  # a spare waits for long: it knows nothing
        text = json.dumps(launch.prepare_config(run, kind))
        assert not [word for word in (TOKEN, quoted, KEY, "example") if word in text]


def test_children_read_the_dated_files_out_of_the_run_folder() -> None:
    run = run_of("sim", "auto", 8)
    for process in run.plan.processes:
        told = launch.child_config(run, process)["settings"]["trading"]
        assert {str(Path(told[name]).parent) for name in ("rules", "charges", "market", "calendar")} == {
            "/run/x/y/z"
        }


def test_children_of_a_start_load_only_what_they_will_be() -> None:
    """No event loop where orders are sent, numba only for a compiled strategy, no exchange but on paper."""
    names = ("asyncio", "uvloop", "picows", "numba", "kite_hft.sim")
    listing = f"import sys; print(*[m for m in {names} if m in sys.modules])"
    for kind, loaded in (("orders", set()), ("recorder", set()), ("feed", {"asyncio", "uvloop", "picows"})):
        script = f"import importlib\nfor name in {MODULES[kind]!r}: importlib.import_module(name)\n{listing}"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
        assert set(done.stdout.split()) == loaded, kind


@pytest.mark.parametrize(
    ("packing", "first"),
    [("fused", {"worker", "orders", "recorder"}), ("separate", {"feed", "worker", "orders", "recorder"})],
)
def test_kinds_of_children_and_of_spares(packing: str, first: set[str]) -> None:
    processes = run_of("sim", packing, 2).plan.processes
    assert {launch.first_kind_of(process) for process in processes} == first
    assert {launch.kind_of(process) for process in processes} == {"plain", "worker"}  # a reserve of each
    assert set(MODULES["plain"]) >= {
        name for kind in ("feed", "orders", "recorder") for name in MODULES[kind][:1]
    }


def test_live_needs_the_keys_of_all_its_brokers_and_sim_stays_at_home() -> None:
    keys = {"api_key": KEY, "access_token": TOKEN}
    live = Settings(mode="live", kite=KiteSection(**keys))
    assert open_session(live, print).api_config()["access_token"] == TOKEN
    with pytest.raises(SessionError, match=r"mode live needs kite\.api_key and kite\.access_token: "):
        open_session(Settings(mode="live"), print)
    prices_elsewhere = live.model_copy(update={"broker": "upstox", "data_broker": "kite"})
    with pytest.raises(SessionError, match=r"mode live needs upstox\.access_token: "):
        open_session(prices_elsewhere, print)
    with pytest.raises(SessionError, match="loopback"):
        open_session(Settings(mode="sim", kite=KiteSection(**keys)), print)
    with pytest.raises(SessionError, match=r"kite\.api_key and kite\.access_token"):
        open_session(Settings(mode="paper"), print)


def child_of(text: str) -> Child:
    out, into = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", text, str(into)], pass_fds=[into])
    os.close(into)
    os.set_blocking(out, False)
    return Child("c", process, os.fdopen(out, "rb", buffering=0))


def test_an_answer_longer_than_the_pipe_arrives_whole() -> None:
    child = child_of(
        "import sys; from kite_hft.engine.processes.children import Answers\n"
        "Answers(int(sys.argv[1])).send(part={'positions': ['x' * 100] * 5000})"
    )
    assert child.wait(20) and child.part is not None and len(child.part["positions"]) == 5000
    child.answers.close()


def test_logging_never_waits_for_a_reader() -> None:
    child = child_of(
        "import sys; from kite_hft.engine.processes.children import Answers\n"
        "a = Answers(int(sys.argv[1]))\nfor i in range(5000): a.log('y' * 100)"
    )
    assert child.process.wait(20) == 0
    assert child.listen()
    child.answers.close()


def test_a_child_that_does_not_end_is_given_up_sooner_in_a_hurry() -> None:
    child = child_of("import time; time.sleep(60)")
    assert not child.wait(30, lambda: True)
    child.process.kill()
    child.process.wait()
    child.answers.close()


def test_what_is_told_arrives_whole_and_in_order() -> None:
    """First behind its length, then as lines; more than a pipe holds waits on our side."""
    child = start_child("spare", {"kind": "none"}, [])
    child.become({"name": "none", "stages": [], "folder": "/nowhere", "filler": "x" * 300_000})
    assert child.unsent and child.tell({"do": "late"})
    assert child.wait(20)
    assert child.process.returncode == 1 and child.prepared
    assert "could not prepare: KeyError" in child.log[0] and child.log[1].startswith("none failed")
    child.release()
    child.release()


def test_a_spare_whose_supervisor_hangs_up_ends_quietly() -> None:
    child = start_child("spare", {"kind": "none"}, [])
    os.close(child.control)
    child.control = -1
    assert child.wait(20) and child.process.returncode == 0
    assert not child.tell({"do": "nothing"})
    child.release()


def test_messages_behind_their_length_leave_the_lines_alone() -> None:
    out, into = os.pipe()
    text = json.dumps({"become": 1}).encode()
    os.write(into, LENGTH.pack(len(text)) + text + b'{"do": "a"}\n{"do"')
    assert read_message(out) == {"become": 1}
    pipe = ControlPipe(out)
    assert pipe.read() == [{"do": "a"}] and pipe.read() == []
    os.write(into, b': "b"}\n')
    assert pipe.read() == [{"do": "b"}]
    os.close(into)
    assert pipe.read() == [] and read_message(out) is None
    os.close(out)


def test_alerts_come_apart_from_the_log() -> None:
    child = child_of(
        "import sys; from kite_hft.engine.processes.children import Answers\n"
        "a = Answers(int(sys.argv[1]))\na.alert('HALTED', 'k', 'text', 3)\na.log('line')"
    )
    assert child.wait(20) and child.log == ["line"]
    assert child.alerts == [{"code": "HALTED", "key": "k", "text": "text", "severity": 3}]
    child.release()


def test_a_failure_names_no_secret() -> None:
    config = {
        "feed": {"api_key": "", "access_token": TOKEN},
        "api": {"api_key": KEY, "access_token": "other"},
    }
    text = redacted(f"{KEY} {TOKEN} secret%2Btoken%2F1 stays", config)
    assert text == "<secret> <secret> <secret> stays"


def test_answers_to_nobody_are_no_failure() -> None:
    out, into = os.pipe()
    os.close(out)
    answers = Answers(into)
    answers.send(ready={})
    answers.log("text")
