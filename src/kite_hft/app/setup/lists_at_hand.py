"""Layer 6, by hand, cold: the day's instrument lists for the verbs that look at them."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kite_hft.app.answering import INTERRUPTED, NOT_READY, NOT_SO, USAGE, exit_with, refuse
from kite_hft.app.setup.options import USUAL
from kite_hft.clock import SystemClock
from kite_hft.engine.confirming import is_rehearsal
from kite_hft.engine.history.caps import FILE as CAPS_FILE
from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.password import hidden_prompt
from kite_hft.engine.keys.private import harden_process
from kite_hft.engine.keys.taking import needs_vault, take_keys
from kite_hft.engine.market.past import metadata_folder
from kite_hft.engine.plan.master import chosen_rows
from kite_hft.engine.plan.master_cache import cache_dir
from kite_hft.engine.plan.masters import accesses_of, load_masters, states
from kite_hft.engine.plan.session import Access, SessionError, configured
from kite_hft.sessions import CalendarError, ist_date, ist_text
from kite_hft.settings import Settings, SettingsError, load_settings
from kite_hft.trading.instruments import InstrumentError, InstrumentTable
from kite_hft.trading.lists.masters import Masters

OTHERS = (Path("config.yaml"), Path("config/demo.yaml"))
"""Where a configuration is also looked for when none is named: the lists of the real brokers need no keys."""


@dataclass(slots=True)
class AtHand:
    """A configuration, the time, and where lists are kept."""

    settings: Settings
    now_ns: int
    cache: Path
    say: Callable[[str], None]

    @property
    def today(self) -> dt.date:
        return ist_date(self.now_ns)

    @property
    def accesses(self) -> list[Access]:
        return accesses_of(self.settings)

    def masters(self) -> Masters:
        """The day's lists, fetched where they are missing; what is said goes to standard error."""
        return load_masters(self.settings, self.accesses, self.now_ns, self.cache, self.say)

    def priced_by(self) -> Access:
        """The broker whose prices count."""
        return configured(self.settings, self.settings.data_brokers[0])

    def caps_file(self) -> Path:
        """Where market capitalisations are kept."""
        return metadata_folder(self.settings.data_brokers[0]) / CAPS_FILE

    def chosen(self) -> InstrumentTable:
        """What the configuration trades; nothing where it says all of a whole list."""
        masters = self.masters()
        feed = self.settings.datafeed
        if feed.universe is None and feed.instruments == "all":
            return InstrumentTable(())
        return masters.joined(chosen_rows(masters, self.settings, self.priced_by(), self.say)).table

    def states(self) -> list[dict[str, Any]]:
        """What is kept of each list, for people and programs."""
        found = []
        for row in states(self.settings, self.now_ns, self.cache):
            mark = row.mark
            found.append(
                {
                    "broker": row.broker, "source": row.source, "file": str(row.path),
                    "day": mark.day if mark else None, "rows": mark.rows if mark else None,
                    "fetched": ist_text(mark.fetched_real_ns) if mark else None,
                    "sha256": mark.sha256 if mark else None, "accepted": mark.accepted if mark else None,
                    "problem": row.problem or None,
                }
            )  # fmt: skip
        return found


def at_hand(config: Path, environment: str | None = None) -> AtHand:
    """The configuration that was named; of the usual ones the first that is there.

    The real brokers give their lists to anybody. A simulator on this machine asks for the day's token, as
    Kite's documentation does: a rehearsal takes its keys from the vault.

    Raises:
        SettingsError: it cannot be used. VaultError: a rehearsal's vault cannot be opened.
    """
    if config == USUAL and not config.is_file():
        config = next((path for path in OTHERS if path.is_file()), config)
    settings, now_ns = load_settings(config, environment), SystemClock().real_ns()
    if settings.mode != "sim" and is_rehearsal(settings) and needs_vault(settings):
        harden_process()
        prompt = hidden_prompt("master password of the vault (not shown): ")
        settings = take_keys(settings, os.environ, now_ns, fd=None, prompt=prompt)
    return AtHand(settings, now_ns, cache_dir(os.environ), _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


@contextlib.contextmanager
def telling(verb: str) -> Iterator[None]:
    """What goes wrong is one line on standard error and an exit code, never a traceback."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
    except (SettingsError, CalendarError) as error:
        _end(verb, error, USAGE)
    except (SessionError, VaultError) as error:
        _end(verb, error, NOT_READY)
    except (InstrumentError, OSError) as error:
        _end(verb, error, NOT_SO)
    except KeyboardInterrupt:
        raise exit_with("broken off", INTERRUPTED) from None


def _end(verb: str, error: Exception, code: int) -> None:
    raise refuse(f"instruments {verb}", error, code) from None
