"""Layer 5, supervisor, cold: what may be asked of a running engine over its control socket.

    {"do": "status"}                                         processes, restarts, alerts that stand
    {"do": "stop", "policy": "keep" | "cancel" | "flatten"}  end in order
    {"do": "subscribe", "tokens": [..], "mode": "full"}      and "unsubscribe"
    {"do": "token", "access_token": ".."}                    after a new login
    {"do": "halt", "reason": ".."}                           nothing opens any more
    {"do": "resume", "strategy": "..", "by": ".."}           it may again (null: everything, the kill too)
    {"do": "resolve", "name": "7", "how": "absent", ..}      a person's word on an order of unknown fate
    {"do": "acknowledge", "number": 3}                       an alert was seen (null: all), or "code", "key"
    {"do": "test_alert"}                                     one through every sink; with "number": its fate

Each is answered by {"ok": true, ...} or {"error": "..."}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from kite_hft.engine.alerting import Alerting
from kite_hft.engine.control import ControlError
from kite_hft.engine.family import ENDED, Family
from kite_hft.engine.launch import Run
from kite_hft.engine.upkeep import Upkeep

POLICIES: Final = ("keep", "cancel", "flatten")
MODES: Final = ("ltp", "quote", "full")
Request = dict[str, Any]


@dataclass(slots=True)
class Steering:
    """Answers requests; what takes longer is done by the supervisor's loop."""

    run: Run
    family: Family
    alerting: Alerting
    upkeep: Upkeep

    def handle(self, request: Request) -> dict[str, Any]:
        """The answer to one request.

        Raises:
            ControlError: an unknown request, or one that cannot be fulfilled; it says why.
        """
        verbs: dict[str, Callable[[Request], dict[str, Any]]] = {
            "status": self._status,
            "stop": self._stop,
            "subscribe": self._subscribe,
            "unsubscribe": self._subscribe,
            "token": self._token,
            "halt": self._halt,
            "resume": self._resume,
            "resolve": self._resolve,
            "acknowledge": self._acknowledge,
            "test_alert": self._test_alert,
        }
        verb = verbs.get(str(request.get("do")))
        if verb is None:
            raise ControlError(f"unknown request {request.get('do')!r}; known: {', '.join(verbs)}")
        return {"ok": True} | verb(request)

    def _status(self, _request: Request) -> dict[str, Any]:
        return {
            "run": self.run.folder.name,
            "folder": str(self.run.folder.path),
            "mode": self.run.settings.mode,
            "stopping": self.run.stop_asked,
            "processes": self.family.rows() + self.upkeep.rows(),
            "restarts": [restart.row() for restart in self.family.history],
            "alerts": [alert.fields() for alert in self.alerting.standing()],
            "watchdog": self.upkeep.report(),
        }

    def _stop(self, request: Request) -> dict[str, Any]:
        policy = request.get("policy") or ""
        if policy and policy not in POLICIES:
            raise ControlError(f"stop policy {policy!r}; choose one of {', '.join(POLICIES)}")
        self.run.stop_policy = policy
        self.run.stop_asked = f"asked by the command line{f' ({policy})' if policy else ''}"
        return {}

    def _subscribe(self, request: Request) -> dict[str, Any]:
        tokens = [int(token) for token in request["tokens"]]
        mode = request.get("mode", "full")
        if mode not in MODES:
            raise ControlError(f"mode {mode!r}; choose one of {', '.join(MODES)}")
        slot_of = {int(token): slot for slot, token in enumerate(self.run.instruments.tokens())}
        if unknown := [token for token in tokens if token not in slot_of]:
            raise ControlError(f"no instruments of this run: {unknown[:10]}; see its instruments.csv")
        told = {}
        for connection in self.run.plan.connections:
            carried = set(connection.slots)
            mine = [token for token in tokens if slot_of[token] in carried]
            member = next(m for m in self.family.members.values() if m.plan.connection == connection.number)
            if not mine:
                continue
            message: Request = {"do": request["do"], "tokens": mine}
            if request["do"] == "subscribe":
                message["mode"] = mode
            if member.state == ENDED or not member.child.tell(message):
                raise ControlError(f"{member.plan.name} is not running")
            told[member.plan.name] = len(mine)
        return {"told": told}

    def _token(self, request: Request) -> dict[str, Any]:
        token = str(request["access_token"])
        if not token or not token.isprintable() or " " in token:
            raise ControlError("that is no access token")
        if self.run.settings.mode == "paper":
            raise ControlError("paper mode takes its session from the configuration; start again")
        self.run.session = replace(self.run.session, access_token=token)
        self.alerting.secrets = (*self.alerting.secrets, token)
        self.family.tell("orders", {"do": "token", "access_token": token})
        self.family.tell("feed", {"do": "token", "feed_url": self.run.session.feed_url})
        return {"restarted": self.family.revive(self.run.clock.mono_ns(), "feed")}

    def _halt(self, request: Request) -> dict[str, Any]:
        reason = str(request.get("reason") or "asked by the command line")
        if not self.family.tell("orders", {"do": "halt", "reason": reason}):
            raise ControlError("the order process is not running")
        return {}

    def _resume(self, request: Request) -> dict[str, Any]:
        name, by = request.get("strategy"), str(request.get("by") or "")[:100]
        numbers: list[int | None] = [None]
        if name is not None:
            known = {
                number: self.run.settings.strategies[index].name
                for worker in self.run.plan.workers
                for number, index, _slots in worker.strategies
            }
            numbers = [number for number, known_name in known.items() if known_name == name]
            if not numbers:
                names = ", ".join(sorted(set(known.values())))
                raise ControlError(f"no strategy {name!r} in this run; there are {names}")
        for number in numbers:
            if not self.family.tell("orders", {"do": "resume", "strategy": number, "by": by}):
                raise ControlError("the order process is not running")
        return {}

    def _resolve(self, request: Request) -> dict[str, Any]:
        """Handed on as it is; ORDERS journals its answer (COMMAND) under the number `ask`."""
        words = {key: str(request.get(key) or "")[:100] for key in ("ask", "name", "how", "order_id", "by")}
        if not (words["ask"] and words["name"] and words["how"] in ("absent", "present")):
            raise ControlError("resolve needs ask, name, and how: absent or present")
        if not self.family.tell("orders", {"do": "resolve", **words}):
            raise ControlError("the order process is not running")
        return {}

    def _acknowledge(self, request: Request) -> dict[str, Any]:
        number, key = request.get("number"), request.get("key")
        code, by = str(request.get("code") or ""), str(request.get("by") or "")
        number, key = None if number is None else int(number), None if key is None else str(key)
        return {"acknowledged": self.alerting.acknowledge(number, code, key, by)}

    def _test_alert(self, request: Request) -> dict[str, Any]:
        number = request.get("number")
        if number is None:
            number = self.alerting.test()
        return {"number": number, "sinks": self.alerting.tested(int(number))}
