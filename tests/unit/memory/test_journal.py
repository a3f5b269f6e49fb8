"""What a journal's bytes tell: all of it, up to the first record that does not hold."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.layout import LAYOUT_FINGERPRINT
from kite_hft.memory import journal
from kite_hft.memory.journal import (
    HEADER_BYTES,
    LAG_MAX,
    MARK,
    Header,
    JournalError,
    Kind,
    dump,
    encode,
    read_header,
    scan,
)

HEADER = Header(build=1, config=2, created_real_ns=3, rules=4)
HEAD = 40
PAYLOADS = [b'{"no":%d,"text":"%s"}' % (i, b"x" * (i * 7 % 40)) for i in range(12)]


def written(payloads: list[bytes] = PAYLOADS, *, lag: int | None = None, header: Header = HEADER) -> bytes:
    """lag: of every record; None: nothing was ever synced."""
    data = header.encode()
    seed = crc = read_header(data)[1]
    for seq, payload in enumerate(payloads, 1):
        behind = seq - 1 if lag is None else min(lag, seq - 1)
        record, crc = encode(Kind.INTENT, seq, 1000 + seq, payload, before=crc, seed=seed, lag=behind)
        data += record
    return data


def ends(payloads: list[bytes] = PAYLOADS) -> list[int]:
    """Where the header and each record end."""
    found = [HEADER_BYTES]
    for payload in payloads:
        found.append(found[-1] + HEAD + len(payload))
    return found


DATA, SYNCED = written(), written(lag=0)
"""Never synced, and synced after each record, as far as the records tell."""


def test_replay_equals_what_was_written() -> None:
    found = scan(DATA)
    assert [r.payload for r in found.records] == PAYLOADS
    assert [r.seq for r in found.records] == list(range(1, 13)) and found.next_seq == 13
    assert [r.time_ns for r in found.records] == [1001 + i for i in range(12)]
    assert found.tail == "clean" and found.end == len(DATA) == ends()[-1]
    assert found.header == HEADER and found.header.layout == LAYOUT_FINGERPRINT and found.header.rules == 4


def test_records_tell_what_was_on_the_disk() -> None:
    assert scan(DATA).on_disk == HEADER_BYTES and scan(SYNCED).on_disk == ends()[-2]
    assert scan(written(lag=3)).on_disk == ends()[8]
    unknown = encode(Kind.START, 1, 0, b"", before=0, seed=0, lag=10**6)[0]
    assert int.from_bytes(unknown[34:36], "little") == LAG_MAX


@pytest.mark.parametrize("data", [DATA, SYNCED])
def test_cut_at_every_byte_is_torn_and_keeps_all_whole_records(data: bytes) -> None:
    whole = ends()
    for length in range(HEADER_BYTES, len(data)):
        kept = sum(end <= length for end in whole) - 1
        found = scan(data[:length])
        assert (len(found.records), found.end) == (kept, whole[kept])
        assert found.tail == ("clean" if length in whole else "torn")
        padded = scan(data[:length] + bytes(100))
        assert len(padded.records) == kept and padded.tail == "torn"
    for length in range(HEADER_BYTES):
        with pytest.raises(JournalError):
            scan(data[:length])


def test_every_flipped_bit_ends_the_reading_and_is_corruption_where_it_had_been_synced() -> None:
    whole = ends()
    for data, tail in ((DATA, "torn"), (SYNCED, "corrupt")):
        for at in range(HEADER_BYTES, len(data)):
            for bit in (0, 3, 7):
                wrong = bytearray(data)
                wrong[at] ^= 1 << bit
                found = scan(bytes(wrong))
                record = next(i for i, end in enumerate(whole) if at < end) - 1
                assert len(found.records) == record
                # The last record has none behind it that could vouch for it.
                assert found.tail == (tail if record < len(PAYLOADS) - 1 else "torn"), (at, bit)
    for at in range(HEADER_BYTES):
        wrong = bytearray(DATA)
        wrong[at] ^= 1
        with pytest.raises(JournalError):
            scan(bytes(wrong))


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"old"])
def test_a_sector_in_the_middle_that_was_never_written(filling: bytes) -> None:
    """Three unsynced records behind nine synced ones; any part of them is lost in any order."""
    payloads = [b'{"no":%d,"text":"%s"}' % (i, b"y" * 700) for i in range(12)]
    data = written(payloads[:9], lag=0)
    seed, before = scan(data).seed, scan(data).crc
    for seq in (10, 11, 12):
        record, before = encode(
            Kind.ANSWER, seq, 5, payloads[seq - 1], before=before, seed=seed, lag=seq - 10
        )
        data += record
    whole, first = ends(payloads), ends(payloads)[9]
    for begin in range(-(-first // 512) * 512, len(data), 512):
        end = min(begin + 512, len(data))
        lost = data[:begin] + (filling * 512)[: end - begin] + data[end:]
        found = scan(lost)
        kept = sum(e <= begin for e in whole) - 1
        assert (found.tail, found.end) == ("torn", whole[kept]) and len(found.records) == kept >= 9
    found = scan(data[: first - 600] + bytes(512) + data[first - 88 :])  # of the ninth, which was synced
    assert found.tail == "corrupt" and len(found.records) == 8


def test_lost_swapped_and_doubled_records_are_seen() -> None:
    whole = ends()
    for data, tail in ((DATA, "torn"), (SYNCED, "corrupt")):
        parts = [data[a:b] for a, b in zip([0, *whole], whole, strict=False)]
        for order in ([0, 2, 3], [0, 2, 1], [0, 1, 1], [0, 1, 3, 4]):
            found = scan(b"".join(parts[i] for i in order))
            good = next(n for n, i in enumerate(order) if i != n)
            assert len(found.records) == good - 1
            later = max(order[good:]) - 1  # what the furthest of them says had been synced
            assert found.tail == (tail if later >= good else "torn"), order


def test_records_of_another_journal_are_seen_and_vouch_for_nothing() -> None:
    other = written(lag=0, header=Header(9, 2, 3))
    found = scan(HEADER.encode() + other[HEADER_BYTES:])
    assert found.records == () and found.tail == "torn"
    found = scan(SYNCED[: ends()[2]] + other[ends()[2] :])
    assert len(found.records) == 2 and found.tail == "torn"


def test_a_mark_in_a_payload_is_no_record() -> None:
    payloads = [MARK + b"x" * 60, MARK * 30, b"{}"]
    found = scan(written(payloads))
    assert [r.payload for r in found.records] == payloads
    assert scan(written(payloads)[:-3]).tail == "torn"


def test_another_version_is_named() -> None:
    data = bytearray(HEADER.encode())
    data[8:12] = (1).to_bytes(4, "little")
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    with pytest.raises(JournalError, match=r"version 1 .* reads 2"):
        scan(bytes(data))


def test_dump(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(DATA[:-1])
    header, first, *more, tail = dump(path)
    assert header == {
        "kind": "HEADER", "layout": f"{LAYOUT_FINGERPRINT:016x}", "build": "0000000000000001",
        "config": "0000000000000002", "rules": "0000000000000004", "created_real_ns": 3,
    }  # fmt: skip
    assert first == {"seq": 1, "time_ns": 1001, "kind": "INTENT", "data": {"no": 0, "text": ""}}
    assert tail == {"kind": "TAIL", "tail": "torn", "detail": scan(DATA[:-1]).detail} and len(more) == 10
    assert os.path.getsize(path) == len(DATA) - 1  # looking changes nothing
    path.write_bytes(DATA)
    assert [row["kind"] for row in dump(path)] == ["HEADER"] + ["INTENT"] * 12, "a clean end is not told"


def test_numbers_of_kinds_stand_in_files_for_ever() -> None:
    assert {kind.name: int(kind) for kind in Kind} == {
        "START": 1, "INTENT": 2, "REFUSED": 3, "ANSWER": 4, "CALL": 5, "REPORT": 6, "TRADE": 7, "STATE": 8,
        "RESOLVED": 9, "EXTERNAL": 10, "END": 11, "WAITING": 12, "WITHDRAWN": 13, "ALERT": 14, "PLAN": 15,
        "GROUP": 16, "COMMAND": 17, "GTT": 18, "GUARD": 19,
    }  # fmt: skip


def test_rules_that_are_not_told_are_none() -> None:
    assert read_header(Header(build=1, config=2, created_real_ns=3).encode())[0].rules == 0


def test_a_last_record_without_payload_is_whole() -> None:
    found = scan(written([b"{}", b""]))
    assert (
        found.tail == "clean"
        and found.records[-1].payload == b""
        and found.end == HEADER_BYTES + 2 * HEAD + 2
    )


@pytest.mark.parametrize(
    ("lag", "tail"), [(0, "corrupt"), (65_534, "corrupt"), (65_535, "torn"), (10**6, "torn")]
)
def test_how_far_a_record_can_vouch_for_others(lag: int, tail: str) -> None:
    """It is the 70,000th, and tells of the first, which is not there, if it tells of 4,465 of them."""
    seed = read_header(HEADER.encode())[1]
    far = encode(Kind.REPORT, 70_000, 5, b"{}", before=7, seed=seed, lag=lag)[0]
    found = scan(HEADER.encode() + b"wrong" + far)
    assert (found.tail, found.records, found.on_disk) == (tail, (), HEADER_BYTES)


@given(st.binary(max_size=300))
def test_any_bytes_behind_good_records_never_add_one(noise: bytes) -> None:
    seed = read_header(HEADER.encode())[1]
    record, _ = journal.encode(Kind.START, 1, 5, b"{}", before=seed, seed=seed, lag=0)
    found = scan(HEADER.encode() + record + noise)
    assert len(found.records) == 1 and (found.tail == "clean") == (noise == b"")
