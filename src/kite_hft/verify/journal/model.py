"""Layer 6, campaigns, cold: what a list of journal records means, told a second time.

Shares no code with the book: plain dicts, folded record by record.
"""

from __future__ import annotations

from typing import Any, Final

ENDED: Final = ("COMPLETE", "CANCELLED", "REJECTED", "REFUSED")
_RANK: Final = {
    "NEW": 0,
    "SENT": 1,
    "AMBIGUOUS": 1,
    "ABSENT": 1,
    "PENDING": 2,
    "TRIGGER_PENDING": 3,
    "OPEN": 4,
}


class Model:
    """The fold. `names`: number of a status in a report -> its name."""

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names
        self.orders: dict[int, dict[str, Any]] = {}

    def add(self, kind: str, data: dict[str, Any]) -> None:
        """One more record."""
        if kind == "INTENT":
            self.orders[data["no"]] = {
                "status": "SENT", "filled": 0, "quantity": data["qty"], "id": "", "trades": {},
                "sign": 1 if data["side"] == 1 else -1,
                "place": (data["strategy"], data["slot"], data["product"]),
            }  # fmt: skip
        elif kind == "ANSWER" and data["call"] == "place":
            self._placed(self.orders[data["no"]], data)
        elif kind == "ANSWER" and data["call"] == "modify" and data["outcome"] != "ambiguous":
            order = self.orders[data["no"]]
            if data["outcome"] == "confirmed":
                order["quantity"] = data["terms"][0]
            # More may have filled than is ordered: by a change before it whose answer was lost.
            order["quantity"] = max(order["quantity"], order["filled"])
        elif kind == "REPORT":
            self._reported(self.orders[data["no"]], data["report"])
        elif kind == "TRADE":
            order, trade = self.orders[data["no"]], data["trade"]
            order["trades"][trade["trade_id"]] = trade["quantity"]
            order["filled"] = max(order["filled"], sum(order["trades"].values()))
            self._move(order, "PENDING")
        elif kind == "RESOLVED" and data["how"] == "absent":
            self.orders[data["no"]]["status"] = "ABSENT"

    def _placed(self, order: dict[str, Any], data: dict[str, Any]) -> None:
        outcome = data["outcome"]
        if outcome == "confirmed":
            order["id"] = data["order_id"]
            self._move(order, "PENDING")
        elif order["status"] == "SENT":
            ends = {"refused": "REJECTED", "unsent": "REFUSED", "ambiguous": "AMBIGUOUS"}
            order["status"] = ends[outcome]

    def _reported(self, order: dict[str, Any], report: dict[str, Any]) -> None:
        by_its_call = order["status"] in ("REJECTED", "REFUSED") and not order["id"]
        dead = self._names.get(report["status"]) in ("REJECTED", "CANCELLED")
        if by_its_call and (report["filled_quantity"] or not dead):
            order["status"] = "AMBIGUOUS"  # the broker has it all the same
        order["id"] = report["order_id"]
        most = max(order["quantity"], report["quantity"])
        order["filled"] = max(order["filled"], min(report["filled_quantity"], most))
        status = report["status"]
        self._move(order, "PENDING" if status is None else self._names[status])

    @staticmethod
    def _move(order: dict[str, Any], status: str) -> None:
        """Forward only; what has ended stays ended."""
        if order["status"] in ENDED:
            return
        if status in ENDED or _RANK[status] > _RANK[order["status"]]:
            order["status"] = status

    def after_a_crash(self) -> dict[int, tuple[str, int, int, str]]:
        """Order number -> (status, filled, quantity, id): what was in flight is ambiguous."""
        return {
            number: (
                "AMBIGUOUS" if order["status"] == "SENT" else order["status"],
                order["filled"], order["quantity"], order["id"],
            )
            for number, order in self.orders.items()
        }  # fmt: skip

    def positions(self) -> dict[tuple[int, int, int], int]:
        """(strategy, slot, product) -> what is held; flat ones left out."""
        held: dict[tuple[int, int, int], int] = {}
        for order in self.orders.values():
            held[order["place"]] = held.get(order["place"], 0) + order["sign"] * order["filled"]
        return {place: quantity for place, quantity in held.items() if quantity}
