"""The official Upstox client, unchanged, in a process of its own; told what to do by lines of JSON.

Its REST hosts are settings of its Configuration. The address of its feeds is fixed in its source:
wss://api.upstox.com. So that name is resolved, in this process alone, to a TLS end on the loopback
interface with a self-signed certificate (the client checks none), which hands all bytes on to the
simulator's REST port; the redirect that comes back leads to the simulator's feed, which has TLS.

    arguments: API URL, access token, certificate, key, "sandbox" or ""
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

FIXED = "api.upstox.com"


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def tls_front(api_port: int, certificate: str, key: str) -> int:
    """Listen with TLS and pass everything on to `api_port`; returns the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            plain, _ = listening.accept()
            threading.Thread(target=shake, args=(plain,), daemon=True).start()

    def shake(plain: socket.socket) -> None:
        try:
            inner = context.wrap_socket(plain, server_side=True)
        except OSError:
            return
        outer = socket.create_connection(("127.0.0.1", api_port))
        threading.Thread(target=pump, args=(outer, inner), daemon=True).start()
        pump(inner, outer)

    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


def resolve_to(port: int) -> None:
    real = socket.getaddrinfo

    def look_up(host: Any, *more: Any, **named: Any) -> Any:
        if host == FIXED:
            return real("127.0.0.1", port, type=socket.SOCK_STREAM)
        return real(host, *more, **named)

    socket.getaddrinfo = look_up


api_url, token, certificate, key, sandbox = sys.argv[1:6]
resolve_to(tls_front(urlsplit(api_url).port or 0, certificate, key))

import upstox_client  # noqa: E402 - it must find the names resolved
from upstox_client.rest import ApiException  # noqa: E402

out = threading.Lock()
streamers: dict[str, Any] = {}


def tell(kind: str, *data: Any) -> None:
    with out:
        print(json.dumps([kind, *data], default=str), flush=True)


def configured() -> Any:
    configuration = upstox_client.Configuration(sandbox=bool(sandbox))
    configuration.access_token = token
    configuration.host = configuration.order_host = api_url
    return upstox_client.ApiClient(configuration)


client = configured()


def made(value: Any) -> Any:
    """Models are written as {"model": name, ...fields}."""
    if isinstance(value, list):
        return [made(item) for item in value]
    if isinstance(value, dict) and "model" in value:
        fields = {name: made(item) for name, item in value.items() if name != "model"}
        return getattr(upstox_client, value["model"])(**fields)
    return value


def call(api: str, method: str, arguments: list[Any], named: dict[str, Any]) -> None:
    try:
        answer = getattr(getattr(upstox_client, api)(client), method)(
            *[made(a) for a in arguments], **{name: made(a) for name, a in named.items()}
        )
        tell("answer", answer.to_dict() if hasattr(answer, "to_dict") else answer)
    except ApiException as error:
        tell("refused", error.status, json.loads(error.body))
    except Exception as error:
        tell("failed", type(error).__name__, str(error))


def stream(name: str, kind: str, named: dict[str, Any], reconnect: list[Any] | None) -> None:
    streamer = getattr(upstox_client, kind)(client, **named)
    streamers[name] = streamer

    def told(word: str) -> Any:
        def listener(*data: Any) -> None:
            shown = [json.loads(d) if word == "message" and isinstance(d, str) else d for d in data]
            tell(word, name, *shown)

        return listener

    for word in ("open", "close", "message", "error", "reconnecting", "autoReconnectStopped"):
        streamer.on(word, told(word))
    if reconnect is not None:
        streamer.auto_reconnect(*reconnect)
    streamer.connect()


def do(name: str, method: str, *arguments: Any) -> None:
    try:
        getattr(streamers[name], method)(*arguments)
    except Exception as error:
        tell("failed", type(error).__name__, str(error))


tell("ready")
for line in sys.stdin:
    order, *given = json.loads(line)
    {"call": call, "stream": stream, "do": do}[order](*given)
for one in streamers.values():
    one.auto_reconnect(False)
    if one.feeder is not None and one.feeder.ws is not None:
        one.disconnect()
