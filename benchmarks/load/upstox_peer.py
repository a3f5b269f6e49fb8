"""Generator, cold: the server's end of Upstox's market feed, on a plain non-blocking socket.

The authorisation (HTTP: a one-time address of this very server), the upgrade, and the requests (JSON in
binary frames: sub, unsub, change_mode). An authorisation of order updates is passed on to the simulator.
"""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from load.peer import Peer, PeerGone

FEED: Final = "/market-data-feeder/v3/upstox-developer-api/feeds"
MARKET: Final = "/v3/feed/market-data-feed/authorize"
UPDATES: Final = "/v2/feed/portfolio-stream-feed/authorize"
BINARY: Final = 0x2
RELAY_S: Final = 5.0
_codes: Final = itertools.count(1)


def response(status: str, body: bytes) -> bytes:
    """An HTTP answer that ends its connection."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


@dataclass(slots=True)
class UpstoxPeer(Peer):
    """One client. tokens: key -> token. relay: where the simulator's REST API answers; "": nowhere."""

    tokens: Mapping[str, int] = field(default_factory=dict)
    relay: str = ""

    def _refused(self, target: str, fields: Mapping[str, str]) -> bytes:
        parts = urlsplit(target)
        if "sec-websocket-key" in fields and parts.path == FEED and "code=" in parts.query:
            return b""
        if not fields.get("authorization", "").startswith("Bearer "):
            return response("401 Unauthorized", b"{}")
        if parts.path == MARKET:
            uri = f"ws://{fields.get('host', '')}{FEED}?requestId=1&code={next(_codes)}"
            data = {"authorized_redirect_uri": uri, "authorizedRedirectUri": uri}
            return response("200 OK", json.dumps({"status": "success", "data": data}).encode())
        if parts.path == UPDATES and self.relay:
            headers = {"Authorization": fields["authorization"], "Accept": "application/json"}
            request = urllib.request.Request(self.relay + target, headers=headers)
            with urllib.request.urlopen(request, timeout=RELAY_S) as answer:
                return response("200 OK", answer.read())
        return response("404 Not Found", b"{}")

    def _heard(self, opcode: int, payload: bytes) -> None:
        if opcode != BINARY:
            return
        try:
            message = json.loads(payload)
            method, data = message["method"], message["data"]
            tokens = [self.tokens[key] for key in data["instrumentKeys"]]
        except (ValueError, KeyError, TypeError) as error:
            raise PeerGone(f"a request that Upstox would pass over: {error}") from None
        if method == "sub":
            self.modes |= dict.fromkeys(tokens, data.get("mode", "ltpc"))
        elif method == "unsub":
            for token in tokens:
                self.modes.pop(token, None)
        elif method == "change_mode":
            self.modes |= {token: data["mode"] for token in tokens if token in self.modes}
