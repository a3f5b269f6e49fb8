"""Child processes: who learns which secret, long answers, and failures that tell no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kite_hft.engine import orders, supervisor
from kite_hft.engine.child import redacted
from kite_hft.engine.children import Answers, Child
from kite_hft.engine.plan import make_plan
from kite_hft.engine.session import Session, SessionError, open_session
from kite_hft.settings import KiteSection, Settings

TOKEN = "secret+token/1"
KEY = "thekey"


def config_of(mode: str, packing: str, cores: int) -> dict[str, str]:
    """Child name -> its whole configuration as text."""
    settings = Settings(mode=mode, kite=KiteSection(api_key=KEY, access_token=TOKEN))
    session = Session(mode, "wss://feed.example", "https://api.example", KEY, TOKEN)
    plan = make_plan(settings, 5, cores, 3000)
    folder = SimpleNamespace(path=Path("/run/x/y/z"), config_hash=1, install="abc", number=2)
    run = SimpleNamespace(
        settings=settings, session=session, plan=plan, folder=folder, paths={},
        wake_fds={"orders": 3, "events": 4}, clock=SimpleNamespace(mono_ns=lambda: 1),
    )  # fmt: skip
    return {p.name: json.dumps(supervisor.child_config(run, p.name, p.stages)) for p in plan.processes}


@pytest.mark.parametrize(
    ("mode", "cores", "knowing"),
    [
        ("sim", 2, {"market", "orders"}),
        ("sim", 8, {"feed", "orders"}),
        ("paper", 2, {"market"}),
        ("paper", 8, {"feed"}),
    ],
)
def test_only_who_needs_the_token_gets_it(mode: str, cores: int, knowing: set[str]) -> None:
    told = config_of(mode, "auto", cores)
    quoted = "secret%2Btoken%2F1"
    assert {name for name, text in told.items() if TOKEN in text or quoted in text} == knowing
    assert {name for name, text in told.items() if KEY in text} == knowing
    assert {name for name, text in told.items() if "api.example" in text} == knowing & {"orders"}


def test_live_is_refused_and_sim_stays_at_home() -> None:
    keys = {"api_key": KEY, "access_token": TOKEN}
    with pytest.raises(SessionError, match="not available"):
        open_session(Settings(mode="live", kite=KiteSection(**keys)), print)
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
        "import sys; from kite_hft.engine.children import Answers\n"
        "Answers(int(sys.argv[1])).send(part={'positions': ['x' * 100] * 5000})"
    )
    assert child.wait(20) and child.part is not None and len(child.part["positions"]) == 5000
    child.answers.close()


def test_logging_never_waits_for_a_reader() -> None:
    child = child_of(
        "import sys; from kite_hft.engine.children import Answers\n"
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


def test_a_failure_names_no_secret() -> None:
    config = {
        "feed_url": "ws://h?api_key=thekey&access_token=secret%2Btoken%2F1",
        "api": {"api_key": KEY, "access_token": TOKEN},
    }
    text = redacted(f"{KEY} {TOKEN} secret%2Btoken%2F1 stays", config)
    assert text == "<secret> <secret> <secret> stays"


def test_answers_to_nobody_are_no_failure() -> None:
    out, into = os.pipe()
    os.close(out)
    answers = Answers(into)
    answers.send(ready={})
    answers.log("text")


def test_a_full_disk_ends_a_csv_file_with_one_alert(tmp_path: Path) -> None:
    alerts: list[str] = []
    with open("/dev/full", "wb", buffering=0) as full:
        write = orders._csv_sink(full, "orders.csv", ["a"], alerts.append)
        for n in range(3):
            write({"a": n})
    assert alerts == ["orders.csv is not written any more: No space left on device"]
    with (tmp_path / "good.csv").open("wb", buffering=0) as good:
        orders._csv_sink(good, "good.csv", ["a", "b"], alerts.append)({"a": 1, "b": "x,y"})
    assert (tmp_path / "good.csv").read_text().splitlines() == ["a,b", '1,"x,y"'] and len(alerts) == 1
