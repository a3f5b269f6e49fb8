"""Layer 3, feed process, cold: prices asked for call by call, where no websocket brings them, as a stage.

A state machine: which instruments are asked about next and when, what an answer or its absence means, and
which rows of it are ticks. Beside a feed stage, whose modes it asks by and which is told of connections as
if there were one: up with the first good answer, lost when none has come for `silence_s`. Requests leave
by a function that is handed in; answers are handed to `answered`. A quote that says what the one before
it said is no tick. After a loss every instrument is told anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from kite_hft.layout import TICK
from kite_hft.trading.broker import HttpResponse, TransportError
from kite_hft.trading.feed_words import Act, Meaning
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.polling import PollPace
from kite_hft.trading.quote_words import QuoteCall, QuoteWords, Ticks
from kite_hft.units import NS_PER_S

_NEVER_NS: Final = -(2**62)
_WORDS: Final = TICK.itemsize // 8


class Feed(Protocol):
    """The feed stage, as far as this one uses it."""

    name: str
    modes: dict[int, str]
    is_connected: bool

    def connected(self, now_ns: int) -> Sequence[bytes]: ...

    def disconnected(self) -> None: ...

    def is_silent(self, now_ns: int) -> bool: ...

    def count(self, name: str, n: int = 1) -> None: ...


class Rows(Protocol):
    """The compiled FeedSink, whose frames are TICK rows."""

    def feed_bytes(self, frame: bytes, recv_ns: int) -> None: ...


class Pauses(Protocol):
    """How long to wait before the next try (net/backoff.py)."""

    def next_s(self) -> float: ...

    def reset(self) -> None: ...


@dataclass(slots=True)
class Batch:
    """Instruments of one call, and when they were last asked about."""

    call: QuoteCall
    rows: tuple[Instrument, ...]
    asked_ns: int = _NEVER_NS


@dataclass(slots=True)
class Polling:
    """The questions of one feed.

    instruments: by token, of this feed. send(path, query): lets one call leave, now; its answer comes by
    `answered`. ready: whether it could. meaning: HTTP status -> what it means. pauses: after a failure;
    long_pauses: after a refusal. real_ns: the wall clock, by which a token dies. expires_ns: when ours does,
    epoch ns; 0: not known. token_dead: told when it does, or is refused; then nothing is asked until
    `renewed`. where: whom we ask, for people.
    """

    feed: Feed
    sink: Rows
    words: QuoteWords
    pace: PollPace
    instruments: Mapping[int, Instrument]
    send: Callable[[str, str], None]
    ready: Callable[[], bool]
    meaning: Callable[[int], Meaning]
    pauses: Pauses
    long_pauses: Pauses
    real_ns: Callable[[], int]
    expires_ns: int = 0
    token_dead: Callable[[str], None] = lambda text: None
    log: Callable[[str], None] = lambda text: None
    where: str = ""
    name: str = "polling"
    calls: int = field(default=0, init=False)
    unchanged: int = field(default=0, init=False)
    old: int = field(default=0, init=False)
    batches: list[Batch] = field(default_factory=list, init=False)
    is_dead: bool = field(default=False, init=False)
    _asked: Batch | None = field(default=None, init=False)
    _last_ns: int = field(default=_NEVER_NS, init=False)
    _free_ns: int = field(default=_NEVER_NS, init=False)
    _known: Ticks = field(init=False)
    _told: str = field(default="", init=False)

    def __post_init__(self) -> None:
        slots = [row.slot for row in self.instruments.values()]
        self._known = np.zeros(max(slots, default=-1) + 1, TICK)

    def start(self) -> None:
        self.retune()

    def retune(self) -> None:
        """Make the round anew, from the modes as they are now; who has waited longest stays first."""
        before = {row.slot: batch.asked_ns for batch in self.batches for row in batch.rows}
        wanted: dict[str, tuple[QuoteCall, list[Instrument]]] = {}
        for token, mode in self.feed.modes.items():
            call, row = self.words.calls.get(mode), self.instruments[token]
            if call is not None and self.words.knows(row):
                wanted.setdefault(call.path, (call, []))[1].append(row)
            self._known[row.slot] = 0  # in another mode it is told anew
        self.batches = [
            Batch(call, part, min(before.get(row.slot, _NEVER_NS) for row in part))
            for call, rows in wanted.values()
            for part in (tuple(rows[at : at + call.keys_max]) for at in range(0, len(rows), call.keys_max))
        ]

    def step(self, now_ns: int) -> int:
        """Ask, when it is time; returns how many calls left."""
        self._watch(now_ns)
        if self.is_dead or self._asked is not None or not self.batches:
            return 0
        if self.pace.reader_ns(self._last_ns, max(now_ns, self._free_ns)) > now_ns or not self.ready():
            return 0
        batch = min(self.batches, key=lambda one: one.asked_ns)
        self._asked, self._last_ns, batch.asked_ns = batch, now_ns, now_ns
        self.calls += 1
        self.send(batch.call.path, batch.call.query(batch.rows))
        return 1

    def next_ns(self, now_ns: int) -> int | None:
        """When `step` will have something to send; None: not by itself."""
        if self.is_dead or self._asked is not None or not self.batches:
            return None
        return self.pace.reader_ns(self._last_ns, max(now_ns, self._free_ns))

    def answered(self, answer: HttpResponse | TransportError, now_ns: int) -> None:
        """What became of the call under way; or, without one, why none can leave. The next one is counted
        from when this one left, which may be later than when it was handed over."""
        batch, self._asked = self._asked, None
        if isinstance(answer, TransportError):
            self._last_ns = now_ns if answer.sent else self._last_ns
            self.feed.count("unreachable")
            self._failed(f"no answer from {self.where}: {answer.reason}", self.pauses, now_ns)
            return
        self._last_ns = max(self._last_ns, answer.sent_ns)
        if batch is None:
            return
        if answer.status != 200:
            self._refused(answer, now_ns)
        else:
            self._take(batch, answer, now_ns)

    def renewed(self, expires_ns: int) -> None:
        """There is another token."""
        self.is_dead, self.expires_ns, self._told, self._free_ns = False, expires_ns, "", _NEVER_NS
        self.pauses.reset()
        self.long_pauses.reset()

    def close(self) -> None:
        """Say what was done."""
        self.log(
            f"{self.name}: {self.calls} calls for quotes, {self.unchanged} quotes were as before, "
            f"{self.old} older than that"
        )

    # Answers

    def _take(self, batch: Batch, answer: HttpResponse, now_ns: int) -> None:
        try:
            found = batch.call.parse(answer.body, batch.rows)
        except ValueError:
            self.feed.count("malformed_message")
            self._failed(f"an answer of {self.where} cannot be read", self.pauses, now_ns)
            return
        for counter, n in found.wrong.items():
            self.feed.count(counter, n)
        self.pauses.reset()
        self.long_pauses.reset()
        self._told = ""
        if not self.feed.is_connected:
            self._known[:] = 0
            self.feed.connected(now_ns)
            self.log(f"{self.name}: connected to {self.where}, asking call by call")
        fresh = self._changed(found.ticks)
        self.sink.feed_bytes(fresh.tobytes(), answer.received_ns or now_ns)

    def _changed(self, ticks: Ticks) -> Ticks:
        """The rows that say something new. One with less volume and an older stamp than we know is from
        before: servers of a broker may not all be equally far."""
        if not len(ticks):
            return ticks
        known = self._known[ticks["slot"]]
        old = (ticks["volume"] < known["volume"]) & (ticks["exch_ns"] < known["exch_ns"])
        same = (_said(ticks) == _said(known)).all(axis=1)
        self.old += int(old.sum())
        self.unchanged += int((same & ~old).sum())
        fresh: Ticks = ticks[~(old | same)]
        self._known[fresh["slot"]] = fresh
        return fresh

    # Failures

    def _refused(self, answer: HttpResponse, now_ns: int) -> None:
        meaning = self.meaning(answer.status)
        self.feed.count(meaning.counter)
        said = self.words.refusal(answer.body)
        text = f"{self.where} refused quotes with HTTP {answer.status}: {meaning.text}" + (
            f" ({said})" if said else ""
        )
        if meaning.act is Act.TOKEN_DEAD:
            self._dies(text)
            return
        self._failed(text, self.long_pauses if meaning.act is Act.WAIT_LONG else self.pauses, now_ns)

    def _failed(self, text: str, pauses: Pauses, now_ns: int) -> None:
        pause_s = pauses.next_s()
        self._free_ns = now_ns + round(pause_s * NS_PER_S)
        if text != self._told:  # the same again and again is said once
            self._told = text
            self.log(f"{self.name}: {text}; next try in {pause_s:.1f} s")

    def _dies(self, text: str) -> None:
        self.is_dead = True
        self._lose()
        self.log(f"{self.name}: {text}; waits for a new access token")
        self.token_dead(text)

    def _watch(self, now_ns: int) -> None:
        """The token's end, and silence."""
        if not self.is_dead and 0 < self.expires_ns <= self.real_ns():
            self._dies("the access token has expired: log in again (kite-hft login)")
        elif self.feed.is_connected and self.feed.is_silent(now_ns):
            self.log(f"{self.name}: no good answer for too long: prices are taken for lost")
            self.feed.count("watchdog_trips")
            self._lose()

    def _lose(self) -> None:
        if self.feed.is_connected:
            self.feed.disconnected()


def _said(rows: Ticks) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """What rows say, without when: (n, words)."""
    copy = rows.copy()
    for name in ("seq", "recv_ns", "exch_ns"):
        copy[name] = 0
    return copy.view(np.uint64).reshape(len(copy), _WORDS)
