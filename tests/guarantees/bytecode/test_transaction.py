"""One transaction from end to end, on every interpreter of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter


def test_every_source_gets_bytecode_that_the_target_accepts(
    pyctrigger: Command, site: Path, interpreter: Interpreter
) -> None:
    """All levels are fresh by the target's own judgement, and a second run touches nothing."""
    write_tree(site, {"single.py": "x = 1\n", "package/__init__.py": "", "package/inner/deep.py": "assert True\n"})
    arguments = ["--python", interpreter.path, "--site-dir", str(site), "--optimize", "0,1,2"]

    first = pyctrigger.json("run", *arguments)

    assert (0, 3, []) == (first.code, first.counts["compiled"], first.failures)
    for level in (0, 1, 2):
        assert not_fresh(interpreter, sources_below(site), level) == []
    before = snapshot(site)
    again = pyctrigger.json("run", *arguments)
    assert (0, 0, 3) == (again.code, again.counts["compiled"], again.counts["fresh"])
    assert snapshot(site) == before


@pytest.mark.few_targets
def test_what_lost_its_source_goes_with_the_directories_that_this_empties(
    pyctrigger: Command, site: Path, interpreter: Interpreter
) -> None:
    """After a removal nothing of the package is left, and its neighbour is untouched."""
    write_tree(site, {"gone/__init__.py": "", "gone/sub/module.py": "", "stays/__init__.py": ""})
    arguments = ["--python", interpreter.path, "--site-dir", str(site)]
    pyctrigger.json("run", *arguments)
    (site / "gone/__init__.py").unlink()
    (site / "gone/sub/module.py").unlink()

    outcome = pyctrigger.json("run", *arguments, "--event", "remove", site / "gone")

    assert (2, 4) == (outcome.counts["removed"], outcome.counts["removed_directories"])
    assert not (site / "gone").exists()
    assert len(pycs_below(site)) == 1
