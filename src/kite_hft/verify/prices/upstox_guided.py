"""Layer 6, a verify process, cold: Upstox frames that atheris (libFuzzer) thinks of, each checked as the
bench_of checks its own.

    python -m kite_hft.verify decode --broker upstox --fuzz 1e6 --engine atheris

Starts from frames of upstox_cases.py and follows new branches of the slow rules in upstox_meaning.py.
atheris is no dependency of the product: `pip install atheris` where it is wanted.
"""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

SEEDS: Final = 256
BYTES_MAX: Final = 4096


def main(inputs: int, seed: int) -> None:
    """Never returns: libFuzzer ends the process, with 0 when nothing was found.

    Raises:
        ModuleNotFoundError: atheris is not installed.
        AssertionError: an input that the decoder and the rules see differently; libFuzzer prints it.
    """
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["kite_hft.verify.prices"]):
        bench_of: Any = importlib.import_module("kite_hft.verify.prices.upstox_bench")
        cases: Any = importlib.import_module("kite_hft.verify.prices.upstox_cases")
    bench, turn = bench_of.Bench(), 0

    def one(data: bytes) -> None:
        nonlocal turn
        turn += 1
        what = bench.check(data, turn)
        assert not what, f"{what} for {data.hex()}"

    rng, maker, table = random.Random(seed), cases.Maker(seed), cases.cells()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(SEEDS):
            made = cases.make_frame(rng, maker, rng.sample(range(len(table)), rng.randrange(1, 4)), table)
            (Path(folder) / str(number)).write_bytes(made.data)
        options = [
            f"-runs={inputs}",
            f"-seed={seed}",
            f"-max_len={BYTES_MAX}",
            "-artifact_prefix=" + folder + "/",
        ]
        atheris.Setup([sys.argv[0], *options, folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
