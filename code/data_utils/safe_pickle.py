"""Load a pickle without letting it run anything.

A pickle is a program: loading one calls whatever function it names. The corpora of this project hold
builtin containers, text, whole numbers and (EmoryNLP, written under Windows) numpy int32 scalars, so
nothing else is admitted, and the numpy names are answered by stand-ins that give plain ints.
"""

import pickle
from pathlib import Path
from typing import Any

from basics.errors import UserError

INT32_BYTES = 4


class _Int32Type:
    """Stands for numpy's dtype('int32'); remembers nothing but the byte order."""

    __slots__ = ("byte_order",)

    def __init__(self) -> None:
        self.byte_order = "little"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = {"<": "little", ">": "big"}[state[1]]


class _MakeInt32Type:
    """Stands for numpy.dtype. No __dict__, so that a hostile pickle cannot rewrite it."""

    __slots__ = ()

    def __call__(self, code: str, *_flags: bool) -> _Int32Type:
        if code not in ("i4", "<i4", ">i4"):
            raise pickle.UnpicklingError(f"numpy type {code!r} where only int32 is admitted")
        return _Int32Type()


class _ReadInt32:
    """Stands for numpy's scalar(): dtype and four bytes -> int."""

    __slots__ = ()

    def __call__(self, kind: _Int32Type, data: bytes) -> int:
        if type(kind) is not _Int32Type or type(data) is not bytes or len(data) != INT32_BYTES:
            raise pickle.UnpicklingError("a numpy scalar that is not an int32")
        return int.from_bytes(data, kind.byte_order, signed=True)


_ADMITTED = {
    ("numpy", "dtype"): _MakeInt32Type(),
    ("numpy.core.multiarray", "scalar"): _ReadInt32(),
    ("numpy._core.multiarray", "scalar"): _ReadInt32(),
    # Protocols before 4 have no opcode for these two containers.
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
}


class _ForeignGlobal(Exception):
    """A pickle names a global that is not admitted."""


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _ForeignGlobal(f"{module}.{name}")
        return _ADMITTED[module, name]


def load_safely(path: Path) -> Any:
    """Return what a pickle holds, numpy int32 scalars as int.

    Raises UserError for a file that names any other global (refused before it is called) and for one
    that is truncated or no pickle at all; OSError if the file cannot be read.
    """
    with open(path, "rb") as stream:
        try:
            return _SafeUnpickler(stream).load()
        except _ForeignGlobal as error:
            raise UserError(
                f"{path}: refused, it names the foreign object {error} and nothing of it was run; "
                "allowed are lists, tuples, dicts, sets, text, whole numbers and numpy int32"
            ) from None
        except OSError:
            raise
        # A damaged pickle can raise nearly anything; none of it is a fault of the program.
        except Exception as error:
            raise UserError(
                f"{path}: cannot be read as a pickle, it is truncated or corrupt "
                f"({type(error).__name__}: {error}); allowed is the file whose SHA-256 stands in "
                "original_data/README.md, or one of the same format"
            ) from None
