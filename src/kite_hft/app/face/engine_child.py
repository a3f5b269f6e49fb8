"""Layer 6, an engine for a program, cold: `python -m kite_hft.app.face.engine_child`, started by
DataFeedService.

It is the engine's supervisor with its settings as JSON on standard input, where no other process can read
the token, instead of in a file. When the input ends, because the program stops it or has died, it stops in
order.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from kite_hft.app.face.texts import FAILED
from kite_hft.engine.command import EXIT_NOT_READY, EXIT_USAGE, run_engine
from kite_hft.engine.keys.private import harden_process
from kite_hft.engine.market.strategies import StrategyError
from kite_hft.engine.plan.plan import PlanError
from kite_hft.engine.plan.session import SessionError
from kite_hft.engine.plan.simulator import SimulatorFailed
from kite_hft.engine.runs.run_folder import AccountLocked
from kite_hft.memory.segment import SegmentError
from kite_hft.sessions import CalendarError
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.instruments import InstrumentError

USAGE: Final = (SettingsError, StrategyError, CalendarError, PlanError, InstrumentError)
NOT_READY: Final = (SegmentError, AccountLocked, SessionError, SimulatorFailed, OSError)


def main() -> int:
    """Run until standard input ends; returns the engine's exit code."""
    harden_process()
    line = sys.stdin.buffer.readline()
    if not line:
        print("this process is started by DataFeedService (docs/python.md)", file=sys.stderr)
        return EXIT_USAGE
    told = json.loads(line)
    settings = Settings.model_validate(told["settings"])
    threading.Thread(target=stop_at_the_end, daemon=True).start()
    try:
        return run_engine(settings, Path(told["config"]), None, None, True, live="")
    except USAGE as error:
        print(f"{FAILED}{error}", flush=True)
        return EXIT_USAGE
    except NOT_READY as error:
        print(f"{FAILED}{error}", flush=True)
        return EXIT_NOT_READY


def stop_at_the_end() -> None:
    """Ask for an orderly stop when the program that started us closes its end, or is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
