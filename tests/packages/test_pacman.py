"""pacman: the built package, in a scratch root, under a real pacman."""

from __future__ import annotations

import subprocess
from pathlib import Path

from manager_packages import ManagedRoot, site_of
from manager_transactions import FIRST, ManagerTransactions
from pacman_root import PacmanRoot


class TestPacman(ManagerTransactions):
    """Everything that holds for each manager, and what only pacman does."""

    kind = PacmanRoot
    manager = "pacman"
    refusal = 1
    # For pacman a directory that can't be made is worth a warning, and the transaction has succeeded.
    no_room = ("size=16k", {"stuck/large": "x" * 200_000, "stuck/module.py": ""})

    def test_package_that_begins_to_ship_bytecode_has_to_be_allowed_to(
        self, system: ManagedRoot, workshop: Path
    ) -> None:
        """pacman replaces no file that no package owns: it refuses, before any hook, and changes nothing."""
        host = system.pythons[0]
        packages = []
        for version in (1, 2):
            payload = self.payload(workshop, "demo", version).add(site_of(host), FIRST)
            if version == 2:
                payload.ship_bytecode(host, site_of(host))
            packages.append(self.kind.build(payload.settle(), workshop))
        without, shipping = packages
        system.transact("install", without)

        refused = subprocess.run(system.command("upgrade", [str(shipping)]), stdout=subprocess.PIPE, check=False)

        assert refused.returncode == 1
        system.require_order()
        system.transact("replace", shipping)
        system.require_order()
