"""Layer 6, by hand, cold: `kite-hft login` and `kite-hft logout`: the day's token for vault and engine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer

from kite_hft.app.answering import (
    INTERRUPTED,
    NOT_READY,
    NOT_SO,
    USAGE,
    JsonOption,
    exit_with,
    print_json,
    refuse,
)
from kite_hft.app.keys import login_options as of
from kite_hft.app.keys.broker_calls import Unreachable, ended
from kite_hft.app.keys.flows import Way, by_approval, by_page
from kite_hft.app.keys.handing import Handed, engines_of
from kite_hft.app.keys.keeping import (
    ACCESS,
    ANALYTICS,
    SANDBOX,
    api_url,
    give_engines,
    keep_login,
    keep_typed,
    source_of,
    typed_login,
)
from kite_hft.app.keys.opened import TOKENS, Opened, open_vault, settings_of
from kite_hft.app.keys.showing import shows_qr
from kite_hft.app.keys.token_status import show_code, show_tokens
from kite_hft.app.keys.vault_options import PasswordFdOption, VaultFileOption
from kite_hft.app.keys.waiting import Pasted
from kite_hft.brokers.login import LoginError, TokenRefused
from kite_hft.brokers.table import login_of
from kite_hft.engine.keys.contents import VaultError, VaultMissing
from kite_hft.engine.keys.ends import SUFFIX
from kite_hft.engine.keys.private import harden_process
from kite_hft.engine.processes.control import ControlError
from kite_hft.engine.runs.runs import NoRun
from kite_hft.settings import Settings, SettingsError


def login(
    broker: of.BrokerChoice = None,
    profile: of.ProfileChoice = None,
    show: of.Status = False,
    check: of.Check = False,
    code: of.Totp = False,
    browser: of.Browser = False,
    qr: of.Qr = None,
    approve: of.Approve = False,
    listen: of.Listen = 0,
    token: of.Token = False,
    sandbox: of.Sandbox = False,
    analytics: of.Analytics = False,
    issued: of.Issued = "",
    timeout: of.Timeout = 300.0,
    wait: of.Wait = 15.0,
    account: of.EngineAccount = None,
    config: of.ConfigChoice = None,
    file: VaultFileOption = None,
    password_fd: PasswordFdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log in at the broker: once a day, by hand, on the broker's own page.

    Shows the page's address (and a QR code for the phone). After the login the browser is sent to the
    redirect address of your app: when that is of this machine the answer is caught, else paste the address
    here. The token is checked, kept in the vault, and given to the engine that runs: it goes on without a
    restart. Keys come from the vault: kite-hft credentials. Kite's tokens end at 06:00 IST, Upstox's at
    03:30.

    Exit codes: 0 logged in (or a token is good), 1 refused, not come about, or no token is good, 2 wrong
    configuration, 3 no vault or no way to the broker.
    """
    say = _sayer(as_json)
    with telling("login"):
        ways = {"--status": show, "--totp": code, "--approve": approve, "--token": token,
                "--sandbox": sandbox, "--analytics": analytics}  # fmt: skip
        if len(chosen := [name for name, on in ways.items() if on]) > 1:
            raise SettingsError(f"{' and '.join(chosen)} exclude one another")
        harden_process()
        settings = settings_of(config)
        name = broker.value if broker else None
        held = open_vault(settings, name, profile, file=file, password_fd=password_fd)
        if show:
            if not show_tokens(held, settings, name, profile, check=check, as_json=as_json):
                raise LoginError("no token is good now: kite-hft login")
            return
        if code:
            show_code(held, as_json=as_json)
            return
        engines: list[Handed] = []
        if sandbox or analytics:
            done = keep_typed(held, settings, SANDBOX if sandbox else ANALYTICS, issued, say)
        else:
            way = _way(held, settings, say, timeout, qr=qr, browser=browser, as_json=as_json)
            got = typed_login(way.words) if token else by_approval(way, listen) if approve else by_page(way)
            done = keep_login(held, way.words, way.host, got, say, way.bind)
            engines = give_engines(held, way.host, got.access_token, account, wait, say)
        _tell(done, engines, say, as_json=as_json)
        if not all(row.taken for row in engines):
            raise typer.Exit(NOT_SO)


def logout(
    broker: of.BrokerChoice = None,
    profile: of.ProfileChoice = None,
    yes: of.Yes = False,
    config: of.ConfigChoice = None,
    file: VaultFileOption = None,
    password_fd: PasswordFdOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the day's token at the broker, and take it out of the vault.

    An engine that runs with it sees nothing and can close nothing afterwards: that needs --yes.

    Exit codes: 0 ended, 1 there is none, refused, or an engine runs with it, 2 wrong configuration, 3 no
    vault or no way to the broker.
    """
    say = _sayer(as_json)
    with telling("logout"):
        harden_process()
        settings = settings_of(config)
        name = broker.value if broker else None
        held = open_vault(settings, name, profile, file=file, password_fd=password_fd)
        words, access_token = login_of(held.broker), held.values.get(ACCESS)
        if not access_token:
            raise LoginError(f"{held.section} has no day's token in the vault: there is nothing to end")
        host, api_key = api_url(settings, held.broker), held.needed("api_key")
        if not yes and (live := engines_of(held.broker, api_key, host, None)):
            names = ", ".join(note.title for note in live)
            raise LoginError(
                f"{names} runs: without the token it can close nothing. Stop it first "
                "(kite-hft stop), or say --yes"
            )
        before = "the session is ended"
        try:
            ended(words, host, api_key, access_token, source_of(settings, held.broker))
        except TokenRefused:
            before = "the session had ended before"
        held.keep({}, dropped=(ACCESS, ACCESS + SUFFIX))
        if as_json:
            print_json({"broker": held.broker, "profile": held.profile, "ended": before})
        say(f"{held.section}: {before} at {words.title}, its token is out of the vault")


def _way(
    held: Opened,
    settings: Settings,
    say: Callable[[str], None],
    timeout_s: float,
    *,
    qr: bool | None,
    browser: bool,
    as_json: bool,
) -> Way:
    redirect_url = held.values.get("redirect_url", "")
    if held.broker == "upstox":
        redirect_url = held.needed("redirect_url")
    out: Any = sys.stderr if as_json else sys.stdout
    return Way(
        login_of(held.broker), api_url(settings, held.broker), held.needed("api_key"),
        held.needed("api_secret"), redirect_url, say, Pasted(), timeout_s,
        qr=shows_qr(out) if qr is None else qr, browser=browser, bind=source_of(settings, held.broker),
    )  # fmt: skip


def _tell(done: dict[str, Any], engines: list[Handed], say: Callable[[str], None], *, as_json: bool) -> None:
    whose = f" of {done['user_id']} ({done['user_name']})" if done["user_id"] else ""
    say(
        f"{done['broker']}/{done['profile']}: {TOKENS[done['token']]}{whose}, good until "
        f"{done['until_ist']} IST"
    )
    for row in engines:
        say(f"{row.engine}{'' if row.taken else ' goes on without'}: {row.text}")
    if as_json:
        print_json(done | {"engines": [row._asdict() for row in engines]})


def _sayer(as_json: bool) -> Callable[[str], None]:
    """Talk goes to standard output, or beside it when that is for one JSON object."""
    return lambda text: print(text, file=sys.stderr if as_json else sys.stdout, flush=True)


@contextlib.contextmanager
def telling(verb: str) -> Iterator[None]:
    """What goes wrong is one line on standard error and an exit code, never a traceback."""
    try:
        yield
    except (LoginError, VaultError, SettingsError, NoRun, ControlError, OSError) as error:
        unready = isinstance(error, VaultMissing | Unreachable)
        code = NOT_READY if unready else USAGE if isinstance(error, SettingsError) else NOT_SO
        raise refuse(verb, error, code) from None
    except KeyboardInterrupt:
        raise exit_with("broken off", INTERRUPTED) from None
