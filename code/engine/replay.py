"""Passes of a model captured as CUDA graphs: a small base then takes the time of its kernels, not of their launches.

A graph replays the same kernels on the same addresses, so micro-batches are padded to a few sizes: four an octave. The
first micro-batch of a size runs plainly, the second is captured, and later ones are replayed; the first captured pass
is compared with a plain one. After any failure passes are plain, with one line on stderr.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from basics.errors import describe_error
from engine.attention.tree_ways import DENSE, SEGMENTS
from engine.packing import PackedBatch, Packer

Run = Callable[[PackedBatch], Tensor]
WAYS = frozenset({DENSE, SEGMENTS})  # ways of attention whose inputs can be padded
LARGEST = 2e9  # parameters; above, kernels take longer than their launches
MOST_SIZES = 24  # graphs of one model; micro-batches of further sizes run plainly
TOLERANCE = 0.05  # relative difference of a replayed pass to a plain one: half precision, and another order of sums
ALIGNMENT = 16  # bytes


def can_replay(model, packer: Packer) -> bool:
    """Whether capturing the passes of a model is worth a try."""
    small = sum(weight.numel() for weight in model.parameters()) <= LARGEST
    return small and packer.shares_prefixes and packer.way in WAYS


@dataclass(frozen=True)
class Sizes:
    """How many of each a captured pass has room for; `runs` and what follows are 0 for a dense mask."""

    nodes: int
    kept: int
    pairs: int
    sequences: int
    runs: int = 0
    gathered: int = 0
    most_queries: int = 0
    most_keys: int = 0

    @classmethod
    def needed_by(cls, packed: PackedBatch) -> "Sizes":
        """The sizes of a micro-batch; nodes are already rounded, as the padding of the others depends on them."""
        nodes = rounded(packed.tokens + 1)
        plain = cls(nodes, len(packed.logits_to_keep), len(packed.pair_rows), packed.sequences + 1)
        plan = packed.inputs.get("tree_plan")
        if plan is None:
            return plain
        most = step_of(nodes)  # nodes pad at the most, in a run of their own
        return replace(
            plain,
            runs=len(plan.query_starts),
            gathered=len(plan.keys) + nodes - packed.tokens,
            most_queries=max(plan.most_queries, most),
            most_keys=max(plan.most_keys, most),
        )

    def holds(self, other: "Sizes") -> bool:
        return all(room >= needed for room, needed in zip(astuple(self), astuple(other), strict=True))

    def with_room(self) -> "Sizes":
        """The sizes rounded up; those that vary most between trees get a quarter more."""
        roomy = replace(self, runs=self.runs * 5 // 4, gathered=self.gathered * 5 // 4)
        return Sizes(*map(rounded, astuple(roomy)))

    def or_more(self, other: "Sizes") -> "Sizes":
        """For each size the greater of the two."""
        return Sizes(*map(max, astuple(self), astuple(other)))


def step_of(count: int) -> int:
    """The distance between the sizes that `rounded` allows around a count: a quarter of an octave, 8 at the least."""
    return max(8, 1 << max(0, count.bit_length() - 3))


def rounded(count: int) -> int:
    """The next of four sizes an octave: 2560, 3072, 3584, 4096, 5120, ...; multiples of 8 at the least."""
    return -(-count // step_of(count)) * step_of(count)


def pad_batch(packed: PackedBatch, sizes: Sizes) -> PackedBatch:
    """The same micro-batch with nodes, pairs and sequences that count nothing, up to the sizes. On the CPU."""
    nodes = sizes.nodes - packed.tokens
    inputs = dict(packed.inputs)
    for name in ("input_ids", "position_ids"):
        inputs[name] = torch.nn.functional.pad(inputs[name], (0, nodes))
    plan = inputs.get("tree_plan")
    if plan is None:
        inputs["attention_mask"] = map_tensors(inputs["attention_mask"], lambda mask: _pad_mask(mask, nodes))
    else:
        room = (sizes.nodes, sizes.runs, sizes.gathered, sizes.most_queries, sizes.most_keys)
        inputs["tree_plan"] = plan.padded(*room)
    pairs = (0, sizes.pairs - len(packed.pair_rows))
    pad = torch.nn.functional.pad
    sequences = (0, sizes.sequences - packed.sequences)
    against = packed.wanted is not None
    return PackedBatch(
        inputs=inputs,
        logits_to_keep=pad(packed.logits_to_keep, (0, sizes.kept - len(packed.logits_to_keep))),
        pair_rows=pad(packed.pair_rows, pairs),
        pair_tokens=pad(packed.pair_tokens, pairs),
        pair_sequences=pad(packed.pair_sequences, pairs, value=sizes.sequences - 1),
        pair_weights=pad(packed.pair_weights, pairs),
        sequences=sizes.sequences,
        tokens=sizes.nodes,
        sequence_rows=pad(packed.sequence_rows, sequences, value=sizes.sequences - 1) if against else None,
        wanted=pad(packed.wanted, sequences) if against else None,
    )


def _pad_mask(mask: Tensor, more: int) -> Tensor:
    """(1, 1, nodes, nodes) -> the mask with `more` nodes, each of which sees only itself."""
    hidden = False if mask.dtype == torch.bool else -torch.inf
    wider = torch.nn.functional.pad(mask, (0, more, 0, more), value=hidden)
    own = torch.arange(mask.shape[-1], wider.shape[-1])
    wider[..., own, own] = True if mask.dtype == torch.bool else 0.0
    return wider


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of `value` with `change` applied to every tensor, also in dictionaries, tuples and dataclasses."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: map_tensors(item, change) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map_tensors(item, change) for item in value)
    if is_dataclass(value):
        return replace(value, **{one.name: map_tensors(getattr(value, one.name), change) for one in fields(value)})
    return value


class Mirror:
    """A micro-batch at fixed addresses of a device, which one copy overwrites."""

    def __init__(self, padded: PackedBatch, device: torch.device) -> None:
        self.device, self.places, self.bytes = device, [], 0

        def place(tensor: Tensor) -> Tensor:
            self.places.append(self.bytes)
            self.bytes += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
            return tensor

        map_tensors(padded, place)
        self.memory = torch.zeros(self.bytes, dtype=torch.uint8, device=device)
        self.batch = self._inside(self.memory, padded)

    def load(self, padded: PackedBatch) -> None:
        pinned = self.device.type == "cuda"
        sent = torch.empty(self.bytes, dtype=torch.uint8, pin_memory=pinned)
        places = iter(self.places)
        map_tensors(padded, lambda tensor: _window(sent, next(places), tensor).copy_(tensor))
        self.memory.copy_(sent, non_blocking=True)

    def _inside(self, memory: Tensor, padded: PackedBatch) -> PackedBatch:
        places = iter(self.places)
        return map_tensors(padded, lambda tensor: _window(memory, next(places), tensor))


def _window(memory: Tensor, place: int, like: Tensor) -> Tensor:
    return memory[place : place + like.nbytes].view(like.dtype).view(like.shape)


class CudaGraphs:
    """Captures functions one after the other into one pool of memory; they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream, self.pool = device, torch.cuda.Stream(device), None

    def beside(self, run: Callable[[], Tensor]) -> Tensor:
        """Runs a function on the stream of captures, as it must have run there before it is captured."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = run()
        torch.cuda.current_stream().wait_stream(self.stream)
        result.record_stream(torch.cuda.current_stream())
        return result

    def capture(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """(function that replays it, tensor that then holds its result). After an exception the device is as before."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        generator = torch.cuda.default_generators[stream.device_index]
        draws = generator.clone_state()
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                result = run()
        except BaseException:
            torch.cuda.set_stream(stream)  # a capture that broke off keeps the stream and the random state
            generator.graphsafe_set_state(draws)
            raise
        self.pool = self.pool or graph.pool()
        return graph.replay, result


@dataclass
class _Size:
    """The state of one size: met before, captured or not."""

    sizes: Sizes
    mirror: Mirror
    met: bool = False
    replay: Callable[[], None] | None = None
    result: Tensor | None = None


class Replayed:
    """A pass over packed trees, captured for each size; called with a micro-batch on the CPU.

    run: the pass, micro-batch on the device -> result. sums: tensors that it adds to, at fixed addresses. forget:
    undoes what a pass that broke off left behind. graphs: what captures; in tests another stands in for it.
    """

    def __init__(
        self,
        run: Run,
        device: torch.device,
        sums: Sequence[Tensor] = (),
        forget: Callable[[], None] = lambda: None,
        graphs: Any = None,
    ) -> None:
        self.run, self.device, self.sums, self.forget = run, device, tuple(sums), forget
        self.graphs = graphs or CudaGraphs(device)
        self.sizes: dict[int, _Size] = {}
        self.is_held = self.is_off = False

    def __call__(self, packed: PackedBatch) -> Tensor:
        """The result of the pass, padded to the sequences of the size; the next call overwrites it."""
        needed = Sizes.needed_by(packed)
        known = self.sizes.get(needed.nodes)
        if self.is_off or (known is None and len(self.sizes) == MOST_SIZES):
            return self.run(packed.to(self.device))
        if known is None or not known.sizes.holds(needed):
            sizes = needed.with_room() if known is None else known.sizes.or_more(needed.with_room())
            known = self.sizes[needed.nodes] = _Size(sizes, Mirror(pad_batch(packed, sizes), self.device))
        known.mirror.load(pad_batch(packed, known.sizes))
        if known.replay is None and not known.met:
            known.met = True
            return self.graphs.beside(lambda: self.run(known.mirror.batch))
        return self._replay(known)

    def _replay(self, known: _Size) -> Tensor:
        if known.replay is None:
            try:
                known.replay, known.result = self.graphs.capture(lambda: self.run(known.mirror.batch))
                trouble = None if self.is_held else self._hold(known)
            except Exception as error:  # whatever a base does that cannot be captured
                trouble = describe_error(error)
            if trouble:
                return self._give_up(known, trouble)
            self.is_held = True
        known.replay()
        return known.result

    def _hold(self, known: _Size) -> str | None:
        """How a replayed pass differs from a plain one on the same random numbers; what they added is undone."""
        before, draws = [one.clone() for one in self.sums], _Draws(self.device)

        def outcome(run: Callable[[], Tensor | None]) -> list[Tensor]:
            draws.restore()
            result = run()
            added = [one - old for one, old in zip(self.sums, before, strict=True)]
            for one, old in zip(self.sums, before, strict=True):
                one.copy_(old)
            return [known.result.clone() if result is None else result, *added]

        plain = outcome(lambda: self.graphs.beside(lambda: self.run(known.mirror.batch)))
        replayed = outcome(known.replay)
        draws.restore()
        far = max(_distance(replayed[:1], plain[:1]), _distance(replayed[1:], plain[1:]))
        return None if far <= TOLERANCE else f"the first differs by {far:.1%} from the plain pass"

    def _give_up(self, known: _Size, trouble: str) -> Tensor:
        print(f"passes are not replayed from CUDA graphs: {trouble}", file=sys.stderr)
        self.is_off = True
        self.sizes.clear()
        self.forget()
        return self.run(known.mirror.batch)


def _distance(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The relative distance of all numbers together; infinite where one is NaN or infinite."""
    if not expected:
        return 0.0
    found, expected = (torch.cat([one.float().flatten() for one in every]) for every in (found, expected))
    distance = float((found - expected).norm() / expected.norm())
    return distance if distance == distance else float("inf")


class _Draws:
    """The state of a device's random generator, to be restored."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()

    def restore(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.state, self.device)
        else:
            torch.set_rng_state(self.state)
