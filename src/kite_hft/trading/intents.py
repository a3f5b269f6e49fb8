"""Layer 2, orders process, hot: INTENT records as plain Python tuples, and orders' tags.

A batch is unpacked by one compiled `struct.Struct`: a third of the time of numpy's `tolist()`, and far
from reading fields one by one.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from kite_hft.layout import INTENT


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


_CODES: Final = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i4": "i", "i8": "q", "f8": "d"}


def _unpacker() -> struct.Struct:
    """The fields of layout.INTENT for `struct`; the reserved words stay bytes."""
    types = [INTENT[name] for name in INTENT.names or ()]
    row = struct.Struct("<" + "".join(_CODES.get(t.str[1:]) or f"{t.itemsize}s" for t in types))
    if row.size != INTENT.itemsize:
        raise TypeError("layout.INTENT has room between its fields")
    return row


_unpack: Final = _unpacker().unpack_from
_new: Final = tuple.__new__


def intents_of(data: bytes | memoryview, n: int) -> list[Intent]:
    """The first `n` INTENT records of `data` (bytes) as tuples."""
    return [_new(Intent, _unpack(data, at)) for at in range(0, n * INTENT.itemsize, INTENT.itemsize)]


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
    _prefix: str = field(init=False, repr=False, compare=False)  # start of all tags

    def __post_init__(self) -> None:
        if len(self.install) != 3 or any(c not in BASE36 for c in self.install):
            raise ValueError(f"install prefix {self.install!r} is not three of 0-9 a-z")
        object.__setattr__(self, "_prefix", self.install + base36(self.run, 4))

    def tag(self, order_no: int) -> str:
        """The tag of our order `order_no`."""
        upper, low = divmod(order_no, len(_PAIRS))
        head, total = _head(self._prefix, upper)
        return head + _PAIRS[low] + _PAIRS[(total * 37**2 + _PAIR_SUMS[low]) % _PRIME]

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
_PAIRS: Final = tuple(a + b for a in BASE36 for b in BASE36)
"""Two digits by their value."""


def _sum(text: str) -> int:
    """The check of `text`."""
    total = 0
    for character in text:
        total = (total * 37 + _DIGIT[character] + 1) % _PRIME
    return total


_PAIR_SUMS: Final = tuple(map(_sum, _PAIRS))


@functools.lru_cache(4)
def _head(prefix: str, upper: int) -> tuple[str, int]:
    """What the tags of 1,296 orders in a row begin with, and its check."""
    text = prefix + base36(upper, 9)
    return text, _sum(text)


def _check(body: str) -> str:
    return base36(_sum(body), 2)
