"""Layer 6, user's process, cold: `KiteAuthenticator`: Kite's login for a script or a notebook.

The same login as `kite-hft login`: by hand, on Kite's own page. Keys that are not given come from the vault,
and then the token is kept there, so that engine and scripts share the day's login.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

from kite_hft.app.keys.broker_calls import clock_words, exchanged, person_of, require_person
from kite_hft.app.keys.flows import Way, by_page
from kite_hft.app.keys.keeping import ACCESS, keep_login
from kite_hft.app.keys.opened import Opened, open_vault
from kite_hft.app.keys.showing import catch_port, shows_qr
from kite_hft.app.keys.waiting import Pasted
from kite_hft.brokers.kite.login import KITE_LOGIN
from kite_hft.brokers.login import Login, LoginError
from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.ends import until_ns
from kite_hft.sessions import ist_text
from kite_hft.settings import Settings

API_URL: Final = "https://api.kite.trade"


class NotAuthenticated(RuntimeError):
    """There is no access token that is good; the message says why."""


class KiteAuthenticator:
    """Logs in at Kite and holds the day's access token (until 06:00 IST). `repr` shows no secret.

    auth = KiteAuthenticator(api_key="...", api_secret="...")
    if auth.authenticate():
        token = auth.get_access_token()
    """

    def __init__(
        self,
        api_key: str = "",
        api_secret: str = "",
        *,
        user_id: str = "",
        redirect_url: str = "",
        access_token: str = "",
        profile: str = "default",
        api_url: str = API_URL,
        bind_address: str = "",
        say: Callable[[str], None] = print,
        ask: Callable[[str], str] | None = None,
        timeout_s: float = 300.0,
    ) -> None:
        """Without api_key and api_secret they come from the vault (`kite-hft credentials`), of this profile.

        user_id: a login of somebody else is refused. redirect_url: as registered for the app; where it is
        of this machine the browser's answer is caught. access_token: one that is there already. bind_address:
        of this machine, where the calls leave from (kite.bind_address of a configuration). say, ask:
        how the person is told and asked; default: print, and the terminal (in a notebook: input).
        """
        self._given = {"api_key": api_key, "api_secret": api_secret, "user_id": user_id,
                       "redirect_url": redirect_url}  # fmt: skip
        self._profile, self._host, self._say, self._ask = profile, api_url.rstrip("/"), say, ask
        self._timeout_s, self._bind = timeout_s, bind_address
        self._held: Opened | None = None
        self._login: Login | None = None
        if access_token:
            self._login = Login(access_token, user_id, "", KITE_LOGIN.token_end_ns(time.time_ns()))
        self.reason = "authenticate() was not called yet"

    def __repr__(self) -> str:
        state = "authenticated" if not self.reason else self.reason
        return f"KiteAuthenticator({self.user_id or 'nobody yet'}: {state})"

    @property
    def user_id(self) -> str:
        """Whose session it is; "": nobody's yet."""
        return self._login.user_id if self._login is not None else ""

    @property
    def valid_until(self) -> str:
        """When the token ends, `YYYY-MM-DD HH:MM:SS` in India; "": there is none."""
        return ist_text(self._login.until_real_ns) if self._login is not None else ""

    def authenticate(self, redirected: str | None = None) -> bool:
        """Whether there is a session now: one that is still good, else by a login of the person.

        redirected: the address that the browser ended on (or its request_token), where the login has been
        done already: nobody is asked then. False: `reason` says why.
        """
        try:
            self._open()
            if redirected is None and self._still_good():
                return True
            self._keep(self._log_in(redirected))
        except (LoginError, VaultError, OSError, EOFError) as error:
            self._login, self.reason = None, str(error) or "nobody is here who could log in"
            self._say(f"not authenticated: {self.reason}")
            return False
        self.reason = ""
        self._say(f"authenticated as {self.user_id}, until {self.valid_until} IST")
        return True

    def login_url(self) -> str:
        """The page on which the person logs in, for a program that shows it itself.

        Raises:
            VaultError: the keys are to come from the vault, and do not.
        """
        self._open()
        page = KITE_LOGIN.page(self._host)
        return KITE_LOGIN.login_url(self._given["api_key"], self._given["redirect_url"], "", page)

    def get_access_token(self) -> str:
        """The access token.

        Raises:
            NotAuthenticated: there is none, or its time is over; call authenticate().
        """
        if self._login is None or self.reason:
            raise NotAuthenticated(self.reason or "call authenticate() first")
        if self._login.until_real_ns <= time.time_ns():
            raise NotAuthenticated(f"the token ended at {self.valid_until} IST: call authenticate() again")
        return self._login.access_token

    def _open(self) -> None:
        """Take the keys that were not given out of the vault, and the token of today with them."""
        given = self._given
        if given["api_key"] and (given["api_secret"] or self._login is not None):
            return
        self._held = open_vault(Settings(), "kite", self._profile)
        if given["api_key"] not in ("", self._held.needed("api_key")):
            raise LoginError(
                f"the vault's API key of {self._held.section} is another one: give its api_secret too, or "
                "name the profile that holds it"
            )
        for name in ("api_key", "api_secret"):
            given[name] = given[name] or self._held.needed(name)
        values = self._held.values
        for name in ("user_id", "redirect_url"):
            given[name] = given[name] or values.get(name, "")
        end_ns = until_ns(values, ACCESS)
        if self._login is None and end_ns is not None and end_ns > time.time_ns():
            self._login = Login(values[ACCESS], given["user_id"], "", end_ns)

    def _still_good(self) -> bool:
        """Whether the token that is there is taken by the broker."""
        held = self._login
        if held is None or held.until_real_ns <= time.time_ns():
            return False
        try:
            key = self._given["api_key"]
            person = person_of(KITE_LOGIN, self._host, key, held.access_token, self._bind)
        except LoginError:
            return False
        require_person(person, self._given["user_id"], "kite")
        self._login = Login(held.access_token, person.user_id, person.user_name, held.until_real_ns)
        self.reason = ""
        return True

    def _log_in(self, redirected: str | None) -> Login:
        given = self._given
        if not given["api_secret"]:
            raise LoginError("the token is not good any more, and a login needs api_secret")
        if redirected is None and (way := self._way()) is not None:
            return by_page(way)
        if redirected is None:
            self._say(
                f"Log in at Kite, then give the address that the browser ended on:\n\n{self.login_url()}\n"
            )
            redirected = (self._ask or input)("address: ")
        code = KITE_LOGIN.code_of(redirected, "")
        return exchanged(
            KITE_LOGIN, self._host, given["api_key"], given["api_secret"], code, given["redirect_url"],
            self._bind,
        )  # fmt: skip

    def _way(self) -> Way | None:
        """By terminal or by catcher; None: neither is here, the person is asked by `ask`."""
        given, terminal = self._given, self._ask is None and sys.stdin is not None and sys.stdin.isatty()
        if self._ask is not None or not (terminal or catch_port(given["redirect_url"])):
            return None
        return Way(
            KITE_LOGIN, self._host, given["api_key"], given["api_secret"], given["redirect_url"], self._say,
            Pasted() if terminal else None, self._timeout_s, qr=shows_qr(), bind=self._bind,
        )  # fmt: skip

    def _keep(self, got: Login) -> None:
        """Accept a session of the right user, and put it into the vault when the keys came from there."""
        require_person(got, self._given["user_id"], "kite")
        if self._held is not None:
            keep_login(self._held, KITE_LOGIN, self._host, got, self._say, self._bind)
        elif clock := clock_words(got):
            self._say(f"warning: {clock}")
        self._login = got
