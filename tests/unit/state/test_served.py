"""Which environments have state here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.state import served

if TYPE_CHECKING:
    from pathlib import Path


def test_environments_come_back_in_their_order(tmp_path: Path) -> None:
    """Noted once; a note that hasn't changed isn't written again."""
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        served.note(str(tmp_path / name), f"/env/{name}", "/usr/bin/python3")
    expected = [(name, f"/env/{name}", "/usr/bin/python3") for name in ("a", "b")]
    assert expected == list(served.served(str(tmp_path)))
    before = (tmp_path / "a/environment.json").stat().st_ino
    served.note(str(tmp_path / "a"), "/env/a", "/usr/bin/python3")
    assert before == (tmp_path / "a/environment.json").stat().st_ino
    served.note(str(tmp_path / "a"), "/env/a", "/other")
    assert ("a", "/env/a", "/other") == next(served.served(str(tmp_path)))


@pytest.mark.parametrize("text", ["", "7", "{}", '{"prefix": "/x"}', '{"prefix": 7, "executable": "/p"}', "[]"])
def test_what_is_no_note_is_left_out(tmp_path: Path, text: str) -> None:
    """As are installations that are no environment's, and state that isn't there."""
    write_tree(tmp_path, {"a/environment.json": text, "b/magic_number": "", "file": ""})
    assert ([], []) == (list(served.served(str(tmp_path))), list(served.served(str(tmp_path / "absent"))))
