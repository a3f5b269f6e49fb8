"""What `kite-hft config init` asks: a wrong answer is told and asked for again."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from kite_hft.app.setup.starting import chosen

ANSWERS = "zerodha\nkite\nreal\nlive\nAB 1\nAB1\nmuch\n-5\n5000\n"
APP = typer.Typer()


@APP.command()
def init() -> None:
    wish = chosen(None, None, None, None, ask=True)
    print(f"WISH {wish.broker} {wish.mode} {wish.account} {wish.max_daily_loss:g}")


def test_a_wrong_answer_is_asked_for_again() -> None:
    done = CliRunner().invoke(APP, [], input=ANSWERS)
    assert done.exit_code == 0, done.output
    assert "WISH kite live AB1 5000" in done.output
    for told in ("one of kite, upstox", "one of sim, paper, live", "letters, digits and _ only"):
        assert done.output.count(told) == 1
    assert done.output.count("rupees above 0, as 5000") == 2


def test_the_end_of_the_answers_ends_it() -> None:
    done = CliRunner().invoke(APP, [], input="zerodha\n")
    assert done.exit_code == 1 and "WISH" not in done.output
