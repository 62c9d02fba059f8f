"""A pickle read without running anything that it names, in time and memory that its size bounds."""

import io
import pickle
import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from basics.errors import UserError

INT32_BYTES = 4
WHOLE_NUMBER_BITS = 64


class _Int32Type:
    """Stands for numpy's dtype('int32'); remembers nothing but the byte order."""

    __slots__ = ("byte_order",)

    def __init__(self) -> None:
        self.byte_order = "little"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if type(order) is not str:  # before it is hashed
            raise pickle.UnpicklingError("a byte order that is no text")
        self.byte_order = {"<": "little", ">": "big"}[order]


class _MakeInt32Type:
    """Stands for numpy.dtype. No __dict__, so that a hostile pickle cannot rewrite it."""

    __slots__ = ()

    def __call__(self, code: str, *_flags: bool) -> _Int32Type:
        if code not in ("i4", "<i4", ">i4"):
            raise pickle.UnpicklingError(f"numpy type {reprlib.repr(code)} where only int32 is admitted")
        return _Int32Type()


class _ReadInt32:
    """Stands for numpy's scalar(): dtype and four bytes -> int."""

    __slots__ = ()

    def __call__(self, kind: _Int32Type, data: bytes) -> int:
        if type(kind) is not _Int32Type or type(data) is not bytes or len(data) != INT32_BYTES:
            raise pickle.UnpicklingError("a numpy scalar that is not an int32")
        return int.from_bytes(data, kind.byte_order, signed=True)


class _MakeSet:
    """Stands for set, whose members are hashed."""

    __slots__ = ()
    kind: type = set

    def __call__(self, members: Iterable[Any] = ()) -> Any:
        members = list(members)
        _check_keys(members)
        return self.kind(members)


class _MakeFrozenSet(_MakeSet):
    __slots__ = ()
    kind = frozenset


_ADMITTED = {
    ("numpy", "dtype"): _MakeInt32Type(),
    ("numpy.core.multiarray", "scalar"): _ReadInt32(),
    ("numpy._core.multiarray", "scalar"): _ReadInt32(),
    # Protocols before 4 have no opcode for these two containers.
    ("builtins", "set"): _MakeSet(),
    ("builtins", "frozenset"): _MakeFrozenSet(),
    ("__builtin__", "set"): _MakeSet(),
    ("__builtin__", "frozenset"): _MakeFrozenSet(),
}


class _ForeignGlobal(Exception):
    """A pickle names a global that is not admitted."""


def _check_keys(keys: Iterable[Any]) -> None:
    """UnpicklingError for keys other than int and str: the time to hash nested tuples doubles with each level."""
    for key in keys:
        if type(key) not in (int, str):
            raise pickle.UnpicklingError(f"a {type(key).__name__} as a key or in a set")


def _check_number(number: Any) -> None:
    if type(number) is int and number.bit_length() > WHOLE_NUMBER_BITS:
        raise pickle.UnpicklingError(f"a whole number of {number.bit_length():,} bits")


# Opcode -> the keys that it hashes, taken from the stack.
_HASHED: dict[bytes, Callable[[list[Any]], list[Any]]] = {
    pickle.SETITEM: lambda stack: stack[-2:-1],
    pickle.SETITEMS: lambda stack: stack[::2],
    pickle.DICT: lambda stack: stack[::2],
    pickle.ADDITEMS: lambda stack: stack,
    pickle.FROZENSET: lambda stack: stack,
}
_NUMBERS = (pickle.INT, pickle.LONG, pickle.LONG1, pickle.LONG4)
_REFUSED = (pickle.BYTEARRAY8,)  # makes as many bytes as it claims, whatever follows

Load = Callable[["_SafeUnpickler"], None]


def _keys_checked(load: Load, keys: Callable[[list[Any]], list[Any]]) -> Load:
    def load_checked(unpickler: "_SafeUnpickler") -> None:
        _check_keys(keys(unpickler.stack))
        load(unpickler)

    return load_checked


def _number_checked(load: Load) -> Load:
    def load_checked(unpickler: "_SafeUnpickler") -> None:
        load(unpickler)
        _check_number(unpickler.stack[-1])

    return load_checked


_LOADS: dict[int, Load] = {
    code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in _REFUSED
}


# The unpickler in Python, as in joblib: the one in C allocates as large a memo as a number in the file asks for.
class _SafeUnpickler(pickle._Unpickler):
    dispatch = {
        **_LOADS,
        **{code[0]: _keys_checked(_LOADS[code[0]], keys) for code, keys in _HASHED.items()},
        **{code[0]: _number_checked(_LOADS[code[0]]) for code in _NUMBERS},
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _ForeignGlobal(f"{module}.{name}")
        return _ADMITTED[module, name]


def load_safely(path: Path) -> Any:
    """Return what a pickle holds, numpy int32 scalars as int.

    Raises UserError for a file that names any other global (refused before it is called) and for one
    that is truncated or no pickle at all; OSError if the file cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        # From bytes in memory no more is allocated than there is, whatever length the pickle claims.
        return _SafeUnpickler(io.BytesIO(content)).load()
    except _ForeignGlobal as error:
        raise UserError(
            f"{path}: refused, it names the foreign object {error} and nothing of it was run; "
            "allowed are lists, tuples, dicts, sets, text, whole numbers and numpy int32"
        ) from None
    # A damaged pickle can raise nearly anything; none of it is a fault of the program.
    except Exception as error:
        raise UserError(
            f"{path}: cannot be read as a pickle, it is truncated or corrupt "
            f"({type(error).__name__}: {error}); allowed is the file whose SHA-256 stands in "
            "original_data/README.md, or one of the same format"
        ) from None
