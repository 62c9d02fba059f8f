"""Pickles are loaded without running anything: what is admitted, and what is refused untouched."""

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from basics.errors import UserError
from corpora import load_unchecked as load
from corpora import refusal, small_corpus
from data_utils.safe_pickle import load_safely

WriteCorpus = Callable[..., Path]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_numpy_int32_scalars_become_ints(write_corpus: WriteCorpus, protocol: int) -> None:
    corpus = small_corpus()
    corpus[0] = {name: [list(map(numpy.int32, row)) for row in rows] for name, rows in corpus[0].items()}
    corpus[1] = {name: list(map(numpy.int32, labels)) for name, labels in corpus[1].items()}
    splits = load(write_corpus(pickle.dumps(corpus, protocol=protocol)))
    assert splits == load(write_corpus(small_corpus()))


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
@pytest.mark.parametrize(("order", "pack"), [("<", "<i"), (">", ">i")])
def test_int32_of_either_numpy_and_byte_order(tmp_path: Path, module: str, order: str, pack: str) -> None:
    scalar = b"c" + module.encode() + b"\nscalar\n"
    dtype = b"cnumpy\ndtype\n(X\x02\x00\x00\x00i4\x89\x88tR"
    state = b"(K\x03X\x01\x00\x00\x00" + order.encode() + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = b"\x80\x04" + scalar + b"(" + dtype + state + b"C\x04" + struct.pack(pack, -70000) + b"tR."
    (tmp_path / "number.pkl").write_bytes(content)
    number = load_safely(tmp_path / "number.pkl")
    assert (type(number), number) == (int, -70000)


@pytest.mark.parametrize("keep", [0, 1, 20, -1])
def test_truncated_pickle(write_corpus: WriteCorpus, keep: int) -> None:
    content = pickle.dumps(small_corpus())
    assert "truncated or corrupt" in refusal(write_corpus(content[:keep]))


@pytest.mark.parametrize("content", [b"version https://git-lfs", b"\x80\x04}]s.", b"\x80\x04r\xff\xff\xff\xff."])
def test_corrupt_pickle(write_corpus: WriteCorpus, content: bytes) -> None:
    assert "truncated or corrupt" in refusal(write_corpus(content))


class _Hostile:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_foreign_objects_are_refused_without_running(write_corpus: WriteCorpus, tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "it ran"
    hostile = [*small_corpus()[:5], _Hostile(os.system, f"touch '{mark}'")]
    message = refusal(write_corpus(pickle.dumps(hostile, protocol=protocol)))
    assert "foreign object" in message and ".system" in message
    assert not mark.exists()


@pytest.mark.parametrize("function", [eval, exec, print, getattr, __import__, numpy.frombuffer, bytearray])
def test_other_functions_are_foreign_too(write_corpus: WriteCorpus, function: Callable[..., Any]) -> None:
    assert "foreign object" in refusal(write_corpus([_Hostile(function, "1")]))


def test_numpy_objects_other_than_int32_are_refused(write_corpus: WriteCorpus) -> None:
    for foreign in (numpy.int64(1), numpy.float32(1), numpy.zeros(2, dtype=numpy.int32)):
        refusal(write_corpus([*small_corpus()[:5], foreign]))


def test_the_stand_ins_for_numpy_cannot_be_rewritten(tmp_path: Path) -> None:
    """BUILD could set attributes on the very functions that the unpickler hands out."""
    for target in (b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\nscalar\n"):
        (tmp_path / "build.pkl").write_bytes(b"\x80\x04" + target + b"}X\x01\x00\x00\x00xK\x01sb.")
        with pytest.raises(UserError, match="truncated or corrupt"):
            load_safely(tmp_path / "build.pkl")
