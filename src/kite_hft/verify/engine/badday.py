"""Layer 6, by hand, cold: `verify badday`: every fault that the simulator knows, in one run.

Starts the simulator with a fault file and an engine that trades steadily on it, gives the engine a
new token when its own has died, and stops it when the day is over. Then the engine's own counters
(report.json) are held against the simulator's injection log and statistics, and
scripts/check_accounts.py, which shares no code with us, against the broker's books: orders, fills,
positions and cash. No tag may stand twice in the broker's book.

At Upstox the portfolio socket, the way to a feed's one-time address and close code 1000 are struck, too, and
the host for order calls is down all day: they go to the one that stands in.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from kite_hft.clock import SystemClock
from kite_hft.net.http import HttpTransport, fetch
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.verify.alerts.bench import ACCOUNT, START_S, Bench, configuration, end
from kite_hft.verify.alerts.receivers import Receivers
from kite_hft.verify.brokers.choosing import add_broker
from kite_hft.verify.brokers.running import addressed, facts_of, session_headers, simulated
from kite_hft.verify.campaign import ROOT, CampaignError

CASH: Final = 50_000_000
LOOK_S: Final = 0.5
STOPPED: Final = "NSE:INFY"
FORM: Final = "application/x-www-form-urlencoded"
AFTER_S: Final = 25.0
"""From the last fault to the end: what was stuck or ambiguous must have come to its end."""

NOBODY: Final = "http://127.0.0.1:1"
"""A host that is down."""
DAYS: Final = {"kite": "bad_day.yaml", "upstox": "bad_day_upstox.yaml"}
CONNECTIONS: Final = {"kite": 3, "upstox": 2}
EVERY: Final = {"kite": 200, "upstox": 287}
"""Ticks between two acts of the probe: Upstox takes 2,000 order calls in half an hour."""
AUTHORIZE: Final = "authorize"
REQUEST_FAULTS: Final = {
    "http_429": "http_429", "http_503": "http_503", "http_504": "http_504",
    "http_400_timed_out": "http_400_timed_out", "http_502": "http_5xx",
}  # fmt: skip
"""Fault -> the engine's counter of such answers. 403 is said of a dead token, too: at least as many."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify badday", description=__doc__)
    made.add_argument("--faults", type=Path, help="fault file (default: config/faults/bad_day*.yaml)")
    add_broker(made)
    made.add_argument("--duration", type=float, default=490.0, help="seconds of trading (default 490)")
    made.add_argument("--instruments", type=int, default=300, help="on all connections (default 300)")
    made.add_argument("--rate", type=float, default=2.0, help="ticks per second and instrument (default 2)")
    made.add_argument("--seed", type=int, default=7)
    made.add_argument("--keep", type=Path, help="folder that gets the run")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """One bad day; one JSON line. Returns 1 on a miss."""
    options = parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = run(options, folder)
        except CampaignError as error:
            found = {"wrong": [str(error)]}
    print(json.dumps({"campaign": "badday", "ok": not found["wrong"], **found}))
    if found["wrong"]:
        again = (
            f"python -m kite_hft.verify badday --broker {options.broker} --seed {options.seed} --keep FOLDER"
        )
        print(f"missed; again, keeping the run: {again}", file=sys.stderr)
    return int(bool(found["wrong"]))


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The day, and what was found.

    Raises:
        CampaignError: simulator or engine do not come up or end too early.
    """
    engine: subprocess.Popen[bytes] | None = None
    with simulated(simulator_command(options, folder)) as (told, _pid):
        try:
            config = folder / "config.yaml"
            config.write_text(json.dumps(steady(options.broker, told, folder)))  # JSON is YAML
            report = folder / "report.json"
            with (folder / "engine.out").open("wb") as out:
                words = ["-m", "kite_hft.engine", "--plain", "--config", str(config), "--report", str(report)]
                environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
                engine = subprocess.Popen([sys.executable, *words], stdout=out, env=environment)
            bench = Bench(told, folder, engine, Receivers("", folder))
            bench.until(lambda s: bool(s) and s["state"]["state"] == "ACTIVE", "state ACTIVE", START_S)
            lay_stop(options.broker, told)
            live_through(bench, options.duration)
            end(engine)
            stats = json.loads(fetch(f"{told['api']}/_sim/stats")[1])
            account = json.loads(fetch(f"{told['api']}/_sim/account")[1])
            injected = strikes(told["api"])
            accounts = check_accounts(options.broker, told, folder)
            counted = json.loads(report.read_text()) if report.exists() else {}
            return judge(options.broker, counted, stats, account, injected, accounts, engine.returncode)
        finally:
            if engine is not None and engine.poll() is None:
                end(engine)


def simulator_command(options: argparse.Namespace, folder: Path) -> list[str]:
    faults = options.faults or ROOT / "config/faults" / DAYS[options.broker]
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", options.broker, "--port", "0"]
    command += ["--die-with-parent", "--instruments", str(options.instruments), "--rate", str(options.rate)]
    command += ["--packets-per-frame", "20", "--seed", str(options.seed), "--cash", str(CASH)]
    command += ["--start-when-subscribed", str(options.instruments), "--no-holdings"]
    command += ["--exchange-time", "2026-11-20T10:00:00", "--faults", str(faults)]
    return [*command, "--fault-log", str(folder / "injected.jsonl")]


def steady(broker: str, told: dict[str, str], folder: Path) -> dict[str, Any]:
    """An engine on all connections whose orders never stop coming."""
    made = configuration(told, folder, {})
    made.pop("kite")
    made |= addressed(broker, told)
    made["trading"] |= facts_of(broker)
    if broker == "upstox":
        made["upstox"] |= {"hft_url": NOBODY, "failover": [told["api"]]}
        made["trading"]["positions_s"] = 2.0  # 2,000 reads in half an hour are all that there are
    made["datafeed"] = {"connections": CONNECTIONS[broker]}
    params = {"every": EVERY[broker]}
    probe = {"name": "kite_hft.verify.engine.supervise_probe:Probe", "form": "A", "params": params}
    made["strategies"] = [{**made["strategies"][0], "copies": "per_connection"}, probe]
    made["strategies"][1]["copies"] = "per_connection"
    made["risk"] = {"max_positions": 30, "max_exposure": 20_000_000, "max_position_size": 1_000_000}
    made["alerts"]["reject_storm"] = 1000  # a storm ends openings: it has a campaign of its own
    return made


def lay_stop(broker: str, told: dict[str, str]) -> None:
    """A stop that a hand lays at the broker, far below the market: `stops_cancelled` has it to hit.

    Raises:
        CampaignError: the broker does not take it.
    """
    headers = session_headers(broker, told)
    request = stop_of(broker, told, headers)
    transport = HttpTransport(told["api"], SystemClock(), headers)
    try:
        transport.submit(1, request)
        while not (done := transport.poll()):
            time.sleep(0.01)
    finally:
        transport.close()
    answer = done[0][1]
    if isinstance(answer, TransportError) or answer.status != 200:
        raise CampaignError(f"the broker takes no stop: {answer}")


def stop_of(broker: str, told: dict[str, str], headers: Sequence[tuple[str, str]]) -> HttpRequest:
    """The call that lays the stop, at the lower circuit of a quote."""
    words = {"transaction_type": "SELL", "quantity": 1, "order_type": "SL", "validity": "DAY"}
    if broker == "kite":
        low = quoted(f"{told['api']}/quote?i={STOPPED}", headers)["lower_circuit_limit"]
        exchange, symbol = STOPPED.split(":")
        words |= {"exchange": exchange, "tradingsymbol": symbol, "product": "MIS"}
        words |= {"price": low, "trigger_price": low + 1}
        return HttpRequest("POST", "/orders/regular", urlencode(words).encode(), FORM)
    key = with_upstox_keys(default_instruments(20, 1)[0]).by_key[STOPPED].upstox_key
    path = f"/v3/market-quote/quotes?instrument_key={quote(key)}"
    low = quoted(told["api"] + path, headers)["lower_circuit_limit"]
    words |= {"instrument_token": key, "product": "I", "price": low, "trigger_price": low + 1}
    words |= {"disclosed_quantity": 0, "is_amo": False, "slice": False}
    return HttpRequest("POST", "/v3/order/place", json.dumps(words).encode(), "application/json")


def quoted(url: str, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The one instrument of a quote; asked again while it is refused: the engine reads quotes, too.

    Raises:
        CampaignError: there is none for START_S.
    """
    deadline = time.monotonic() + START_S
    while not (data := json.loads(answer := fetch(url, headers)[1]).get("data")):
        if time.monotonic() > deadline:
            raise CampaignError(f"no quote of {STOPPED}: {answer[:200]!r}")
        time.sleep(0.7)
    found: dict[str, Any] = next(iter(data.values()))
    return found


def live_through(bench: Bench, duration_s: float) -> None:
    """Until the day is over; logs in when the token has died."""
    deadline, logged_in = time.monotonic() + duration_s, False
    while time.monotonic() < deadline:
        if bench.engine.poll() is not None:
            raise CampaignError(f"the engine ended by itself (exit code {bench.engine.returncode})")
        dead = any(row["kind"] == "token_death" for row in strikes(bench.api))
        if dead and not logged_in:
            time.sleep(5.0)  # a person takes a while
            bench.log_in()
            logged_in = True
        time.sleep(LOOK_S)
    bench.until(lambda s: s["state"]["state"] == "ACTIVE", "state ACTIVE at the end", AFTER_S)


def strikes(api: str) -> list[dict[str, Any]]:
    """The simulator's log of what it injected."""
    found: list[dict[str, Any]] = json.loads(fetch(f"{api}/_sim/faults")[1])
    return found


def check_accounts(broker: str, told: dict[str, str], folder: Path) -> dict[str, Any]:
    """What the independent script says."""
    runs = sorted(path.parent for path in folder.glob(f"kite_hft/{broker}-{ACCOUNT}/*/*/journal.bin"))
    command = [sys.executable, str(ROOT / "scripts/check_accounts.py"), "--api", told["api"]]
    command += ["--api-key", told["api_key"], "--access-token", told["access_token"]]
    command += ["--opening-cash", str(CASH), "--broker", broker]
    for path in runs:
        command += ["--run", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        found = {"failed": done.stderr[-500:]}
    return {"exit_code": done.returncode, **found}


def judge(
    broker: str,
    report: dict[str, Any],
    stats: dict[str, Any],
    account: dict[str, Any],
    injected: Sequence[dict[str, Any]],
    accounts: dict[str, Any],
    code: int,
) -> dict[str, Any]:
    """The figures side by side; `wrong` names each pair that differs."""
    wrong = [] if code == 0 else [f"the engine ended with exit code {code}"]
    if not report:
        return {"wrong": [*wrong, "no report"], "accounts": accounts}
    struck = Counter[str]()
    for row in injected:
        struck[row["kind"]] += int(row["count"])
    # What struck the way to a feed is counted there, all else by ORDERS.
    ways = Counter(row["kind"] for row in injected if row["parameters"].get("request") == AUTHORIZE)
    calls = struck - ways
    pairs = compared(report, stats, injected, calls)
    pairs |= (
        compared_of_upstox(report, stats, injected, ways)
        if broker == "upstox"
        else compared_of_kite(report, stats, injected, struck)
    )
    wrong += [
        f"{name}: engine {ours}, server {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs
    ]
    tags = Counter(tag for order in account["orders"] for tag in set(own_tags(order)))
    doubled = sorted(tag for tag, n in tags.items() if n > 1)
    if doubled:
        wrong.append(f"tags that stand twice at the broker: {doubled}")
    if accounts["exit_code"]:
        wrong.append("the independent script found the accounts to differ")
    if report["orders"]["heard"]["http_403"] < calls["http_403"]:
        wrong.append(f"http_403: {calls['http_403']} struck, fewer heard")
    of_the_day = KINDS_OF_THE_DAY - KITES_ALONE if broker == "upstox" else KINDS_OF_THE_DAY
    if many := sum(stats["too_many_requests"].values()):
        wrong.append(f"the broker refused {many} calls as too many: is the machine too busy for its clock?")
    missing = sorted(kind for kind in of_the_day if not struck[kind])
    if missing:
        wrong.append(f"never struck: {missing}")
    orders = report["orders"]
    if orders["ambiguous"] != orders["resolved"]:
        wrong.append(f"{orders['ambiguous']} ambiguous, {orders['resolved']} resolved")
    return {
        "wrong": wrong,
        "injected": dict(sorted(struck.items())),
        "compared": {name: list(pair) for name, pair in pairs.items()},
        "doubled": len(doubled),
        "orders": {key: value for key, value in orders.items() if isinstance(value, int)},
        "absence_horizon_s": report["absence_horizon_s"],
        "restarts": report["restarts"],
        "accounts": accounts,
    }


def own_tags(order: dict[str, Any]) -> list[str]:
    """Tags of an order that a client gave it: 20 characters long, as ours are."""
    return [tag for tag in [order.get("tag"), *(order.get("tags") or [])] if tag and len(tag) == 20]


KINDS_OF_THE_DAY: Final = frozenset((
    "drop", "reset", "silence", "half_open", "slow_consumer", "truncate", "wrong_count", "unknown_packet",
    "update_double", "update_late", "update_reorder", "update_lost", "update_label", "http_429", "http_503",
    "http_504", "http_400_timed_out", "http_403", "http_502", "accept_then_drop", "slow_answer",
    "stuck_order", "stops_cancelled", "token_death",
))  # fmt: skip
KITES_ALONE: Final = frozenset({"wrong_count", "update_label"})


def compared(
    report: dict[str, Any], stats: dict[str, Any], injected: Sequence[dict[str, Any]], calls: Counter[str]
) -> dict[str, tuple[int, int]]:
    """Name -> (the engine's counter, the server's). calls: strikes by kind, without the way to a feed."""
    heard = report["orders"]["heard"]
    ends = Counter(row["kind"] for row in injected)
    by_token = sum(int(r.get("connections", 0)) for r in injected if r["kind"] == "token_death")
    abrupt = ends["drop"] + ends["reset"] + ends["slow_consumer"] + by_token
    pairs = {
        "closes_abrupt": (over_links(report, "closes_abrupt"), abrupt),
        "watchdog_trips": (over_links(report, "watchdog_trips"), ends["silence"] + ends["half_open"]),
        "texts": (over_links(report, "texts"), int(stats["texts"])),
        "transport_errors": (int(heard["transport_errors"]), calls["accept_then_drop"]),
    }
    return pairs | {kind: (int(heard[name]), calls[kind]) for kind, name in REQUEST_FAULTS.items()}


def over_links(report: dict[str, Any], name: str) -> int:
    """A counter of all connections together, the one for order updates among them."""
    return sum(int(link[name]) for link in report["ticks"]["by_connection"])


def compared_of_kite(
    report: dict[str, Any], stats: dict[str, Any], injected: Sequence[dict[str, Any]], struck: Counter[str]
) -> dict[str, tuple[int, int]]:
    """The same of what only Kite's protocol has."""
    malformed = report["ticks"]["malformed"]
    damaged = Counter(row["parameters"].get("by", 1) > 0 for row in injected if row["kind"] == "wrong_count")
    return {
        "malformed cut_packet": (malformed["cut_packet"], struck["truncate"]),
        "malformed wrong_count": (malformed["wrong_count"], damaged[True]),
        "malformed trailing_bytes": (malformed["trailing_bytes"], damaged[False]),
        "malformed unknown_length": (malformed["unknown_length"], struck["unknown_packet"]),
        "updates_label": (int(report["orders"]["heard"]["updates_label"]), int(stats["labels"])),
    }


def compared_of_upstox(
    report: dict[str, Any], stats: dict[str, Any], injected: Sequence[dict[str, Any]], ways: Counter[str]
) -> dict[str, tuple[int, int]]:
    """The same of Upstox. A frame that is cut cannot be parsed; unknown fields are passed over, uncounted.
    Its catch-all answer comes from a halted exchange, too: the server counts them as they leave.

    ways: strikes of the way to a feed, by kind.
    """
    heard, refused = report["orders"]["heard"], stats["refused"]
    malformed, kinds = report["ticks"]["malformed"], Counter(row["kind"] for row in injected)
    return {
        "closes_by_peer": (over_links(report, "closes_by_peer"), kinds["close"]),
        "malformed message": (malformed["message"], kinds["truncate"]),
        "malformed, all": (sum(malformed.values()), kinds["truncate"]),
        "authorize refused with 403": (over_links(report, "refused_403"), ways["http_403"]),
        "authorize dropped": (over_links(report, "unreachable"), ways["accept_then_drop"]),
        "http_400_timed_out": (int(heard["http_400_timed_out"]), int(refused.get("400 UDAPI100500", 0))),
        "http_429": (int(heard["http_429"]), int(refused.get("429 UDAPI10005", 0))),
    }


if __name__ == "__main__":
    sys.exit(main())
