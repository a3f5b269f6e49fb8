"""Layer 6, by hand or CI, cold: `python -m kite_hft.verify NAME`, the proving campaigns.

Each campaign is a file of its name in one of the folders, with `main(argv) -> int`: it prints one JSON
line, returns non-zero on a miss, and then names the command that replays the failure.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

ROOMS: Final = {
    "memory": {
        "ring": "two processes over the tick ring: nothing torn, got + lost = produced",
        "header": "every byte of a segment's header changed, every truncation: named errors only",
    },
    "prices": {
        "chain": "simulator and engine as processes: sent = received = decoded = published = computed",
        "pool": "9,000 instruments on three connections at 18,000 ticks/s: nothing lost, memory flat",
        "decode": "random frames of a broker against its official SDK's parser, with printed coverage",
    },
    "journal": {
        "journal": "every file that a power cut may leave, every failing disk call: nothing lost or invented",
    },
    "risk": {
        "bypass": "every connect() of every engine process: only ORDERS reaches the broker's API",
        "risk": "every control of the gate lets pass and refuses as due, made-up situations, mutants, bypass",
    },
    "limiter": {
        "limiter": "10^7 wished calls through the throttle against a server that counts by its own clock",
    },
    "outcomes": {
        "broker": "answers that prove nothing, books that lag: no order twice, each found or proved absent",
        "recon": "starts after whatever happened meanwhile: positions equal, the second a no-op",
        "stale": "old prices, gaps, skewed clocks: nothing opens, every exit passes",
    },
    "brokers": {
        "conformance": "what every broker adapter has to promise, row by row: for writing another one",
    },
    "kill": {
        "kill": "the kill latch by command, file, signal and limit: nothing opens after it, all is cancelled",
    },
    "crash": {
        "crash": "processes die at every store and system call of the order path, nothing lost or doubled",
    },
    "keys": {
        "creds": "a vault's bits flipped, cut, opened by others, broken off while written: refused, whole",
    },
    "shield": {
        "tls": "wrong certificates at every way out: refused, no byte of a request arrives",
        "formats": "nothing imports or reads a format that runs code; numba's cache alone, in workers",
        "build-id": "four builds, all pairs: no shared memory or snapshot of another one is taken",
        "secrets": "canaries through a run with crashes, alerts and an incident pack: 0 hits anywhere",
    },
    "alerts": {
        "alerts": "each alert at every sink within 5 s of its fault, once, journalled, till acknowledged",
    },
    "days": {
        "eod": "the line dead before the close: positions closed, covered, or somebody is paged in 5 s",
        "rules": "a strategy's day under the dated rules: refused, stranded and penalised orders, in rupees",
    },
    "simulation": {
        "sim": "short days of the order path from seeds, every fault in virtual time, checked at each step",
    },
    "engine": {
        "badday": "every fault of the simulator in one run: counters and accounts equal",
        "supervise": "processes killed while the engine trades: back in 2 s, no order lost or doubled",
    },
}
"""Folder -> campaign -> what it proves."""


def main(argv: list[str]) -> int:
    """Run the campaign that `argv[0]` names with the rest of the arguments."""
    folder_of = {name: folder for folder, campaigns in ROOMS.items() for name in campaigns}
    if not argv or argv[0] in {"-h", "--help"}:
        print("usage: python -m kite_hft.verify NAME [OPTIONS]   (NAME --help tells the options)")
        for folder, campaigns in ROOMS.items():
            print(f"\n{folder}")
            for name, what in campaigns.items():
                print(f"  {name:11} {what}")
        return 0 if argv else 2
    if argv[0] not in folder_of:
        print(f"verify: no campaign {argv[0]!r}; there are {', '.join(folder_of)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"kite_hft.verify.{folder_of[argv[0]]}.{argv[0].replace('-', '_')}")
    return int(module.main(argv[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
