"""A cheaper typing.NamedTuple, for the modules that an idle hook imports.

typing makes a ForwardRef of each field's annotation, and compiles it, though nothing uses it. The first call of
compile() alone takes a tenth of an idle hook's instructions (CPython 3.11, cachegrind), and 28 classes take as much
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from collections import namedtuple

    class _NamedTupleMeta(type):
        def __new__(cls, name: str, bases: tuple[Any, ...], body: dict[str, Any]) -> Any:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.get("__annotations__", {})
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            for key, value in body.items():
                setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_NamedTupleMeta):
        """Base class of a named tuple whose fields are the annotations of its class."""
