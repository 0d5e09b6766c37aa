"""Keys that sign, and keys that are trusted: what RFC 8032 and OpenSSL say of them, and what is no key."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from pyctrigger.errors import UsageError
from pyctrigger.store.seal import SealFlaw, Seals
from pyctrigger.store.signing import SigningKey, library, parse_public, public_text, verifier_of
from unit.store.shelves import PEM, PUBLIC

if TYPE_CHECKING:
    from pathlib import Path

#: Of no bytes at all, by the same test.
SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
    "d25bf5f0595bbe24655141438e7a100b"
)
TEXT = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def test_signatures_are_those_of_the_standard() -> None:
    """Both ways, and a key is kept as it was read."""
    key = SigningKey.from_pem(PEM)
    assert (PUBLIC, SIGNATURE, PEM) == (key.public, key.sign(b""), key.to_pem())
    assert verifier_of(PUBLIC)(SIGNATURE, b"")
    assert not verifier_of(PUBLIC)(SIGNATURE, b"x")


def test_openssl_reads_the_same_keys(tmp_path: Path) -> None:
    """So a key can be made, or kept, by other means."""
    openssl = shutil.which("openssl") or absent("openssl")
    made = tmp_path / "made.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", made], check=True, timeout=60)
    told = subprocess.run(
        [openssl, "pkey", "-in", made, "-pubout", "-outform", "DER"], stdout=-1, check=True, timeout=60
    )
    assert told.stdout[-32:] == SigningKey.from_pem(made.read_bytes()).public


def test_each_new_key_is_another() -> None:
    one, other = SigningKey.generate(), SigningKey.generate()
    assert one.public != other.public
    assert one.public == SigningKey.from_pem(one.to_pem()).public


def test_a_public_key_as_text() -> None:
    """It is one word, and comes back."""
    assert TEXT == public_text(PUBLIC)
    assert PUBLIC == parse_public(TEXT)


#: What is no public key, and a part of what is said.
NO_KEYS = [
    ("nothing", "", "isn't a public key"),
    ("without its kind", TEXT[8:], "isn't a public key"),
    ("another kind", TEXT.replace("ed25519", "rsa"), "isn't a public key"),
    ("too short", public_text(PUBLIC[:31]), "isn't a public key"),
    ("too long", public_text(PUBLIC + b"x"), "isn't a public key"),
    ("no base64", TEXT[:-2] + "!=", "isn't a public key"),
    ("a space inside", TEXT[:20] + " " + TEXT[20:], "isn't a public key"),
    ("other letters", TEXT[:-2] + "\u00e9=", "isn't a public key"),
    ("all zero", public_text(bytes(32)), "anybody can sign"),
    ("the neutral one", public_text(b"\1" + bytes(31)), "anybody can sign"),
    ("the same, negative", public_text(b"\1" + bytes(30) + b"\x80"), "anybody can sign"),
]


@pytest.mark.parametrize(("text", "reason"), [row[1:] for row in NO_KEYS], ids=[row[0] for row in NO_KEYS])
def test_what_is_no_public_key(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_public(text)


def points_of_small_order() -> list[bytes]:
    """All y of points whose eightfold is the neutral one, also as numbers beyond the field; computed from the curve."""
    prime = 2**255 - 19
    d = -121665 * pow(121666, prime - 2, prime) % prime

    def root(square: int) -> int | None:
        found = pow(square, (prime + 3) // 8, prime)
        if (found * found - square) % prime:
            found = found * pow(2, (prime - 1) // 4, prime) % prime
        return None if (found * found - square) % prime else found

    # Doubled twice they are (0, -1): y is 1, -1 or 0, or of order eight, with y of the double 0, so x*x = -y*y.
    ys = {0, 1, prime - 1}
    for sign in (1, -1):
        inner = root((1 + d) % prime)
        assert inner is not None
        # -x*x + y*y = 1 + d*x*x*y*y with x*x = -y*y: d*u*u + 2*u - 1 = 0 for u = y*y
        y = root((-1 + sign * inner) * pow(d, prime - 2, prime) % prime)
        ys |= set() if y is None else {y, prime - y}
    return [number.to_bytes(32, "little") for y in ys for number in (y, y + prime) if number < 2**255]


def test_points_of_small_order_are_no_keys() -> None:
    """For them anybody finds signatures; the list is what the curve's own equation says."""
    weak = points_of_small_order()
    assert 7 == len(weak)
    for each in weak:
        with pytest.raises(ValueError, match="anybody can sign"):
            parse_public(public_text(each))


#: What is no private key.
NO_PRIVATE_KEYS = [
    ("nothing", b""),
    ("some text", b"secret"),
    ("a part of one", PEM[:60]),
    (
        "a public key",
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA" + TEXT[8:].encode() + b"\n-----END PUBLIC KEY-----\n",
    ),
    ("of another kind", PEM.replace(b"MC4CAQAwBQYDK2VwBCIEI", b"MC4CAQAwBQYDK2VuBCIEI")),
]


@pytest.mark.parametrize("pem", [row[1] for row in NO_PRIVATE_KEYS], ids=[row[0] for row in NO_PRIVATE_KEYS])
def test_what_is_no_private_key(pem: bytes) -> None:
    with pytest.raises(ValueError, match="it isn't a private ed25519 key without a password, in PEM"):
        SigningKey.from_pem(pem)


def test_a_key_with_a_password_is_none(tmp_path: Path) -> None:
    """Nobody is there to type it."""
    openssl = shutil.which("openssl") or absent("openssl")
    locked = tmp_path / "locked.pem"
    command: list[str | Path] = [
        openssl,
        "genpkey",
        "-algorithm",
        "ed25519",
        "-aes256",
        "-pass",
        "pass:x",
        "-out",
        locked,
    ]
    subprocess.run(command, check=True, timeout=60)
    with pytest.raises(ValueError, match="without a password"):
        SigningKey.from_pem(locked.read_bytes())


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with the extra that has it; and it isn't needed where nothing is trusted."""
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for call in (library, SigningKey.generate, lambda: SigningKey.from_pem(PEM), lambda: Seals([PUBLIC])):
        with pytest.raises(UsageError, match="signatures need the library cryptography") as caught:
            call()
        assert "install that as a system package, or with pip install 'pyctrigger[sign]'" == caught.value.hint
    assert SealFlaw.UNSIGNED is Seals([]).open(b"", bytes(32))
