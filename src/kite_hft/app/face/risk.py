"""Layer 6, a user's program, cold: `from kite_hft import RiskManager`: the engine's limits, to write and to
ask.

    risk = RiskManager(max_position_size=100000, daily_loss_limit=0.05, max_positions=20)
    risk.section()                                   # the `risk:` section of a configuration
    risk.check("BUY", "NSE:INFY", 100, last_price=1500.0)

It enforces nothing itself, and need not: every order of every strategy passes the gate of the order process,
which alone can reach the broker. `check` asks the same table of checks, in this program, so that a person or
a test sees what would be refused, and why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, TypeVar

from kite_hft.configuring.models.safety import RiskSection
from kite_hft.layout import IntentFlag, IntentKind, OrderType, Product, Reason, Side, Validity
from kite_hft.settings import SettingsError
from kite_hft.trading.book import Book
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.gate.risk import gather, judge
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.intents import Intent
from kite_hft.trading.positions import Fill
from kite_hft.units import PriceError, px_from_price

Word = TypeVar("Word", bound=Enum)
STRATEGY: Final = 1
MODIFICATIONS: Final = 25
NOT_ASKED: Final = (
    "the phase of the day, price bands, blocked and surveillance lists, margin, holdings, rates, stale "
    "prices, and what happened today before: the order process asks these as well"
)
"""What `check` cannot know in a program of its own."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says. True where it lets the order through; reason and text say why it does not."""

    reason: Reason
    text: str
    reducing: bool  # it only makes a position smaller: limits do not hold it up

    @property
    def allowed(self) -> bool:
        return self.reason == Reason.NONE

    def __bool__(self) -> bool:
        return self.allowed

    def __str__(self) -> str:
        if not self.allowed:
            return f"refused, {self.reason.name}: {self.text}"
        return "allowed: it reduces a position" if self.reducing else "allowed by the limits"


class RiskManager:
    """Limits as the engine has them.

    max_position_size: rupees in one instrument. daily_loss_limit: a share of `capital`, lost on one day net
    of charges, from which nothing is opened. Without a capital the share is of max_position_size, the
    strictest reading. max_positions: instruments in play. more: any other key of the section `risk:`.

    Raises SettingsError: an unknown key, or a value that does not fit; max_daily_loss, which is
    daily_loss_limit of the capital here.
    """

    def __init__(
        self,
        max_position_size: float = 100_000,
        daily_loss_limit: float = 0.05,
        max_positions: int = 20,
        *,
        capital: float | None = None,
        **more: Any,
    ) -> None:
        if not (_above_zero(daily_loss_limit) and daily_loss_limit <= 1):
            raise SettingsError(
                f"daily_loss_limit {daily_loss_limit!r}: a share above 0 and up to 1, for example 0.05 for "
                "5 percent"
            )
        if capital is not None and not _above_zero(capital):
            raise SettingsError(f"capital {capital!r}: rupees above 0, as 1_000_000, or none at all")
        if not _above_zero(max_position_size):
            raise SettingsError(f"max_position_size {max_position_size!r}: rupees above 0, as 100_000")
        if "max_daily_loss" in more:
            raise SettingsError(
                f"max_daily_loss {more['max_daily_loss']!r}: it is daily_loss_limit of the capital here; "
                "give these two, as daily_loss_limit=0.02, capital=1_000_000 for 20,000 rupees"
            )
        if unknown := sorted(set(more) - set(RiskSection.model_fields)):
            known = ", ".join(sorted(RiskSection.model_fields))
            raise SettingsError(f"no risk limit {', '.join(unknown)}; known: {known}")
        self.capital, self.daily_loss_limit = capital, daily_loss_limit
        self.max_daily_loss = round(daily_loss_limit * (capital or max_position_size), 2)
        self._section = {
            "max_position_size": max_position_size,
            "max_positions": max_positions,
            "max_daily_loss": self.max_daily_loss,
            **more,
        }
        try:
            whole = RiskSection.model_validate(self._section)
        except ValueError as error:
            raise SettingsError(f"risk: {error}") from None
        self._limits = RiskLimits(**{k: v for k, v in whole.model_dump().items() if k in LIMITS})

    def section(self) -> dict[str, Any]:
        """The section `risk:` of a configuration: what the engine enforces. Other keys keep their
        defaults."""
        return dict(self._section)

    def yaml(self) -> str:
        """The same as lines for a configuration file."""
        rows = "".join(
            f"  {name}: {json.dumps(value, default=str)}\n" for name, value in self._section.items()
        )
        of = "capital" if self.capital else "max_position_size, for no capital is given"
        return f"risk:  # loss limit: {self.daily_loss_limit:g} of {of}\n{rows}"

    def check(
        self,
        side: str,
        instrument: Instrument | str,
        quantity: int,
        *,
        last_price: float,
        price: float | None = None,
        trigger_price: float | None = None,
        order_type: str = "MARKET",
        product: str = "MIS",
        positions: Mapping[Instrument | str, tuple[int, float]] | None = None,
        loss_today: float = 0.0,
    ) -> Decision:
        """What the engine's table of checks says of an order, before anything is sent.

        instrument: an Instrument (`DataFeedService.instrument`), or the name of a share. positions:
        instrument -> (signed quantity, last price) of what is held. loss_today: rupees, net. NOT_ASKED is
        not judged.

        Raises:
            SettingsError: no such side, order type, product or share. PriceError: a price off the unit. Both
            are ValueErrors.
        """
        held = dict(positions or {})
        names = list(dict.fromkeys([_key(instrument), *map(_key, held)]))
        known = {_key(one): one for one in (*held, instrument) if isinstance(one, Instrument)}
        table = InstrumentTable(
            tuple(_placed(known.get(name) or share(name), slot) for slot, name in enumerate(names))
        )
        marks = [px_from_price(last_price, table[0].scale), *[0] * (len(names) - 1)]
        book = Book(table)
        kind = _member(Product, product, "product")
        for one, (count, at) in held.items():
            row = table.by_key[_key(one)]
            px = px_from_price(at, row.scale)
            marks[row.slot] = marks[row.slot] or px
            book.position_of(STRATEGY, row.slot, int(kind)).apply(Fill(1, count, count * px))
        way, of = _member(Side, side, "side"), _member(OrderType, order_type, "order_type")
        intent = _intent(way, of, kind, quantity, table[0], price, trigger_price)
        context = gather(
            intent, table, book, active=True, halted="", tick=(marks[0], 1, 0), mark=lambda slot: marks[slot],
            modifications_max=MODIFICATIONS, last_seq=0, reducing_only=self._lost(loss_today),
        )  # fmt: skip
        verdict = judge(intent, context, self._limits)
        if verdict is None:
            return Decision(Reason.NONE, "", context.reducing)
        reason = Reason.DAILY_LOSS if verdict.reason is Reason.REDUCING else verdict.reason
        return Decision(reason, verdict.text, context.reducing)

    def _lost(self, loss: float) -> str:
        """Why only reductions pass."""
        if loss < self.max_daily_loss:
            return ""
        return f"lost today {loss:,.2f} >= max_daily_loss {self.max_daily_loss:,.2f}"


LIMITS: Final = frozenset(RiskLimits.__dataclass_fields__)
"""Keys of the section that are limits of the table."""


def share(name: str) -> Instrument:
    """A share of which nothing but EXCHANGE:SYMBOL is known: lot 1, paise.

    Raises:
        SettingsError: no such name.
    """
    exchange, colon, symbol = name.partition(":")
    if not (colon and symbol) or exchange not in ("NSE", "BSE"):
        raise SettingsError(
            f"{name!r}: a share is NSE:SYMBOL or BSE:SYMBOL; for a contract pass its Instrument, "
            "whose lot counts"
        )
    segment = 1 if exchange == "NSE" else 4
    token = (sum(map(ord, name)) * 4099 + len(name)) % (1 << 20) * 256 + segment
    return Instrument(0, token, token >> 8, symbol, exchange, exchange, "EQ", 1, 1, multiplier=1)


def _above_zero(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _member(kind: type[Word], word: str, what: str) -> Word:
    """The member of that name.

    Raises:
        SettingsError: there is none.
    """
    if word not in kind.__members__:
        raise SettingsError(f"{what} {word!r}: choose one of {', '.join(kind.__members__)}")
    return kind[word]


def _key(instrument: Instrument | str) -> str:
    if isinstance(instrument, Instrument):
        return instrument.key
    if not isinstance(instrument, str):
        raise SettingsError(
            f"{instrument!r}: an Instrument (DataFeedService.instrument), or a share as NSE:SYMBOL"
        )
    return instrument


def _placed(row: Instrument, slot: int) -> Instrument:
    """The row in its slot; invented tokens are kept apart."""
    return replace(row, slot=slot, token=((slot + 1) << 16 | row.token & 0xFFFF))


def _intent(
    side: Side, order_type: OrderType, product: Product, quantity: int, row: Instrument,
    price: float | None, trigger_price: float | None,
) -> Intent:  # fmt: skip
    """As a strategy would push it."""
    blank = Intent(*[0] * len(Intent._fields))
    if quantity <= 0:
        raise PriceError(f"quantity {quantity}: above 0")
    return blank._replace(
        strategy_seq=1, strategy=STRATEGY, kind=int(IntentKind.PLACE), side=int(side),
        order_type=int(order_type), product=int(product), validity=int(Validity.DAY), qty=quantity,
        px=0 if price is None else px_from_price(price, row.scale),
        trigger_px=0 if trigger_price is None else px_from_price(trigger_price, row.scale),
        flags=int(IntentFlag(0)),
    )  # fmt: skip
