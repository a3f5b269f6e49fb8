"""Layer 6, verify processes, cold: random Kite frames and what a decoder must make of them.

The packer follows the broker's page with `struct`; it shares nothing with the decoder, the wire
module or the simulator's encoder, so that one misreading cannot hide in both.

A block is BLOCK_FRAMES frames that follow from (seed, block number) alone. Within a block each
(packet kind, segment) gets the same share of packets, and within each share every field takes
its values in equal parts: coverage is steered, not hoped for.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

BLOCK_FRAMES: Final = 2000
PACKETS_MAX: Final = 5
MALFORMED_ONE_IN: Final = 5
TOKENS_PER_SEGMENT: Final = 64

SEGMENTS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 200)
"""All documented segments, and one that nobody knows."""

ANY: Final = -1
VALUES: Final[dict[str, dict[str, int]]] = {
    "price": {"0": 0, "1": 1, "2^31-1": 2**31 - 1, "any": ANY},
    "qty": {"0": 0, "1": 1, "2^31-1": 2**31 - 1, "2^31": 2**31, "2^32-1": 2**32 - 1, "any": ANY},
    "time": {"0": 0, "1": 1, "2^31": 2**31, "2^32-1": 2**32 - 1, "any": ANY},
    "orders": {"0": 0, "1": 1, "65535": 65535, "any": ANY},
    "unread": {"any": ANY},
}
"""Values each field must take, by class of field; `any` is drawn anew every time."""

_ANY_RANGE: Final = {
    "price": (0, 2**31),
    "qty": (0, 2**32),
    "time": (1_400_000_000, 2_000_000_000),
    "orders": (0, 2**16),
    "unread": (0, 2**16),
}


@dataclass(frozen=True)
class Kind:
    """One packet kind: its name, number in TICK.kind, format and the class of each field."""

    name: str
    number: int
    layout: struct.Struct
    classes: tuple[str, ...]


_LEVEL = ("qty", "price", "orders", "unread")
_QUOTE = ("price", "qty", "price", "qty", "qty", "qty", "price", "price", "price", "price")
KINDS: Final = (
    Kind("ltp", 1, struct.Struct(">2I"), ("price",)),
    Kind("index quote", 2, struct.Struct(">7I"), ("price",) * 5 + ("unread",)),
    Kind("index full", 3, struct.Struct(">8I"), ("price",) * 5 + ("unread", "time")),
    Kind("quote", 4, struct.Struct(">11I"), _QUOTE),
    Kind(
        "full",
        5,
        struct.Struct(">16I" + "2I2H" * 10),
        (*_QUOTE, "time", "qty", "qty", "qty", "time", *_LEVEL * 10),
    ),
)
LENGTHS: Final = frozenset(kind.layout.size for kind in KINDS)
MUTATIONS: Final = (
    "short_frame",
    "wrong_count",
    "cut_packet",
    "trailing_bytes",
    "unknown_length",
    "price_range",
    "unknown_instrument",
)
_PER_FRAME: Final = MUTATIONS[:4]


@dataclass
class Packet:
    """One packet of a case; `outcome` is "decoded" or the counter that must move instead."""

    kind: Kind | None
    token: int
    body: bytes
    values: list[int]
    group: int = -1
    row: int = -1
    outcome: str = "decoded"

    @property
    def wire(self) -> bytes:
        return struct.pack(">H", len(self.body)) + self.body


@dataclass
class Case:
    """A frame, the packets that must come out of it in order, and the counters that must move."""

    frame: bytes
    survivors: list[Packet]
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class Block:
    """Cases, and per (kind, segment) group which value each field of each packet took."""

    cases: list[Case]
    choices: list[npt.NDArray[np.int8]]


def known_tokens() -> npt.NDArray[np.uint32]:
    """The subscribed instruments: the same for every block; slot = index."""
    rng = np.random.default_rng(2026)
    tokens = [
        np.append(rng.choice(2**24 - 2, TOKENS_PER_SEGMENT - 2, replace=False) + 1, [0, 2**24 - 1]) << 8 | s
        for s in SEGMENTS
    ]
    return np.concatenate(tokens).astype(np.uint32)


TOKENS: Final = known_tokens()
_KNOWN: Final = frozenset(TOKENS.tolist())


def groups() -> list[tuple[Kind, int]]:
    """All (kind, segment) pairs: the official client decodes any length for any segment."""
    return [(kind, segment) for kind in KINDS for segment in SEGMENTS]


def _group_packets(
    rng: np.random.Generator, group: int, kind: Kind, segment: int, n: int
) -> tuple[list[Packet], npt.NDArray[np.int8]]:
    width = len(kind.classes)
    choice = np.empty((n, width), np.int8)
    values = np.empty((n, width), np.int64)
    for column, name in enumerate(kind.classes):
        table = np.array(list(VALUES[name].values()))
        choice[:, column] = rng.permutation(np.arange(n) % len(table))
        fixed = table[choice[:, column]]
        values[:, column] = np.where(fixed == ANY, rng.integers(*_ANY_RANGE[name], n), fixed)
    of_segment = TOKENS & np.uint32(0xFF)
    tokens = rng.choice(TOKENS[of_segment == segment], n).tolist()
    packets = [
        Packet(kind, token, kind.layout.pack(token, *row), row, group, i)
        for i, (token, row) in enumerate(zip(tokens, values.tolist(), strict=True))
    ]
    return packets, choice


def _spoil_packet(rng: np.random.Generator, packets: list[Packet], mutation: str) -> None:
    """One mutation that concerns one packet, at a random place."""
    if mutation == "unknown_length":
        length = int(rng.integers(0, 300))
        while length in LENGTHS:
            length += 1
        odd = Packet(None, 0, rng.bytes(length), [], outcome=mutation)
        packets.insert(int(rng.integers(0, len(packets) + 1)), odd)
        return
    packet = packets[int(rng.integers(0, len(packets)))]
    if packet.kind is None or packet.outcome != "decoded":
        return
    packet.outcome = mutation
    if mutation == "unknown_instrument":
        while packet.token in _KNOWN:
            packet.token = int(rng.integers(0, 2**24)) << 8 | packet.token & 0xFF
    else:
        prices = [i for i, name in enumerate(packet.kind.classes) if name == "price"]
        bad = (2**31, 2**32 - 1, int(rng.integers(2**31, 2**32)))
        packet.values[prices[int(rng.integers(0, len(prices)))]] = bad[int(rng.integers(0, 3))]
    packet.body = packet.kind.layout.pack(packet.token, *packet.values)


def _spoil_frame(
    rng: np.random.Generator, packets: list[Packet], mutation: str
) -> tuple[str, bytes, list[Packet]]:
    """One mutation that concerns the frame: its class, the bytes, the packets that are still whole."""
    n, body = len(packets), b"".join(packet.wire for packet in packets)
    frame = struct.pack(">H", n) + body
    if mutation == "short_frame":
        return mutation, frame[: int(rng.choice([0, 2, 3]))], []
    if mutation == "wrong_count":
        return mutation, struct.pack(">H", int(rng.integers(n + 1, 2**16))) + body, packets
    last = len(packets[-1].wire)
    least = 2 if n == 1 else 1  # fewer than four bytes would be a short frame
    if mutation == "cut_packet" and least < last:
        keep = int(rng.integers(least, last))
        return mutation, frame[: len(frame) - last + keep], packets[:-1]
    if rng.integers(0, 2):
        return "trailing_bytes", frame + rng.bytes(int(rng.integers(1, 40))), packets
    fewer = int(rng.integers(0, n))
    return "trailing_bytes", struct.pack(">H", fewer) + body, packets[:fewer]


def _case(packets: list[Packet], frame: bytes, frame_class: str | None) -> Case:
    case = Case(frame, [packet for packet in packets if packet.outcome == "decoded"])
    for packet in packets:
        case.counts[packet.outcome] = case.counts.get(packet.outcome, 0) + 1
    if packets:
        case.counts["received"] = len(packets)
    if frame_class is not None:
        case.counts[frame_class] = 1
    return case


def _malformed_case(rng: np.random.Generator, packets: list[Packet], first: int) -> Case:
    """The mutation whose turn it is, and now and then more of them in the same frame."""
    wanted = {MUTATIONS[first % len(MUTATIONS)]}
    wanted |= {name for name in MUTATIONS if rng.random() < 0.1}
    for mutation in MUTATIONS:
        if mutation in wanted and mutation not in _PER_FRAME:
            _spoil_packet(rng, packets, mutation)
    for mutation in _PER_FRAME:
        if mutation in wanted:
            frame_class, frame, whole = _spoil_frame(rng, packets, mutation)
            return _case(whole, frame, frame_class)
    body = b"".join(packet.wire for packet in packets)
    return _case(packets, struct.pack(">H", len(packets)) + body, None)


def make_block(seed: int, number: int, frames: int = BLOCK_FRAMES) -> Block:
    """Block `number` of the run with this seed; `frames` only for a last, shorter block."""
    rng = np.random.default_rng([seed, number])
    sizes = rng.integers(1, PACKETS_MAX + 1, frames)
    total, pairs = int(sizes.sum()), groups()
    shares = np.bincount((np.arange(total) + number) % len(pairs), minlength=len(pairs))
    packets: list[Packet] = []
    choices = []
    for index, (kind, segment) in enumerate(pairs):
        made, choice = _group_packets(rng, index, kind, segment, int(shares[index]))
        packets += made
        choices.append(choice)
    order: list[int] = rng.permutation(total).tolist()
    cases = []
    at = malformed = 0
    for size in sizes.tolist():
        chosen = [packets[i] for i in order[at : at + size]]
        at += size
        if rng.integers(0, MALFORMED_ONE_IN) == 0:
            cases.append(_malformed_case(rng, chosen, malformed + number))
            malformed += 1
        else:
            body = b"".join(packet.wire for packet in chosen)
            cases.append(_case(chosen, struct.pack(">H", size) + body, None))
    return Block(cases, choices)


def coverage_cells() -> list[tuple[int, int, str, str]]:
    """Every cell: (group, field number, class of field, value); unread bytes have none."""
    return [
        (group, column, name, label)
        for group, (kind, _segment) in enumerate(groups())
        for column, name in enumerate(kind.classes)
        if name != "unread"
        for label in VALUES[name]
    ]


def count_coverage(block: Block, totals: list[npt.NDArray[np.int64]]) -> None:
    """Adds to `totals` (per group: fields x values) what the surviving packets of a block held."""
    rows: list[list[int]] = [[] for _ in block.choices]
    for case in block.cases:
        for packet in case.survivors:
            rows[packet.group].append(packet.row)
    for total, choice, chosen in zip(totals, block.choices, rows, strict=True):
        taken: Any = choice[chosen]
        for value in range(total.shape[1]):
            total[:, value] += (taken == value).sum(axis=0)
