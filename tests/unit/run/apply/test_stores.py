"""What a run does about a store, by what kind of store it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pyctrigger.run.apply.stores import StoreClient
from unit.run.plan.trees import wanted

#: Whether the store takes code, and other runs fill it, too; and how many sources wait for a worker at most.
QUEUES = [(False, False, 256), (False, True, 256), (True, False, 64), (True, True, 8)]


@pytest.mark.parametrize(("is_writable", "has_company", "expected"), QUEUES)
def test_few_sources_wait_where_others_may_compile_them(is_writable: bool, has_company: bool, expected: int) -> None:
    """They aren't looked for again."""
    backend: Any = SimpleNamespace(is_writable=is_writable, has_company=has_company)
    exchange: Any = None
    assert expected == StoreClient(backend, exchange, wanted(), b"").max_jobs
