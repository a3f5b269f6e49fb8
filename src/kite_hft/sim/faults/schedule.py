"""Layer 4, simulator, cold: which faults there are, the fault file, and when each one is due.

Pure: the caller says what time it is, chance comes from a seed. A fault file is a YAML list; each
row names a kind, when it comes (`at`, `every` or `probability`) and its parameters. FAULTS is the
table of kinds; docs and error messages come from it.
"""

from __future__ import annotations

import difflib
import enum
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.configuring.yaml_files import SettingsError, load_yaml
from kite_hft.units import NS_PER_S

FOREVER_NS: Final = 1 << 62
FOR_S_MAX: Final = 600.0


class Hits(enum.Enum):
    """What a fault strikes."""

    CONNECTION = "connection"  # an open websocket, at its time
    FRAME = "frame"  # the next frames of the market (not the state that follows a subscribe)
    UPDATE = "update"  # the next order updates
    REQUEST = "request"  # the next REST requests
    PLACEMENT = "placement"  # the next order that is placed
    ACT = "act"  # the exchange or the session, at its time


ARMED: Final = frozenset((Hits.FRAME, Hits.UPDATE, Hits.REQUEST, Hits.PLACEMENT))
"""These wait for something to strike, and strike `count` times."""
_ON_A_LINK: Final = frozenset((Hits.CONNECTION, Hits.FRAME, Hits.UPDATE))


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind: what it strikes, its parameters with their defaults, and what it does.

    A default's type is the parameter's type; `choices` lists what a text may be.
    """

    hits: Hits
    does: str
    for_s: float = 0.0  # default of `for`; 0: the kind has no duration
    parameters: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_ASKED: Final = {"request": ("place", "modify", "cancel", "order", "read", "authorize", "any")}
_INSTRUMENT: Final = {"instrument": ""}

FAULTS: Final[Mapping[str, Fault]] = {
    "drop": Fault(Hits.CONNECTION, "TCP FIN without a close frame"),
    "reset": Fault(Hits.CONNECTION, "TCP RST, after all that was sent has reached the client's machine"),
    "silence": Fault(
        Hits.CONNECTION, "nothing is sent, no heartbeat and no pong; what was due is never sent", 6.0
    ),
    "half_open": Fault(
        Hits.CONNECTION, "nothing is read, sent or answered; then the connection is dropped", 8.0,
        {"keeps_place": False},
    ),
    "slow_consumer": Fault(
        Hits.CONNECTION, "nothing leaves, then all of it in one burst, then the connection is dropped", 3.0
    ),
    "close": Fault(
        Hits.CONNECTION, "a close frame with `code`, then the connection is closed in order",
        parameters={"code": 1011},
    ),
    "burst": Fault(
        Hits.CONNECTION, "the state of all that is subscribed at once, in frames of `size` instruments",
        parameters={"size": 500},
    ),
    "truncate": Fault(Hits.FRAME, "a frame ends inside one of its packets"),
    "wrong_count": Fault(Hits.FRAME, "a frame's N is wrong by `by`", parameters={"by": 1}),
    "unknown_packet": Fault(
        Hits.FRAME, "one packet more, of a length that is in no table (Kite), or fields of every wire type "
        "and of numbers that are in no schema, one of them so long (Upstox)", parameters={"length": 99},
    ),
    "update_double": Fault(Hits.UPDATE, "an order update is sent twice"),
    "update_late": Fault(Hits.UPDATE, "an order update is sent later", 2.0),
    "update_reorder": Fault(
        Hits.UPDATE, "an order update is sent after the one that follows it (or alone after `for`)", 2.0
    ),
    "update_lost": Fault(Hits.UPDATE, "an order update is never sent"),
    "update_label": Fault(Hits.UPDATE, "one frame more with status UPDATE, before the order update"),
    "http_429": Fault(
        Hits.REQUEST, "429 Too many requests, nothing is done",
        parameters={"request": "order"}, choices=_ASKED,
    ),
    "http_403": Fault(
        Hits.REQUEST, "403 UserException, as for a blocked account; nothing is done, the token lives",
        parameters={"request": "order"}, choices=_ASKED,
    ),
    "http_502": Fault(
        Hits.REQUEST, "502 DataException, the order system is not understood; done or not by `processed`",
        parameters={"request": "place", "processed": False}, choices=_ASKED,
    ),
    "http_503": Fault(
        Hits.REQUEST, "503; done or not by `processed`",
        parameters={"request": "place", "processed": False}, choices=_ASKED,
    ),
    "http_504": Fault(
        Hits.REQUEST, "504; done or not by `processed`",
        parameters={"request": "place", "processed": False}, choices=_ASKED,
    ),
    "http_400_timed_out": Fault(
        Hits.REQUEST, "400 with the text 'Order request timed out. ...'; done or not by `processed`",
        parameters={"request": "place", "processed": True}, choices=_ASKED,
    ),
    "accept_then_drop": Fault(
        Hits.REQUEST, "the request is done and the connection closed without an answer",
        parameters={"request": "place", "processed": True}, choices=_ASKED,
    ),
    "slow_answer": Fault(
        Hits.REQUEST, "the request is done at once and answered later", 3.0, {"request": "any"}, _ASKED
    ),
    "stuck_order": Fault(Hits.PLACEMENT, "the order stays in PUT ORDER REQ RECEIVED", 83.0),
    "token_death": Fault(
        Hits.ACT, "the access token is dead: 403, websockets closed, until POST /_sim/login"
    ),
    "mis_square_off": Fault(
        Hits.ACT, "the broker squares MIS positions off (all, or one instrument's)", parameters=_INSTRUMENT
    ),
    "rms_order": Fault(
        Hits.ACT, "an order of the broker's risk desk, without a tag; without an instrument it closes a "
        "position, and waits until there is one",
        parameters={**_INSTRUMENT, "side": "", "quantity": 0, "product": "MIS"},
        choices={"side": ("", "BUY", "SELL"), "product": ("MIS", "NRML", "CNC")},
    ),
    "margin_reject": Fault(Hits.PLACEMENT, "the order ends REJECTED for want of funds"),
    "stops_cancelled": Fault(
        Hits.ACT, "the broker cancels waiting stops (all, or one instrument's)", parameters=_INSTRUMENT
    ),
    "ex_date_close": Fault(
        Hits.ACT, "the previous close of an instrument becomes `factor` times what it was",
        parameters={**_INSTRUMENT, "factor": 0.5},
    ),
    "circuit_lock": Fault(
        Hits.ACT, "an instrument is locked at its upper or lower circuit, nobody on the other side", 10.0,
        {**_INSTRUMENT, "side": "upper"}, {"side": ("upper", "lower")},
    ),
    "market_halt": Fault(Hits.ACT, "no trades, no ticks, no order accepted; heartbeats go on", 10.0),
}  # fmt: skip

NEED_INSTRUMENT: Final = frozenset(("ex_date_close", "circuit_lock"))
KNOWN_LENGTHS: Final = frozenset((8, 28, 32, 44, 184))


def described_kinds() -> str:
    """The table of kinds for people: what each does, its parameters and their defaults."""
    lines = []
    for kind, fault in FAULTS.items():
        given: dict[str, Any] = {"for": fault.for_s} if fault.for_s else {}
        given |= {"count": 1} if fault.hits in ARMED else {}
        given |= {"connection": "all"} if fault.hits in _ON_A_LINK else {}
        given |= dict(fault.parameters)
        shown = ", ".join(f"{name}: {value!r}" for name, value in given.items())
        lines += [f"{kind}", f"    {fault.does}", *([f"    {shown}"] if shown else [])]
    return "\n".join(lines)


class FaultError(SettingsError):
    """A fault that cannot be injected; the message names file, row, cause and fix."""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One row of a fault file. Times in ns after the market's start."""

    kind: str
    at_ns: int
    every_ns: int = 0
    times: int = 1  # how often it comes; 0: without end
    probability: float = 0.0  # of each frame, update or request; of each second for the others
    until_ns: int = FOREVER_NS
    count: int = 1
    connection: int | None = None  # None: all
    for_ns: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hits(self) -> Hits:
        return FAULTS[self.kind].hits

    def described(self) -> dict[str, Any]:
        """The parameters as the injection log shows them."""
        shown = dict(self.parameters)
        return {"for": self.for_ns / NS_PER_S, **shown} if self.for_ns else shown


def load_faults(path: Path) -> list[FaultRow]:
    """Read and check a fault file.

    Raises:
        FaultError: names file, row, cause and the nearest known name. SettingsError: no YAML.
    """
    rows = load_yaml(path)
    if rows is None:
        rows = []
    if not isinstance(rows, list):
        raise FaultError(
            f"{path}: expected a list of faults like '- {{at: 10, kind: drop}}', found {type(rows).__name__}"
        )
    return [parse_row(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]


def parse_row(row: Any, where: str) -> FaultRow:
    """Check one row. `where` begins the message of an error.

    Raises:
        FaultError: an unknown kind or parameter, or a value that does not fit.
    """
    if not isinstance(row, dict) or "kind" not in row:
        raise FaultError(f"{where}: a fault needs a kind, like {{at: 10, kind: drop}}; found {row!r}")
    kind = row["kind"]
    if kind not in FAULTS:
        near = difflib.get_close_matches(str(kind), FAULTS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known kinds: {', '.join(FAULTS)}"
        raise FaultError(f"{where}: unknown kind {kind!r}; {hint}")
    fault = FAULTS[kind]
    reader = _Row(row, f"{where} ({kind})", fault)
    chances = [name for name in ("every", "probability") if name in row]
    if len(chances) == 2:
        raise FaultError(f"{where} ({kind}): every and probability exclude each other")
    every_ns = reader.seconds("every", 0.0, low=0.001)
    made = FaultRow(
        kind=kind,
        at_ns=reader.seconds("at", row.get("every", 0.0)),
        every_ns=every_ns,
        times=reader.whole("times", 0 if every_ns else 1, low=0 if every_ns else 1),
        probability=reader.number("probability", 0.0, 0.0, 1.0),
        until_ns=reader.seconds("until", 0.0) if "until" in row else FOREVER_NS,
        count=reader.whole("count", 1, low=1),
        connection=reader.connection(),
        for_ns=reader.seconds("for", fault.for_s, low=0.001 if fault.for_s else 0.0, high=FOR_S_MAX),
        parameters=reader.parameters(),
    )
    _check(made, f"{where} ({kind})")
    return made


def _check(row: FaultRow, where: str) -> None:
    """What one value alone cannot say.

    Raises:
        FaultError: parameters that make no fault.
    """
    given = row.parameters
    if row.kind in NEED_INSTRUMENT and not given["instrument"]:
        raise FaultError(f"{where}: needs an instrument, like instrument: NSE:RELIANCE")
    if row.kind == "wrong_count" and not given["by"]:
        raise FaultError(f"{where}: by: 0 would be the right count; give 1, -1, ...")
    if row.kind == "unknown_packet" and (given["length"] in KNOWN_LENGTHS or not 1 <= given["length"] <= 999):
        known = ", ".join(map(str, sorted(KNOWN_LENGTHS)))
        raise FaultError(f"{where}: length {given['length']}: 1 to 999, and none of {known}")
    if row.kind == "close" and not (1000 <= given["code"] <= 1014 or 3000 <= given["code"] <= 4999):
        raise FaultError(f"{where}: code {given['code']} is no close code: 1000 to 1014, 3000 to 4999")
    if row.kind == "burst" and not 1 <= given["size"] <= 65_535:
        raise FaultError(f"{where}: size {given['size']} is not between 1 and 65535")
    if row.kind == "rms_order" and given["instrument"] and not (given["side"] and given["quantity"] > 0):
        raise FaultError(f"{where}: an instrument needs side (BUY, SELL) and quantity beside it")
    if row.kind == "ex_date_close" and not 0.01 <= given["factor"] <= 100:
        raise FaultError(f"{where}: factor {given['factor']} is not between 0.01 and 100")


class _Row:
    """Reads the values of one row, each with its own error."""

    def __init__(self, row: Mapping[str, Any], where: str, fault: Fault) -> None:
        self._row, self._where, self._fault = row, where, fault
        known = {"kind", "at", "every", "times", "probability", "until", *fault.parameters}
        known |= {"for"} if fault.for_s else set()
        known |= {"count"} if fault.hits in ARMED else set()
        known |= {"connection"} if fault.hits in _ON_A_LINK else set()
        for name in row:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
                raise FaultError(f"{where}: unknown parameter {name!r}; {hint}")

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self._row.get(name, default)
        fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fine or not low <= value <= high:
            raise FaultError(f"{self._where}: {name}: {value!r} is no number from {low:g} to {high:g}")
        return float(value)

    def seconds(self, name: str, default: float, low: float = 0.0, high: float = 1e6) -> int:
        """Seconds as ns."""
        if name not in self._row:
            return round(default * NS_PER_S)
        return round(self.number(name, default, low, high) * NS_PER_S)

    def whole(self, name: str, default: int, low: int) -> int:
        value = self._row.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= 10**6:
            raise FaultError(f"{self._where}: {name}: {value!r} is no whole number from {low} to 1000000")
        return value

    def connection(self) -> int | None:
        value = self._row.get("connection", "all")
        if value == "all":
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 99:
            raise FaultError(f"{self._where}: connection: {value!r} is neither all nor a number from 0")
        return value

    def parameters(self) -> dict[str, Any]:
        """The kind's own parameters, defaults filled in."""
        made: dict[str, Any] = {}
        for name, default in self._fault.parameters.items():
            value = self._row.get(name, default)
            wanted = (int, float) if isinstance(default, float) else (type(default),)
            if type(value) not in wanted:
                raise FaultError(f"{self._where}: {name}: {value!r} is no {type(default).__name__}")
            choices = self._fault.choices.get(name)
            if choices and value not in choices:
                raise FaultError(f"{self._where}: {name}: {value!r} is none of {', '.join(choices)}")
            made[name] = value
        return made


@dataclass(slots=True)
class _Armed:
    row: FaultRow
    left: int


class Faults:
    """The schedule of one run. Its chances depend only on the seed and on what comes by."""

    def __init__(self, rows: Sequence[FaultRow] = (), seed: int = 0) -> None:
        self._dues: list[tuple[int, int, FaultRow]] = []  # (next time, times come so far, row)
        self._likely: list[FaultRow] = []
        self._armed: list[_Armed] = []
        self.rng = random.Random(seed)
        for row in rows:
            if row.probability and row.hits in ARMED:
                self._likely.append(row)
            else:
                self._dues.append((row.at_ns, 0, row))

    @property
    def idle(self) -> bool:
        """Nothing is scheduled, armed or likely."""
        return not (self._dues or self._armed or self._likely)

    def waits_for(self, hits: Hits) -> bool:
        """Something may strike what `hits` says."""
        return any(armed.row.hits is hits for armed in self._armed) or any(
            row.hits is hits for row in self._likely
        )

    def arm(self, row: FaultRow) -> None:
        """Let a row of an armed kind strike the next `count` that fit."""
        self._armed.append(_Armed(row, row.count))

    def due(self, market_ns: int) -> list[FaultRow]:
        """Rows that strike a connection or the exchange now; the others that are due are armed."""
        came: list[FaultRow] = []
        later: list[tuple[int, int, FaultRow]] = []
        for entry in self._dues:
            at_ns, times, row = entry
            while at_ns <= min(market_ns, row.until_ns):
                if row.probability:
                    if self.rng.random() < row.probability:
                        came.append(row)
                    at_ns += NS_PER_S
                    continue
                if row.hits not in ARMED:
                    came.append(row)
                elif not any(armed.row is row for armed in self._armed):  # it still waits: once is enough
                    self.arm(row)
                times += 1
                at_ns = at_ns + row.every_ns if row.every_ns else FOREVER_NS + 1
                if row.times and times >= row.times:
                    at_ns = FOREVER_NS + 1
            if at_ns <= row.until_ns:
                later.append((at_ns, times, row))
        self._dues = later
        return came

    def next_ns(self) -> int | None:
        """When `due` has something next, ns after the market's start; None: never."""
        return min((at_ns for at_ns, _, _ in self._dues), default=None)

    def take(self, hits: Hits, market_ns: int, fits: Callable[[FaultRow], bool]) -> FaultRow | None:
        """The fault that strikes what comes by now (one at most), or None."""
        for armed in self._armed:
            if armed.row.hits is hits and fits(armed.row):
                armed.left -= 1
                if not armed.left:
                    self._armed.remove(armed)
                return armed.row
        for row in self._likely:
            active = row.at_ns <= market_ns <= row.until_ns
            if row.hits is hits and active and fits(row) and self.rng.random() < row.probability:
                return row
        return None
