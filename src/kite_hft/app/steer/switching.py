"""Layer 6, by hand, cold: the account's kill switch at Upstox: asked, thrown, read back, and what is proven.

A change is sent once, whatever becomes of it. What it came to is told by the broker alone: by the states
that are read afterwards, or, where the switch has ended the token that would read them, by those in his
answer to the change. Anything else is not known, and never taken for done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from kite_hft.app.day.asking import NoAnswer
from kite_hft.brokers.login import HttpCall, LoginError, Person, TokenRefused
from kite_hft.brokers.table import login_of
from kite_hft.brokers.upstox import account, calls, gtt, kill_switch
from kite_hft.brokers.upstox.answers import outcome
from kite_hft.brokers.upstox.kill_switch import Change, Segment
from kite_hft.brokers.upstox.left_open import LeftOpen, left_open
from kite_hft.brokers.values import AnswerError
from kite_hft.engine.plan.session import Access
from kite_hft.trading.broker import TOKEN_DEAD, HttpRequest, HttpResponse, Refused

READS: Final = 3
"""So often the states are read, as long as they do not show what the broker has confirmed."""
LOOK_S: Final = 1.0
SHOWN: Final = "shown"
REFUSED: Final = "refused"
UNKNOWN: Final = "not proven"


class CannotAsk(Exception):
    """The broker does not tell what was asked for; nothing was changed."""


class Asked(Protocol):
    """Who asks the broker (app/day/asking.py): one call and its whole answer; raises NoAnswer."""

    @property
    def access(self) -> Access: ...

    def call(self, request: HttpRequest) -> HttpResponse: ...

    def words(self, text: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a change came to. word: SHOWN, REFUSED or UNKNOWN; why: in words. segments: as the broker showed
    them last. token_lives: whether he still takes the access token; None: nobody knows."""

    word: str
    why: str
    segments: Mapping[str, Segment]
    token_lives: bool | None


def whose(asking: Asked) -> Person:
    """Whose account the token opens, as the broker says.

    Raises:
        NoAnswer: none came. TokenRefused: nobody's. LoginError: it cannot be read.
    """
    words, access = login_of(asking.access.broker), asking.access
    answer = asking.call(_bare(access, words.profile_request(access.api_url, "", access.access_token)))
    return words.parse_profile(answer.status, answer.body)


def segments_of(asking: Asked) -> dict[str, Segment]:
    """The state of every segment.

    Raises:
        NoAnswer: none came. TokenRefused: the token is dead. CannotAsk: an answer that does not tell.
    """
    answer = asking.call(kill_switch.states())
    if answer.status == 200:
        try:
            return kill_switch.parse_segments(answer.body)
        except AnswerError as error:
            raise CannotAsk(asking.words(f"its answer cannot be read: {error}")) from None
    found = outcome(answer, kill_switch.TABLE, ())
    why = asking.words(found.message if isinstance(found, Refused) else f"HTTP {answer.status}")
    if isinstance(found, Refused) and found.error_type == TOKEN_DEAD:
        raise TokenRefused(why)
    raise CannotAsk(why)


def open_now(asking: Asked) -> LeftOpen:
    """Positions, orders and GTTs of the account.

    Raises:
        NoAnswer: none came. CannotAsk: one of the books cannot be read.
    """
    reads = (account.positions(), calls.order_book(), gtt.triggers())
    try:
        return left_open(*(asking.call(request).body for request in reads))
    except AnswerError as error:
        raise CannotAsk(asking.words(str(error))) from None


def throw(asking: Asked, wanted: Mapping[str, bool], pause: Callable[[float], None] = time.sleep) -> Verdict:
    """Send the change, once, and find out what it came to. wanted: segment -> True: no trading there."""
    told: dict[str, Segment] = {}
    try:
        answer = asking.call(kill_switch.change(wanted))
        change = kill_switch.parse_change(answer)
        if change.done:
            with contextlib.suppress(AnswerError):
                told = kill_switch.parse_segments(answer.body)
    except NoAnswer as error:
        change = Change(None, str(error))
    read: dict[str, Segment] | None = None
    lives, why = None, ""
    for number in range(READS):
        if number:
            pause(LOOK_S)
        try:
            read, lives, why = segments_of(asking), True, ""
        except TokenRefused as error:
            read, lives, why = None, False, str(error)
        except (NoAnswer, CannotAsk) as error:
            read, lives, why = None, None, str(error)
        if lives is False or change.done is False or (read is not None and shows(read, wanted)):
            break
    found = judged(wanted, change, told, read, lives)
    unread = f"the states cannot be read: {why}" if why else ""
    said = "; ".join(text for text in (found.why, unread if found.word == UNKNOWN else "") if text)
    return Verdict(found.word, asking.words(said), found.segments, lives)


def shows(segments: Mapping[str, Segment], wanted: Mapping[str, bool]) -> bool:
    """Whether all that is wanted stands there."""
    return all(name in segments and segments[name].shut == shut for name, shut in wanted.items())


def judged(
    wanted: Mapping[str, bool],
    change: Change,
    told: Mapping[str, Segment],
    read: Mapping[str, Segment] | None,
    lives: bool | None,
) -> Verdict:
    """What the answers prove. told: states in the answer to the change; read: those that were read after it,
    None: they cannot be; lives: whether the token still opens anything."""
    if read is not None:
        if shows(read, wanted):
            return Verdict(SHOWN, "", read, lives)
        if change.done is False:
            return Verdict(REFUSED, change.why, read, lives)
        claimed = "the broker said that it was done, and does not show it" if change.done else change.why
        return Verdict(UNKNOWN, claimed, read, lives)
    if change.done is False:
        return Verdict(REFUSED, change.why, {}, lives)
    if change.done and lives is False and shows(told, wanted):
        return Verdict(SHOWN, "", told, lives)
    return Verdict(UNKNOWN, change.why, told, lives)


def end_token(asking: Asked) -> str:
    """End the session: a switch binds the tokens made after it. "": it is ended, else why it may live."""
    words, access = login_of(asking.access.broker), asking.access
    try:
        answer = asking.call(_bare(access, words.logout_request(access.api_url, "", access.access_token)))
        words.parse_logout(answer.status, answer.body)
    except TokenRefused:
        return ""
    except (NoAnswer, LoginError) as error:
        return asking.words(str(error))
    return ""


def _bare(access: Access, call: HttpCall) -> HttpRequest:
    """The call without its host and credentials: the transport has both."""
    return HttpRequest(call.method, call.url.removeprefix(access.api_url.rstrip("/")))
