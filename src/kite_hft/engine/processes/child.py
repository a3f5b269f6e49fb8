"""Layer 5, child processes, cold: `python -m kite_hft.engine.processes.child NAME CONTROL_FD ANSWER_FD`.

Started by the supervisor only. Prepares, waits, and becomes what the stages in its configuration say.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from typing import Any
from urllib.parse import quote_plus

from kite_hft.engine.keys.private import show_memory
from kite_hft.engine.processes.children import Answers, die_with_parent, read_message, show_as
from kite_hft.engine.processes.warm import prepare


def main(argv: list[str]) -> int:
    """Become the process that the configuration asks for; returns the exit code."""
    if len(argv) != 3:
        print("this process is started by the engine: python -m kite_hft.engine --help", file=sys.stderr)
        return 2
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor stops us, in its order
    control, answers = int(argv[1]), Answers(int(argv[2]))
    config = _awaited(argv[0], control, answers)
    if config is None:
        return 0
    name = config["name"]
    show_as(name)
    try:
        return _become(config, answers)
    except Exception as error:  # told in one line; the whole story goes to the run's folder
        with contextlib.suppress(OSError), open(f"{config['folder']}/{name}.crash", "a") as file:
            file.write(redacted(traceback.format_exc(), config))
        answers.log(redacted(f"{name} failed: {type(error).__name__}: {error}", config))
        return 1


def _awaited(name: str, control: int, answers: Answers) -> dict[str, Any] | None:
    """Prepare, then wait for the configuration; None: it will not come.

    What goes wrong here goes wrong again where the process is made, and is told there.
    """
    wanted = read_message(control)
    if wanted is None:
        return None
    if not wanted["prepare"].get("private", True):
        show_memory()
    try:
        prepare(wanted["prepare"])
    except Exception as error:
        answers.log(f"{name} could not prepare: {type(error).__name__}: {error}")
    answers.send(prepared={})
    message = read_message(control)
    if message is None:
        return None
    config: dict[str, Any] = message["become"] | {"control_fd": control}
    return config


def redacted(text: str, config: dict[str, Any]) -> str:
    """`text` without any secret that this process was given."""
    parts = (config.get("api", {}), config.get("feed", {}))
    secrets = {part.get(key, "") for part in parts for key in ("api_key", "access_token")}
    for secret in secrets - {""}:
        text = text.replace(secret, "<secret>").replace(quote_plus(secret), "<secret>")
    return text


def _become(config: dict[str, Any], answers: Answers) -> int:
    if "orders" in config["stages"]:
        from kite_hft.engine.orders.process import run_orders

        return run_orders(config, answers)
    if "feed" in config["stages"]:
        from kite_hft.engine.market.feeds import run_market

        return run_market(config, answers)
    if "updates" in config["stages"]:
        from kite_hft.engine.market.updates import run_updates

        return run_updates(config, answers)
    if "recorder" in config["stages"]:
        from kite_hft.engine.market.recorder import run_recorder

        return run_recorder(config, answers)
    from kite_hft.engine.market.workers import run_compute

    return run_compute(config, answers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
