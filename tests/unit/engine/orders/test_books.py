"""The broker's raw books on their shelf: newest, whole, and no harm when there is no room."""

from __future__ import annotations

from pathlib import Path

from kite_hft.engine.orders.books import shelf, take_book, take_books


def test_the_newest_book_is_found_whole_and_once(tmp_path: Path) -> None:
    put = shelf(tmp_path, lambda: 77)
    assert take_book(tmp_path, "orders", -1) is None
    put("orders", b'{"data": []}', 100)
    found = take_book(tmp_path, "orders", -1)
    assert found is not None and found == ("orders", 100, 77, b'{"data": []}')
    assert take_book(tmp_path, "orders", 100) is None
    put("orders", b"x" * 3_000_000, 200)
    found = take_book(tmp_path, "orders", 100)
    assert found is not None and found.asked_ns == 200 and len(found.body) == 3_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orders.book"]


def test_what_no_watchdog_reads_is_not_kept(tmp_path: Path) -> None:
    shelf(tmp_path, lambda: 1)("margins", b"{}", 1)
    shelf(tmp_path, lambda: 1, wanted=False)("orders", b"{}", 1)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_or_full_stops_nobody(tmp_path: Path) -> None:
    shelf(tmp_path / "gone", lambda: 1)("orders", b"{}", 1)
    (tmp_path / "orders.new").mkdir()
    shelf(tmp_path, lambda: 1)("orders", b"{}", 1)
    assert take_book(tmp_path, "orders", -1) is None


def test_a_file_that_is_no_book_is_none(tmp_path: Path) -> None:
    for content in (b"", b"KHFT", b"NOTABOOK" + bytes(16) + b"{}"):
        (tmp_path / "orders.book").write_bytes(content)
        assert take_book(tmp_path, "orders", -1) is None


def test_new_books_come_as_they_were_asked_for(tmp_path: Path) -> None:
    put = shelf(tmp_path, lambda: 1)
    for read, asked_ns in (("trades", 20), ("orders", 10), ("positions", 30), ("triggers", 5)):
        put(read, b"{}", asked_ns)
    assert [book.read for book in take_books(tmp_path, {})] == ["triggers", "orders", "trades", "positions"]
    assert [book.read for book in take_books(tmp_path, {"trades": 19, "positions": 30})] == [
        "triggers", "orders", "trades",
    ]  # fmt: skip
