"""Ed25519 keys: those that sign a push, in a file of its owner's, and those that are trusted, as text.

    a private key   PEM, PKCS #8, as `openssl genpkey -algorithm ed25519` writes it
    a public key    one line: "ed25519:" and its 32 bytes as base64

The library `cryptography` (the extra `sign`) is imported when a key is first used.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from ..errors import UsageError
from ..typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_FORM = "ed25519:"
#: Bytes of a public key.
PUBLIC_SIZE = 32
#: Keys for which anybody can make signatures: points of a small order, without the bit for the sign of x. All bytes
#: zero is one, which somebody may have written where a key is to be filled in.
_WEAK = frozenset(
    bytes.fromhex(each)
    for each in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)

#: Whether a signature is right for a text.
Verifier = Callable[[bytes, bytes], bool]


def library() -> Any:
    """Returns the library's module for ed25519. Raises UsageError without it."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UsageError(
            f"signatures need the library cryptography: {error}",
            hint="install that as a system package, or with pip install 'pyctrigger[sign]'",
        ) from error
    return ed25519


class SigningKey:
    """A private key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        from cryptography.hazmat.primitives import serialization as forms

        self._private = private
        #: Its public key's bytes.
        self.public: bytes = private.public_key().public_bytes(forms.Encoding.Raw, forms.PublicFormat.Raw)

    def sign(self, text: bytes) -> bytes:
        """Returns the signature of a text."""
        signature: bytes = self._private.sign(text)
        return signature

    def to_pem(self) -> bytes:
        """Returns what is kept in a file."""
        from cryptography.hazmat.primitives import serialization as forms

        pem: bytes = self._private.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        return pem

    @classmethod
    def generate(cls) -> SigningKey:
        """Returns a new one. Raises UsageError without the library."""
        return cls(library().Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Returns what `to_pem` wrote. Raises ValueError if it is no such key, and UsageError without the library."""
        kind = library().Ed25519PrivateKey
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
            private = None
        if not isinstance(private, kind):
            raise ValueError("it isn't a private ed25519 key without a password, in PEM")
        return cls(private)


def verifier_of(public: bytes) -> Verifier:
    """Returns what checks signatures of a public key. Raises UsageError without the library."""
    key = library().Ed25519PublicKey.from_public_bytes(public)
    from cryptography.exceptions import InvalidSignature

    def verify(signature: bytes, text: bytes) -> bool:
        try:
            key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return verify


def public_text(public: bytes) -> str:
    """Returns a public key as people write it."""
    return _FORM + base64.b64encode(public).decode()


def parse_public(text: str) -> bytes:
    """Returns the bytes of a public key that was written as text. Raises ValueError."""
    try:
        public = base64.b64decode(text.removeprefix(_FORM), validate=True) if text.startswith(_FORM) else b""
    except (binascii.Error, ValueError):
        public = b""
    if len(public) != PUBLIC_SIZE:
        raise ValueError(f"it isn't a public key, {_FORM} and 44 characters of base64")
    if public[:-1] + bytes([public[-1] & 0x7F]) in _WEAK:
        raise ValueError("anybody can sign for this key")
    return public
