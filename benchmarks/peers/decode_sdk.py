"""The official Python client's parser over prepared frames, for bench_decode.

    python decode_sdk.py FRAMES_FILE FRAME_BYTES SECONDS CPU

FRAMES_FILE: frames of FRAME_BYTES one after another. Calls KiteTicker._parse_binary, the method
that turns a frame into the ticks of its on_ticks callback. Prints one JSON line: packets per CPU
second of this thread, and the token and last price of the first packet.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path

from kiteconnect import KiteTicker


def main() -> None:
    path, frame_bytes, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    os.sched_setaffinity(0, {int(sys.argv[4])})
    whole = path.read_bytes()
    frames = [whole[i : i + frame_bytes] for i in range(0, len(whole), frame_bytes)]
    parse = KiteTicker("key", "token")._parse_binary
    first = parse(frames[0])[0]
    done, at, start = 0, 0, time.thread_time()
    while (spent := time.thread_time() - start) < seconds:
        done += len(parse(frames[at % len(frames)]))
        at += 1
    found = {"per_second": done / spent, "token": first["instrument_token"], "last": first["last_price"]}
    print(json.dumps(found | {"version": importlib.metadata.version("kiteconnect")}))


if __name__ == "__main__":
    main()
