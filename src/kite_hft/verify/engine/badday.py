"""Layer 6, by hand, cold: `verify badday`: every fault that the simulator knows, in one run.

Starts the simulator with a fault file and an engine that trades steadily on it, gives the engine a
new token when its own has died, and stops it when the day is over. Then the engine's own counters
(report.json) are held against the simulator's injection log and statistics, and
scripts/check_accounts.py, which shares no code with us, against the broker's books: orders, fills,
positions and cash. No tag may stand twice in the broker's book.
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
from urllib.parse import urlencode

from kite_hft.brokers.kite.rest import auth_headers
from kite_hft.clock import SystemClock
from kite_hft.net.http import HttpTransport, fetch
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.verify.alerts.bench import ACCOUNT, START_S, Bench, configuration, end
from kite_hft.verify.alerts.receivers import Receivers
from kite_hft.verify.campaign import ROOT, CampaignError

CASH: Final = 50_000_000
LOOK_S: Final = 0.5
STOPPED: Final = "NSE:INFY"
FORM: Final = "application/x-www-form-urlencoded"
AFTER_S: Final = 25.0
"""From the last fault to the end: what was stuck or ambiguous must have come to its end."""

CONNECTION_FAULTS: Final = {"drop": "closes_abrupt", "reset": "closes_abrupt"}
DAMAGE: Final = {"truncate": "cut_packet", "unknown_packet": "unknown_length"}
REQUEST_FAULTS: Final = {
    "http_429": "http_429", "http_503": "http_503", "http_504": "http_504",
    "http_400_timed_out": "http_400_timed_out", "http_502": "http_5xx",
}  # fmt: skip
"""Fault -> the engine's counter of such answers. 403 is said of a dead token, too: at least as many."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify badday", description=__doc__)
    made.add_argument("--faults", type=Path, default=ROOT / "config/faults/bad_day.yaml", help="fault file")
    made.add_argument("--duration", type=float, default=490.0, help="seconds of trading (default 490)")
    made.add_argument("--instruments", type=int, default=300, help="on three connections (default 300)")
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
        again = f"python -m kite_hft.verify badday --seed {options.seed} --keep FOLDER"
        print(f"missed; again, keeping the run: {again}", file=sys.stderr)
    return int(bool(found["wrong"]))


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The day, and what was found.

    Raises:
        CampaignError: simulator or engine do not come up or end too early.
    """
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", "kite", "--port", "0", "--die-with-parent"]
    command += ["--instruments", str(options.instruments), "--rate", str(options.rate)]
    command += ["--packets-per-frame", "20", "--seed", str(options.seed), "--cash", str(CASH)]
    command += ["--start-when-subscribed", str(options.instruments), "--no-holdings"]
    command += ["--exchange-time", "2026-11-20T10:00:00", "--faults", str(options.faults)]
    command += ["--fault-log", str(folder / "injected.jsonl")]
    simulator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    engine: subprocess.Popen[bytes] | None = None
    try:
        assert simulator.stdout is not None
        ready = simulator.stdout.readline()
        if not ready.startswith("ready "):
            raise CampaignError("the simulator did not start; what it said stands above")
        told = dict(word.split("=", 1) for word in ready.split()[1:])
        config = folder / "config.yaml"
        config.write_text(json.dumps(steady(told, folder)))  # JSON is YAML
        report = folder / "report.json"
        with (folder / "engine.out").open("wb") as out:
            words = ["-m", "kite_hft.engine", "--plain", "--config", str(config), "--report", str(report)]
            environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
            engine = subprocess.Popen([sys.executable, *words], stdout=out, env=environment)
        bench = Bench(told, folder, engine, Receivers("", folder))
        bench.until(lambda s: bool(s) and s["state"]["state"] == "ACTIVE", "state ACTIVE", START_S)
        lay_stop(told)
        live_through(bench, options.duration)
        end(engine)
        stats = json.loads(fetch(f"{told['api']}/_sim/stats")[1])
        account = json.loads(fetch(f"{told['api']}/_sim/account")[1])
        injected = strikes(told["api"])
        accounts = check_accounts(told, folder)
        counted = json.loads(report.read_text()) if report.exists() else {}
        return judge(counted, stats, account, injected, accounts, engine.returncode)
    finally:
        if engine is not None and engine.poll() is None:
            end(engine)
        simulator.terminate()
        simulator.communicate(timeout=30)


def steady(told: dict[str, str], folder: Path) -> dict[str, Any]:
    """An engine on three connections whose orders never stop coming."""
    made = configuration(told, folder, {})
    made["datafeed"] = {"connections": 3}
    probe = {"name": "kite_hft.verify.engine.supervise_probe:Probe", "form": "A", "params": {"every": 200}}
    made["strategies"] = [{**made["strategies"][0], "copies": "per_connection"}, probe]
    made["strategies"][1]["copies"] = "per_connection"
    made["risk"] = {"max_positions": 30, "max_exposure": 20_000_000, "max_position_size": 1_000_000}
    made["alerts"]["reject_storm"] = 1000  # a storm ends openings: it has a campaign of its own
    return made


def lay_stop(told: dict[str, str]) -> None:
    """A stop that a hand lays at the broker, far below the market: `stops_cancelled` has it to hit.

    Raises:
        CampaignError: the broker does not take it.
    """
    headers = auth_headers(told["api_key"], told["access_token"])
    quote = None
    while quote is None:  # the engine reads quotes, too, and the broker answers one a second
        quote = json.loads(fetch(f"{told['api']}/quote?i={STOPPED}", headers)[1]).get("data")
        time.sleep(0 if quote else 0.7)
    quote = quote[STOPPED]
    low = float(quote["lower_circuit_limit"])
    exchange, symbol = STOPPED.split(":")
    words = {"exchange": exchange, "tradingsymbol": symbol, "transaction_type": "SELL", "quantity": 1}
    words |= {"order_type": "SL", "product": "MIS", "validity": "DAY", "price": low, "trigger_price": low + 1}
    request = HttpRequest("POST", "/orders/regular", urlencode(words).encode(), FORM)
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


def check_accounts(told: dict[str, str], folder: Path) -> dict[str, Any]:
    """What the independent script says."""
    runs = sorted(path.parent for path in folder.glob(f"kite_hft/kite-{ACCOUNT}/*/*/journal.bin"))
    command = [sys.executable, str(ROOT / "scripts/check_accounts.py"), "--api", told["api"]]
    command += ["--api-key", told["api_key"], "--access-token", told["access_token"]]
    command += ["--opening-cash", str(CASH)]
    for path in runs:
        command += ["--run", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        found = {"failed": done.stderr[-500:]}
    return {"exit_code": done.returncode, **found}


def judge(
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
    pairs = compared(report, stats, injected, struck)
    wrong += [
        f"{name}: engine {ours}, server {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs
    ]
    tags = Counter(tag for order in account["orders"] for tag in set(own_tags(order)))
    doubled = sorted(tag for tag, n in tags.items() if n > 1)
    if doubled:
        wrong.append(f"tags that stand twice at the broker: {doubled}")
    if accounts["exit_code"]:
        wrong.append("the independent script found the accounts to differ")
    if report["orders"]["heard"]["http_403"] < struck["http_403"]:
        wrong.append(f"http_403: {struck['http_403']} struck, fewer heard")
    missing = sorted(kind for kind in KINDS_OF_THE_DAY if not struck[kind])
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


KINDS_OF_THE_DAY: Final = (
    "drop", "reset", "silence", "half_open", "slow_consumer", "truncate", "wrong_count", "unknown_packet",
    "update_double", "update_late", "update_reorder", "update_lost", "update_label", "http_429", "http_503",
    "http_504", "http_400_timed_out", "http_403", "http_502", "accept_then_drop", "slow_answer",
    "stuck_order", "stops_cancelled", "token_death",
)  # fmt: skip


def compared(
    report: dict[str, Any], stats: dict[str, Any], injected: Sequence[dict[str, Any]], struck: Counter[str]
) -> dict[str, tuple[int, int]]:
    """Name -> (the engine's counter, the server's)."""
    links, heard = report["ticks"]["by_connection"], report["orders"]["heard"]
    malformed = report["ticks"]["malformed"]

    def over_links(name: str) -> int:
        return sum(int(link[name]) for link in links)

    damaged = Counter(row["parameters"].get("by", 1) > 0 for row in injected if row["kind"] == "wrong_count")
    ends = Counter(row["kind"] for row in injected)
    by_token = sum(int(r.get("connections", 0)) for r in injected if r["kind"] == "token_death")
    abrupt = ends["drop"] + ends["reset"] + ends["slow_consumer"] + by_token
    pairs = {
        "closes_abrupt": (over_links("closes_abrupt"), abrupt),
        "watchdog_trips": (over_links("watchdog_trips"), ends["silence"] + ends["half_open"]),
        "texts": (over_links("texts"), int(stats["texts"])),
        "malformed cut_packet": (malformed["cut_packet"], struck["truncate"]),
        "malformed wrong_count": (malformed["wrong_count"], damaged[True]),
        "malformed trailing_bytes": (malformed["trailing_bytes"], damaged[False]),
        "malformed unknown_length": (malformed["unknown_length"], struck["unknown_packet"]),
        "updates_label": (int(heard["updates_label"]), int(stats["labels"])),
        "transport_errors": (int(heard["transport_errors"]), struck["accept_then_drop"]),
    }
    return pairs | {kind: (int(heard[name]), struck[kind]) for kind, name in REQUEST_FAULTS.items()}


if __name__ == "__main__":
    sys.exit(main())
