"""What each process of these tests does once."""

from __future__ import annotations

import pytest

from pyctrigger.interpreter.confinement import confined


@pytest.fixture(autouse=True, scope="session")
def _network_of_children() -> None:
    """Made now, and kept by a descriptor for all children: no test that counts descriptors comes upon a new one."""
    confined(lambda _: None)
