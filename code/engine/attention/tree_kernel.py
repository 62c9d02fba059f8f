"""Attention over a packed prefix tree as one C++ operator, built where a compiler is found; tree_kernel.cpp has it.

What `tree_attention` does in some thirty operations a layer is two calls here, and neither probabilities nor masks are
kept: the backward pass computes them again from the logarithm of every query's sum. It is built once for a machine, in
about ten seconds, into the user's cache, and compared with `tree_attention` before it is used.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from basics.files import make_folder, replace_durably, sha256_of_text, sync_file
from engine.attention import tree_attention
from engine.layers import COMPILERS, identify_processor
from engine.prefix_tree import PrefixTree, visible_keys

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = (
    *("-O3", "-march=native", "-std=c++20", "-fPIC", "-shared", "-fopenmp"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)
ROWS_THAT_PAY = 1_000  # rows of a run in which the operator saves about the time that building takes
SECONDS = 300  # that a compiler may take
WIDTHS = 16  # the width of vectors must be a multiple of it, as they are transposed in tiles
QUERIES = 96  # of a block, over the heads of a group; measured on two CPU cores: 72 and 144 are slower
# Largest deviation from `tree_attention` in fp32, of numbers about 1.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 6e-2}


class _Tree(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("starts", "offsets", "keys", "end", "depth")),
        *((name, ctypes.c_int64) for name in ("blocks", "nodes", "reach")),
    ]


class _Shape(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("heads", "kv_heads", "width", "value_width")),
        ("scale", ctypes.c_float),
    ]


def is_worth(wanted: str, rows: int, device: torch.device) -> bool:
    """Whether to use the operator in a run over `rows` rows. wanted: value of --compile_layers."""
    return device.type == "cpu" and (wanted == "True" or (wanted == "auto" and rows >= ROWS_THAT_PAY))


@cache
def prepare(dtype: torch.dtype) -> bool:
    """Whether the operator can be used for this dtype; builds it where that has not been done."""
    library = load() if dtype in TOLERANCE else None
    if library is None or not library.erc_supports(ctypes.c_int64(dtype == torch.float32)):
        return False
    apart = deviation(dtype)
    if apart <= TOLERANCE[dtype]:
        return True
    print(f"tree attention does without its C++ operator, which is {apart:.2g} off in {dtype} here", file=sys.stderr)
    return False


@cache
def load() -> ctypes.CDLL | None:
    """The built operator; None where it cannot be built, which stderr then tells."""
    try:
        return ctypes.CDLL(str(build(cache_folder())))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        reason = " ".join(str(getattr(error, "stderr", "") or error).split())[:200]
        print(f"tree attention does without its C++ operator, which cannot be built: {reason}", file=sys.stderr)
        return None


def cache_folder() -> Path:
    """Where the built operator is kept: of this user alone."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "instruct_erc"


def build(folder: Path) -> Path:
    """The path of the operator's library in a folder; compiled where it is not there, whole or not at all.

    Raises:
        OSError: no compiler, or the folder cannot be written. subprocess.SubprocessError: it does not compile.
    """
    variable, *names = COMPILERS["cpu"]
    compiler = os.environ.get(variable) or next(filter(shutil.which, names), None)
    if compiler is None:
        raise OSError(f"no compiler, neither one that {variable} names nor {' or '.join(names)}")
    path = folder / f"tree_kernel-{identify(compiler)}.so"
    if path.exists():
        return path
    from torch.utils.cpp_extension import include_paths, library_paths

    print("building the C++ operator of tree attention, once for this machine", file=sys.stderr)
    places = [f"-I{place}" for place in include_paths()]
    places += [word for place in library_paths() for word in (f"-L{place}", f"-Wl,-rpath,{place}")]
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / path.name
        command = [compiler, *FLAGS, *places, str(SOURCE), "-ltorch_cpu", "-lc10", "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
        sync_file(made)
        replace_durably(made, path)
    return path


def identify(compiler: str) -> str:
    """A name for the library that differs with source, compiler, torch and processor."""
    parts = (SOURCE.read_text(encoding="utf-8"), *FLAGS, compiler, torch.__version__, identify_processor())
    return sha256_of_text("\n".join(parts))[:16]


@dataclass(frozen=True)
class KernelBlocks:
    """Blocks of consecutive queries and the keys that they see, as the operator reads them.

    starts: (blocks + 1,) int64 first node of each block. keys: int32 nodes, those of block b from offsets[b] on. end,
    depth: (nodes,) int32, of the tree. reach: how many nodes of its path a node sees; 0: all.
    """

    starts: np.ndarray
    offsets: np.ndarray
    keys: np.ndarray
    end: np.ndarray
    depth: np.ndarray
    reach: int

    def struct(self) -> _Tree:
        """The C struct with pointers to these arrays."""
        arrays = (self.starts, self.offsets, self.keys, self.end, self.depth)
        pointers = (array.ctypes.data for array in arrays)
        return _Tree(*pointers, len(self.starts) - 1, len(self.end), self.reach)


@dataclass(frozen=True)
class KernelPlan:
    """The `Plan` of a tree for the operator. blocks: window -> blocks; None: the whole path."""

    depth: int
    blocks: dict[int | None, KernelBlocks]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        """As `TreePlan.attend`."""
        if not fits(query.shape[-1]) or not fits(value.shape[-1]):
            raise ValueError(f"heads of {query.shape[-1]} and {value.shape[-1]}, allowed are multiples of {WIDTHS}")
        blocks = self.blocks[tree_attention.find_reach(self.depth, window, self.blocks)]
        return KernelAttention.apply(query, key, value, scale, blocks)

    def to(self, device: torch.device) -> "KernelPlan":
        return self


def plan_attention(tree: PrefixTree, group: int, windows: Iterable[int | None] = (None,)) -> KernelPlan:
    """The plan of a tree for the sliding windows of a model's layers. group: heads that share one head of keys."""
    reaches = {tree_attention.shorter_than(tree.depth, window) for window in windows}
    return KernelPlan(tree.depth, {reach: _plan_blocks(tree, group, reach) for reach in reaches})


def _plan_blocks(tree: PrefixTree, group: int, reach: int | None) -> KernelBlocks:
    size = max(WIDTHS, -(-QUERIES // (group * WIDTHS)) * WIDTHS)
    starts = np.append(np.arange(0, len(tree), size), len(tree))
    seen = [
        visible_keys(tree, start, stop, reach or len(tree)) for start, stop in zip(starts[:-1], starts[1:], strict=True)
    ]
    offsets = np.cumsum([0, *map(len, seen)])
    return KernelBlocks(
        starts.astype(np.int64),
        offsets.astype(np.int64),
        np.concatenate(seen).astype(np.int32),
        tree.end.astype(np.int32),
        tree.positions.astype(np.int32),
        reach or 0,
    )


def fits(width: int) -> bool:
    """Whether the operator takes vectors of this width."""
    return width % WIDTHS == 0


class KernelAttention(torch.autograd.Function):
    """As `TreeAttention`; keeps the answers and one logarithm a query for the backward pass."""

    @staticmethod
    def forward(context, query: Tensor, key: Tensor, value: Tensor, scale: float, blocks: KernelBlocks) -> Tensor:
        """query (nodes, heads, d), key (nodes, kv heads, d), value (nodes, kv heads, e) -> (nodes, heads, e)."""
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        logarithm = torch.empty(query.shape[:-1], dtype=torch.float32)
        _call("erc_attend", scale, blocks, query, key, value, output, logarithm)
        context.save_for_backward(query, key, value, output, logarithm)
        context.scale, context.blocks = scale, blocks
        return output

    @staticmethod
    def backward(context, gradient: Tensor):
        query, key, value, output, logarithm = context.saved_tensors
        changes = [torch.empty_like(x) for x in (query, key, value)]
        sums = torch.empty(torch.get_num_threads(), key.numel() + value.numel())
        tensors = (query, key, value, output, gradient.contiguous(), logarithm, *changes, sums)
        _call("erc_attend_back", context.scale, context.blocks, *tensors)
        return *changes, None, None


def _call(name: str, scale: float, blocks: KernelBlocks, query: Tensor, key: Tensor, value: Tensor, *others: Tensor):
    shape = _Shape(query.shape[1], key.shape[1], query.shape[2], value.shape[2], scale)
    pointers = (ctypes.c_void_p(x.data_ptr()) for x in (query, key, value, *others))
    numbers = (ctypes.c_int64(number) for number in (torch.get_num_threads(), query.dtype == torch.float32))
    getattr(load(), name)(ctypes.byref(blocks.struct()), ctypes.byref(shape), *numbers, *pointers)


@torch.inference_mode(False)  # it may be called while rows are scored
@torch.enable_grad()
def deviation(dtype: torch.dtype) -> float:
    """The largest difference of answers and gradients to `tree_attention` in fp32, on a small tree."""
    random = np.random.default_rng(0)
    rows = [[1, 2, *random.integers(3, 5, 40).tolist()] for _ in range(6)]
    tree = PrefixTree.from_rows(rows, [((7, 8, 9),)] * len(rows))
    windows = (None, 9)
    plans = (
        (dtype, plan_attention(tree, 2, windows)),
        (torch.float32, tree_attention.plan_attention(tree, 4, 2, torch.float32, windows)),
    )
    apart = []
    for window in windows:
        made = []
        for kind, plan in plans:
            draw = torch.Generator().manual_seed(0)
            inputs = [torch.randn(len(tree), heads, 32, generator=draw).to(dtype).to(kind) for heads in (4, 2, 2, 4)]
            read = [x.requires_grad_() for x in inputs[:3]]
            answer = plan.attend(*read, 0.2, window)
            answer.backward(inputs[3])
            made.append([answer.detach(), *(x.grad for x in read)])
        apart += [float((one.float() - other).abs().max()) for one, other in zip(*made, strict=True)]
    return max(apart)
