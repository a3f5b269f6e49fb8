"""The generator of the decode campaign: steady, steered, and honest about what it did."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np

from kite_hft.verify.prices import decode_cases as cases


def test_a_block_follows_from_seed_and_number() -> None:
    one, two, other = (cases.make_block(4, n, 300) for n in (9, 9, 10))
    assert [c.frame for c in one.cases] == [c.frame for c in two.cases]
    assert [c.counts for c in one.cases] == [c.counts for c in two.cases]
    assert [c.frame for c in one.cases] != [c.frame for c in other.cases]


def test_every_mutation_and_size_occurs() -> None:
    block = cases.make_block(1, 0)
    totals: Counter[str] = Counter()
    for case in block.cases:
        totals.update(case.counts)
    assert set(totals) == {"received", "decoded", *cases.MUTATIONS}
    assert min(totals[name] for name in cases.MUTATIONS) >= cases.BLOCK_FRAMES // 100
    clean = [case for case in block.cases if case.counts.keys() == {"received", "decoded"}]
    assert {struct.unpack(">H", case.frame[:2])[0] for case in clean} == {1, 2, 3, 4, 5}


def test_a_clean_frame_is_the_survivors_bytes() -> None:
    for case in cases.make_block(2, 0, 200).cases:
        if case.counts.keys() == {"received", "decoded"}:
            body = b"".join(packet.wire for packet in case.survivors)
            assert case.frame == len(case.survivors).to_bytes(2, "big") + body


def test_a_small_block_covers_every_cell() -> None:
    block = cases.make_block(3, 0, 1000)
    totals = [np.zeros((len(kind.classes), 6), np.int64) for kind, _ in cases.groups()]
    cases.count_coverage(block, totals)
    for group, column, name, label in cases.coverage_cells():
        assert totals[group][column, list(cases.VALUES[name]).index(label)] >= 1
    survivors = sum(len(case.survivors) for case in block.cases)
    assert sum(int(total[0].sum()) for total in totals) == survivors
