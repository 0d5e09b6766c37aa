"""typing's NamedTuple, without what it costs when a program starts: for the modules that an idle hook imports.

typing makes a ForwardRef of each field's annotation, and compiles it, though nobody asks. The first call of compile()
alone takes a tenth of all instructions of an idle hook (CPython 3.11, cachegrind), and 28 classes take as much again.
collections.namedtuple compiles a `__new__` for each class, which takes three quarters of its time; here it is compiled
when the first tuple is made, and most classes have none in an idle hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from collections import _tuplegetter, namedtuple

    _OF_A_NAMEDTUPLE = ("__new__", "_make", "_replace", "_asdict", "__repr__", "__getnewargs__")

    class _Fields(tuple):
        """What all of them have until the first one of a class is made."""

        __slots__ = ()

        def __new__(cls, *values: Any, **named: Any) -> Any:
            defaults = [cls._field_defaults[field] for field in cls._fields if field in cls._field_defaults]
            made = namedtuple(cls.__name__, cls._fields, defaults=defaults)
            for name in _OF_A_NAMEDTUPLE:
                if name not in vars(cls):
                    setattr(cls, name, vars(made)[name])
            return cls(*values, **named)

        @classmethod
        def _make(cls, values: Any) -> Any:
            return cls(*values)

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
