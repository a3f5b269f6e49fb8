"""Layer 2, orders process, hot: INTENT records as plain Python tuples, and orders' tags.

One `tolist()` of a drained batch is several times cheaper than reading fields one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

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
    reserved32: int
    signal: float
    reserved: Any


if Intent._fields != INTENT.names:
    raise TypeError("Intent and layout.INTENT differ")


def intents_of(records: npt.NDArray[np.void]) -> list[Intent]:
    """A batch of INTENT records as tuples."""
    return [Intent._make(row) for row in records.tolist()]


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
    _begun: tuple[str, int] = field(init=False, repr=False, compare=False)  # start of all tags, its sum

    def __post_init__(self) -> None:
        if len(self.install) != 3 or any(c not in BASE36 for c in self.install):
            raise ValueError(f"install prefix {self.install!r} is not three of 0-9 a-z")
        prefix = self.install + base36(self.run, 4)
        object.__setattr__(self, "_begun", (prefix, _sum(prefix)))

    def tag(self, order_no: int) -> str:
        """The tag of our order `order_no`."""
        prefix, total = self._begun
        return prefix + (number := base36(order_no, 11)) + base36(_sum(number, total), 2)

    def order_no(self, tag: str) -> int | None:
        """Our order number in `tag`, or None when this run did not make it."""
        if not self.of_install(tag) or tag[3:7] != base36(self.run, 4):
            return None
        return int(tag[7:18], 36)

    def of_install(self, tag: str) -> bool:
        """True for a tag that this installation made, in this run or another."""
        return (
            len(tag) == TAG_LENGTH
            and tag.startswith(self.install)
            and all(c in BASE36 for c in tag)
            and tag[18:] == _check(tag[:18])
        )


_DIGIT: Final = {character: at for at, character in enumerate(BASE36)}


def _sum(text: str, total: int = 0) -> int:
    """The check of `text` behind what adds up to `total`."""
    for character in text:
        total = (total * 37 + _DIGIT[character] + 1) % 1291  # a prime below 36 ** 2
    return total


def _check(body: str) -> str:
    return base36(_sum(body), 2)
