"""Files with keys and passwords: a secret that others can read is none, and a key is never replaced."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Callable

import pytest

from pyctrigger.errors import RefusedError, UsageError
from pyctrigger.store.key_files import read_password, read_signing_key, read_trusted, write_signing_key
from pyctrigger.store.signing import SigningKey, public_text
from unit.store.shelves import PEM, PUBLIC

if TYPE_CHECKING:
    from pathlib import Path

OTHER = SigningKey.generate().public


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A private key, in a file of our own."""
    path = tmp_path / "signing.pem"
    path.write_bytes(PEM)
    path.chmod(0o600)
    return path


def test_a_key_in_a_file_of_its_own(key_file: Path) -> None:
    assert PUBLIC == read_signing_key(str(key_file)).public
    key_file.chmod(0o400)
    assert PUBLIC == read_signing_key(str(key_file)).public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601, 0o644, 0o777], ids=oct)
@pytest.mark.parametrize("read", [read_signing_key, read_password], ids=["key", "password"])
def test_what_others_can_read_is_no_secret(key_file: Path, read: Callable[[str], object], mode: int) -> None:
    """Nor what they can write; and it has to be replaced, since somebody may have it."""
    key_file.chmod(mode)
    with pytest.raises(RefusedError, match="is open to others") as caught:
        read(str(key_file))
    assert f"replace it, and chmod 600 {key_file}" == caught.value.hint


@pytest.mark.usefixtures("as_root")
def test_what_another_account_owns(key_file: Path) -> None:
    """It could be replaced at any time; root doesn't use it, and nor does anybody else."""
    os.chown(key_file, 4711, 4711)
    with pytest.raises(RefusedError) as caught:
        read_signing_key(str(key_file))
    told = (caught.value.message, caught.value.hint)
    assert (f"signing key {key_file} belongs to account 4711", "run as that account") == told
    os.chown(key_file, 0, 0)
    os.chown(key_file.parent, 4711, 4711)
    try:
        reason = f"signing key {key_file} is not trusted by root: account 4711 owns a part of its path"
        with pytest.raises(RefusedError, match=reason):
            read_signing_key(str(key_file))
    finally:
        os.chown(key_file.parent, 0, 0)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


#: What is there instead of a file with a secret, and what is said of it.
NO_FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("nothing", lambda path: None, "No such file or directory"),
    ("a link to nowhere", lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    ("a directory", make_directory, "not a regular file"),
    ("a pipe that nobody writes", make_pipe, "not a regular file"),
    ("a device", lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    ("a large file", lambda path: path.write_bytes(bytes(1 << 17)), "larger than 64 KiB"),
]


@pytest.mark.parametrize(("make", "reason"), [row[1:] for row in NO_FILES], ids=[row[0] for row in NO_FILES])
def test_what_is_no_file(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    """It is named, with what it was to be and a reason; and nothing blocks."""
    path = tmp_path / "there"
    make(path)
    if path.is_file():
        path.chmod(0o600)
    readers: list[tuple[str, Callable[[str], object]]] = [
        ("signing key", read_signing_key),
        ("password file", read_password),
        ("file of trusted keys", lambda each: read_trusted([each])),
    ]
    for what, read in readers:
        with pytest.raises(UsageError) as caught:
            read(str(path))
        assert (f"{what} {path}: {reason}", "name a file that can be read") == (caught.value.message, caught.value.hint)


def test_what_is_no_key(key_file: Path) -> None:
    """A file that only its owner reads may have anything."""
    key_file.write_bytes(b"secret")
    with pytest.raises(UsageError, match=f"signing key {key_file}: it isn't a private ed25519 key") as caught:
        read_signing_key(str(key_file))
    assert "make one with `pyctrigger store keygen`" == caught.value.hint


@pytest.mark.parametrize(
    ("text", "password"),
    [(b"secret", b"secret"), (b"secret\n", b"secret"), (b"s \xff\r\nmore", b"s \xff"), (b" \n", b" ")],
    ids=["no end", "a line", "any bytes", "a space"],
)
def test_a_password_is_a_line(tmp_path: Path, text: bytes, password: bytes) -> None:
    """The first one, as it is."""
    path = tmp_path / "password"
    path.write_bytes(text)
    path.chmod(0o600)
    assert password == read_password(str(path))


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n", b"\nsecret"])
def test_an_empty_password_is_a_mistake(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="its first line is empty") as caught:
        read_password(str(path))
    assert "write the password there" == caught.value.hint


def test_trusted_keys_as_text_and_in_files(tmp_path: Path) -> None:
    """In their order; a file has one a line, and may say whose they are."""
    path = tmp_path / "keys"
    path.write_text(f"# of the farm\n\n  {public_text(OTHER)}  # until spring\n{public_text(PUBLIC)}\n")
    assert [] == read_trusted([])
    assert [PUBLIC, OTHER, PUBLIC] == read_trusted([public_text(PUBLIC), str(path)])
    path.write_text("# none yet\n")
    assert [] == read_trusted([str(path)])
    path.write_text(f"{public_text(PUBLIC)} #".ljust(1 << 16, "."))  # as large as it may be
    assert [PUBLIC] == read_trusted([str(path)])


def test_what_is_no_trusted_key_is_an_error(tmp_path: Path) -> None:
    """With its place: a key that is left out silently would be missed only when it is too late."""
    path = tmp_path / "keys"
    path.write_bytes(b"\n\nssh-ed25519 AAAA\xff\n")
    with pytest.raises(UsageError, match=f"{path}: line 3: it isn't a public key") as caught:
        read_trusted([str(path)])
    assert "write what `pyctrigger store keygen` printed" == caught.value.hint
    with pytest.raises(UsageError, match="trusted_keys: anybody can sign for this key"):
        read_trusted([public_text(bytes(32))])


@pytest.mark.usefixtures("as_root")
def test_root_trusts_no_key_in_a_file_that_others_can_change(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(public_text(PUBLIC))
    path.chmod(0o664)
    with pytest.raises(RefusedError, match=f"file of trusted keys {path} is not trusted by root: others may write"):
        read_trusted([str(path)])


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277], ids=oct)
def test_a_new_key_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    """Whatever the umask."""
    path, key = tmp_path / "new.pem", SigningKey.generate()
    before = os.umask(umask)
    try:
        write_signing_key(str(path), key)
    finally:
        os.umask(before)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert key.public == read_signing_key(str(path)).public


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"old"), lambda path: path.symlink_to("old")])
def test_a_key_is_never_replaced(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Nor is one written behind a link that somebody has put there."""
    path = tmp_path / "key.pem"
    make(path)
    with pytest.raises(UsageError, match=f"{path} exists, and a key is never replaced") as caught:
        write_signing_key(str(path), SigningKey.generate())
    assert "name a new file" == caught.value.hint
    assert not (tmp_path / "old").exists()
    assert path.is_symlink() or b"old" == path.read_bytes()


def test_a_key_that_cant_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a key would be in the way of the next one."""
    with pytest.raises(UsageError, match=r"the key can't be written to .*: No such file or directory") as caught:
        write_signing_key(str(tmp_path / "none" / "key.pem"), SigningKey.generate())
    assert "name a file in a directory of your own" == caught.value.hint

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_signing_key(str(tmp_path / "key.pem"), SigningKey.generate())
    assert [] == list(tmp_path.iterdir())
