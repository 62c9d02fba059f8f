"""The C++ operator of tree attention against the Python one: answers, gradients, a whole model; and how it is built."""

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import ROWS, build
from engine.attention import tree_attention, tree_kernel
from engine.attention.tree_ways import BLOCKS, DENSE, KERNEL
from engine.layers import missing_for_compiling
from engine.packing import packer_for
from engine.prefix_tree import PrefixTree
from tiny_models import PAD, tiny_model

CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.numeric,
    pytest.mark.skipif(bool(missing_for_compiling(CPU)), reason="no C++ compiler"),
]


def attended(plan, tree: PrefixTree, heads: tuple[int, int], widths: tuple[int, int], window, kind) -> list:
    """The answer and the gradients of queries, keys and values, in fp32; inputs are the same for every plan."""
    draw = torch.Generator().manual_seed(len(tree))
    shapes = ((heads[0], widths[0]), (heads[1], widths[0]), (heads[1], widths[1]), (heads[0], widths[1]))
    *inputs, back = (torch.randn(len(tree), *shape, generator=draw).bfloat16().to(kind) for shape in shapes)
    inputs = [x.requires_grad_() for x in inputs]
    answer = plan.attend(*inputs, 0.3, window)
    answer.backward(back)
    return [answer.detach().float(), *(x.grad.float() for x in inputs)]


@given(ROWS, st.sampled_from([(1, 1), (3, 1), (6, 2), (8, 8)]), st.none() | st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_it_attends_as_python_does(rows, heads, window) -> None:
    tree, widths = build(rows), (32, 16)
    assert tree_kernel.prepare(torch.float32)
    expected = attended(
        tree_attention.plan_attention(tree, *heads, torch.float32, [window]), tree, heads, widths, window, torch.float32
    )
    plan = tree_kernel.plan_attention(tree, heads[0] // heads[1], [window])
    for found, wanted in zip(attended(plan, tree, heads, widths, window, torch.float32), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-5)


def long_tree() -> PrefixTree:
    """Of several blocks: rows that share beginnings of different lengths, 700 nodes and more."""
    draw = np.random.default_rng(1)
    rows: list[list[int]] = [draw.integers(3, 30, 90).tolist()]
    while len(rows) < 12:
        rows.append([*rows[-1][: int(draw.integers(20, 90))], *draw.integers(3, 30, 60).tolist()])
    return PrefixTree.from_rows(rows, [((1, 2, 3), (1, 4))] * len(rows))


@pytest.mark.parametrize("window", [None, 33])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_many_blocks_and_threads_give_equal_numbers(kind: torch.dtype, window: int | None) -> None:
    if not tree_kernel.prepare(kind):
        pytest.skip("this processor does not multiply in it")
    tree, heads, widths = long_tree(), (9, 3), (64, 64)
    assert len(tree) > 700
    plan = tree_kernel.plan_attention(tree, 3, [window])
    expected = attended(
        tree_attention.plan_attention(tree, *heads, torch.float32, [window]), tree, heads, widths, window, torch.float32
    )
    threads = torch.get_num_threads()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        try:
            found, again = (attended(plan, tree, heads, widths, window, kind) for _ in "ab")
        finally:
            torch.set_num_threads(threads)
        for one, same, wanted in zip(found, again, expected, strict=True):
            assert torch.equal(one, same)
            torch.testing.assert_close(one, wanted, rtol=2e-2, atol=tree_kernel.TOLERANCE[kind])


def test_what_it_cannot_take_goes_the_other_way() -> None:
    assert [packer_for(tiny_model("llama", head_dim=width), "tree", PAD, kernel=True).way for width in (16, 8)] == [
        KERNEL,
        BLOCKS,
    ]
    assert packer_for(tiny_model("mla"), "tree", PAD, kernel=True).way == BLOCKS
    assert packer_for(tiny_model("llama", head_dim=16), "tree", PAD).way == BLOCKS
    assert packer_for(tiny_model("llama", attention="sdpa", head_dim=16), "tree", PAD, kernel=True).way == DENSE
    assert not tree_kernel.prepare(torch.float16)
    with pytest.raises(ValueError, match="a layer sees 7 tokens back"):
        tree = long_tree()
        attended(tree_kernel.plan_attention(tree, 3), tree, (3, 1), (16, 16), 7, torch.float32)


def test_a_wrong_operator_is_not_used(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tree_kernel, "TOLERANCE", {torch.float32: 0.0})
    assert not tree_kernel.prepare.__wrapped__(torch.float32)
    assert "does without its C++ operator, which is " in capsys.readouterr().err


@pytest.fixture
def short_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is compiled at once: how the operator is put on the disk is the same for any."""
    source = tmp_path / "short.cpp"
    source.write_text('extern "C" int one() { return 1; }\n')
    monkeypatch.setattr(tree_kernel, "SOURCE", source)


def test_it_is_built_once_and_whole(short_source: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = tree_kernel.build(tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == [built.name]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert tree_kernel.build(tmp_path / "a") == built and ctypes.CDLL(str(built)).one() == 1


def test_it_is_on_the_disk_before_it_has_its_name(
    short_source: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda at: (happened.append(os.readlink(f"/proc/self/fd/{at}")), sync(at)))
    monkeypatch.setattr(os, "replace", lambda *paths: (happened.append("rename"), rename(*paths)))
    built = tree_kernel.build(tmp_path / "a")
    place = happened.index("rename")
    assert Path(happened[place - 1]).name == built.name and happened[place + 1] == str(tmp_path / "a")


def test_other_flags_or_processors_have_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tree_kernel.identify("g++")
    assert tree_kernel.identify("clang++") != named
    monkeypatch.setattr(tree_kernel, "FLAGS", (*tree_kernel.FLAGS, "-g"))
    assert tree_kernel.identify("g++") != named


@pytest.mark.parametrize("compiler", ["/bin/false", "/no/compiler"])
def test_where_it_cannot_be_built_one_line_says_so(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tree_kernel.load.__wrapped__() is None
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("tree attention does without its C++ operator, which cannot be built: ")
    assert list((tmp_path / "instruct_erc").iterdir()) == []


def test_short_runs_do_not_build_it() -> None:
    enough = tree_kernel.ROWS_THAT_PAY
    asked = [("auto", enough), ("auto", enough - 1), ("True", 1), ("False", 10 * enough)]
    assert [tree_kernel.is_worth(wanted, rows, CPU) for wanted, rows in asked] == [True, False, True, False]
    assert not tree_kernel.is_worth("True", enough, torch.device("cuda"))
