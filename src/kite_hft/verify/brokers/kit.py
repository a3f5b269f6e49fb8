"""Layer 6, campaigns, cold: the table of what an adapter has to promise, and what each row is asked with.

A row is a function of a Kit: it looks at one promise and says `kit.holds(condition, text)` for each thing
that it looks at. A row that looked at nothing is no row: it fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.brokers.side import BrokerSide, Call
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, Limits, OrderRequest
from kite_hft.trading.instruments import Instrument
from kite_hft.verify.brokers.choosing import limits_of
from kite_hft.verify.desk.bench import Bench

SHOWN: Final = 5
SEED: Final = 1


@dataclass(slots=True)
class Kit:
    """One broker: adapter, simulator, limits; `wrong` and `checks` of the row that is asked now."""

    side: BrokerSide
    limits: Limits = field(init=False)
    bench: Bench = field(init=False)
    broker: Broker = field(init=False)
    checks: int = 0
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limits = limits_of(self.side)
        self.anew()

    def anew(self) -> None:
        """Another account with nothing in it."""
        self.bench = Bench(self.limits, SEED, unlimited=True, broker=self.side)
        self.broker = self.bench.line.broker

    def holds(self, condition: object, text: str) -> bool:
        """One thing that was looked at; `text`: what is wrong where it does not hold."""
        self.checks += 1
        if not condition:
            self.wrong.append(text)
        return bool(condition)

    def raises(self, kinds: type[Exception], act: Callable[[], Any], text: str) -> None:
        """`act` must raise one of `kinds`."""
        try:
            found = act()
        except kinds:
            self.holds(True, text)
        except Exception as error:
            self.holds(False, f"{text}: raised {type(error).__name__}, not {kinds.__name__}")
        else:
            self.holds(False, f"{text}: gave {str(found)[:80]}")

    # What rows ask with

    @property
    def share(self) -> Instrument:
        """One that anybody can buy one of."""
        return self.bench.instruments[self.bench.tradable[0]]

    def tradable(self) -> list[Instrument]:
        """One instrument of each kind and exchange that takes orders."""
        rows: dict[tuple[str, str], Instrument] = {}
        for row in self.bench.instruments:
            if not row.is_index and row.exchange not in self.side.closed:
                rows.setdefault((row.exchange, row.kind), row)
        return list(rows.values())

    def px(self, row: Instrument, ticks: int = 0) -> int:
        """A price so many ticks from the last one."""
        step = max(row.tick_px, 1)
        return self.bench.prices.last[row.slot] // step * step + ticks * step

    def order(
        self, row: Instrument, kind: OrderType = OrderType.LIMIT, side: Side = Side.BUY, **more: Any
    ) -> OrderRequest:
        """A placement of one lot that rests."""
        away = -50 if side == Side.BUY else 50
        words: dict[str, Any] = {
            "product": Product.MIS, "validity": Validity.DAY, "quantity": max(1, row.lot_size),
            "px": self.px(row, away) if kind in (OrderType.LIMIT, OrderType.SL) else 0,
            "trigger_px": self.px(row, -away) if kind in (OrderType.SL, OrderType.SLM) else 0,
            "tag": "kit1",
        } | more  # fmt: skip
        if kind is OrderType.SL and "px" not in more:
            words["px"] = self.px(row, -away + (2 if side == Side.BUY else -2))
        return OrderRequest(row, side, kind, **words)

    def read(self, request: HttpRequest) -> Call:
        """A request as the simulator's side reads it."""
        return self.side.read(request, self.bench.instruments)

    def ask(self, request: HttpRequest) -> HttpResponse:
        """The simulator's answer; time passes, and updates come."""
        answer = self.bench.line.ask(request)
        self.settle()
        return answer

    def settle(self, seconds: float = 1.0) -> None:
        """Let the broker come to rest; updates lie in `bench.line.texts.frames`."""
        for _ in range(10):
            self.bench.clock.advance(round(seconds * 10**8))
            self.bench.line.run()


@dataclass(frozen=True, slots=True)
class Row:
    """One promise. name: short; promise: a sentence; check: looks at it."""

    name: str
    promise: str
    check: Callable[[Kit], None]


ROWS: Final[list[Row]] = []


def row(name: str, promise: str) -> Callable[[Callable[[Kit], None]], Callable[[Kit], None]]:
    """Put a check into the table."""

    def put(check: Callable[[Kit], None]) -> Callable[[Kit], None]:
        ROWS.append(Row(name, promise, check))
        return check

    return put


def judge(kit: Kit, one: Row) -> dict[str, Any]:
    """What a row found: {"row", "promise", "ok", "checks", "wrong"}."""
    kit.checks, kit.wrong = 0, []
    kit.anew()
    try:
        one.check(kit)
    except Exception as error:  # an adapter may raise anything: that is what is asked
        kit.wrong.append(f"raised {type(error).__name__}: {error}")
    if not kit.checks and not kit.wrong:
        kit.wrong.append("nothing was looked at")
    return {
        "row": one.name, "promise": one.promise, "ok": not kit.wrong, "checks": kit.checks,
        "wrong": kit.wrong[:SHOWN],
    }  # fmt: skip
