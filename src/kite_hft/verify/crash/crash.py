"""Layer 6, by hand and CI, cold: `verify crash`: death at every store and system call of the order path.

The simulator runs in a process of its own and keeps the truth. The real engine trades on it without
pause. Again and again one of its processes is killed (SIGKILL): at a chosen point (a store into shared
memory, a write of the journal, a part of a request, ...: points.py), or anywhere. Whoever died must
be started again, by the supervisor or, after the supervisor's own death, by the next engine, and trade.
At the end the broker's orders, the journals and the strategy's own list of what it asked for are compared
(count.py): 0 lost, 0 doubled, 0 unexplained, positions equal.

Points are not in the product: compiled modules that have them are built into build/crash, and the engine
of the campaign is given them by a sitecustomize of its own (hook.py). It needs the source tree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from kite_hft.settings import load_yaml
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.sim.market.universe import default_instruments
from kite_hft.verify.brokers.choosing import add_broker
from kite_hft.verify.brokers.running import addressed, facts_of
from kite_hft.verify.campaign import CONFIG, ROOT, CampaignError
from kite_hft.verify.crash.engine import ACCOUNT, Campaign, Kill, end
from kite_hft.verify.crash.points import AREA, BUILT, MODULES, SUPERVISOR, UPDATES, Area, points_of

INSTRUMENTS: Final = 20
PROBED: Final = 8
RATE: Final = 10.0  # ticks per second and instrument
ANYWHERE: Final = ("orders", "market", "recorder", "orders", "market", SUPERVISOR)
NOBODY: Final = "http://127.0.0.1:1"
"""A host that is down."""
MINUTE_S: Final = 60.0
WIDER: Final = 4
EVERY: Final = 5
OWN_EVERY: Final = 40
"""Ticks between two acts where the broker's own limits hold: two a second, of which a part are orders."""
HOOK: Final = "from kite_hft.verify.crash.hook import install\n\ninstall()\n"


def build() -> Path:
    """The compiled modules with points; built when the sources have changed since.

    Raises:
        CampaignError: there is no source tree, or the build fails.
    """
    if not (ROOT / "setup.py").exists():
        raise CampaignError("verify crash needs the source tree: it builds modules with crash points")
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "ext").iterdir(), ROOT / "src/kite_hft/layout.py", ROOT / "setup.py"]):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    folder = ROOT / "build/crash" / digest.hexdigest()[:16]
    modules = folder / "kite_hft"
    if len(list(modules.glob("_*.so"))) == len(BUILT):
        return modules
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(folder), "-j2"]
    command += ["--build-temp", str(folder / "temp")]
    environment = {**os.environ, "KHFT_CRASH": "1", "KHFT_EXT": ",".join(BUILT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CampaignError(f"the modules with crash points cannot be built: {done.stderr[-2000:]}")
    return modules


def choose(options: argparse.Namespace, chance: random.Random) -> list[Kill]:
    """Who dies where, in which order."""
    known = points_of(options.broker)
    points = [point for point in known if not options.only or options.only in point.title]
    if options.only and not points:
        raise CampaignError(f"no point like {options.only!r}: " + ", ".join(p.title for p in known))
    chosen: list[Kill] = []
    if options.points == "all" or options.only:
        chance.shuffle(points)
        chosen = [Kill(point.role, point) for point in points[: options.kills]]
    anywhere = (*ANYWHERE, UPDATES) if options.broker == "upstox" else ANYWHERE
    roles = [Kill(role) for role in dict.fromkeys(anywhere)]
    while len(chosen) < options.kills:
        if options.only or chance.random() < 0.5:
            point = chance.choice(points)
            chosen.append(Kill(point.role, point))
        else:
            chosen.append(roles.pop() if roles else Kill(chance.choice(anywhere)))
    chance.shuffle(chosen)
    return chosen


def limits_file(side: BrokerSide, own: bool, folder: Path) -> Path:
    """The file of limits for the engine. Wide ones: how fast the engine trades bounds the kills per hour.

    Four times the broker's calls, and no window of more than a minute.
    """
    if own:
        return CONFIG / "rules" / side.rules
    found = dict(load_yaml(CONFIG / "rules" / side.rules))
    for name in [name for name in found if name.endswith("_windows")]:
        rows = [row for row in found[name] if row["window_s"] <= MINUTE_S]
        found[name] = [{**row, "calls": WIDER * row["calls"]} for row in rows]
    found |= {"loopback_only": True, "orders_per_day": 500_000}
    path = folder / "limits.yaml"
    path.write_text(json.dumps(found))  # JSON is YAML
    return path


def configuration(options: argparse.Namespace, told: dict[str, str], folder: Path) -> dict[str, Any]:
    """The engine's configuration."""
    side = side_of(options.broker)
    table, _ = default_instruments(INSTRUMENTS, options.seed)
    shares = [i.key for i in table if i.exchange == "NSE" and i.kind == "EQ" and not i.is_index]
    every = options.every or (OWN_EVERY if options.own_limits else EVERY)
    probe = {
        "name": "kite_hft.verify.crash.probe:Probe",
        "form": "A",
        "instruments": shares[:PROBED],
        "params": {"log": str(folder / "asked.jsonl"), "every": every},
    }
    brokers = addressed(side.name, told)
    if options.failover:
        brokers["upstox"] |= {"hft_url": NOBODY, "failover": [told["api"]]}
    return {
        "mode": "sim",
        "account": ACCOUNT,
        **brokers,
        "datafeed": {"store_ticks": True},
        "strategies": [probe],
        "risk": {"max_order_value": 1e7, "max_position_size": 1e7, "max_positions": 50, "max_exposure": 1e9,
                 "max_working_orders": 200, "max_gross_notional": 1e12, "repeats_max": 1_000_000},
        "trading": {
            "date": "2026-11-20",
            **facts_of(side.name),
            "rules": str(limits_file(side, options.own_limits, folder)),
            "absence_horizon_s": options.horizon,
        },
        "alerts": {"reject_storm": 100_000, "naked_limit": 1e9},
        "performance": {"packing": "fused", "ring_buffer_size": 65_536},
        # So many deaths a minute would break the circuit, as they should; that is tried elsewhere.
        "supervision": {"restarts_max": 1_000_000},
    }  # fmt: skip


def simulator_command(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", options.broker, "--port", "0"]
    command += ["--instruments", str(INSTRUMENTS), "--rate", str(RATE), "--packets-per-frame", "20"]
    command += ["--seed", str(options.seed), "--cash", "500000000", "--die-with-parent"]
    command += [] if options.own_limits else ["--no-limits"]
    return [*command, "--exchange-time", "2026-11-20T10:00:00", "--start-when-subscribed"]


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything; what was measured and what is wrong."""
    chance = random.Random(options.seed)
    kills, modules = choose(options, chance), build()
    hook = folder / "hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(HOOK)
    area = Area(folder / "area", make=True)
    path = os.pathsep.join(filter(None, [str(hook), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "XDG_STATE_HOME": str(folder), "PYTHONPATH": path}
    environment |= {AREA: str(area.path), MODULES: str(modules)}
    simulator = subprocess.Popen(
        simulator_command(options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    campaign: Campaign | None = None
    found: dict[str, Any] = {}
    try:
        assert simulator.stdout is not None
        ready = simulator.stdout.readline()
        if not ready.startswith("ready "):
            raise CampaignError("the simulator did not start; what it said stands above")
        told = dict(word.split("=", 1) for word in ready.split()[1:])
        (folder / "config.yaml").write_text(json.dumps(configuration(options, told, folder)))
        table, _ = default_instruments(INSTRUMENTS, options.seed)
        campaign = Campaign(
            options.horizon, folder, told["api"], area, environment, chance,
            side_of(options.broker), table, options.own_limits,
        )  # fmt: skip
        campaign.start()
        campaign.all_kills(kills)
        found = campaign.finish()
    except CampaignError as error:
        return {"wrong": [*(campaign.wrong if campaign else []), str(error)]} | (
            campaign.told() if campaign else {}
        )
    finally:
        if campaign is not None and hasattr(campaign, "engine") and campaign.engine.poll() is None:
            end(campaign.engine)
        simulator.terminate()
        simulator.communicate(timeout=30)
    if campaign.unreached:
        campaign.wrong.append(f"points that were not passed: {campaign.unreached}")
    return {"wrong": campaign.wrong, **campaign.told(), **found}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify crash", description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add_broker(made)
    made.add_argument("--kills", type=int, default=30, help="how many (30); one takes about 2 s")
    made.add_argument("--points", choices=("all", "random"), default="all",
                      help="each point once before chance goes on, or chance alone (all)")  # fmt: skip
    made.add_argument("--only", default="", metavar="WORD", help="only points whose name has this word")
    made.add_argument("--seed", type=int, default=1, help="of the market, and of who dies where and when")
    made.add_argument("--failover", action="store_true",
                      help="the host for order calls is down; another stands in (upstox)")  # fmt: skip
    made.add_argument("--own-limits", action="store_true",
                      help="the broker's own limits of calls hold, in the engine and at the simulator, and "
                      "none is passed; by default both are wide: a kill takes little time then")  # fmt: skip
    every = f"ticks between two acts of the strategy ({EVERY}; {OWN_EVERY} with --own-limits)"
    made.add_argument("--every", type=int, default=0, help=every)
    made.add_argument("--horizon", type=float, default=3.0, help="absence horizon in seconds (3)")
    made.add_argument("--keep", type=Path, help="folder that gets the runs")
    return made


def main(argv: list[str]) -> int:
    """Run the campaign; 0 when nothing was lost, doubled or left unexplained, and everybody came back."""
    options = parser().parse_args(argv)
    if options.failover and options.broker != "upstox":
        parser().error("--failover: only upstox has a host for order calls of its own")
    with tempfile.TemporaryDirectory(prefix="kite_hft-crash-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        try:
            result = run(options, folder)
        except CampaignError as error:
            result = {"wrong": [str(error)]}
    result["seconds"] = round(time.monotonic() - begun, 1)
    if result["wrong"]:
        result["replay"] = shlex.join(["python", "-m", "kite_hft.verify", "crash", *argv])
    print(json.dumps(result))
    return 1 if result["wrong"] else 0
