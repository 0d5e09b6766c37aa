"""pacman's lists: who owns what, and its hooks."""

from __future__ import annotations

import pytest

from pyctrigger.errors import UsageError
from pyctrigger.packages.databases import Source
from pyctrigger.packages.hook import Subject
from pyctrigger.packages.pacman import Pacman
from unit.packages.stand_in import FilesInMemory

LOCAL = "/var/lib/pacman/local"
LISTS = {
    f"{LOCAL}/python-foo-1.2-3/files": b"%FILES%\nusr/\nusr/a.py\nusr/a.pyc\n",
    f"{LOCAL}/bar-2:1-1/files": b"%FILES%\nusr/b.pyc\n\n%BACKUP%\netc/x\tmd5\n",
    f"{LOCAL}/bar-2:1-1/desc": b"usr/no.pyc\n",
}
SUBJECT = Subject("py312", "3.12", "python3.12", "cpython-312", ("/usr/bin/pyctrigger",))


def test_pycs_have_a_leading_slash() -> None:
    """Which the database leaves out."""
    assert {b"/usr/a.pyc", b"/usr/b.pyc"} == {path for path, _ in Pacman(FilesInMemory(LISTS)).find_owned(None)}
    assert [Source("files", LOCAL, "/files")] == Pacman(FilesInMemory({})).sources


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([b"/usr/a.pyc"], {b"/usr/a.pyc": "python-foo"}),
        ([b"/usr/a.py", b"/usr/b.pyc"], {b"/usr/a.py": "python-foo", b"/usr/b.pyc": "bar"}),
        ([b"/usr/absent"], {}),
        ([b"/sr/a.py"], {}),
    ],
)
def test_owner_is_a_name_without_version(paths: list[bytes], expected: dict[bytes, str]) -> None:
    """The directory has name, version and release."""
    assert expected == dict(Pacman(FilesInMemory(LISTS)).find_owned(paths))


def test_presence_is_its_directory() -> None:
    """Of packages."""
    assert (True, False) == (Pacman(FilesInMemory(LISTS)).is_present, Pacman(FilesInMemory({})).is_present)


def test_one_hook_for_each_operation() -> None:
    """With the flavour's directories, and those of its own library, as targets."""
    hooks = Pacman.hooks(SUBJECT)
    paths = [f"/etc/pacman.d/hooks/pyctrigger-py312-{event}.hook" for event in ("install", "upgrade", "remove")]
    assert paths == [hook.path for hook in hooks]
    for operation, event, hook in zip(("Install", "Upgrade", "Remove"), ("install", "upgrade", "remove"), hooks):
        lines = hook.text.splitlines()
        targets = [line for line in lines if line.startswith("Target = ")]
        assert [
            "Target = usr/lib/python3.12/site-packages/*",
            "Target = usr/lib/python3.12/encodings/*",
        ] == targets
        assert f"Operation = {operation}" in lines
        assert any(f"--event {event}" in line and "--python 3.12" in line for line in lines)


def test_own_places_take_the_place_of_the_managers() -> None:
    """Site directories and libraries that were named."""
    subject = SUBJECT._replace(site_directories=("/srv/a",), libraries=("/srv/l",))
    targets = [line for line in Pacman.hooks(subject)[0].text.splitlines() if line.startswith("Target = ")]
    assert ["Target = srv/a/*", "Target = srv/l/encodings/*"] == targets


def test_a_word_with_a_space_is_quoted() -> None:
    """For alpm; others stay as they are."""
    subject = SUBJECT._replace(program=("/a b/p", "-m", "x"), path="/c d")
    text = Pacman.hooks(subject)[0].text
    assert 'Exec = "/a b/p" -m x run' in text
    assert '--python "/c d"' in text


@pytest.mark.parametrize("character", ["*", "?", "[", '"', "\n", "\\"])
def test_what_alpm_would_take_for_a_pattern_is_refused(character: str) -> None:
    """Or for the end of a word."""
    with pytest.raises(UsageError):
        Pacman.hooks(SUBJECT._replace(site_directories=(f"/a{character}b",)))


def test_site_directory() -> None:
    """Below the flavour's library."""
    assert ["/usr/lib/python3.12/site-packages"] == Pacman.site_directories("python3.12")
