"""The members of an archive: names that climb out of it, and names that mean the same."""

from __future__ import annotations

import pytest

from pyctrigger.inspect.audit.contents import DIRECTORY, FILE, HARD_LINK, LINK, Contents, Member, normal


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b", "a/b"), ("./a/b", "a/b"), ("/a/b", "a/b"), ("a//b", "a/b"), ("a/./b", "a/b"), (".hidden/x", ".hidden/x")],
)
def test_normal(name: str, expected: str) -> None:
    """What makes no difference when it is unpacked."""
    assert expected == normal(name)


#: A member, the reason in a wheel, and that in a package of the system.
CLIMBING: list[tuple[Member, str | None, str | None]] = [
    (Member("a/b.py", FILE), None, None),
    (Member("../b.py", FILE), "parent", "parent"),
    (Member("a/../../b.py", FILE), "parent", "parent"),
    (Member("a..b/c", FILE), None, None),
    (Member("/a/b", FILE), "absolute", None),
    (Member("a/l", LINK, target="b"), None, None),
    (Member("a/l", LINK, target="../b"), None, None),
    (Member("a/l", LINK, target="../../b"), "link-parent", "link-parent"),
    (Member("a/l", LINK, target="x/../../../b"), "link-parent", "link-parent"),
    (Member("l", LINK, target="./.."), "link-parent", "link-parent"),
    (Member("a/l", LINK, target="/etc/x"), "link-absolute", None),
    (Member("a/h", HARD_LINK, target="b"), None, None),
    (Member("a/h", HARD_LINK, target="../b"), "hardlink-parent", "hardlink-parent"),
    (Member("a/..", DIRECTORY), "parent", "parent"),
]


@pytest.mark.parametrize(("member", "in_wheel", "in_package"), CLIMBING, ids=lambda each: str(each)[:40])
def test_climbing(member: Member, in_wheel: str | None, in_package: str | None) -> None:
    """What is unpacked at `/` may name it."""
    contents = Contents()
    contents.take(member)
    for kind, expected in (("wheel", in_wheel), ("pkg", in_package)):
        found = [(each.kind, each.reason, each.member) for each in contents.climbing(kind)]
        assert ([("climbing", expected, member.name)] if expected else []) == found


def test_the_last_of_a_name_counts() -> None:
    """As when it is unpacked."""
    contents = Contents()
    for size in (1, 2):
        contents.take(Member("./m.py", FILE, size))
    assert (2, 2) == (contents.members, contents.sources["m.py"].size)
