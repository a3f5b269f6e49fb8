"""Upstox for tests: a table of instruments with keys, rows in its words, and the official SDK as an oracle.

The SDK is never patched. Its configuration is a hidden singleton, so it runs in a process of its own: there
it is pointed at a loopback server that writes down what comes, and answers what it was told to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.instruments import Instrument, InstrumentTable

RELIANCE, NIFTY_CE, USDINR, CRUDE, INDEX = range(5)
SAMPLES = Path("upstox/samples")
"""Below the data folder."""


def table() -> InstrumentTable:
    """A share, an option, a currency and a commodity future, an index."""
    return InstrumentTable(
        (
            Instrument(RELIANCE, 738561, 2885, "RELIANCE", "NSE", "NSE", "EQ", 10, 1,
                       upstox_key="NSE_EQ|INE002A01018"),
            Instrument(NIFTY_CE, 55775 * 256 + 2, 55775, "NIFTY26NOV26000CE", "NFO", "NFO-OPT", "CE", 5, 75,
                       multiplier=1, freeze_quantity=1800, upstox_key="NSE_FO|55775"),
            Instrument(USDINR, 14294 * 256 + 3, 14294, "USDINR26NOVFUT", "CDS", "CDS-FUT", "FUT", 25_000, 1,
                       scale=10_000_000, multiplier=1000, freeze_quantity=10000, upstox_key="NCD_FO|14294"),
            Instrument(CRUDE, 447500 * 256 + 7, 447500, "CRUDEOIL26DECFUT", "MCX", "MCX-FUT", "FUT", 100, 100,
                       multiplier=1, freeze_quantity=10000, upstox_key="MCX_FO|447500"),
            Instrument(INDEX, 26000 * 256 + 9, 26000, "Nifty 50", "NSE", "INDICES", "EQ", 5, 1,
                       upstox_key="NSE_INDEX|Nifty 50"),
        )
    )  # fmt: skip


def answer(data: Any, status: int = 200) -> HttpResponse:
    """A success."""
    return HttpResponse(status, json.dumps({"status": "success", "data": data}).encode())


def problem(status: int, *errors: tuple[str, str], **more: Any) -> HttpResponse:
    """An error, in both spellings as the broker sends it."""
    rows = [
        {"errorCode": code, "message": message, "propertyPath": None, "invalidValue": None,
         "error_code": code, "property_path": None, "invalid_value": None, **more}
        for code, message in errors
    ]  # fmt: skip
    return HttpResponse(status, json.dumps({"status": "error", "errors": rows}).encode())


def order_row(**more: Any) -> dict[str, Any]:
    """A row of the order book; a resting limit order for the option by default."""
    base = {
        "exchange": "NFO", "product": "I", "price": 219.3, "quantity": 75, "status": "open", "guid": None,
        "tag": "kh1", "instrument_token": "NSE_FO|55775", "placed_by": "AB1234",
        "tradingsymbol": "NIFTY 26000 CE", "trading_symbol": "NIFTY 26000 CE", "order_type": "LIMIT",
        "validity": "DAY", "trigger_price": 0.0, "disclosed_quantity": 0, "transaction_type": "BUY",
        "average_price": 0.0, "filled_quantity": 0, "pending_quantity": 75, "status_message": None,
        "status_message_raw": None, "exchange_order_id": "1100000000000001", "parent_order_id": None,
        "order_id": "261123000000001", "variety": "SIMPLE", "order_timestamp": "2026-11-23 09:15:02",
        "exchange_timestamp": "2026-11-23 09:15:02", "is_amo": False, "order_request_id": "1",
        "order_ref_id": "10000000000001",
    }  # fmt: skip
    return base | more


@dataclass(frozen=True, slots=True)
class Sent:
    """What the SDK sent, and what it made of the answer. body: decoded JSON, None: none."""

    host: str  # "api" or "order"
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]
    result: Any


def same_call(ours: HttpRequest, sdk: Sent) -> None:
    """Method, path, query and body agree; numbers as numbers. The SDK sends {} where there is no body."""
    parts = urlsplit(ours.path)
    assert (ours.method, parts.path) == (sdk.method, sdk.path)
    assert dict(parse_qsl(parts.query)) == sdk.query
    assert (json.loads(ours.body) if ours.body else None) == (sdk.body or None)
    if ours.body:
        assert sdk.headers["content-type"].startswith(ours.content_type)


def sdk(*calls: dict[str, Any], host: str = "live") -> list[Sent]:
    """Run SDK calls: each {"api": class, "call": method, "args": [...], "kwargs": {...}, "reply": data}.

    A value {"model": class, "fields": {...}} stands for one of its models. host: "live" or "sandbox".
    """
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM, host], input=json.dumps(calls), text=True, capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return [Sent(**one) for one in json.loads(run.stdout)]


def model(name: str, **fields: Any) -> dict[str, Any]:
    """One of the SDK's models, as an argument of `sdk`."""
    return {"model": name, "fields": fields}


_PROGRAM = """
import http.server, json, sys, threading, warnings
warnings.simplefilter("ignore")
import upstox_client
from urllib.parse import parse_qsl, urlsplit

seen, replies = [], []

class Server(http.server.BaseHTTPRequestHandler):
    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        seen.append({"host": self.server.name, "method": self.command, "path": parts.path,
                     "query": dict(parse_qsl(parts.query)), "body": json.loads(body) if body else None,
                     "headers": {k.lower(): v for k, v in self.headers.items()}})
        text = json.dumps({"status": "success", "data": replies[-1]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = do_PUT = do_DELETE = handle_any
    def log_message(self, *words): pass

def serve(name):
    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    server.name = name
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "http://127.0.0.1:%d" % server.server_port

config = upstox_client.Configuration(sandbox=sys.argv[1] == "sandbox")
config.host, config.order_host, config.access_token = serve("api"), serve("order"), "token"
client = upstox_client.ApiClient(config)

def made(value):
    if isinstance(value, dict) and "model" in value:
        return getattr(upstox_client, value["model"])(**{k: made(v) for k, v in value["fields"].items()})
    return [made(v) for v in value] if isinstance(value, list) else value

found = []
for call in json.load(sys.stdin):
    replies.append(call.get("reply", {}))
    api = getattr(upstox_client, call["api"])(client)
    method = getattr(api, call["call"])
    try:
        result = method(*map(made, call.get("args", [])),
                        **{k: made(v) for k, v in call.get("kwargs", {}).items()})
        result = result.to_dict()
    except ValueError as error:
        found.append({"host": "", "method": "", "path": "", "query": {}, "body": None, "headers": {},
                      "result": str(error)})
        continue
    found.append(dict(seen[-1], result=result))
json.dump(found, sys.stdout, default=str)
"""
