"""Layer 2, orders process, cold: what an order costs, from the dated rows of config/rules.

Pure integers. A rate is parts per thousand million (1 % = 10^7), money inside an order is 10^-9
paise, so that value x rate is exact; GST, the only rate on a rate, is rounded half to even at
10^-9 paise. The broker rounds nothing inside an order (his example answers show it), except where
a row has `step_paise`; the sum is rounded half up to the paisa.

Charges are those of the whole order: after a partial fill the order costs what its value so far
costs, so the cap on brokerage is paid once however many pieces it fills in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from kite_hft.layout import Product, Side
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.positions import CASH_EXCHANGES, divide_half_even

PPB: Final = 1_000_000_000
PER_PERCENT: Final = PPB // 100
WHOLE_MAX: Final = 10**15
NANO: Final = 1_000_000_000
"""Parts of a paisa in which the charges of one order are kept."""

COMPONENTS: Final = (
    "brokerage",
    "transaction_tax",
    "exchange_charge",
    "protection_fund",
    "sebi_fee",
    "stamp_duty",
    "gst",
)
"""What every order may pay: each needs a row for every exchange and class that is traded."""
DAILY: Final = ("depository_charge", "square_off_fee")
_HEAD: Final = {"name", "valid_from"}
_ROW_KEYS: Final = {
    "exchanges", "classes", "percent", "flat_rupees", "cap_rupees", "side", "step_paise", "valid_from",
    "source", "confidence",
}  # fmt: skip
_CLASSES: Final = ("delivery", "margin", "intraday", "futures", "options")
_SIDES: Final = {"both": (Side.BUY, Side.SELL), "buy": (Side.BUY,), "sell": (Side.SELL,)}
_SHARES: Final = {Product.CNC: "delivery", Product.MTF: "margin", Product.MIS: "intraday"}
_DERIVATIVES: Final = {"FUT": "futures", "CE": "options", "PE": "options"}


class ChargesError(ValueError):
    """A charges file that cannot be used, or an instrument that it has no rates for."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One row: what it takes of an order. Rates in parts per 10^9, fixed amounts in paise."""

    ppb: int = 0
    flat_paise: int = 0
    cap_paise: int | None = None
    sides: tuple[Side, ...] = (Side.BUY, Side.SELL)
    step_paise: int = 0

    def of(self, side: int, value_paise: int) -> int:
        """The amount for an order of `value_paise`, in 10^-9 paise."""
        if side not in self.sides:
            return 0
        amount = value_paise * self.ppb
        if self.cap_paise is not None:
            amount = min(amount, self.cap_paise * NANO)
        amount += self.flat_paise * NANO
        if self.step_paise:
            amount = round_half_up(amount, self.step_paise * NANO) * self.step_paise * NANO
        return amount


@dataclass(frozen=True, slots=True)
class Charges:
    """What one order costs, by component, in 10^-9 paise; `total_paise` is what is booked."""

    brokerage: int = 0
    transaction_tax: int = 0
    exchange_charge: int = 0  # with the investor protection fund, as the broker shows it
    sebi_fee: int = 0
    stamp_duty: int = 0
    gst: int = 0

    @property
    def total_paise(self) -> int:
        parts = self.brokerage + self.transaction_tax + self.exchange_charge
        return round_half_up(parts + self.sebi_fee + self.stamp_duty + self.gst, NANO)


NO_CHARGES: Final = Charges()


def round_half_up(amount: int, step: int) -> int:
    """`amount` (>= 0) in whole steps, half a step counting as one."""
    return (amount + step // 2) // step


def class_of(instrument: Instrument, product: int) -> str:
    """The class under which the charges file knows an order.

    The product decides for shares, as in the broker's calculator: CNC bought and sold within the
    day still counts as delivery.

    Raises:
        ChargesError: an instrument of a kind that has no class.
    """
    if instrument.kind in _DERIVATIVES:
        return _DERIVATIVES[instrument.kind]
    if instrument.kind == "EQ" and instrument.exchange in CASH_EXCHANGES:
        return _SHARES.get(Product(product), "delivery")
    raise ChargesError(f"{instrument.key}: charges of kind {instrument.kind!r} are not known")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rates of one day: (exchange, class) -> component -> Rate."""

    name: str
    day: dt.date
    rates: Mapping[tuple[str, str], Mapping[str, Rate]]

    def of(self, instrument: Instrument, product: int) -> Mapping[str, Rate]:
        """The rates of an order.

        Raises:
            ChargesError: the file has none for this exchange and class on this day.
        """
        name = class_of(instrument, product)
        found = self.rates.get((instrument.exchange, name), {})
        missing = [component for component in COMPONENTS if component not in found]
        if missing:
            raise ChargesError(
                f"{instrument.key} ({name}): the charges of {self.name} have no {', '.join(missing)} for "
                f"{instrument.exchange} on {self.day}; add a row, or leave the instrument out"
            )
        return found

    def check(self, instruments: Iterable[Instrument]) -> None:
        """Refuse instruments without rates before anything trades.

        Raises:
            ChargesError: names the first one.
        """
        seen: set[tuple[str, str]] = set()
        for instrument in instruments:
            kind = (instrument.exchange, instrument.kind)
            if instrument.is_index or kind in seen:
                continue
            seen.add(kind)
            shares = instrument.kind not in _DERIVATIVES
            for product in _SHARES if shares else (Product.NRML,):
                self.of(instrument, product)

    def charges(self, instrument: Instrument, product: int, side: int, value_paise: int) -> Charges:
        """Of a whole order, or of what has filled of it so far: `value_paise`, 0 or more.

        Raises:
            ChargesError: no rates.
        """
        if not value_paise:
            return NO_CHARGES
        rates = self.of(instrument, product)
        brokerage = rates["brokerage"].of(side, value_paise)
        exchange = rates["exchange_charge"].of(side, value_paise)
        sebi = rates["sebi_fee"].of(side, value_paise)
        return Charges(
            brokerage=brokerage,
            transaction_tax=rates["transaction_tax"].of(side, value_paise),
            exchange_charge=exchange + rates["protection_fund"].of(side, value_paise),
            sebi_fee=sebi,
            stamp_duty=rates["stamp_duty"].of(side, value_paise),
            gst=divide_half_even((brokerage + exchange + sebi) * rates["gst"].ppb, PPB),
        )

    def fixed_paise(self, component: str, instrument: Instrument, product: int) -> int:
        """A charge of a day or of an event (DAILY) with its GST, in paise; 0: none is due."""
        rates = self.of(instrument, product)
        if component not in rates:
            return 0
        amount = rates[component].flat_paise * NANO
        return round_half_up(amount + divide_half_even(amount * rates["gst"].ppb, PPB), NANO)


def schedule_from_mapping(data: Any, day: dt.date) -> Schedule:
    """The rates that a charges file holds for `day`.

    Raises:
        ChargesError: a key or a value that does not fit; the message names the row.
    """
    if not isinstance(data, Mapping) or not set(data) >= _HEAD:
        raise ChargesError("expected name, valid_from and lists of rows by component")
    unknown = sorted(set(data) - _HEAD - set(COMPONENTS) - set(DAILY))
    if unknown:
        raise ChargesError(f"unknown keys {unknown}; components are {', '.join((*COMPONENTS, *DAILY))}")
    found: dict[tuple[str, str], dict[str, tuple[dt.date, Rate]]] = {}
    exchanges = _exchanges(data)
    for component in (*COMPONENTS, *DAILY):
        rows = data.get(component, ())
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise ChargesError(f"{component} is no list of rows")
        for number, row in enumerate(rows):
            where = f"{component}[{number}]"
            valid_from, keys, rate = _row(row, where, exchanges)
            if valid_from > day:
                continue
            for key in keys:
                known = found.setdefault(key, {}).get(component)
                if known is None or known[0] <= valid_from:
                    found[key][component] = (valid_from, rate)
    rates = {key: {name: rate for name, (_, rate) in by.items()} for key, by in found.items()}
    return Schedule(str(data["name"]), day, rates)


def _exchanges(data: Mapping[str, Any]) -> tuple[str, ...]:
    """What `exchanges: any` stands for: every exchange that some row names."""
    named: dict[str, None] = {}
    for rows in data.values():
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, Mapping) and isinstance(row.get("exchanges"), list):
                named |= dict.fromkeys(str(name) for name in row["exchanges"])
    return tuple(named)


def _row(row: Any, where: str, exchanges: tuple[str, ...]) -> tuple[dt.date, list[tuple[str, str]], Rate]:
    if not isinstance(row, Mapping) or not {"exchanges", "classes", "valid_from", "source"} <= set(row):
        raise ChargesError(f"{where}: a row needs exchanges, classes, valid_from and source")
    unknown = sorted(set(row) - _ROW_KEYS)
    if unknown:
        raise ChargesError(f"{where}: unknown keys {unknown}")
    if not isinstance(row["valid_from"], dt.date):
        raise ChargesError(f"{where}: valid_from {row['valid_from']!r} is no date")
    classes = row["classes"]
    if not isinstance(classes, list) or not set(classes) <= set(_CLASSES):
        raise ChargesError(f"{where}: classes are {', '.join(_CLASSES)}, found {classes!r}")
    named = exchanges if row["exchanges"] == "any" else row["exchanges"]
    if not isinstance(named, list | tuple):
        raise ChargesError(f"{where}: exchanges is a list, or any")
    side, step = row.get("side", "both"), row.get("step_paise", 0)
    if side not in _SIDES:
        raise ChargesError(f"{where}: side is buy, sell or both, found {side!r}")
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise ChargesError(f"{where}: step_paise {step!r} is no whole number of paise")
    rate = Rate(
        ppb=_whole(row.get("percent", "0"), PER_PERCENT, f"{where}: percent"),
        flat_paise=_whole(row.get("flat_rupees", "0"), 100, f"{where}: flat_rupees"),
        cap_paise=_whole(row["cap_rupees"], 100, f"{where}: cap_rupees") if "cap_rupees" in row else None,
        sides=_SIDES[side],
        step_paise=step,
    )
    return row["valid_from"], [(name, kind) for name in named for kind in classes], rate


def _whole(text: Any, scale: int, where: str) -> int:
    """A decimal in quotes (a bare YAML number would be a binary fraction) in whole units."""
    try:
        value = Decimal(text) * scale if isinstance(text, str) else Decimal("NaN")
        if not 0 <= value <= WHOLE_MAX or value != value.to_integral_value():
            raise InvalidOperation
    except InvalidOperation:
        raise ChargesError(f"{where} {text!r} is no decimal in quotes of at most 1/{scale}") from None
    return int(value)
