"""What a run asks of a store and gives to it: the answers of workers, at several levels, for a file of some name.

    taken = exchange.find(digest, levels, path, largest)      taken.answer: instead of asking a worker
    request = wire.request(levels, exchange.name_for(path), source)
    answer = exchange.keep(digest, levels, path, answer)      None: ask again, with its own name

Where nothing is kept, a worker is given the file's own name at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ..workers import wire
from .container import NAMES_ITSELF, NO_ORIGIN, NO_SUCH_TWIN, TOO_LONG, Flaw, StoredCode
from .holes import FileName, OpenCode, cut, fill, new_stand_in
from .key import CodeKeys
from .signing import public_text

#: Why code wasn't kept.
NOT_WRITTEN_AS_EXPECTED = "not written as expected"


class Taken(NamedTuple):
    """What a store has for a source."""

    answer: wire.Compiled
    """As a worker would answer."""
    signers: tuple[str, ...]
    """The public key of who signed the code of each level; nothing for what was kept on this machine."""


class Backend(Protocol):
    """Where code is kept."""

    @property
    def name(self) -> str:
        """What it is called, without any secret."""

    @property
    def is_writable(self) -> bool:
        """Whether it takes code."""

    @property
    def origin(self) -> bytes:
        """What it calls this installation, 16 bytes."""

    def get(self, keys: Sequence[bytes], largest: int) -> list[StoredCode | Flaw | None]:
        """Returns for each key what is kept, why that is a miss, or None. Raises nothing."""

    def discard(self, count: int, reason: str) -> None:
        """Count so many codes that were given, and can't be used (`UNUSABLE`), as misses."""

    def put(self, codes: Iterable[StoredCode]) -> None:
        """Keep code. Raises nothing."""


class Exchange:
    """A run's, or a lane's, dealings with one store for one interpreter."""

    def __init__(self, backend: Backend, keys: CodeKeys) -> None:
        self._backend = backend
        self._keys = keys
        self._stand_in = new_stand_in()
        #: Whether sources are compiled with that name: also if the store takes nothing more, since answers are to come.
        self._renames = backend.is_writable
        #: How many sources were refused, by reason.
        self.refused: Counter[str] = Counter()

    def name_for(self, path: bytes) -> bytes:
        """Returns the file name to compile a source with."""
        return self._stand_in if self._renames else path

    def keys_to_ask(self, digest: bytes, levels: Sequence[int]) -> list[bytes]:
        """Returns the keys that `find` will probably need for a source."""
        # Few sources have an assert, so what is kept at level 1 is mostly that it has the code of level 0.
        others = [0] if 1 in levels and 0 not in levels else []
        return [self._keys.of(digest, level) for level in (*levels, *others)]

    def find(self, digest: bytes, levels: Sequence[int], path: bytes, largest: int) -> Taken | None:
        """Returns what is kept of a source with this SHA-256, or None if not all of it is.

        `largest` bytes are the most that its code may have.
        """
        found: dict[int, StoredCode] = {}
        wanted = list(levels)
        while wanted:
            keys = [self._keys.of(digest, level) for level in wanted]
            for level, each in zip(wanted, self._backend.get(keys, largest)):
                if not isinstance(each, StoredCode):
                    return None
                found[level] = each
            # A twin's code is at another level, which itself has code.
            wanted = [each.twin for level, each in found.items() if each.code is None and each.twin not in found][:1]
        name, answers = FileName(path), list[wire.LevelAnswer]()
        last: OpenCode | None = None
        signers: list[str] = []
        for level in levels:
            kept = found[level]
            with_code = kept if kept.code else found[kept.twin]
            code = with_code.code
            signers.append(public_text(with_code.signer) if with_code.signer else "")
            if code is None:
                self._refuse(len(found), NO_SUCH_TWIN)
                return None
            if code == last:
                answers.append(wire.LevelAnswer(wire.TWIN, b"", kept.microseconds))
                continue
            body = fill(code, name)
            if body is None or len(body) > largest:
                self._refuse(len(found), NAMES_ITSELF if body is None else TOO_LONG)
                return None
            answers.append(wire.LevelAnswer(wire.BODY, body, kept.microseconds))
            last = code
        return Taken(wire.Compiled(bytes(8), tuple(answers)), tuple(signers))

    def _refuse(self, count: int, reason: str) -> None:
        """Count a source as refused, and so many codes as misses."""
        self.refused[reason] += 1
        self._backend.discard(count, reason)

    def keep(
        self, digest: bytes, levels: Sequence[int], path: bytes, answer: wire.Compiled, *, is_public: bool = True
    ) -> wire.Compiled | None:
        """Keep what a worker has answered for `name_for(path)`. Returns the answer for the file itself.

        None if only a worker can say what that is. What isn't public is never passed on.
        """
        if not self._renames:
            return answer
        name, answers, kept = FileName(path), list[wire.LevelAnswer](), list[StoredCode]()
        twin, is_usable = -1, True
        origin = self._backend.origin if is_public else NO_ORIGIN
        for level, each in zip(levels, answer.levels):
            code = body = None
            if each.state == wire.BODY:
                code = cut(each.body, self._stand_in)
                twin = level if code else -1
                body = fill(code, name) if code else None
                if code is None or body is None:
                    self.refused[NAMES_ITSELF if code else NOT_WRITTEN_AS_EXPECTED] += 1
                    is_usable = False
            if twin >= 0 and each.state in (wire.BODY, wire.TWIN):
                key = self._keys.of(digest, level)
                kept.append(StoredCode(key, code, 0 if code else twin, each.microseconds, origin))
            answers.append(each if body is None else wire.LevelAnswer(each.state, body, each.microseconds))
        self._backend.put(kept)
        return wire.Compiled(answer.source_hash, tuple(answers)) if is_usable else None
