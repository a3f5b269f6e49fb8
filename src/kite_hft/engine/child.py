"""Layer 5, child processes, cold: `python -m kite_hft.engine.child NAME CONFIG_FD ANSWER_FD`.

Started by the supervisor only. Decides by the stages in its configuration what it becomes.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

from kite_hft.engine.children import Answers, die_with_parent, read_config


def main(argv: list[str]) -> int:
    """Become the process that the configuration asks for; returns the exit code."""
    if len(argv) != 3:
        print("this process is started by the engine: python -m kite_hft.engine --help", file=sys.stderr)
        return 2
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor stops us, in its order
    config: dict[str, Any] = read_config(int(argv[1]))
    answers = Answers(int(argv[2]))
    try:
        return _become(config, answers)
    except Exception as error:  # told in one line; the whole story goes to the run's folder
        with contextlib.suppress(OSError), open(f"{config['folder']}/{argv[0]}.crash", "a") as file:
            file.write(redacted(traceback.format_exc(), config))
        answers.log(redacted(f"{argv[0]} failed: {type(error).__name__}: {error}", config))
        return 1


def redacted(text: str, config: dict[str, Any]) -> str:
    """`text` without any secret that this process was given."""
    api = config.get("api", {})
    secrets = {api.get("api_key", ""), api.get("access_token", "")}
    secrets |= {value for _, value in parse_qsl(urlsplit(config.get("feed_url", "")).query)}
    for secret in secrets - {""}:
        text = text.replace(secret, "<secret>").replace(quote_plus(secret), "<secret>")
    return text


def _become(config: dict[str, Any], answers: Answers) -> int:
    if "orders" in config["stages"]:
        from kite_hft.engine.orders import run_orders

        return run_orders(config, answers)
    from kite_hft.engine.market import run_market

    return run_market(config, answers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
