"""Which addresses the engine may call, and that no message shows one that is a secret."""

from __future__ import annotations

import pytest

from kite_hft.addresses import check_address, check_sink_address, is_loopback


@pytest.mark.parametrize(
    "url", ["https://x.org/s3cret?k=v", "http://127.0.0.1:8080/a", "http://localhost/a", "http://[::1]/"]
)
def test_sinks_take_https_and_this_machine(url: str) -> None:
    check_sink_address("alerts.webhook", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://x.org/s3cret", "ftp://x.org/s3cret", "s3cret", "https://", "https://user@x.org/s3cret",
        "https://x.org/s3 cret", "https://x.org/s3cret#a", "https://x.org:0/s3cret", "https://x.org:99999/s3cret",
        "https://x.org/s3cret\n",
    ],
)  # fmt: skip
def test_no_other_address_and_none_is_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^alerts\.webhook: ") as error:
        check_sink_address("alerts.webhook", url)
    assert "s3cret" not in str(error.value) and "x.org" not in str(error.value)


def test_a_broker_is_called_encrypted_or_on_this_machine() -> None:
    check_address("kite.api_url", "https://api.kite.trade", plain="http", encrypted="https")
    check_address("kite.api_url", "http://127.0.0.1:1", plain="http", encrypted="https")
    for url in ("http://10.0.0.1", "ws://127.0.0.1", "https://x?token=1", "https://u:p@x", "https://x:0"):
        with pytest.raises(ValueError, match=r"kite\.api_url"):
            check_address("kite.api_url", url, plain="http", encrypted="https")


def test_loopback() -> None:
    assert (
        is_loopback("http://127.9.9.9:1/") and is_loopback("ws://localhost") and is_loopback("http://[::1]")
    )
    for url in ("http://10.0.0.1", "https://localhost.x.org", ""):
        assert not is_loopback(url)
