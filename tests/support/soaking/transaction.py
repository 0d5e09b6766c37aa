"""Draws transactions from a random generator and the model alone: the same seed always has the same ones.

What a hook can't know is left out, and this is all of it: a file overwritten in place leaves its directory as it was.
So an editor's changes are told, and those hooks aren't killed; package managers rename.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from .package import NAMES, File, directories_of, next_release, release, renumbered, touched_up
from .site import PYCACHE, FileChange
from .steps import Changes, Damage, GoBack, Hook, KeepCopy, Lose, Round, Strangers

if TYPE_CHECKING:
    from collections.abc import Container

    from .package import Files
    from .site import Site
    from .steps import Step

#: A path below the site directory that nothing ever has.
HARMLESS = b"nothing-here"
#: Sources that the tree is kept at.
_FEWEST, _MOST = 50, 110


class Transaction(NamedTuple):
    """One transaction, and its description."""

    kind: str
    steps: tuple[Step, ...]


class Drawing:
    """Draws the transactions of one seed. `flavours` is how many interpreters there are."""

    def __init__(
        self, seed: int, flavours: int, *, can_fill: bool, without: Container[str] = (), thorough: bool = False
    ) -> None:
        self._seed = seed
        self._flavours = range(flavours)
        self._can_fill = can_fill
        self._without = without
        self._thorough = thorough
        self._has_tree = self._has_state = False
        self._chance = random.Random(seed)

    def draw(self, number: int, site: Site) -> Transaction:
        """The next transaction."""
        self._chance = random.Random(f"{self._seed}/{number}")
        if site.sources < _FEWEST:
            return Transaction("fill the tree", (*self._changes(site, 4), self._calm_round(None)))
        kinds = {
            "ordinary": 40,
            "killed": 20,
            "failed midway": 14,
            "untold": 6,
            "edited": 6,
            "full disk": 6 if self._can_fill else 0,
            "persons": 6,
            "busy": 8,
            "state lost": 4,
            "state lost midway": 3,
            "state rolled back": 5 if self._has_state else 0,
            "state rolled back midway": 3 if self._has_state else 0,
            "manifest damaged": 4,
            "journal damaged": 4,
            "tree rolled back": 6 if self._has_tree else 0,
        }
        kinds = {kind: weight for kind, weight in kinds.items() if kind not in self._without}
        kind = self._chance.choices(list(kinds), list(kinds.values()))[0]
        steps = list(getattr(self, "_" + kind.replace(" ", "_"))(site))
        if self._chance.random() < 0.25:
            steps.insert(0, self._copy())
        if self._chance.random() < 0.15:
            steps.insert(0, self._strangers(site))
        return Transaction(kind, tuple(steps))

    def quiet_round(self) -> Round:
        """One more hook for each flavour, with a harmless path."""
        told = None if self._thorough else (HARMLESS,)
        return Round(tuple(Hook(flavour, told, event="install") for flavour in self._flavours), at_once=True)

    # -- the kinds ---------------------------------------------------------------------------------------------------

    def _ordinary(self, site: Site) -> list[Step]:
        changes = self._changes(site)
        return [*changes, self._round(site, changes)]

    def _killed(self, site: Site) -> list[Step]:
        """Every hook is killed, and its paths are never passed again."""
        changes = self._changes(site)
        found = self._round(site, changes)
        return [*changes, found._replace(hooks=tuple(map(self._killed_at_random, found.hooks)))]

    def _failed_midway(self, site: Site) -> list[Step]:
        """The manager stops in the middle and runs no hook."""
        changes = self._changes(site)
        every = changes[0].changes
        done = every[: self._chance.randint(1, len(every))]
        return [Changes(changes[0].what + f", {len(done)} of {len(every)} steps", done)]

    def _untold(self, site: Site) -> list[Step]:
        """Hooks get too few paths."""
        changes = self._changes(site)
        found = self._round(site, changes)
        few = [(hook.told or ())[: self._chance.randint(0, 1)] for hook in found.hooks]
        hooks = tuple(hook._replace(told=told) for hook, told in zip(found.hooks, few))
        return [*changes, found._replace(hooks=hooks)]

    def _edited(self, site: Site) -> list[Step]:
        """A person's editor overwrites sources, in disguise or not, and hooks get all of the paths."""
        sources = sorted(path for path in site.files if path.endswith(b".py"))
        chosen = self._chance.sample(sources, min(4, len(sources)))
        changes = []
        for path in chosen:
            data, mtime = site.files[path]
            edited = renumbered(self._chance, data) if self._chance.random() < 0.5 else data + b"EDITED = 1\n"
            changes.append(FileChange(path, File(edited, mtime), in_place=True))
        return [Changes("edit", tuple(changes)), self._calm_round(tuple(chosen))]

    def _full_disk(self, site: Site) -> list[Step]:
        changes = self._changes(site)
        found = self._round(site, changes)._replace(free=self._chance.choice((0, 1, 3, 10)) * 4096, persons=())
        return [*changes, found]

    def _persons(self, site: Site) -> list[Step]:
        verbs = [self._chance.choice(("repair", "sweep", "verify", "status", "repair")) for _ in range(2)]
        persons = tuple((verb, self._chance.choice(self._flavours)) for verb in verbs)
        changes = self._changes(site)
        return [*changes, self._round(site, changes)._replace(persons=persons)]

    def _busy(self, site: Site) -> list[Step]:
        """The manager continues with the next transaction while hooks and importers are running."""
        changes = self._changes(site)
        found = self._round(site, changes)
        later = self._changes(site)
        importers = tuple((flavour, self._chance.random() < 0.3) for flavour in self._flavours)
        return [*changes, found._replace(changes=later[0].changes, importers=importers), self._round(site, later)]

    def _state_lost(self, site: Site) -> list[Step]:
        return [Lose(), self.quiet_round()]

    def _state_lost_midway(self, site: Site) -> list[Step]:
        changes = self._changes(site)
        return [*changes, Lose(), self._round(site, changes)]

    def _state_rolled_back(self, site: Site) -> list[Step]:
        return [GoBack("state"), self.quiet_round()]

    def _state_rolled_back_midway(self, site: Site) -> list[Step]:
        changes = self._changes(site)
        return [*changes, GoBack("state"), self._round(site, changes)]

    def _manifest_damaged(self, site: Site) -> list[Step]:
        damage = Damage("manifest", self._chance.random(), self._chance.random() < 0.5)
        return [damage, self.quiet_round()]

    def _journal_damaged(self, site: Site) -> list[Step]:
        changes = self._changes(site)
        deferred = [Hook(flavour, self._told(site, changes), deferred=True) for flavour in self._flavours]
        damage = Damage("journal", self._chance.random(), cut=True)
        return [*changes, Round(tuple(deferred), at_once=False), damage]

    def _tree_rolled_back(self, site: Site) -> list[Step]:
        return [GoBack("tree", synchronised=self._chance.random() < 0.5)]

    # -- the parts ---------------------------------------------------------------------------------------------------

    def _copy(self) -> KeepCopy:
        of = self._chance.choice(("tree", "state"))
        if of == "tree":
            self._has_tree = True
        else:
            self._has_state = True
        return KeepCopy(of)

    def _strangers(self, site: Site) -> Strangers:
        sources = sorted(path for path in site.files if path.endswith(b".py"))
        files = []
        for path in self._chance.sample(sources, min(2, len(sources))):
            directory, _, name = path.rpartition(b"/")
            pycache = (directory + b"/" if directory else b"") + PYCACHE
            names = (
                name[:-3] + b".function-1.py311.nbi",
                name[:-3] + b".function-1.py311.1.nbc",
                name[:-3] + b".cpython-311-pytest-7.4.0.pyc",
                name[:-3] + b".cpython-34.pyc",
                name[:-3] + b".pypy27.pyc",
                b"README",
            )
            stranger = pycache + b"/" + self._chance.choice(names)
            if self._chance.random() < 0.2:
                stranger = (directory + b"/" if directory else b"") + b"legacy.pyc"
            if len(stranger.rpartition(b"/")[2]) < 250:
                files.append((stranger, b"%d" % self._chance.randrange(10**9)))
        return Strangers(tuple(files))

    def _changes(self, site: Site, count: int = 0) -> list[Changes]:
        """One to three packages are installed, upgraded, reinstalled or removed."""
        chance = self._chance
        words, changes = [], []
        for name in chance.sample(NAMES, count or chance.randint(1, 3)):
            old = site.packages.get(name, {})
            if not old:
                verb, new = "install", release(chance, name)
            else:
                verbs = ("upgrade", "upgrade", "remove" if site.sources > _FEWEST else "upgrade", "reinstall")
                verb = "remove" if site.sources > _MOST else chance.choice(verbs)
                if verb == "upgrade":
                    new = next_release(chance, name, old)
                else:
                    new = {} if verb == "remove" else touched_up(chance, old)
            site.packages[name] = new
            words.append(f"{verb} {name}")
            changes += _file_changes({**_left_over(site.files, name), **old}, new, removes_first=chance.random() < 0.5)
        return [Changes(", ".join(words), tuple(changes))]

    def _told(self, site: Site, changes: list[Changes]) -> tuple[bytes, ...] | None:
        """What managers pass: packages, files, directories of new files (pkg), or the site directory."""
        every = [each for step in changes for each in step.changes]
        written: Files = {each.path: each.file for each in every if each.file is not None}
        gone: Files = {each.path: File(b"", 0) for each in every if each.file is None}
        style = self._chance.choice(("packages", "packages", "files", "pkg", "pkg", "site", "everything"))
        if style == "everything":
            return None
        if style == "site":
            return (b"",)
        if style == "files":
            told = [*written, *gone]
        elif style == "pkg":
            told = directories_of(written) or directories_of(gone)
        else:
            told = sorted({path.partition(b"/")[0] for path in (*written, *gone)})
        if self._chance.random() < 0.2:
            told += self._chance.sample([b"gone/module.py", b"/usr/share/doc/x", b"nowhere", b"odd\nname\xff"], 2)
        if self._chance.random() < 0.1:
            told += [name.encode() for name in sorted(site.packages)[:4]]
        return tuple(told)

    def _round(self, site: Site, changes: list[Changes]) -> Round:
        chance = self._chance
        audience = list(self._flavours) if chance.random() < 0.5 else [chance.choice(self._flavours)]
        told = self._told(site, changes)
        hooks = []
        for flavour in audience:
            shares = [told]
            if told and len(told) > 1 and chance.random() < 0.2:  # two hooks at once, each with a part
                shares = [told[: len(told) // 2], told[len(told) // 2 :]]
            hooks += [
                Hook(
                    flavour,
                    share,
                    event=chance.choice(("install", "upgrade", "remove", "unknown")),
                    manager=chance.choice((None, "pkg", "dpkg", "rpm")) if share != (b"",) else "dpkg",
                    jobs=chance.choice((None, 1, 2)),
                    deferred=chance.random() < 0.08,
                )
                for share in shares
            ]
        importers = []
        if chance.random() < 0.3:
            importers = [(chance.choice(self._flavours), chance.random() < 0.3)]
        if chance.random() < 0.15:
            victim = chance.randrange(len(hooks))
            hooks[victim] = self._killed_at_random(hooks[victim])
        return Round(tuple(hooks), at_once=chance.random() < 0.6, importers=tuple(importers))

    def _killed_at_random(self, hook: Hook) -> Hook:
        kill = self._chance.choice(("host", "host", "worker", "all"))
        return hook._replace(kill=kill, when=self._chance.uniform(0, 1.1))

    def _calm_round(self, told: tuple[bytes, ...] | None) -> Round:
        """Every flavour gets its paths, and nothing is killed."""
        return Round(tuple(Hook(flavour, told) for flavour in self._flavours), at_once=True)


def _left_over(files: Files, name: str) -> Files:
    """What is in the tree of a package, also if its last transaction failed."""
    top = name.encode()
    return {path: file for path, file in files.items() if path.split(b"/")[0] in (top, top + b".py")}


def _file_changes(old: Files, new: Files, *, removes_first: bool) -> list[FileChange]:
    """What a package manager does to get from one release to another."""
    gone = [FileChange(path, None) for path in old if path not in new]
    written = [FileChange(path, file) for path, file in new.items()]
    return [*gone, *written] if removes_first else [*written, *gone]
