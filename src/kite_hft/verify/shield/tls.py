"""Layer 6, by hand or CI, cold: `verify tls`: every way out of the engine against wrong certificates.

Servers on 127.0.0.1 show certificates that are right in all but one thing: signed by themselves, by an
authority nobody knows, of another host, of another time, for another use, over an old TLS. The REST
transport of ORDERS, single reads, alerts, and the websockets of both brokers with Upstox's socket of order
updates are led to each. All must refuse, and not one byte of the request may arrive. A sound
certificate is shown too: there the request must arrive, else the campaign would prove nothing. Plain
addresses of other machines must be refused before anything is sent.

--case NAME, --door NAME: one of them alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from kite_hft.net.authorize import safe_websocket
from kite_hft.net.http import TransportConfigError, fetch
from kite_hft.net.post import PostError, call
from kite_hft.settings import Settings
from kite_hft.verify.campaign import CampaignError
from kite_hft.verify.shield.certificates import CASES, GOOD, Case, Server, make_authority, serving
from kite_hft.verify.shield.doors import DOORS

SETTLE_S: Final = 0.05
FAR: Final = "192.0.2.1"
"""TEST-NET-1 (RFC 5737): no machine has it."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify tls", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--case", choices=[case.name for case in CASES], help="one certificate alone")
    made.add_argument("--door", choices=[*DOORS], help="one way out alone")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """A table on stderr, one JSON line on stdout; 1 when anything was let through."""
    options = parser().parse_args(argv)
    began = time.monotonic()
    cases = [case for case in CASES if options.case in (None, case.name) or case.name == GOOD]
    doors = [options.door] if options.door else [*DOORS]
    try:
        rows = run(cases, doors)
    except CampaignError as error:
        print(f"verify tls: {error}", file=sys.stderr)
        return 1
    plain = plain_refused()
    wrong = [row for row in rows if not row["ok"]]
    for row in [*rows, *plain]:
        print(f"    {row['case']:32} {row['door']:24} {'ok' if row['ok'] else 'WRONG'}  {row['said']}",
              file=sys.stderr)  # fmt: skip
    bad = [row for row in rows if row["case"] != GOOD]
    told: dict[str, Any] = {
        "campaign": "tls",
        "ok": not wrong and all(row["ok"] for row in plain),
        "certificates": len(cases) - 1,
        "doors": len(doors),
        "tried": len(bad),
        "refused": sum(row["ok"] for row in bad),
        "sound_let_through": sum(row["ok"] for row in rows if row["case"] == GOOD),
        "plain_refused": sum(row["ok"] for row in plain),
        "wrong": [f"{row['case']} at {row['door']}" for row in (*wrong, *plain) if not row["ok"]],
        "seconds": round(time.monotonic() - began, 1),
    }
    if wrong:
        first = wrong[0]
        told["replay"] = f"python -m kite_hft.verify tls --case '{first['case']}' --door '{first['door']}'"
    print(json.dumps(told))
    return int(not told["ok"])


def run(cases: Sequence[Case], doors: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each certificate and way out.

    Raises:
        CampaignError: the certificates cannot be made or shown.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="kite_hft-tls-") as name:
        folder = Path(name)
        trusted = make_authority(folder, "trusted")
        make_authority(folder, "unknown")
        with trusting(trusted, folder):
            for number, case in enumerate(cases):
                # a server talks to one at a time; who is let in waits for an answer that never comes
                for some in [[door] for door in doors] if case.name == GOOD else [doors]:
                    with serving(folder, case) as server:
                        rows += [tried(case, door, server, f"canary{number}") for door in some]
    return rows


@contextmanager
def trusting(authority: Path, nothing: Path) -> Iterator[None]:
    """The process takes `authority` for the system's only one, as OpenSSL's own variables say it."""
    ours = {"SSL_CERT_FILE": str(authority), "SSL_CERT_DIR": str(nothing)}
    before = {key: os.environ.get(key) for key in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def tried(case: Case, door: str, server: Server, canary: str) -> dict[str, Any]:
    """Go out by `door`; whether the request arrived, as it must with the sound certificate alone."""
    said = DOORS[door](f"127.0.0.1:{server.port}", canary)
    time.sleep(SETTLE_S)
    arrived = server.heard(canary)
    return {"case": case.name, "door": door, "ok": arrived == (case.name == GOOD), "said": said[-120:]}


def plain_refused() -> list[dict[str, Any]]:
    """Plain addresses of another machine, at each place that takes an address."""

    def settings(section: str, key: str, url: str) -> Callable[[], object]:
        return lambda: Settings.model_validate({section: {key: url}})

    places: dict[str, Callable[[], object]] = {
        "read": lambda: fetch(f"http://{FAR}/", timeout_s=1.0),
        "alert": lambda: call("POST", f"http://{FAR}/", timeout_s=1.0),
        "kite.api_url": settings("kite", "api_url", f"http://{FAR}"),
        "kite.ws_url": settings("kite", "ws_url", f"ws://{FAR}"),
        "upstox.api_url": settings("upstox", "api_url", f"http://{FAR}"),
        "upstox.feed_url": settings("upstox", "feed_url", f"ws://{FAR}"),
    }
    rows = []
    for door, act in places.items():
        try:
            act()
        except (TransportConfigError, ValidationError) as error:
            ok, said = True, str(error).splitlines()[-2 if isinstance(error, ValidationError) else 0]
        except PostError as error:
            ok, said = "plain http" in str(error), str(error)
        except OSError as error:
            ok, said = False, f"tried it: {error}"
        else:
            ok, said = False, "took it"
        rows.append({"case": "plain, another machine", "door": door, "ok": ok, "said": said.strip()[:120]})
    ok = not safe_websocket(f"ws://{FAR}/")
    rows.append({"case": "plain, another machine", "door": "redirected websocket", "ok": ok, "said": ""})
    return rows
