"""Layer 5, supervisor, cold: what may be asked of a running engine over its control socket.

    {"do": "status"}                                         processes, restarts, alerts that stand
    {"do": "stop", "policy": "keep" | "cancel" | "flatten"}  end in order
    {"do": "subscribe", "tokens": [..], "mode": "full"}      and "unsubscribe"
    {"do": "token", "access_token": ".."}                    after a new login; of two brokers with "broker";
                                                             with "api_key", "api_url": if they are its own
    {"do": "same_login", "broker": .., "api_key": .., "api_url": ..}   whether that token would be for it
    {"do": "halt", "reason": ".."}                           nothing opens any more
    {"do": "kill", "reason": "..", "flatten": false}         where who asks could not write the latch
    {"do": "cancel_all", "ask": "..", "reason": "..", "by": ".."}   every order that opens; nothing is stopped
    {"do": "resume", "strategy": "..", "by": ".."}           it may again (null: everything, the kill too)
    {"do": "resolve", "name": "7", "how": "absent", ..}      a person's word on an order of unknown fate
    {"do": "acknowledge", "number": 3}                       an alert was seen (null: all), or "code", "key"
    {"do": "test_alert"}                                     one through every sink; with "number": its fate

Each is answered by {"ok": true, ...} or {"error": "..."}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.configuring.models.broker import mode_of
from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.upkeep import Upkeep
from kite_hft.engine.keys.ends import told_by_token, until_of
from kite_hft.engine.plan.launch import Run
from kite_hft.engine.plan.plan import PlanError
from kite_hft.engine.plan.rooms import refuse_excess, slot_modes
from kite_hft.engine.processes.control import ControlError
from kite_hft.engine.processes.family import ENDED, Family, Member
from kite_hft.settings import SettingsError

POLICIES: Final = ("keep", "cancel", "flatten")
Request = dict[str, Any]


@dataclass(slots=True)
class Steering:
    """Answers requests; what takes longer is done by the supervisor's loop."""

    run: Run
    family: Family
    alerting: Alerting
    upkeep: Upkeep
    _modes: dict[int, str] | None = field(default=None, init=False)  # at Upstox; None: as at the start

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
            "same_login": self._same_login,
            "halt": self._halt,
            "kill": self._kill,
            "cancel_all": self._cancel_all,
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
        mode = str(request.get("mode", "full"))
        for broker in self.run.settings.data_brokers:
            try:
                mode_of(broker, mode)
            except ValueError as error:
                raise ControlError(str(error)) from None
        slot_of = {int(token): slot for slot, token in enumerate(self.run.instruments.tokens())}
        if unknown := [token for token in tokens if token not in slot_of]:
            raise ControlError(f"no instruments of this run: {unknown[:10]}; see its instruments.csv")
        subscribes = request["do"] == "subscribe"
        modes = self._room([slot_of[token] for token in tokens], mode if subscribes else "")
        parts: list[tuple[Member, Request]] = []
        for connection in self.run.plan.connections:
            carried = set(connection.slots)
            mine = [token for token in tokens if slot_of[token] in carried]
            member = next(
                m for m in self.family.members.values()
                if "feed" in m.plan.stages and m.plan.connection == connection.number
            )  # fmt: skip
            message: Request = {"do": request["do"], "tokens": mine}
            if subscribes:
                message["mode"] = mode_of(connection.broker, mode)
            if mine:
                parts.append((member, message))
        if ended := [member.plan.name for member, _ in parts if member.state == ENDED]:
            raise ControlError(f"nothing was changed: {', '.join(ended)} is not running")
        if subscribes:  # told in part it counts as a whole: what streams must never be too much
            self._modes = modes
        told: dict[str, int] = {}
        for member, message in parts:
            if not member.child.tell(message):
                done = f"; told were {', '.join(told)}" if told else ""
                raise ControlError(f"{member.plan.name} is not running{done}")
            told[member.plan.name] = len(message["tokens"])
        self._modes = modes
        return {"told": told}

    def _room(self, slots: list[int], mode: str) -> dict[int, str]:
        """Slot -> mode after a change of some slots ("": they end). One that Upstox would answer with
        silence, or that makes a round of quotes too long, is refused before anything is sent.
        """
        run, brokers = self.run, self.run.settings.data_brokers
        if "upstox" not in brokers and not run.settings.datafeed.is_polled:
            return {}
        broker = "upstox" if "upstox" in brokers else brokers[0]
        known = slot_modes(run.settings, run.instruments, broker) if self._modes is None else self._modes
        modes = dict(known)
        for slot in slots:
            modes.pop(slot, None)
            if mode:
                modes[slot] = mode_of(broker, mode)
        if mode:
            try:
                refuse_excess(run.settings, run.instruments, run.plan, modes)
            except (PlanError, SettingsError) as error:
                raise ControlError(f"nothing was changed: {error}") from None
        return modes

    def _token(self, request: Request) -> dict[str, Any]:
        token = str(request["access_token"])
        if not token or not token.isprintable() or " " in token:
            raise ControlError("that is no access token")
        until = told_by_token(token)
        if (end_ns := until_of(until)) is not None and end_ns <= self.run.clock.real_ns():
            raise ControlError(f"that token ended at {until}: log in again (kite-hft login)")
        session = self.run.session
        broker = str(request.get("broker") or session.brokers[0])
        if broker not in session.brokers:
            raise ControlError(f"no broker {broker!r} in this run; there are {', '.join(session.brokers)}")
        if not request.get("broker") and len(session.brokers) > 1:
            raise ControlError(f"say whose token it is: broker {' or '.join(session.brokers)}")
        if not self._same_login({**request, "broker": broker})["same"]:
            raise ControlError(f"this engine runs with another login of {broker}: it keeps its token")
        self.run.session = session = session.renewed(broker, token)
        self.alerting.secrets = (*self.alerting.secrets, token)
        ours = broker == session.orders.broker and not session.orders.sandbox
        if ours and self.run.settings.mode != "paper":
            self.family.tell("orders", {"do": "token", "access_token": token})
            self.family.tell("updates", {"do": "token", "feed": session.orders.feed_config()})
        for access in session.data:
            if access.broker == broker:
                self.family.tell("feed", {"do": "token", "feed": access.feed_config()})
        return {"restarted": self.family.revive(self.run.clock.mono_ns(), "feed")}

    def _same_login(self, request: Request) -> dict[str, Any]:
        broker, key, url = (str(request.get(name) or "") for name in ("broker", "api_key", "api_url"))
        session = self.run.session
        return {"same": broker in session.brokers and not session.other_login(broker, key, url)}

    def _halt(self, request: Request) -> dict[str, Any]:
        reason = str(request.get("reason") or "asked by the command line")
        if not self.family.tell("orders", {"do": "halt", "reason": reason}):
            raise ControlError("the order process is not running")
        return {}

    def _kill(self, request: Request) -> dict[str, Any]:
        """ORDERS sets the latch; what it cannot write either it remembers."""
        words = {"reason": str(request.get("reason") or "asked by the command line")[:200]}
        if not self.family.tell("orders", {"do": "kill", "flatten": bool(request.get("flatten"))} | words):
            raise ControlError("the order process is not running")
        return {}

    def _cancel_all(self, request: Request) -> dict[str, Any]:
        """ORDERS journals its answer (COMMAND) under the number `ask`: the orders that it cancels."""
        words = {key: str(request.get(key) or "")[:200] for key in ("ask", "reason", "by")}
        if not (words["ask"] and words["reason"]):
            raise ControlError("cancel_all needs ask and reason")
        if not self.family.tell("orders", {"do": "cancel_all", **words}):
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
