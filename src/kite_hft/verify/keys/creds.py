"""Layer 6, by hand or CI, cold: `verify creds`: the vault against damage, tampering, strangers, bad disks.

Every single bit of a vault is changed, as a disk does it and as somebody does who makes the checksum fit
again: all are refused. So are all lengths but the right one, absurd headers (before a key is derived), close
passwords, files and folders that others could read or replace. An update is broken off at each of its
steps: the old contents or the new ones are there, whole. A file of the older design is read by a vector
that was made without this code.

Three derivations take about three minutes; --kdf argon2id one. --flip N changes one bit alone: the replay
of a miss.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.kdf import DEFAULTS, PBKDF2, chosen
from kite_hft.engine.keys.old_files import SALT_FILE, is_fernet, read_env, read_fernet
from kite_hft.verify.keys import bits, places
from kite_hft.verify.keys.bits import Tally

OLD_PASSWORD: Final = b"old master password"
OLD_SALT: Final = bytes.fromhex("00112233445566778899aabbccddeeff")
OLD_TOKEN: Final = (
    b"gAAAAABndIWAAAECAwQFBgcICQoLDA0OD4wyDV9MO4NpdEx9zAcHRaUgwcvUFP-fjPa9k8oZMlzTqcscVSBe9QpSmDdtXDC2-xC7I1wg"
    b"VAiHx_ZWD4i4Cdq_8Lj0MMQIpPocPFb3ygrbVpqOzFhO8swCa_O-GXxxpkw2E6r0YZfSY4VQ-lBqp31Y8im09TayxjGfFP4g0pM17H7k"
    b"F4JseVNN2bCEnWhl39nCAWlOtvN23YgjR-awwJ7XQdqYOpV-qfOtlM3IN5ba71ZXOSV1KwYNk1J7HUOH-A=="
)
"""Made by hashlib.pbkdf2_hmac, `openssl enc -aes-128-cbc` and hmac, after the Fernet specification."""
OLD_CONTENTS: Final = {
    "kite/default": {"api_key": "oldkey", "api_secret": "oldsecret", "user_id": "AB1234"},
    "alerts/default": {"telegram_bot_token": "1:x"},
}
OLD_FLIPS: Final = 16


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify creds", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--kdf", choices=[*DEFAULTS], help="one derivation alone (default: all)")
    made.add_argument(
        "--flip", type=int, metavar="BIT", help="this bit of a vault alone, with a fitting checksum"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """A table on stderr, one JSON line on stdout; 1 when anything was not as it must be."""
    options = parser().parse_args(argv)
    began = time.monotonic()
    kdfs = [options.kdf] if options.kdf else [*DEFAULTS]
    if options.flip is not None:
        found = {f"flip {name}": bits.forged_flips(chosen(name), options.flip) for name in kdfs}
        left: list[str] = []
    else:
        found, left = run(kdfs)
    wrong = [f"{name}: {line}" for name, tally in found.items() for line in tally.wrong]
    told: dict[str, Any] = {
        "campaign": "creds",
        "ok": not wrong,
        "bits_flipped": sum(t.tried for name, t in found.items() if name.startswith("flip")),
        "parts": {name: tally.row() for name, tally in found.items()},
        "not_tried": left,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(table(found, left), file=sys.stderr)
    if wrong:
        told["replay"] = f"python -m kite_hft.verify creds {replay_of(wrong)}".strip()
    print(json.dumps(told))
    return int(bool(wrong))


def run(kdfs: Sequence[str]) -> tuple[dict[str, Tally], list[str]]:
    """(part -> what was tried, what could not be tried here)."""
    found: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="kite_hft-creds-") as name:
        folder = Path(name)  # mode 0700 by mkdtemp
        for kdf in map(chosen, kdfs):
            found[f"flips, damaged ({kdf.name})"] = bits.flips_on_disk(folder, kdf)
            found[f"flips, tampered ({kdf.name})"] = bits.forged_flips(kdf)
            found[f"close passwords ({kdf.name})"] = bits.wrong_passwords(kdf)
        found["cut off, or longer"] = bits.cuts(folder, chosen(PBKDF2))
        found["absurd headers"] = bits.absurd_headers(chosen(PBKDF2))
        found["modes of file and folder"] = places.modes(folder)
        found["links, owners, pipes"], left = places.strange_files(folder)
        found["broken off while writing"] = places.failures(folder)
        found["nonces, salts, clear text"] = places.writes(folder)
        found["older files"] = old_files(folder)
    return found, left


def old_files(folder: Path) -> Tally:
    """The vector of the older design: read; refused with another password, salt, or bit; a `.env` file."""
    tally, path, salt = Tally(), folder / "credentials.encrypted", folder / SALT_FILE
    path.write_bytes(OLD_TOKEN)
    salt.write_bytes(OLD_SALT)
    held = read_fernet(path, OLD_PASSWORD, "default")
    tally.expect("the vector was read otherwise", right=is_fernet(path) and held.contents == OLD_CONTENTS)
    tally.expect("password or TOTP secret were taken unasked", right=len(held.left_out) == 2)
    tally.expect_refused("old file, another password", lambda: read_fernet(path, b"another", "default"))
    for n in range(OLD_FLIPS):
        at = 1 + n * (len(OLD_TOKEN) - 8) // OLD_FLIPS
        other = b"A" if OLD_TOKEN[at : at + 1] != b"A" else b"B"
        path.write_bytes(OLD_TOKEN[:at] + other + OLD_TOKEN[at + 1 :])
        tally.expect_refused(f"old file, character {at}", lambda: read_fernet(path, OLD_PASSWORD, "default"))
    path.write_bytes(OLD_TOKEN)
    salt.write_bytes(OLD_SALT[::-1])
    tally.expect_refused("old file, another salt", lambda: read_fernet(path, OLD_PASSWORD, "default"))
    salt.unlink()
    tally.expect_refused("old file, no salt", lambda: read_fernet(path, OLD_PASSWORD, "default"))
    path.write_text("KITE_API_KEY='a b'\nexport UPSTOX_ACCESS_TOKEN=tok # today\nOTHER=1\n")
    try:
        env = read_env(path, "p").contents
    except VaultError as error:
        tally.expect(str(error), right=False)
    else:
        right = env == {"kite/p": {"api_key": "a b"}, "upstox/p": {"access_token": "tok"}}
        tally.expect(f".env was read as {sorted(env)}", right=right)
    return tally


def replay_of(wrong: Sequence[str]) -> str:
    """Options that show the first flip that was not refused."""
    flips = (re.search(r"--kdf \w+ --flip \d+", line) for line in wrong)
    return next((found.group() for found in flips if found), "")


def table(found: dict[str, Tally], left: Sequence[str]) -> str:
    """For people."""
    lines = [f"{'':4}{name:32} {t.tried:>7,} tried, {len(t.wrong)} wrong" for name, t in found.items()]
    lines += [f"{'':8}{line}" for tally in found.values() for line in tally.wrong[:5]]
    return "\n".join(lines + [f"    not tried: {line}" for line in left])
