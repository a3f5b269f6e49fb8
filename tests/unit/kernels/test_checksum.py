"""The checksum against its definition in plain integers."""

from __future__ import annotations

import numpy as np

from kite_hft.kernels.checksum import tick_checksum

MASK = 2**64 - 1


def plain(token: int, px: int, volume: int) -> int:
    gamma = 0x9E3779B97F4A7C15
    z = ((token << 32 | px % 2**32) + gamma) & MASK
    z ^= volume * gamma & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def test_against_plain_integers() -> None:
    rows = [(0, 0, 0), (2**32 - 1, 2**31 - 1, 2**63 - 1), (408065, -1, -5), (1, 2, 3), (1, 2, 3)]
    assert tick_checksum(*zip(*rows, strict=True)) == sum(plain(*row) for row in rows) & MASK
    assert tick_checksum(*rows[1]) == plain(*rows[1])
    assert tick_checksum([], [], []) == 0


def test_order_does_not_matter_and_each_part_does() -> None:
    rng = np.random.default_rng(3)
    tokens, px = rng.integers(0, 2**32, 500), rng.integers(0, 2**31, 500)
    volume = rng.integers(0, 2**32, 500)
    total = tick_checksum(tokens, px, volume)
    order = rng.permutation(500)
    assert tick_checksum(tokens[order], px[order], volume[order]) == total
    assert (tick_checksum(tokens[:9], px[:9], volume[:9]) + tick_checksum(tokens[9:], px[9:], volume[9:])) & (
        MASK
    ) == total
    for changed in (tokens, px, volume):
        changed[17] ^= 1
        assert tick_checksum(tokens, px, volume) != total
        changed[17] ^= 1
