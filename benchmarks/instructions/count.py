"""Instructions per tick of the hot compiled code, counted by callgrind: a guard that needs no clock.

    python benchmarks/instructions/count.py            compare with figures.json; exit code 1 when one grew
    python benchmarks/instructions/count.py --update   keep what was counted as the new figures

The machine's speed and load do not matter: the same build executes the same instructions. What does
matter is the compiler; figures.json has one set for each (`gcc -dumpfullversion`). Callgrind knows no
AVX-512, so the decoders are counted on their portable paths. One more than GROWTH_MAX is a failure; much
fewer is a reason to keep the new figures with --update.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
FIGURES: Final = HERE / "figures.json"
GROWTH_MAX: Final = 0.03
COUNTED: Final = (  # compiled calls; callgrind counts inside these alone
    ("_kite_decode", "KiteDecoder", "decode_frames"),
    ("_upstox_decode", "UpstoxDecoder", "decode_frames"),
    ("_sink", "FrameSink", "feed_bytes"),
    ("_ring", "RingWriter", "publish"),
    ("_ring", "RingReader", "drain"),
    ("_queue", "QueueProducer", "push"),
    ("_queue", "QueueConsumer", "drain"),
    ("_kernels", "Kernels", "run"),
)


class CountError(Exception):
    """Nothing could be counted; the message says why and what helps."""


def compiler() -> str:
    """The compiler's version, which the instructions depend on."""
    done = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True)
    return f"gcc {done.stdout.strip()}"


def entry(module: str, kind: str, method: str) -> str:
    """Name of the C function through which Python enters a compiled method.

    Raises:
        CountError: the module has no such symbol.
    """
    path = Path(importlib.import_module(f"kite_hft.{module}").__file__ or "")
    listed = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
    wanted = re.compile(rf"__pyx_pw_\w*\d{kind}_\d+{method}$", re.MULTILINE)
    found = wanted.search(listed)
    if found is None:
        raise CountError(f"{path.name} has no symbol for {kind}.{method}: was it stripped?")
    return found.group()


def count() -> dict[str, float]:
    """Instructions per tick of each workload.

    Raises:
        CountError: valgrind is missing, or the workloads failed under it.
    """
    if shutil.which("valgrind") is None:
        raise CountError("valgrind is missing: sudo apt-get install -y valgrind")
    with tempfile.TemporaryDirectory() as scratch:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out"]
        command += ["--collect-atstart=no", "--dump-before=getppid"]
        command += [f"--toggle-collect={entry(*names)}" for names in COUNTED]
        done = subprocess.run(
            [*command, sys.executable, str(HERE / "workloads.py")],
            capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        if done.returncode:
            raise CountError(f"the workloads failed under valgrind:\n{done.stderr[-3000:]}")
        ticks = {name: int(n) for name, n in (line.split() for line in done.stdout.splitlines())}
        # Two dumps for each workload: what came before it, then the workload itself.
        counted = [total(Path(f"{scratch}/out.{2 * number}")) for number in range(1, len(ticks) + 1)]
    if not all(counted):
        raise CountError("callgrind saw none of the counted calls: were the compiled modules stripped?")
    return {name: round(n / ticks[name], 2) for name, n in zip(ticks, counted, strict=True)}


def total(dump: Path) -> int:
    """Instructions of one dump."""
    found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text("utf-8"), re.MULTILINE)
    return int(found.group(1)) if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--update", action="store_true", help="keep what is counted as the new figures")
    options = parser.parse_args()
    kept = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    key = compiler()
    try:
        counted = count()
    except CountError as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 2
    if options.update:
        FIGURES.write_text(json.dumps(kept | {key: counted}, indent=1) + "\n", "utf-8")
    before = kept.get(key, {})
    grown = []
    print(f"{'per tick':10}{'committed':>12}{'now':>12}   {key}")
    for name, now in counted.items():
        was = before.get(name)
        print(f"{name:10}{was if was is not None else '-':>12}{now:>12}")
        if was is not None and now > was * (1 + GROWTH_MAX):
            grown.append(f"{name}: {was} -> {now} ({now / was - 1:+.1%})")
    if options.update:
        return 0
    if not before:
        print(f"instructions: figures.json has none for {key}; keep these with --update", file=sys.stderr)
        return 0
    for line in grown:
        print(f"instructions: grown by more than {GROWTH_MAX:.0%}: {line}", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
