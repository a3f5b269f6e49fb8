"""Slow, obvious twin of the overwriting ring: a list of everything that was ever published."""

from __future__ import annotations


class Ring:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.records: list[int | None] = []  # index: absolute number; None: announced, never finished
        self.first = 0  # of this generation

    def publish(self, values: list[int]) -> int:
        first = len(self.records)
        self.records += values
        return first

    def restart(self, unfinished: int) -> None:
        self.records += [None] * unfinished
        self.first = len(self.records)

    @property
    def oldest(self) -> int:
        return max(self.first, len(self.records) - self.capacity)


class Reader:
    def __init__(self, ring: Ring, position: int) -> None:
        self.ring = ring
        self.position = position
        self.lost = 0
        self.lost_last = 0

    def drain(self, room: int) -> list[int | None]:
        start = max(self.position, self.ring.oldest)
        self.lost_last = start - self.position
        self.lost += self.lost_last
        values = self.ring.records[start : start + room]
        self.position = start + len(values)
        return values
