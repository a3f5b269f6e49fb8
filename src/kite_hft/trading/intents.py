"""Layer 2, orders process, hot: INTENT records as plain Python tuples, and orders' tags.

A batch is unpacked by compiled code (ext/intents.pyx): a tenth of the time of numpy's `tolist()`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from kite_hft import _intents
from kite_hft._entering import tag_of
from kite_hft.layout import INTENT, IntentFlag


class Intent(NamedTuple):
    """The fields of layout.INTENT, in their order (checked below); enums as plain integers."""

    seq: int
    created_ns: int
    tick_recv_ns: int
    tick_seq: int
    strategy_seq: int
    target_seq: int
    deadline_ns: int
    slot: int
    strategy: int
    kind: int
    side: int
    order_type: int
    product: int
    validity: int
    flags: int
    qty: int
    px: int
    trigger_px: int
    ref_px: int
    trail_px: int
    signal: float
    step_px: int
    group: int
    leg: int
    legs: int
    reserved8: Any
    reserved: Any


if Intent._fields != INTENT.names:
    raise TypeError("Intent and layout.INTENT differ")


ENGINE_SEQ: Final = 1 << 62
"""strategy_seq of what ORDERS itself does for a strategy (exits, slices, flatten) begins here: the
strategy's own numbers stay its own."""


def as_exit(intent: Intent) -> Intent:
    """The same, and it must only reduce: for one that was found to, and is judged again later."""
    return intent._replace(flags=int(intent.flags | IntentFlag.EXIT))


def intents_of(data: bytes | memoryview, n: int) -> list[Intent]:
    """The first `n` INTENT records of `data` (bytes) as tuples."""
    return _intents.tuples(Intent, data, n)


BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
TAG_LENGTH: Final = 20


def base36(number: int, width: int) -> str:
    """`number` in `width` base-36 digits.

    Raises:
        ValueError: negative, or it does not fit.
    """
    digits = ""
    rest = number
    while rest > 0:
        rest, digit = divmod(rest, 36)
        digits = BASE36[digit] + digits
    digits = digits.rjust(width, "0")
    if number < 0 or len(digits) > width:
        raise ValueError(f"{number} does not fit {width} base-36 digits")
    return digits


@dataclass(frozen=True, slots=True)
class Tags:
    """Makes and knows this run's order tags: 3 install + 4 run + 11 order number + 2 check.

    20 base-36 characters, the most that Kite takes; unique per intent, since `run` differs between
    the runs of an installation and the order number within one. The check digits tell a tag of
    ours from a word that somebody typed.
    """

    install: str  # 3 characters of this installation
    run: int  # 0 .. 36**4 - 1, another one for each run of the day
    prefix: str = field(init=False, repr=False, compare=False)  # start of all tags

    def __post_init__(self) -> None:
        if len(self.install) != 3 or any(c not in BASE36 for c in self.install):
            raise ValueError(f"install prefix {self.install!r} is not three of 0-9 a-z")
        object.__setattr__(self, "prefix", self.install + base36(self.run, 4))

    def tag(self, order_no: int) -> str:
        """The tag of our order `order_no`."""
        return tag_of(self.prefix, order_no)

    def order_no(self, tag: str) -> int | None:
        """Our order number in `tag`, or None when this run did not make it."""
        if not self.of_install(tag) or tag[3:7] != base36(self.run, 4):
            return None
        return int(tag[7:18], 36)

    def run_of(self, tag: str) -> int | None:
        """Number of the run of this installation that made `tag`; None: it is none of ours."""
        return int(tag[3:7], 36) if self.of_install(tag) else None

    def of_install(self, tag: str) -> bool:
        """True for a tag that this installation made, in this run or another."""
        return (
            len(tag) == TAG_LENGTH
            and tag.startswith(self.install)
            and all(c in BASE36 for c in tag)
            and tag[18:] == _check(tag[:18])
        )


_DIGIT: Final = {character: at for at, character in enumerate(BASE36)}
_PRIME: Final = 1291  # below 36 ** 2: a check has two digits


def _sum(text: str) -> int:
    """The check of `text`."""
    total = 0
    for character in text:
        total = (total * 37 + _DIGIT[character] + 1) % _PRIME
    return total


def _check(body: str) -> str:
    return base36(_sum(body), 2)
