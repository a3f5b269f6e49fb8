"""Layer 6, by hand, cold: mutants that change nothing anybody could see, each with its reason.

A name is the function, the line and the change (mutants_of_source.name_of), so that it outlives changes
elsewhere in the module.
"""

from __future__ import annotations

from typing import Final

_WAY: Final = "a shorter way to the same value"
_NONE: Final = "any age below 0 is none"
_OVER: Final = "both times are over"
_CLOCK: Final = "no clock ever comes there"
_SAME: Final = "where the two are equal, the same value is set again"
_BEFORE: Final = "any number before its own"
_NOTHING: Final = "nothing is written, or cut off"
_FALSE: Final = "asked only whether there is something"
_SETTLES: Final = (
    "DayRules._settles: rule = self._rules.expiry(row) if row.kind in DERIVATIVES and row.expiry else No"
)


def _each(line: str, changes: str, why: str) -> dict[str, str]:
    """Several changes of one line, parted by commas."""
    return {f"{line}: {change}": why for change in changes.split(", ")}


EQUIVALENT: Final[dict[str, dict[str, str]]] = {
    "trading.sending.throttle": {
        **_each("module: _NEVER_NS: Final = 2**62", "2 to 3, 62 to 63, 62 to 61", _CLOCK),
        **_each("module: _LONG_AGO_NS: Final = -(2**62)", "2 to 3, 62 to 63, 62 to 61", _CLOCK),
        "EgressGate._too_many: return \"\": None": _FALSE,
        "Throttle.offer: if not urgent and deadline_ns < self.deadline_ns:: Lt to LtE": _SAME,
        **_each(
            "Throttle.free_at: if at < self._cool_until_ns and now_ns < self._cool_until_ns:",
            "Lt to LtE, Lt to LtE (2)",
            "where both are equal, the windows and the cool-down end together",
        ),
    },
    "trading.sending.budget": {
        **_each("module: NEVER_NS: Final = 2**62", "2 to 3, 62 to 63, 62 to 61", _CLOCK),
        **_each("module: _LONG_AGO_NS: Final = -(2**62)", "2 to 3, 62 to 63, 62 to 61", _CLOCK),
        "_latest: if free_ns > at:: Gt to GtE": _SAME,
        "Budget.__init__: opens = [w.calls > w.reserved for w in (*shared, *orders)]: Gt to GtE": (
            "limits_from_mapping takes no window that is reserved as a whole"
        ),
        "Budget.left: if times[at] > free_ns:: Gt to GtE": _SAME,
        "Ring.__init__: self.times, self.at = [_LONG_AGO_NS] * n, 0: 0 to -1": "a ring has no beginning",
    },
    "trading.sending.egress": {
        "Egress._another_place: return False: None": _FALSE,
        "Egress._place_of_another: return False: None": _FALSE,
        "Egress._keep_place: if now_ns > held.row.mono_ns:: Gt to GtE": "it is moved to where it stands",
    },
    "trading.sending.conduct": {
        "noise: if levels.ratio_warn and tally.messages >= max(1, levels.messages_min):: 1 to 0": (
            "no message to a trade is no ratio that a level names"
        ),
    },
    "trading.sending.evidence": {
        **_each("merged: least_ns, then_ns = -(2**62), ahead_ns", "2 to 3, 62 to 63, 62 to 61", _CLOCK),
    },
    "memory.journal": {
        "_was_on_disk: return False: None": _FALSE,
        "_was_on_disk: while at >= 0:: GtE to Gt": "the header is before every record",
        "_was_on_disk: while at >= 0:: 0 to 1": "the header is before every record",
        "_was_on_disk: at = data.find(MARK, at + 1): 1 to 2": "two marks cannot overlap",
        'scan: at, crc, known, tail, detail = HEADER_BYTES, seed, 0, "clean", "": 0 to -1': (
            "before the first record there is one end only, the first and the last"
        ),
        "_whole: known = seq - 1 - lag if lag < LAG_MAX else 0: 0 to -1": "records are numbered from 1",
        **_each(
            'Header.encode: words = (MAGIC, VERSION, HEADER_BYTES, *hashes, self.created_real_ns, b"", 0)',
            "0 to 1",
            "the place of the checksum, which is cut off",
        ),
    },
    "memory.journal_writer": {
        "JournalWriter.__init__: self.synced_seq = 0: 0 to -1": "the sync that follows at once sets it",
    },
    "memory.journal_files": {
        "_fs_type: return buffer[0] & 0xFFFFFFFF: 4294967295 to 4294967294": "the file systems' are even",
        **_each(
            "_fs_type: buffer = (ctypes.c_long * 32)()  # struct statfs: f_type is its first word",
            "32 to 33, 32 to 31",
            "struct statfs has 15 words",
        ),
        "reopen_journal: if found.end > found.on_disk:: Gt to GtE": _NOTHING,
        "reopen_journal: if len(data) > found.end:: Gt to GtE": _NOTHING,
        **_each("upper_layer: best, found = -1, None", "1 to 2, 1 to 0", "every path has a part"),
    },
    "trading.gate.facts": {
        **_each("module: _DAYS_AHEAD: Final = 15", "15 to 16, 15 to 14", "further than any rule looks ahead"),
        **_each("module: NEVER_NS: Final = 2**62", "2 to 3, 62 to 63, 62 to 61", _CLOCK),
        **_each("module: since_ns: int = 0", "0 to 1, 0 to -1", "the wall clock is always later"),
        **_each(
            "DayRules.__init__: self._now = [View(until_ns=-1)] * len(instruments)",
            "1 to 2, 1 to 0",
            "the wall clock is always later",
        ),
        f"{_SETTLES}: and, or": "the rules tell the kinds, too, and what is no date settles nothing",
        **_each('DayRules._expiry: return "", 0', "0 to 1, 0 to -1", "nobody asks for its side"),
    },
    "trading.gate.risk": {
        **_each("module: now_ns: int = 0,", "0 to 1, 0 to -1", "of contexts in which time does not matter"),
        "cut_age_ns: return now_ns - position.cut_ns if position and position.cut_ns else -1: 1 to 2": _NONE,
        **_each("module: _LEFT_MAX: Final = 4096", "4096 to 4097, 4096 to 4095", "it bounds memory alone"),
    },
    "trading.gate.judging": {
        **_each(
            "Gate.peek: return judge(intent, self.context(intent, intent.strategy_seq - 1, now_ns), self",
            "1 to 2",
            _BEFORE,
        ),
        "Gate.judge_trigger: context = self.context(order, order.strategy_seq - 1, now_ns): 1 to 2": _BEFORE,
        **_each(
            "Gate.judge_trigger: reducing = order.qty > 0 and held.reduces(order.side, order.qty + beside)",
            "Gt to GtE, 0 to -1",
            "a quantity of 0 is refused before, whatever it would do",
        ),
    },
    "trading.gate.checks_size": {
        **_each(
            "positions: held, buys, sells, _worst = slots.get(intent.slot, (0, 0, 0, 0))",
            "0 to 1, 0 to -1, 0 to 1 (2), 0 to -1 (2), 0 to 1 (3), 0 to -1 (3), 0 to 1 (4), 0 to -1 (4)",
            "what has waited is in play itself",
        ),
    },
    "trading.gate.checks": {
        **_each("module: PAISE_SCALE: Final = 100", "100 to 101, 100 to 99", _WAY),
    },
    "trading.gate.checks_conduct": {
        "self_trade: if sums is None or not (sums[2] if side == Side.BUY else sums[1]):: 2 to 3": _WAY,
        "_goes_before: return False: None": _FALSE,
        "_goes_before: return bool(other.order_id) or other.order_no < order.order_no: Lt to LtE": (
            "no two orders bear one number"
        ),
    },
    "trading.gate.checks_market": {
        "holdings: sold = max(0, -net)  # the broker may not have told of our newest sales yet: 0 to -1": (
            "what the broker says was sold is never below 0, and the larger one holds"
        ),
        "module: _SHORTABLE: Final = frozenset({_MIS, int(Product.NRML)}): without int(Product.NRML)": (
            "legal_product stands before: shares have no NRML, and what has it is a derivative"
        ),
    },
    "trading.gate.checks_form": {
        **_each(
            "stop_price: trigger_px = intent.trigger_px or (target.trigger_px if target else 0)",
            "0 to 1, 0 to -1",
            "`numbers` refuses a stop without a trigger before",
        ),
    },
    "trading.gate.broker_clock": {
        **_each("BrokerClock.answered: if date != self._last[0]:", "0 to 1, 0 to -1", _WAY),
        "BrokerClock.answered: while self._kept[0].at_ns < received_ns - KEPT_NS:: 0 to -1": (
            "`skew_ns` leaves old ones out"
        ),
        **_each(
            "BrokerClock.answered: off = abs(self.skew_ns() or 0) > self._watch.most_ns",
            "Gt to GtE, 0 to 1, 0 to -1",
            "ClockWatch.wrong compares once more",
        ),
    },
    "trading.gate.states": {
        **_each(
            "States.__init__: self.token_ns = -(2**62)  # when the newest token came",
            "2 to 3, 62 to 63, 62 to 61",
            _CLOCK,
        ),
    },
    "trading.gate.guards": {
        "Guards.__init__: self._paused_until_ns = 0: 0 to -1": _OVER,
        **_each(
            'Guards._fold: self.drawdown, self.peak_paise, self._paused_until_ns = "", data["peak_paise"], ',
            "0 to -1",
            _OVER,
        ),
        **_each(
            "module: _NOTHING: Final = _Seen(0, 0, 0, 0, 0)",
            "0 to 1 (4), 0 to -1 (4)",
            "a position with one fill is open, one without any has realised nothing",
        ),
        **_each(
            "module: _NOTHING: Final = _Seen(0, 0, 0, 0, 0)",
            "0 to 1 (5), 0 to -1 (5)",
            "asked only once it was closed, and that sets it",
        ),
        **_each(
            "Guards.look: if 0 < fills == known and not quantity:  # the broker has set right what it was ",
            "0 to 1",
            "a position with one fill is open",
        ),
        **_each(
            "Guards.begin: self._seen[key] = _seen_before(position, judged.get(key, 0))",
            "0 to 1, 0 to -1",
            "the first fill closes nothing",
        ),
        **_each(
            "_seen_before: if before.quantity * past.quantity < 0 or not past.quantity:",
            "Lt to LtE, 0 to 1",
            "a fill that opens realises nothing; what was closed last is asked of a closed position alone",
        ),
    },
}  # fmt: skip
"""Module -> {name of a mutant: why nothing differs}."""
