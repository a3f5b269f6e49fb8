"""Layer 6, campaigns, cold: rows of the kit about facts: limits, instruments, websocket, reconnects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from kite_hft.brokers.table import broker_of, words_of
from kite_hft.layout import OrderType
from kite_hft.net import ws_codes
from kite_hft.settings import load_yaml
from kite_hft.sim.brokers.side import API_KEY, TOKEN
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.feed_words import Act, WireError
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.verify.brokers.kit import Kit, row
from kite_hft.verify.campaign import CONFIG

HANDSHAKES: Final = (0, 301, 400, 401, 403, 404, 410, 423, 426, 429, 500, 502, 503, 504)
CLOSES: Final = (*range(1000, 1016), 3000, 4000, 4999)
_WINDOWS: Final = ("order_windows", "all_windows", "other_windows", "quote_windows", "historical_windows")
_NAMES: Final = ("exchange", "kind", "lot_size", "tick_px", "expiry", "strike_px")


@row("limits", "one dated file names every limit with its source; nothing is left to a default")
def limits(kit: Kit) -> None:
    """config/rules/NAME_DATE.yaml."""
    told: dict[str, Any] = load_yaml(CONFIG / "rules" / kit.side.rules)
    kit.holds(told["name"] == kit.side.name, f"the file is {told['name']}'s")
    needed = {
        *_WINDOWS, "orders_per_day", "entry_share_of_day", "modifications_per_order", "read_wait_s",
        "tag_length_max", "cooldown_after_429_s", "cooldown_urgent_gap_s", "per_contract", "per_strategy",
        "instruments_per_connection", "connections",
    }  # fmt: skip
    kit.holds(not needed - told.keys(), f"not said: {sorted(needed - told.keys())}")
    for name in _WINDOWS:
        for window in told.get(name, ()):
            kit.holds(window.get("source"), f"{name} of {window['window_s']} s has no source")
    kit.holds(all(window.reserved > 0 for window in kit.limits.order_windows), "nothing is kept for exits")
    kit.holds(kit.limits.all_windows[0].reads > 0, "reads have no share of all_windows")


@row("instruments", "the adapter knows what it can name, and refuses a table with what it cannot")
def instruments(kit: Kit) -> None:
    """The simulated universe; the broker is in the one table of brokers."""
    table = kit.bench.instruments
    kit.holds(broker_of(kit.side.name, table).name == kit.side.name, "brokers/table.py knows no such broker")
    kit.holds(kit.broker.name == kit.side.name == kit.limits.name, "adapter, side and limits differ in name")
    for chosen in table:
        kit.holds(
            (chosen.tick_px > 0 and chosen.lot_size > 0) or chosen.is_index,
            f"{chosen.key}: no tick or lot",
        )
    if any(one.upstox_key for one in table):
        bare = InstrumentTable(tuple(replace(one, upstox_key="") for one in table))
        kit.raises(ValueError, lambda: kit.side.broker(bare), "a table without the broker's names")


@row("master", "the broker's own list of instruments gives the table: names, lots, ticks, expiries, strikes")
def master(kit: Kit) -> None:
    """As the simulator writes it."""
    answer = kit.ask(HttpRequest("GET", kit.side.master_path))
    if not kit.holds(answer.status == 200, f"{kit.side.master_path}: HTTP {answer.status}"):
        return
    parsed = kit.side.parse_master(answer.body)
    kit.holds(len(parsed) == len(kit.bench.instruments), f"{len(parsed)} rows")
    for one in kit.bench.instruments:
        found = parsed.by_token.get(one.token)
        if not kit.holds(found is not None, f"{one.key} is not in it") or found is None:
            continue
        for name in _NAMES:
            ours, theirs = getattr(one, name), getattr(found, name)
            kit.holds(ours == theirs or one.is_index, f"{one.key}: {name} {theirs!r}, true {ours!r}")


@row("headers", "every call carries the token, in a header")
def headers(kit: Kit) -> None:
    """And the simulator lets it in."""
    told = dict(kit.broker.auth_headers(API_KEY, TOKEN))
    kit.holds(any(TOKEN in value for value in told.values()), f"{sorted(told)} hold no token")
    kit.holds(kit.ask(kit.broker.order_book()).status == 200, "the simulator lets nobody in")


@row("feed words", "subscriptions of the websocket, for every mode; what it does not know it refuses")
def feed_words(kit: Kit) -> None:
    """Tokens of the run alone; text frames of no documented kind raise."""
    words, table = kit.side.words(kit.bench.instruments), kit.bench.instruments
    tokens = [int(one) for one in table.tokens()]
    kit.holds(words_of(kit.side.name, table).name == words.name, "brokers/table.py gives other words")
    kit.holds(sorted(words.modes.values())[:1] == [1], f"modes begin with 1: {dict(words.modes)}")
    for mode in words.modes:
        for messages in (words.subscription(tokens, mode), words.change_mode(tokens, mode)):
            kit.holds(messages and all(isinstance(one, bytes) and one for one in messages), f"mode {mode}")
    kit.holds(words.unsubscribe(tokens), "no message unsubscribes")
    kit.raises(ValueError, lambda: words.subscription(tokens, "no such mode"), "an unknown mode")
    for text in (b"", b"[]", b"{}", b"\xff", b'{"type":7}', b"[" * 5000):
        kit.raises(WireError, lambda text=text: words.parse_text(text), f"text {text[:12]!r}")  # type: ignore[misc]
    kind, _data = kit.side.updates_words(table).parse_text(_an_update(kit))
    kit.holds(kind == "order", f"an order update is {kind!r}")


def _an_update(kit: Kit) -> bytes:
    kit.ask(kit.broker.place(kit.order(kit.share, OrderType.MARKET)))
    return kit.bench.line.texts.frames[0]


@row("reconnects", "every refused handshake and every close has a meaning, and none is tried without a pause")
def reconnects(kit: Kit) -> None:
    """A dead token ends the tries; too many connections or tries wait long."""
    for words in (kit.side.words(kit.bench.instruments), kit.side.updates_words(kit.bench.instruments)):
        acts = {status: ws_codes.handshake_meaning(status, words.handshake_meaning) for status in HANDSHAKES}
        for status, meaning in acts.items():
            kit.holds(meaning.text and meaning.counter, f"handshake {status} has no words")
        kit.holds(acts[429].act is Act.WAIT_LONG, f"429 is {acts[429].act}")
        kit.holds(acts[400].act is Act.WAIT_LONG, f"400 is {acts[400].act}")
        dead = [status for status, meaning in acts.items() if meaning.act is Act.TOKEN_DEAD]
        kit.holds(set(dead) & {401, 403}, "no status says that the token is dead")
        kit.holds(not set(dead) & {0, 429, 500, 502, 503, 504}, f"{dead} end all tries")
        kit.holds(acts[503].act is Act.RETRY, f"503 is {acts[503].act}")
        for code in CLOSES:
            meaning = ws_codes.close_meaning(code, words.close_meaning)
            kit.holds(meaning.text and meaning.counter and meaning.act is not Act.TOKEN_DEAD, f"close {code}")
        slow = ws_codes.close_meaning(1008, words.close_meaning)
        kit.holds(slow.act is Act.WAIT_LONG, "a breach of the rules (1008) is tried again at once")
