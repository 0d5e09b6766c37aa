"""Open site directories: which can be opened, why the others can't, and who may decide what is in them."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from children import in_child, public_directory
from pyctrigger.errors import RefusedError
from pyctrigger.interpreter.interpreter import Account
from pyctrigger.interpreter.scope import SiteDirectory
from pyctrigger.outcome.outcome import Failure
from pyctrigger.run.scope import sites as module
from pyctrigger.run.scope.request import Request, Scope, Work
from pyctrigger.run.scope.sites import OpenSites, open_layout, reason_to_refuse, require_account_owns
from pyctrigger.run.scope.target import Target
from pyctrigger.tree import mounts
from pyctrigger.tree.identity import Identity, IdentityRefusedError, begin_acting
from unit.interpreter.made_up import interpreter

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = Request(Work.RUN)


def target_of(*sites: str | Path, account: Account | None = None) -> Target:
    """One with these site directories."""
    found = tuple(SiteDirectory(str(site)) for site in sites)
    return Target(interpreter("3.11", "/opt/python", account=account), found, None)


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def test_directories_are_opened_once(tmp_path: Path) -> None:
    """When they are first needed, and closed at the end; what is gone is told."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before = open_files()
    with OpenSites(target_of(tmp_path / "a", tmp_path / "gone", tmp_path / "b"), REQUEST) as sites:
        assert before == open_files()
        assert [f"{tmp_path}/a", f"{tmp_path}/b"] == [site.path for site, _ in sites.layouts]
        assert sites.layouts[0][1] is sites.layouts[0][1]
        statuses = [(tmp_path / name).stat() for name in "ab"]
        assert {(each.st_dev, each.st_ino) for each in statuses} == sites.identities
        gone = Failure(f"{tmp_path}/gone", "io", os.strerror(errno.ENOENT))
        assert ([gone], []) == sites.find_closed(None)
        assert ([], []) == sites.find_closed([f"{tmp_path}/a"])
        assert ([gone], []) == sites.find_closed([f"{tmp_path}/gone"])
        assert {} == sites.find_foreign()
        (tmp_path / "gone").mkdir()
        assert 2 == len(sites.layouts)
        sites.close()
        assert before == open_files()
        assert (3, ([], [])) == (len(sites.layouts), sites.find_closed(None))
    assert before == open_files()


@pytest.mark.usefixtures("as_root")
def test_places_of_others_are_for_a_process_that_acts_as_they_do(tmp_path: Path) -> None:
    """They are neither open nor a failure; others' that may not be entered are."""
    (tmp_path / "theirs/site").mkdir(parents=True)
    os.chown(tmp_path / "theirs", 12345, 12345)
    with OpenSites(target_of(tmp_path / "theirs/site"), REQUEST) as sites:
        assert {f"{tmp_path}/theirs/site": 12345} == {path: error.uid for path, error in sites.find_foreign().items()}
        assert ([], [], ([], [])) == (sites.layouts, list(sites.identities), sites.find_closed(None))


def test_bytecode_elsewhere(tmp_path: Path) -> None:
    """Its tree has to be there as well, and what is wrong with it says so."""
    (tmp_path / "site").mkdir()
    site, prefix = SiteDirectory(f"{tmp_path}/site"), f"{tmp_path}/prefix"
    request = Request(Work.RUN, Scope(pycache_prefix=prefix))
    before = open_files()
    with pytest.raises(OSError, match="the pycache prefix") as caught:
        open_layout(site, request)
    message = f"the pycache prefix {prefix}: {os.strerror(errno.ENOENT)}"
    assert (errno.ENOENT, message, before) == (caught.value.errno, caught.value.strerror, open_files())
    os.mkdir(prefix)
    with open_layout(site, request) as layout, open_layout(site, REQUEST) as plain:
        assert (prefix, True, site.path, False) == (
            layout.pycs.path,
            layout.has_prefix,
            plain.pycs.path,
            plain.has_prefix,
        )
        assert [site.path] * 2 == [layout.sources.path, plain.sources.path]
    root = Request(Work.RUN, Scope(root=str(tmp_path), pycache_prefix="/prefix"))
    with open_layout(SiteDirectory("/site"), root) as layout:
        assert os.path.samestat(os.fstat(layout.pycs.directory("")), os.stat(prefix))
        assert os.path.samestat(os.fstat(layout.sources.directory("")), os.stat(site.path))


@pytest.mark.usefixtures("as_root")
def test_a_tree_of_bytecode_of_others_keeps_its_error(tmp_path: Path) -> None:
    """A process that acts as its owner can open it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "theirs/prefix").mkdir(parents=True)
    os.chown(tmp_path / "theirs", 12345, 12345)
    request = Request(Work.RUN, Scope(pycache_prefix=f"{tmp_path}/theirs/prefix"))
    with OpenSites(target_of(tmp_path / "site"), request) as sites:
        assert [12345] == [error.uid for error in sites.find_foreign().values()]


@pytest.mark.usefixtures("as_root")
def test_an_account_decides_about_its_own_alone(tmp_path: Path) -> None:
    """Both about the sources and about the bytecode; root's interpreter about all."""
    (tmp_path / "site").mkdir()
    (tmp_path / "prefix").mkdir()
    request = Request(Work.RUN, Scope(pycache_prefix=f"{tmp_path}/prefix"))

    def judge(account: Account | None) -> list[str | None]:
        begin_acting()
        target = target_of(tmp_path / "site", account=account)
        with OpenSites(target, request) as sites, open_layout(target.sites[0], request) as layout:
            for check in (sites.require_account_owns, lambda: require_account_owns(target, layout)):
                try:
                    check()
                except RefusedError as error:
                    return [error.message, error.hint]
        return []

    with OpenSites(target_of(tmp_path / "site"), request) as sites:
        sites.require_account_owns()
    hint = "use an interpreter that the owner of the directory, or root, owns"
    for name in ("site", "prefix"):
        message = f"/opt/python belongs to account 12345, but {tmp_path}/{name} to account 0"
        assert [message, hint] == in_child(lambda: judge(Account(12345, 7)))
        assert [] == in_child(lambda: judge(None))
        os.chown(tmp_path / name, 12345, 0)
    assert [] == in_child(lambda: judge(Account(12345, 7)))


DENIED = OSError(errno.EACCES, "may not")
CANT = "account 7, which owns this place, can't do it (may not): chown -R 7 what others have there"
#: An account, an error, and why it is refused, or None.
REASONS: list[tuple[int | None, OSError, str | None]] = [
    (None, IdentityRefusedError(errno.EPERM, "no such ids"), "no such ids"),
    (7, IdentityRefusedError(errno.EIO, "no such ids"), "no such ids"),
    (7, DENIED, CANT),
    (7, OSError(errno.EPERM, "may not"), CANT),
    (7, PermissionError(errno.EACCES, ""), CANT.replace("may not", f"[Errno {errno.EACCES}] ")),
    (7, OSError(errno.EIO, "broken"), None),
    (None, DENIED, None),
]


@pytest.mark.parametrize(("account", "error", "reason"), REASONS)
def test_why_a_place_is_refused(account: int | None, error: OSError, reason: str | None) -> None:
    """What is broken is no refusal."""
    identity = None if account is None else Identity(account, account, ())
    assert reason == reason_to_refuse(identity, error, "/proc")


@pytest.mark.usefixtures("as_root")
def test_a_mount_may_keep_root_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any of the paths may lie on one; nobody else is told so."""
    monkeypatch.setattr(mounts, "lies_on_fuse", lambda path: path == "/mount")
    kept_out = f"{mounts.KEPT_OUT}; {mounts.HINT_FOR_FUSE}"
    assert kept_out == reason_to_refuse(None, DENIED, "/a", "/mount")
    assert kept_out == reason_to_refuse(Identity(7, 7, ()), DENIED, "/mount")
    assert reason_to_refuse(None, DENIED, "/a") is None
    assert None is in_child(lambda: reason_to_refuse(None, DENIED, "/mount"), account=12345)


@pytest.mark.usefixtures("as_root")
def test_a_mount_that_keeps_root_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one is looked at all the same."""
    monkeypatch.setattr(mounts, "lies_on_fuse", lambda path: path == "/mount")
    errors = {"/mount": DENIED, "/broken": OSError(errno.EIO, "")}

    def fail(site: SiteDirectory, request: Request) -> None:
        raise errors[site.path]

    monkeypatch.setattr(module, "open_layout", fail)
    broken = Failure("/broken", "io", f"[Errno {errno.EIO}] ")
    refused = Failure("/mount", "refused", f"{mounts.KEPT_OUT}; {mounts.HINT_FOR_FUSE}")
    with OpenSites(target_of("/mount", "/broken"), REQUEST) as sites:
        assert ([broken], [refused]) == sites.find_closed(None)
        assert ([broken], []) == sites.find_closed(["/broken"])


@pytest.mark.usefixtures("as_root")
def test_a_directory_that_refuses_us_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one that can't be examined."""
    with public_directory() as top:
        (top / "closed/site").mkdir(parents=True)
        (top / "closed").chmod(0)
        target = target_of(top / "closed/site", top / "gone")
        monkeypatch.setattr(mounts, "lies_on_fuse", lambda path: path == f"{top}/closed/site")

        def look() -> tuple[list[Failure], list[Failure]]:
            with OpenSites(target, REQUEST) as sites:
                return sites.find_closed(None)

        assert ([f"{top}/gone"], []) == ([each.path for each in look()[0]], look()[1])
        unexamined, refused = in_child(look, account=12345)
    reasons = [(f"{top}/closed/site", "Permission denied"), (f"{top}/gone", "No such file or directory")]
    assert (reasons, []) == ([(each.path, each.message) for each in unexamined], refused)
