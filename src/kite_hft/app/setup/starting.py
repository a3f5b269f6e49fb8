"""Layer 6, by hand, cold: a new configuration: what is asked, and how it is written."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from kite_hft.app.setup.template import LOSS_DEFAULT, template
from kite_hft.configuring.models.market import TradingSection

BROKERS: Final = ("kite", "upstox")
MODES: Final = ("sim", "paper", "live")
LOSS_MAX: Final = 1e15
ACCOUNT: Final = re.compile(r"[A-Za-z0-9_]{1,32}")


class Refused(Exception):
    """Nothing was written. code: the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new configuration is for."""

    broker: str
    mode: str
    account: str
    max_daily_loss: float


def chosen(
    broker: str | None, mode: str | None, account: str | None, max_daily_loss: float | None, *, ask: bool
) -> Wish:
    """What the options say; what they leave out is asked for.

    Raises:
        Refused: an option is wrong, or is missing and nobody can be asked.
    """
    missing = [
        name
        for name, value in (("--broker", broker), ("--mode", mode), ("--account", account))
        if value is None
    ]
    if missing and not ask:
        raise Refused(f"{', '.join(missing)}: needed where nobody can be asked (no terminal)", 2)
    broker = broker or _asked("Broker that gets the orders", BROKERS, "kite")
    mode = mode or _asked("Mode", MODES, "sim")
    for word, known, option in ((broker, BROKERS, "--broker"), (mode, MODES, "--mode")):
        if word not in known:
            raise Refused(f"{option} {word}: one of {', '.join(known)}", 2)
    account = account or typer.prompt(
        "Your name for the account (letters, digits, _)", value_proc=_account, err=True
    )
    if not ACCOUNT.fullmatch(account):
        raise Refused(f"--account {account}: letters, digits and _ only, 32 at most", 2)
    if mode == "live" and max_daily_loss is None:
        if not ask:
            raise Refused("--max-daily-loss: mode live needs a loss limit of the day, in rupees", 2)
        words = "Rupees that a day may cost, net"
        max_daily_loss = typer.prompt(words, value_proc=_rupees, default=LOSS_DEFAULT, err=True)
    loss = LOSS_DEFAULT if max_daily_loss is None else max_daily_loss
    if not 0 < loss < LOSS_MAX:
        raise Refused(f"--max-daily-loss {loss:g}: rupees above 0", 2)
    return Wish(broker, mode, account, loss)


def _asked(text: str, words: tuple[str, ...], default: str) -> str:
    """One of the words; another answer is asked for again."""

    def one_of(answer: str) -> str:
        if answer.strip() not in words:
            raise typer.BadParameter(f"one of {', '.join(words)}")
        return answer.strip()

    found: str = typer.prompt(f"{text} ({', '.join(words)})", default=default, value_proc=one_of, err=True)
    return found


def _account(text: str) -> str:
    if not ACCOUNT.fullmatch(text.strip()):
        raise typer.BadParameter("letters, digits and _ only, 32 at most")
    return text.strip()


def _rupees(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < LOSS_MAX:
        raise typer.BadParameter("rupees above 0, as 5000")
    return found


def dated_files(folder: Path) -> Path | None:
    """The folder with rules/ and calendar/: None when it is `folder` itself, where nothing need be said.

    Raises:
        Refused: there is none.
    """
    name = TradingSection.model_fields["market"].default
    if (folder / name).is_file():
        return None
    places = [Path(__file__).resolve().parents[4] / "config", Path.cwd() / "config"]
    for place in places:
        if (place / name).is_file():
            return place
    raise Refused(
        f"{name} is neither in {folder} nor in {' or '.join(map(str, places))}: write the configuration into "
        "the project's folder config/, or copy its rules/ and calendar/ beside it",
        1,
    )


def write_new(path: Path, wish: Wish) -> list[str]:
    """Write the configuration, and return what to do next.

    Raises:
        Refused: the file is there, or cannot be made.
    """
    folder = path.resolve().parent
    dated = dated_files(folder)
    text = template(wish.broker, wish.mode, wish.account, wish.max_daily_loss, dated)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
    except FileExistsError:
        raise Refused(f"{path} is there already and stays as it is: name another file", 1) from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", 1) from None
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    return _next(path, wish)


def _next(path: Path, wish: Wish) -> list[str]:
    keys = [
        f"kite-hft credentials --broker {wish.broker}    # keys into the vault",
        f"kite-hft login --broker {wish.broker}          # the day's token",
    ]
    if wish.mode == "live":
        keys.append("kite-hft credentials --broker alerts  # who is told, and how: mode live needs one way")
    return [
        *(keys if wish.mode != "sim" else []),
        f"kite-hft config check {path}",
        f"kite-hft run {path}",
    ]
