"""Layer 2, orders process, cold: order updates that nobody heard, and the read of the order book that tells.

A broker keeps no update for a connection that is down, and sends none again. So the order book is wanted at
once when a connection that brings updates stands again, and when a text of one could not be handed on: once
for each interruption, and paid for as every read. It is not needed where another connection, which brings the
same updates, has lived through it: a sign of life of that one from after the loss proves that everything
before it has come (TCP keeps the order).

Pure: what the processes of the connections have counted is handed in (Ports.update_links).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kite_hft.memory.journal import Kind
from kite_hft.trading.ports import Ports, UpdateLink
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

NEVER_NS = 2**62


class Interruptions:
    """One per order stage; `look` is called ten times a second. look_up() asks for a read of the book."""

    def __init__(self, ports: Ports, outbox: Outbox, look_up: Callable[[], None]) -> None:
        self._links, self._log = ports.update_links, ports.log
        self._outbox, self._look_up = outbox, look_up
        self._known: Sequence[UpdateLink] = ()  # as they were looked at last
        self._looked_ns = 0
        self._since_ns: list[int] = []  # from then on each has heard everything, as long as it stands
        self._lost: set[int] = set()  # connections (by their places), not yet made up for
        self._lost_ns = 0  # when the newest of them was seen to be lost
        self._heard_ns = NEVER_NS  # until then all of them had heard everything
        self._told = True  # people hear of it

    def look(self, now_ns: int) -> None:
        """Compare the connections with what they were."""
        links = self._links()
        was, self._known = self._known, links
        looked_ns, self._looked_ns = self._looked_ns, now_ns
        if not links:
            return
        if not was:
            return self._begin(links, now_ns)
        for i, (before, link) in enumerate(zip(was, links, strict=True)):
            if link.disconnects != before.disconnects:
                self._lose(i, before.alive_ns or looked_ns, now_ns)
            if link.connects != before.connects or (link.up and not before.up):
                self._since_ns[i] = now_ns
        if sum(link.dropped for link in links) > sum(link.dropped for link in was):
            text = "a text did not reach the order process: longer than 8 KiB, or too many at once"
            self._outbox.alert("UPDATE_UNREADABLE", text)
            self._look_up()
        if self._lost:
            self._make_up(links, now_ns)

    def _begin(self, links: Sequence[UpdateLink], now_ns: int) -> None:
        """The books that a start reads are older than a connection that is made after it."""
        self._since_ns = [0 if link.up else NEVER_NS for link in links]
        if not any(link.up for link in links):
            self._lost, self._lost_ns, self._heard_ns = set(range(len(links))), now_ns, now_ns
            self._told = False

    def _lose(self, i: int, heard_ns: int, now_ns: int) -> None:
        """heard_ns: its last sign of life; of one without any, when it was last seen to stand."""
        self._lost.add(i)
        self._since_ns[i], self._lost_ns = NEVER_NS, now_ns
        self._heard_ns = min(self._heard_ns, heard_ns)

    def _make_up(self, links: Sequence[UpdateLink], now_ns: int) -> None:
        """By another connection that has heard it all, or by the order book as soon as one hears again."""
        up = [(link, self._since_ns[i]) for i, link in enumerate(links) if link.up]
        if any(since_ns <= self._heard_ns and link.alive_ns > self._lost_ns for link, since_ns in up):
            pass
        elif any(self._heard_ns < since_ns < NEVER_NS for _link, since_ns in up):
            self._look_up()
            if self._told:
                self._tell(round((now_ns - self._heard_ns) / NS_PER_S, 1))
        else:
            return
        self._lost.clear()
        self._heard_ns, self._told = NEVER_NS, True

    def _tell(self, missed_s: float) -> None:
        self._outbox.journal(Kind.STATE, {"halted": self._outbox.halted, "updates_missed_s": missed_s})
        self._log(f"no order updates were heard for {missed_s:g} s: the order book is read")
