"""Layer 6, by hand, cold: `kite-hft kill-switch`: the account, locked at the broker: the last resort.

The engine's own kill (kill.py) is a file, and quick. This is a call to the broker, which no program of this
machine can take back: it works with an engine or without, and outlives both. What it does is said before, its
state is looked at first, the account is typed, and only what the broker shows afterwards counts as done.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from kite_hft.app.answering import (
    INTERRUPTED,
    NOT_READY,
    NOT_SO,
    USAGE,
    JsonOption,
    print_json,
    refuse,
    say,
)
from kite_hft.app.choosing import StateOption, account_folder, root_of
from kite_hft.app.day.asking import Asking, NoAnswer
from kite_hft.app.day.brokers import NOTHING
from kite_hft.app.keys import login_options as of
from kite_hft.app.keys.handing import engines_of
from kite_hft.app.keys.keeping import ACCESS, api_url
from kite_hft.app.keys.opened import Opened, open_vault, settings_of
from kite_hft.app.keys.vault_options import PasswordFdOption, VaultFileOption
from kite_hft.app.person import user_name
from kite_hft.app.steer import switching
from kite_hft.app.steer.kill import latch_file, latched
from kite_hft.app.steer.switching import (
    Asked,
    CannotAsk,
    Verdict,
    end_token,
    open_now,
    segments_of,
    throw,
    whose,
)
from kite_hft.brokers.login import LoginError, TokenRefused
from kite_hft.brokers.table import broker_of
from kite_hft.brokers.upstox.kill_switch import SEGMENTS, Segment
from kite_hft.brokers.upstox.left_open import LeftOpen
from kite_hft.engine.keys.contents import VaultError, VaultMissing
from kite_hft.engine.keys.ends import SUFFIX
from kite_hft.engine.keys.private import harden_process
from kite_hft.engine.orders.latch import HISTORY, note
from kite_hft.engine.plan.session import configured
from kite_hft.engine.runs.runs import Account, NoRun, accounts
from kite_hft.net.unreachable import shown
from kite_hft.settings import Settings, SettingsError

BROKER: Final = "upstox"
CODES: Final = {switching.SHOWN: 0, switching.REFUSED: NOT_SO, switching.UNKNOWN: NOT_READY}
REASON: Final = "the account's kill switch at Upstox is being thrown"
STOPPED: Final = (
    "all of it is stopped already. A token from before the stop may still trade: kite-hft logout ends today's"
)
KITE: Final = (
    "Kite Connect has no call for the account's kill switch: throw it by hand in Zerodha's Console (Account, "
    'Segments, Kill switch). The engine\'s own, for Kite as well, is kite-hft kill "WHY" (--flatten closes '
    "positions, too)"
)


@dataclass(slots=True)
class Seen:
    """The account as the broker shows it before anything is done. held: None: its books cannot be read."""

    user_id: str
    user_name: str
    segments: dict[str, Segment]
    held: LeftOpen | None = None
    unread: str = ""
    wanted: dict[str, bool] = field(default_factory=dict)


def kill_switch(
    status: Annotated[bool, typer.Option("--status", help="Only look, and say what is thrown.")] = False,
    off: Annotated[
        bool, typer.Option("--off", help="Allow trading again; Upstox refuses that for twelve hours.")
    ] = False,
    segment: Annotated[
        list[str] | None,
        typer.Option("--segment", help="Only this one, as NSE_FO; may be repeated. Default: all that trade."),
    ] = None,
    yes: Annotated[
        str, typer.Option("--yes", metavar="ACCOUNT", help="For scripts: the broker's user id, exactly.")
    ] = "",
    wait: Annotated[
        float, typer.Option(min=0.0, help="Longest wait for the cancels of an engine's entries, in seconds.")
    ] = 15.0,
    broker: of.BrokerChoice = None,
    profile: of.ProfileChoice = None,
    config: of.ConfigChoice = None,
    file: VaultFileOption = None,
    password_fd: PasswordFdOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lock the account at the broker, as the last resort: Upstox's own kill switch, by segment.

    Nobody can take it back for twelve hours, not at Upstox either. It needs no engine. What it stops and what
    stays open is said first; then type the account as the broker names it. An engine that runs with this
    login is killed before (kite-hft kill). Upstox refuses while a position is open in the segment, cancels
    the orders that work there, and lets the switch bind tokens that are made after it: the day's token ends.

    Exit codes: 0 the broker shows it, 1 refused, not confirmed, or the engine could not be killed, 2 wrong
    options or configuration, 3 no vault, no token or no way to the broker, or it is not proven what was done.
    """
    with telling():
        if status and (off or yes):
            raise SettingsError("--status only looks: leave --off and --yes out")
        if broker is not None and broker.value != BROKER:
            raise CannotAsk(KITE)
        harden_process()
        settings = settings_of(config)
        held = open_vault(
            settings, broker.value if broker else None, profile, file=file, password_fd=password_fd
        )
        if held.broker != BROKER:
            raise CannotAsk(f"{KITE}. For the other account: --broker {BROKER}")
        with asking_of(held, settings) as asking:
            seen = look(asking, held)
            show(seen, asking)
            if status:
                code, done = 0, dict[str, Any](did="status")
            else:
                code, done = change(asking, held, seen, off, segment or [], yes, root_of(state), wait)
    if as_json:
        print_json(
            {"broker": BROKER, "user_id": seen.user_id, "segments": rows(seen.segments)}
            | done
            | {"exit_code": code}
        )
    raise typer.Exit(code)


def asking_of(held: Opened, settings: Settings) -> Asking:
    """Calls to the account by the day's token of the vault.

    Raises:
        TokenRefused: the vault has none.
    """
    token = held.values.get(ACCESS, "")
    if not token:
        raise TokenRefused(
            f"{held.section} has no day's token in the vault: kite-hft login --broker {BROKER}"
        )
    access = replace(
        configured(settings, BROKER), api_url=api_url(settings, BROKER),
        api_key=held.values.get("api_key", ""), access_token=token,
    )  # fmt: skip
    return Asking(access, broker_of(BROKER, NOTHING))


def look(asking: Asking, held: Opened) -> Seen:
    """Whose account it is, its switches, and what is open.

    Raises:
        NoAnswer, TokenRefused, LoginError, CannotAsk: it cannot be seen; nothing was changed.
    """
    try:
        person = whose(asking)
        segments = segments_of(asking)
    except TokenRefused as error:
        raise TokenRefused(
            asking.words(f"{error}; nothing was changed: kite-hft login --broker {BROKER}")
        ) from None
    wanted = held.values.get("user_id", "")
    if wanted and person.user_id.upper() != wanted.upper():
        raise CannotAsk(
            f"the token in the vault is of {asking.words(person.user_id)}, and {held.section} is {wanted}: "
            "nothing was changed. Log in as that user, or name the profile: --profile NAME"
        )
    seen = Seen(asking.words(person.user_id), asking.words(person.user_name), segments)
    try:
        seen.held = open_now(asking)
    except (NoAnswer, CannotAsk) as error:
        seen.unread = str(error)
    return seen


def show(seen: Seen, asking: Asking) -> None:
    """The account and the state of its switches, for people."""
    say(f"upstox {seen.user_id} ({seen.user_name}) at {shown(asking.access.api_url)}")
    for name, row in seen.segments.items():
        say(f"  {asking.words(name):8} {word_of(row)}")


def word_of(row: Segment) -> str:
    """The state of one segment, for people."""
    if row.shut:
        return "STOPPED by the kill switch"
    return "may be traded" if row.active else "not open for this account"


def chosen(seen: Seen, off: bool, named: list[str]) -> dict[str, bool]:
    """What is to be changed: segment -> True: stop. Nothing, where all of it is so already.

    Raises:
        SettingsError: a segment that is none.
    """
    names = [name.strip().upper() for name in named]
    if unknown := sorted(set(names) - set(SEGMENTS)):
        raise SettingsError(f"--segment {', '.join(unknown)}: segments are {', '.join(SEGMENTS)}")
    if not names:
        names = [name for name, row in seen.segments.items() if name in SEGMENTS and (row.shut or row.active)]
    return {name: not off for name in names if name not in seen.segments or seen.segments[name].shut == off}


def change(
    asking: Asking, held: Opened, seen: Seen, off: bool, named: list[str], yes: str, root: Path, wait: float
) -> tuple[int, dict[str, Any]]:
    """Say what will be done, have the account typed, do it: (exit code, what --json adds).

    Raises:
        NoRun: not confirmed. SettingsError: a segment that is none.
    """
    did = "off" if off else "on"
    seen.wanted = chosen(seen, off, named)
    if others := [name for name in seen.segments if name not in SEGMENTS]:
        say(f"not touched, for this program does not know them: {asking.words(', '.join(others))}")
    if not seen.wanted:
        say("nothing to do: " + ("nothing of it is stopped" if off else STOPPED))
        return 0, {"did": did, "changed": [], "proven": True}
    engines, readers = ([], []) if off else engines_with(asking, root)
    plan(seen, off, engines, readers)
    confirm(seen.user_id, yes)
    code, killed = (0, []) if off else kill_engines(engines, wait)
    write_down(root, engines, seen, {"became": "is sent"})
    found = throw(asking, seen.wanted)
    ended = "" if off or found.word != switching.SHOWN else after(asking, held, found)
    write_down(root, engines, seen, {"became": found.word, "why": found.why})
    tell(seen, found, off, ended)
    if engines and found.word != switching.SHOWN:
        say("what was killed here stays so until kite-hft resume")
    seen.segments = dict(found.segments) or seen.segments
    code = CODES[found.word] or (NOT_READY if ended else code)
    return code, {
        "did": did, "changed": list(seen.wanted), "proven": found.word == switching.SHOWN,
        "outcome": found.word, "why": found.why or ended, "engines": killed,
        "token_ended": found.word == switching.SHOWN and not off and not ended,
        "open": open_row(seen.held), "record": str(root / HISTORY),
    }  # fmt: skip


def plan(seen: Seen, off: bool, engines: list[Account], readers: list[str]) -> None:
    """What will be done, for how long, and what stays, before anybody is asked."""
    names = ", ".join(seen.wanted)
    if off:
        say(f"This allows trading again in {names}.")
        say("- Upstox refuses it for twelve hours from the stop")
        say("- it counts for tokens that are made after it: kite-hft login")
        say("- an engine that was killed stays so until kite-hft resume")
        return
    say(f"This stops all trading of the account at Upstox in {names}:")
    say("- nobody can take it back for twelve hours, by API or app; then kite-hft kill-switch --off")
    say("- it counts for tokens made after it, so today's token ends: no program on it sees or does anything")
    if seen.held is None:
        say(f"- what is open cannot be read ({seen.unread}): look into the broker's app")
    else:
        orders = sum(segment in seen.wanted for segment in seen.held.orders)
        there = [name for segment, name in seen.held.positions if segment in seen.wanted]
        apart = [name for segment, name in seen.held.positions if segment not in seen.wanted]
        say(f"- orders that work there are cancelled by Upstox: {orders} now")
        say(f"- GTTs that wait stay listed: {len(seen.held.triggers)} now; delete them in the broker's app")
        say("- positions and holdings stay; nobody closes them")
        if there:
            say(f"- Upstox refuses it as long as positions are open there: {', '.join(there)}")
        if apart:
            say(f"- open in other segments, without an engine that watches them: {', '.join(apart)}")
    for one in engines:
        doing = "runs" if one.running else "is starting"
        say(f"- an engine {doing} on {one.title}: it is killed first, as by kite-hft kill")
    if readers:
        say(f"- {', '.join(readers)} reads with today's token, and loses it")


def confirm(user_id: str, yes: str) -> None:
    """The account, typed, or named by --yes.

    Raises:
        NoRun: something else was.
    """
    given = yes
    if not yes:
        say(f"Type {user_id} to confirm:")
        given = sys.stdin.readline().strip()
    if given != user_id:
        raise NoRun(
            f"nothing was changed: {given or 'nothing'!r} was given, and the account is {user_id!r}: "
            "type it, or in a script --yes ACCOUNT"
        )


def engines_with(asking: Asking, root: Path) -> tuple[list[Account], list[str]]:
    """(accounts whose engine sends orders with this login, engines that only read with it).

    An engine that is still starting cannot be asked whose login it has: it counts among the first.
    """
    access = asking.access
    notes = engines_of(BROKER, access.api_key, access.api_url, None)
    found, readers = [], []
    for one in notes:
        if one.broker == BROKER and one.mode != "paper":
            found.append(Account(one.broker, one.account, Path(one.folder).parent.parent, one))
        else:
            readers.append(one.title)
    starting = accounts(root, elsewhere=False)
    return found + [one for one in starting if one.broker == BROKER and one.starting_pid], readers


def kill_engines(engines: list[Account], wait_s: float) -> tuple[int, list[dict[str, Any]]]:
    """The engines' own kill, before the broker's: (exit code, a row for each)."""
    if not engines:
        return 0, []
    begun_ns, failed = latched(engines, REASON, flatten=False)
    from kite_hft.app.steer.kill_follow import follow  # only now: it loads much

    listed: list[dict[str, Any]] = []
    codes = [NOT_SO] if failed else [0]
    for one in engines:
        unsure = follow(one, begun_ns[one.title], wait_s, flatten=False) if one.title in begun_ns else NOT_SO
        codes.append(unsure)
        listed.append({"account": one.title, "latch": latch_file(one), "confirmed": not unsure})
    for why in failed:
        say(f"warning: {why}")
    return (NOT_SO if NOT_SO in codes else max(codes)), listed


def after(asking: Asked, held: Opened, found: Verdict) -> str:
    """Today's token, which the switch does not bind, is ended and taken out of the vault; "": it is ended."""
    why = "" if found.token_lives is False else end_token(asking)
    if why:
        return f"today's token may still trade, for the switch does not bind it: kite-hft logout ({why})"
    try:
        held.keep({}, dropped=(ACCESS, ACCESS + SUFFIX))
    except VaultError as error:
        say(f"warning: the token that has ended stays in the vault: {error}")
    return ""


def tell(seen: Seen, found: Verdict, off: bool, ended: str) -> None:
    """What came of it, for people."""
    names = ", ".join(seen.wanted)
    if found.word == switching.SHOWN:
        say(f"Upstox shows it: {names} {'may be traded again' if off else 'stopped by the kill switch'}")
        if off:
            say("it counts for tokens that are made from now on: kite-hft login")
        elif not ended:
            say("today's token has ended. To look again: kite-hft login, then kite-hft kill-switch --status")
    elif found.word == switching.REFUSED:
        print(f"kite-hft kill-switch: refused, nothing was changed at Upstox: {found.why}", file=sys.stderr)
    else:
        print(
            f"kite-hft kill-switch: NOT PROVEN whether it was done ({found.why}): do not count on it. Look: "
            "kite-hft kill-switch --status (after kite-hft login, where the token has ended), and the app",
            file=sys.stderr,
        )
    if ended:
        print(f"kite-hft kill-switch: {ended}", file=sys.stderr)


def write_down(root: Path, engines: list[Account], seen: Seen, became: Mapping[str, Any]) -> None:
    """A line in the history of kills: of the state directory, and of each account whose engine was killed."""
    line = {
        "do": "kill_switch", "broker": BROKER, "user_id": seen.user_id, "segments": seen.wanted,
        "by": f"{user_name()} by kite-hft kill-switch", "at_ns": time.time_ns(), **became,
    }  # fmt: skip
    with contextlib.suppress(OSError):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (root, *map(account_folder, engines)):
        note(folder, line)
    if not (root / HISTORY).is_file():
        say(f"warning: {root / HISTORY} cannot be written: nothing keeps what was done here")


def rows(segments: Mapping[str, Segment]) -> dict[str, dict[str, bool]]:
    """For --json."""
    return {name: {"active": row.active, "stopped": row.shut} for name, row in segments.items()}


def open_row(held: LeftOpen | None) -> dict[str, Any] | None:
    """For --json; None: not known."""
    if held is None:
        return None
    positions = [{"segment": segment, "position": name} for segment, name in held.positions]
    return {"positions": positions, "orders": len(held.orders), "triggers": list(held.triggers)}


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """What goes wrong before anything is sent: one line on standard error and an exit code."""
    try:
        yield
    except SettingsError as error:
        raise refuse("kill-switch", error, USAGE) from None
    except (VaultMissing, TokenRefused, NoAnswer) as error:
        raise refuse("kill-switch", error, NOT_READY) from None
    except (CannotAsk, LoginError, VaultError, NoRun, OSError) as error:
        raise refuse("kill-switch", error, NOT_SO) from None
    except KeyboardInterrupt:
        text = "broken off: kite-hft kill-switch --status tells what stands"
        raise refuse("kill-switch", text, INTERRUPTED) from None
