"""What modules that an idle hook imports take from typing, which takes a tenth of all its instructions to import.

Annotations are texts that nobody reads while the program runs: a checker gets typing's names, and the program one
placeholder for all of them.

typing's NamedTuple makes a ForwardRef of each field's annotation, and compiles it. The one of collections makes a
second class and compiles a constructor for each, a quarter of a million instructions (CPython 3.11, cachegrind): here a
class has its own constructor only once it has made many tuples. Most make few or none in an idle hook.
"""

from __future__ import annotations

__all__ = ["TYPE_CHECKING", "Any", "ClassVar", "NamedTuple", "NoReturn", "Optional", "TextIO", "TypeVar", "Union"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NamedTuple, NoReturn, Optional, TextIO, TypeVar, Union
else:
    from collections import _tuplegetter

    class _Unread:
        def __call__(self, *_: object) -> _Unread:
            return self

        __getitem__ = __call__

    Any = ClassVar = NoReturn = Optional = TextIO = TypeVar = Union = _Unread()

    #: Tuples, after which a constructor of the class's own is worth what it costs: it takes a third of the time.
    _MANY = 100
    _make_tuple = tuple.__new__

    class _Fields(tuple):
        """What all of them have."""

        __slots__ = ()
        _count = 0

        def __new__(cls, *values: Any, **named: Any) -> Any:
            cls._count += 1
            if cls._count == _MANY:
                cls.__new__ = staticmethod(_compile_constructor(cls))
            if len(values) == len(cls._fields) and not named:
                return _make_tuple(cls, values)
            left = cls._fields[len(values) :]
            known = {**cls._field_defaults, **named}
            if len(values) > len(cls._fields) or not named.keys() <= set(left) <= known.keys():
                raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
            return _make_tuple(cls, (*values, *[known[field] for field in left]))

        @classmethod
        def _make(cls, values: Any) -> Any:
            return cls(*values)

        def _replace(self, **named: Any) -> Any:
            replaced = _make_tuple(type(self), map(named.pop, self._fields, self))
            if named:
                raise ValueError(f"Got unexpected field names: {[*named]!r}")
            return replaced

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self))

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self._asdict().items())})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

    def _compile_constructor(cls: Any) -> Any:
        """Returns what namedtuple has: it takes its arguments by Python's own rules."""
        names = ", ".join(cls._fields)
        made = eval(f"lambda _cls, {names}: _make_tuple(_cls, ({names},))", {"_make_tuple": _make_tuple})  # noqa: S307
        made.__defaults__ = tuple(cls._field_defaults.values())
        return made

    class _Maker(type):
        def __new__(cls, name: str, bases: tuple[Any, ...], body: dict[str, Any]) -> Any:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = tuple(body.get("__annotations__", {}))
            defaults = {field: body.pop(field) for field in fields if field in body}
            getters = {field: _tuplegetter(number, None) for number, field in enumerate(fields)}
            made = {**body, **getters, "__slots__": (), "_fields": fields, "_field_defaults": defaults}
            return type(name, (_Fields,), made)

    class NamedTuple(metaclass=_Maker):
        """The base of a tuple whose fields are the annotations of its class."""
