"""Layer 6, verify processes, cold: random Upstox frames, steered so that each extreme of each field comes.

The packer follows the schema and protobuf's encoding page; it shares nothing with the decoder or the
simulator's encoder, so that one misreading cannot hide in both. Message number i of a run puts the
value of cell i (branch, field, extreme) into a message whose other fields are usual or left out.
Some messages are then written in ways that no server does but protobuf allows (SHAPES).
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from typing import Any, Final

ANY: Final = "any"
INF: Final = float("inf")
VALUES: Final[dict[str, dict[str, Any]]] = {
    "price": {
        "0": 0.0, "-0": -0.0, "unit": 0.01, "max": 21474836.47, "max+1": 21474836.48, "off": 100.001,
        "off-": 99.99999999, "tiny": 1e-9, "neg": -0.01, "huge": 1e300, "nan": float("nan"), "inf": INF,
        "-inf": -INF, "any": ANY,
    },
    "total": {
        "0": 0.0, "half": 0.5, "2^32-1": 4294967295.0, "2^32": 4294967296.0, "huge": 1e300, "neg": -1.0,
        "nan": float("nan"), "inf": INF, "any": ANY,
    },
    "plain": {"0": 0.0, "-0": -0.0, "neg": -1.5, "huge": 1e300, "nan": float("nan"), "inf": INF, "any": ANY},
    "qty": {
        "0": 0, "1": 1, "2^32-1": 2**32 - 1, "2^32": 2**32, "2^63-1": 2**63 - 1, "neg": -1, "-2^63": -(2**63),
        "any": ANY,
    },
    "number": {"0": 0, "neg": -1, "2^63-1": 2**63 - 1, "-2^63": -(2**63), "any": ANY},
    "time": {"0": 0, "1": 1, "999": 999, "neg": -1, "2^32 s": 2**32 * 1000, "2^63-1": 2**63 - 1, "any": ANY},
    "flag": {"0": 0, "1": 1, "2^63": -(2**63)},
    "mode": {"0": 0, "3": 3, "7": 7, "neg": -1},
}  # fmt: skip
"""Extremes of each class of field; `any` is drawn anew every time."""

_BOOK: Final = (("bidQ", "qty"), ("bidP", "price"), ("askQ", "qty"), ("askP", "price"))
_DEEP: Final = (("bidQ", "number"), ("bidP", "plain"), ("askQ", "number"), ("askP", "plain"))
_DAY: Final = (("interval", "1d"), ("open", "price"), ("high", "price"), ("low", "price"), ("close", "plain"),
               ("vol", "number"), ("ts", "number"))  # fmt: skip
_MINUTE: Final = (("interval", "I1"), *((name, "plain") for name in ("open", "high", "low", "close")),
                  ("vol", "number"), ("ts", "number"))  # fmt: skip
_LTPC: Final = (
    ("ltp", "price"),
    ("ltt", "time"),
    ("ltq", "qty"),
    ("cp", "price"),
    ("iep", (("value", "plain"),)),
)
_GREEKS: Final = tuple((name, "plain") for name in ("delta", "theta", "gamma", "vega", "rho"))
_OHLC: Final = (("ohlc", (_DAY, _MINUTE)),)
BRANCHES: Final[dict[str, tuple[tuple[str, Any], ...]]] = {
    "ltpc": _LTPC,
    "market": (
        ("ltpc", _LTPC), ("marketLevel", (("bidAskQuote", (_BOOK, _DEEP)),)), ("optionGreeks", _GREEKS),
        ("marketOHLC", _OHLC), ("atp", "price"), ("vtt", "qty"), ("oi", "total"), ("iv", "plain"),
        ("tbq", "total"), ("tsq", "total"), ("iep", "plain"), ("rp", "plain"), ("ieq", "number"),
        ("iiqTotal", "number"), ("iiqM", "number"), ("casEligible", "flag"),
    ),
    "index": (("ltpc", _LTPC), ("marketOHLC", _OHLC)),
    "first_level": (
        ("ltpc", _LTPC), ("firstDepth", _BOOK), ("optionGreeks", _GREEKS), ("vtt", "qty"), ("oi", "total"),
        ("iv", "plain"),
    ),
}  # fmt: skip
"""Fields in the order of their numbers, from 1: a class of VALUES, a message, or two kinds of elements."""

SHAPES: Final = (
    "plain", "shuffled", "unknown fields", "in parts", "repeated fields", "long varints",
    "other member first", "value before key", "key twice", "unknown key",
)  # fmt: skip
SHAPED_ONE_IN: Final = 3
SCALES: Final = {
    "NSE_FO": (100.0, 5),
    "NSE_EQ": (100.0, 10),
    "NSE_INDEX": (100.0, 5),
    "NCD_FO": (1e7, 25_000),
}
KEYS: Final = tuple(
    f"{segment}|{name}" for segment in SCALES for name in ("55775", "INE002A01018", "x y", "\u20b9")
)

SEGMENTS: Final = ("NSE_EQ", "NSE_FO", "MCX_INDEX", "LSE_EQ", "")
WORDS: Final = ("CTS_CLOSE", "CAS_STOP", "PRE_OPEN_END", "ANOTHER", "")

Path_ = tuple[str, ...]
Field = tuple[int, int, Any]  # number, wire type, and a varint's number, eight bytes, text or fields


class Element(list[Field]):
    """The fields of an element of a repeated field."""


@dataclass(frozen=True)
class Cell:
    """One extreme of one field in one branch."""

    branch: str
    path: Path_
    kind: str
    label: str


def cells() -> list[Cell]:
    """All of them, in a fixed order."""
    found = [Cell(branch, path, kind, label)
             for branch, message in BRANCHES.items() for path, kind in leaves(message, ())
             for label in VALUES[kind]]  # fmt: skip
    return found + [Cell("feed", ("requestMode",), "mode", label) for label in VALUES["mode"]]


def leaves(message: Any, path: Path_) -> list[tuple[Path_, str]]:
    """(path, class) of each field; an element of a repeated field adds 0 or 1, its kind."""
    found: list[tuple[Path_, str]] = []
    for name, what in message:
        if isinstance(what, str):
            found += [((*path, name), what)] if what in VALUES else []
        elif isinstance(what[0][0], tuple):
            for kind, element in enumerate(what):
                found += leaves(element, (*path, name, str(kind)))
        else:
            found += leaves(what, (*path, name))
    return found


# ---- messages


class Maker:
    """Random messages of one run of cells. Each draw follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def drawn(self, kind: str) -> Any:
        """A usual value of a class."""
        rng = self.rng
        if kind == "price":
            return rng.randrange(1, 2_000_000) * 0.05 if rng.random() < 0.8 else rng.randrange(1, 10**8) / 100
        if kind in ("total", "qty"):
            return rng.randrange(1, 10 ** rng.randrange(1, 9)) * (1.0 if kind == "total" else 1)
        if kind == "time":
            return 1_795_416_300_000 + rng.randrange(10**9)
        return {"plain": rng.uniform(-50, 500), "number": rng.randrange(10**12), "flag": 1, "mode": 1}[kind]

    def message(self, fields: Any, path: Path_, cell: Cell | None, absent: float) -> list[Field]:
        """The fields of a message; those on the way to the cell are there in any case."""
        made: list[Field] = []
        for number, (name, what) in enumerate(fields, 1):
            on_way = cell is not None and cell.path[: len(path) + 1] == (*path, name)
            if not on_way and self.rng.random() < absent:
                continue
            if isinstance(what, str):
                value = VALUES[what][cell.label] if cell is not None and on_way else ANY
                made += self.scalar(number, what, value)
            elif isinstance(what[0][0], tuple):
                made += self.elements(number, what, (*path, name), cell if on_way else None, absent)
            else:
                inner = self.message(what, (*path, name), cell if on_way else None, absent)
                made.append((number, 2, inner))
        return made

    def scalar(self, number: int, kind: str, value: Any) -> list[Field]:
        if kind not in VALUES:
            return [(number, 2, kind.encode())]
        value = self.drawn(kind) if value == ANY else value
        if kind in ("price", "total", "plain"):
            return [(number, 1, struct.pack("<d", value))]
        return [(number, 0, value % 2**64)]

    def elements(self, number: int, kinds: Any, path: Path_, cell: Cell | None, absent: float) -> list[Field]:
        """A repeated field: five levels and, now and then, deeper ones; or the two bars."""
        wanted = int(cell.path[len(path)]) if cell is not None else 0
        if kinds[0] is _BOOK:
            n = 5 if cell is not None and not wanted else self.rng.choice((0, 1, 2, 5, 5, 5, 6, 30, 33))
            order = [0 if i < 5 else 1 for i in range(max(n, 30 if wanted else 0))]
            at = self.rng.randrange(5, 30) if wanted else self.rng.randrange(5)
        else:
            order, at = [0, 1], wanted
        return [
            (
                number,
                2,
                Element(self.message(kinds[kind], (*path, str(kind)), cell if i == at else None, absent)),
            )
            for i, kind in enumerate(order)
            if i == at or self.rng.random() > absent / 4
        ]

    def feed(self, cell: Cell) -> list[Field]:
        """A Feed with the cell's value in it."""
        branch = cell.branch if cell.branch in BRANCHES else self.rng.choice(list(BRANCHES))
        absent = self.rng.choice((0.0, 0.05, 0.4))
        body = self.message(BRANCHES[branch], (), cell if branch == cell.branch else None, absent)
        mode = VALUES["mode"][cell.label] if cell.branch == "feed" else self.rng.randrange(4)
        return [member(branch, body), (4, 0, mode % 2**64)]

    def markets(self) -> list[Field]:
        """A MarketInfo: some segments of each phase, also unknown ones, with known and unknown words."""
        rng, made = self.rng, list[Field]()
        for number in (1, 2, 3):
            for segment in rng.sample(SEGMENTS, rng.randrange(4)):
                word = rng.choice(WORDS).encode()
                status: Any = [(1, 2, word), (2, 0, self.drawn("time"))]
                value: Field = (2, 0, rng.choice((0, 2, 5, 9, 2**64 - 1))) if number == 1 else (2, 2, status)
                made.append((number, 2, Element([(1, 2, segment.encode()), value])))
        return made


def member(branch: str, body: list[Field]) -> Field:
    """The oneof member of a branch."""
    if branch in ("ltpc", "first_level"):
        return (1 if branch == "ltpc" else 3, 2, body)
    return 2, 2, [(1 if branch == "market" else 2, 2, body)]


# ---- bytes


def varint(value: int, longer: int = 0) -> bytes:
    """`longer`: so many bytes more than needed."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    for _ in range(longer):
        out[-1] |= 128
        out.append(0)
    return bytes(out)


def packed(fields: list[Field], longer: int = 0) -> bytes:
    """Fields as bytes."""
    out = b""
    for number, wire_type, value in fields:
        out += varint(number << 3 | wire_type, min(longer, 3))
        if wire_type == 0:
            out += varint(value, min(longer, 10 - len(varint(value))))
        elif wire_type == 2:
            body = packed(value, longer) if isinstance(value, list) else value
            out += varint(len(body), min(longer, 2)) + body
        else:
            out += value
    return out


_UNKNOWN: Final[tuple[Field, ...]] = (
    (99, 0, 2**64 - 1), (100, 1, b"12345678"), (101, 2, b"\xff any bytes"), (536870911, 5, b"1234"),
    (17, 3, b"\x08\x01\x13\x14" + varint(17 << 3 | 4)),
)  # fmt: skip


def reshaped(rng: random.Random, fields: list[Field], shape: str) -> list[Field]:
    """The same message in another shape, its parts included."""
    done = [(n, w, type(v)(reshaped(rng, v, shape)) if isinstance(v, list) else v) for n, w, v in fields]
    if shape == "shuffled":
        return _shuffled(rng, done)
    if shape == "unknown fields":
        for _ in range(rng.randrange(3)):
            done.insert(rng.randrange(len(done) + 1), rng.choice(_UNKNOWN))
    elif shape == "repeated fields":  # a number that another one replaces
        done = [
            (n, w, b"\xff" * 8 if w == 1 else 2**63) for n, w, _ in done if w < 2 and rng.random() < 0.3
        ] + done
    return done


def _shuffled(rng: random.Random, fields: list[Field]) -> list[Field]:
    """In any order, but for repeated elements among themselves."""
    numbers = [number for number, _, _ in fields]
    rng.shuffle(numbers)
    left: dict[int, list[Field]] = {}
    for one in fields:
        left.setdefault(one[0], []).append(one)
    return [left[number].pop(0) for number in numbers]


def _in_parts(rng: random.Random, fields: list[Field]) -> list[Field]:
    """Sub-messages cut into two that are merged; repeated elements stay whole."""
    made: list[Field] = []
    for number, wire_type, value in fields:
        if isinstance(value, list) and not isinstance(value, Element):
            inner = _in_parts(rng, value)
            at = rng.randrange(len(inner) + 1)
            made += [(number, 2, inner[:at]), (number, 2, inner[at:])]
        else:
            made.append((number, wire_type, value))
    return made


def entry(rng: random.Random, key: str, feed: list[Field], shape: str, other: list[Field]) -> bytes:
    """One entry of the map `feeds`, or two. other: a Feed that must leave no trace."""
    name: Field = (1, 2, key.encode())
    if shape in ("shuffled", "unknown fields", "repeated fields"):
        feed = reshaped(rng, feed, shape)
    elif shape == "in parts":
        feed = _in_parts(rng, feed)
    elif shape == "other member first":
        feed = [one for one in other if one[0] != 4 and one[0] != feed[0][0]] + feed
    entries = [[name, (2, 2, feed)]]
    if shape == "value before key":
        entries = [[(2, 2, feed), (1, 2, b"NSE_FO|0"), name]]
    elif shape == "key twice":
        entries = [[name, (2, 2, other)], [name, (2, 2, feed)]]
    longer = rng.randrange(1, 4) if shape == "long varints" else 0
    return packed([(2, 2, fields) for fields in entries], longer)


# ---- frames


@dataclass(frozen=True)
class Frame:
    """One frame of a run, and what it was made for."""

    data: bytes
    cells: list[int]
    shapes: list[str]
    is_cut: bool  # spoiled: perhaps no message any more


CUT_ONE_IN: Final = 8
FEEDS_MAX: Final = 3
TYPES: Final = (0, 1, 1, 1, 1, 1, 2, 7)


def make_frame(rng: random.Random, maker: Maker, numbers: list[int], table: list[Cell]) -> Frame:
    """A frame with the cells of these numbers; one in CUT_ONE_IN is cut off or changed somewhere."""
    keys = rng.sample(KEYS, len(numbers))
    parts: list[bytes] = []
    shapes: list[str] = []
    for key, number in zip(keys, numbers, strict=True):
        shape = rng.choice(SHAPES) if rng.randrange(SHAPED_ONE_IN) == 0 else "plain"
        name = f"{key} unknown" if shape == "unknown key" else key
        other = maker.feed(table[rng.randrange(len(table))])
        parts.append(entry(rng, name, maker.feed(table[number]), shape, other))
        shapes.append(shape)
    head: list[Field] = [(1, 0, rng.choice(TYPES))]
    if rng.random() < 0.9:
        head.append((3, 0, maker.drawn("time")))
    if rng.randrange(16) == 0:
        head.append((4, 2, maker.markets()))
    parts += [packed([one]) for one in head]
    if rng.random() < 0.3:
        rng.shuffle(parts)
    data = b"".join(parts)
    is_cut = rng.randrange(CUT_ONE_IN) == 0
    return Frame(spoiled(rng, data) if is_cut else data, numbers, shapes, is_cut)


def spoiled(rng: random.Random, data: bytes) -> bytes:
    """Cut off, or with some bytes changed, put in or taken out."""
    if rng.randrange(3) == 0:
        return data[: rng.randrange(len(data) + 1)]
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(out) + 1)
        how = rng.randrange(3)
        if how == 0 or at == len(out):
            out.insert(at, rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))))
        elif how == 1:
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, out[at] ^ 1 << rng.randrange(8)))
        else:
            del out[at]
    return bytes(out)
