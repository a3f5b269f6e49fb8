"""A rival that stays: its process starts once, compiles and warms up, and measures when it is asked.

A rival of `kit.peer` starts afresh for every figure, which numba and large packages take long for.
One of here reads lines: for each it measures once and answers with a JSON line. Nothing is asked of
two rivals at a time, so that each has the machine for itself in its turn.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

import kit

Ask = Callable[[], dict[str, Any]]


@contextlib.contextmanager
def rival(name: str, script: str, *words: object) -> Iterator[Ask | None]:
    """peers/<script> in the environment `name`, as a function that measures; None: it cannot be had.

    The first measurement is made here: a rival that cannot do it is not to be had either.
    """
    python = kit.environment(name)
    if python is None:
        yield None
        return
    command = [str(python), str(kit.PEERS / script), *map(str, words)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"NUMBA_CACHE_DIR": str(python.parent.parent / "numba")},
    ) as process:  # fmt: skip

        def ask() -> dict[str, Any]:
            assert process.stdin and process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            return cast("dict[str, Any]", json.loads(process.stdout.readline()))

        try:
            ask()
        except (OSError, ValueError):
            print(f"bench: {script} gave no figure", file=sys.stderr)
            process.kill()
            yield None
        else:
            yield ask
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]


def version(ask: Ask) -> str:
    """Name and version of the rival's package, by its own answer."""
    return str(ask()["version"])


def figure(ask: Ask) -> Callable[[], float]:
    """The contender of kit.measure."""
    return lambda: float(ask()["figure"])
