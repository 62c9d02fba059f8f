"""Micro-batches as tensors, written out by hand; what a model computes of them is held by test_tree_training.py."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from engine.attention import tree_kernel
from engine.attention.tree_ways import BLOCKS, DENSE, KERNEL
from engine.batching import EAGER_TOKEN_BUDGET, TOKEN_BUDGETS, EncodedRow, MicroBatch
from engine.packing import (
    PackedBatch,
    Packer,
    batch_loss,
    can_share_prefixes,
    fits_kernel,
    kept_logits,
    pack_rest,
    pack_rows,
    packer_for,
    pair_log_probabilities,
    rows_of_pairs,
    sequence_log_probabilities,
    usual_token_budget,
    with_plan,
)

PAD = 9
# Two turns: the second prompt goes on where the first stops, and counts half as much.
BATCH = MicroBatch(
    tuple(EncodedRow(f"a/b/{turn}", "", prompt, (), 1.0, 0) for turn, prompt in enumerate([(5, 6), (5, 6, 7)])),
    (((1, 0), (1, 2, 0)), ((3, 0),)),
    (1.0, 0.5),
)


def lists_of(packed: PackedBatch) -> dict[str, object]:
    """Without the mask."""
    told = {name: value.tolist() for name, value in vars(packed).items() if isinstance(value, torch.Tensor)}
    told |= {name: value.tolist() for name, value in packed.inputs.items() if name != "attention_mask"}
    return told | {"sequences": packed.sequences, "tokens": packed.tokens}


COMMON = {
    "pair_tokens": [1, 0, 1, 2, 0, 3, 0],
    "pair_sequences": [0, 0, 1, 1, 1, 2, 2],
    "pair_weights": pytest.approx([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 1 / 4, 1 / 4]),
    "sequences": 3,
}


def test_a_tree() -> None:
    packed = Packer("tree", PAD).pack(BATCH)
    assert lists_of(packed) == COMMON | {
        "input_ids": [[5, 6, 1, 2, 7, 3]],
        "position_ids": [[0, 1, 2, 3, 2, 3]],
        "logits_to_keep": [1, 2, 3, 4, 5],
        "pair_rows": [0, 1, 0, 1, 2, 3, 4],
        "tokens": 6,
    }
    mask = packed.inputs["attention_mask"]
    assert mask.dtype == torch.bool and torch.equal(mask[0, 0], torch.from_numpy(BATCH.tree().visibility()))


def test_rows() -> None:
    packed = Packer("rows", PAD).pack(BATCH)
    assert lists_of(packed) == COMMON | {
        "input_ids": [[5, 6, 1, PAD], [5, 6, 1, 2], [5, 6, 7, 3]],
        "logits_to_keep": [1, 2, 3],
        "pair_rows": [0, 1, 3, 4, 5, 7, 8],
        "tokens": 12,
    }
    assert bool((packed.inputs["attention_mask"] == 1).all()) and packed.inputs["attention_mask"].shape == (3, 4)


@pytest.mark.parametrize("kind", ["tree", "rows"])
def test_what_each_label_is_to_get(kind: str) -> None:
    packed = Packer(kind, PAD).pack(replace(BATCH, wanted=((0.75, 0.25), (1.0,))))
    assert packed.sequence_rows.tolist() == [0, 0, 1] and packed.wanted.tolist() == [0.75, 0.25, 0.5]
    assert packed.wanted.dtype == packed.pair_weights.dtype == torch.float32


def test_what_follows_kept_tokens() -> None:
    """Layers that see all, and layers that see two tokens; of the prompt two are kept."""
    packer = Packer("tree", PAD, windows={"full": None, "sliding": 2}, additive=True)
    packed = pack_rest((5, 6, 7), [(1, 0), (2, 0)], 2, packer)
    assert packed.inputs["input_ids"].tolist() == [[7, 1, 2]] and packed.inputs["position_ids"].tolist() == [[2, 3, 3]]
    masks = packed.inputs["attention_mask"]
    assert (masks["full"] == 0).int().tolist() == [[[[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 0, 1]]]]
    assert (masks["sliding"] == 0).int().tolist() == [[[[0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1]]]]
    assert all(set(mask.flatten().tolist()) == {0.0, -torch.inf} for mask in masks.values())
    assert packed.pair_weights.tolist() == [0.5] * 4


def test_all_of_it_goes_to_the_device() -> None:
    packed = Packer("tree", PAD, windows={"full": None, "sliding": 2}).pack(BATCH)
    packed = replace(packed, inputs=packed.inputs | {"kept": (packed.pair_rows, None)})
    moved = packed.to(torch.device("meta"))
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    tensors += [moved.inputs["input_ids"], *moved.inputs["attention_mask"].values(), moved.inputs["kept"][0]]
    assert len(tensors) == 9 and all(tensor.is_meta for tensor in tensors)
    assert (moved.tokens, moved.sequences, moved.wanted, moved.inputs["kept"][1]) == (6, 3, None, None)


def test_logits_of_a_model_that_gives_all_are_cut() -> None:
    packed = pack_rows(BATCH, PAD)
    everywhere = torch.arange(3 * 4 * 2.0).reshape(3, 4, 2)
    assert torch.equal(kept_logits(everywhere, packed), everywhere[:, 1:])
    assert kept_logits(everywhere[:, 1:], packed).data_ptr() == everywhere[:, 1:].data_ptr()
    with pytest.raises(ValueError, match=r"answers \(3, 2\) where 3 rows of 3 places were asked for"):
        kept_logits(everywhere[:, :2], packed)


def test_the_row_of_each_pair_is_found_where_a_model_gives_all() -> None:
    """It is asked for where a head would round its answers to 16 bits."""
    packed = pack_rows(BATCH, PAD)
    everywhere = torch.arange(3 * 4 * 2.0).reshape(3, 4, 2)
    wanted = everywhere[:, 1:].flatten(0, 1)[packed.pair_rows]
    for logits in (everywhere, everywhere[:, 1:]):
        assert torch.equal(logits.flatten(0, 1)[rows_of_pairs(packed, logits.shape)], wanted)


def test_a_plan_stands_in_place_of_a_mask() -> None:
    plan = SimpleNamespace()
    assert with_plan(plan)["tree_plan"] is plan and with_plan(plan)["attention_mask"].ndim == 4


class Answering(torch.nn.Module):
    """Answers the same logits for a token whatever stands before it; keeps keys and values when it is asked to."""

    table = torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    kept = False

    def forward(self, input_ids: torch.Tensor, logits_to_keep: torch.Tensor, use_cache: bool, **_: object):
        self.kept = use_cache
        return SimpleNamespace(logits=self.table[input_ids[:, logits_to_keep]])


@pytest.mark.parametrize("kind", ["tree", "rows"])
def test_log_p_and_loss_of_what_a_model_answers(kind: str) -> None:
    model, packed = Answering(), Packer(kind, PAD).pack(BATCH)
    log_p = Answering.table.log_softmax(1).tolist()
    expected = [log_p[6][1], log_p[1][0], log_p[6][1], log_p[1][2], log_p[2][0], log_p[7][3], log_p[3][0]]
    sums = [sum(expected[:2]), sum(expected[2:5]), sum(expected[5:])]
    assert pair_log_probabilities(model, packed).tolist() == pytest.approx(expected) and not model.kept
    assert sequence_log_probabilities(model, packed).tolist() == pytest.approx(sums)
    assert float(batch_loss(model, packed)) == pytest.approx(-sums[0] / 2 - sums[1] / 3 - sums[2] / 2 / 2)
    shares = torch.tensor(sums[:2]).log_softmax(0)
    held = Packer(kind, PAD).pack(replace(BATCH, wanted=((0.75, 0.25), (1.0,))))
    assert float(batch_loss(model, held)) == pytest.approx(float(-0.75 * shares[0] - 0.25 * shares[1]))
    goes_on = replace(packed, inputs=packed.inputs | {"past_key_values": None})
    assert pair_log_probabilities(model, goes_on).tolist() == pytest.approx(expected) and model.kept
    model.table = Answering.table.to("meta")
    assert sequence_log_probabilities(model, packed.to(torch.device("meta"))).is_meta


def model_with(**settings: object) -> SimpleNamespace:
    config = SimpleNamespace(**settings)
    config.get_text_config = lambda: config
    return SimpleNamespace(config=config, parameters=lambda: iter([torch.zeros(1, dtype=torch.bfloat16)]))


def test_budgets_go_by_device_and_attention() -> None:
    sdpa, eager = (model_with(_attn_implementation=name) for name in ("sdpa", "eager"))
    assert [usual_token_budget(sdpa, torch.device(name)) for name in ("cpu", "cuda", "mps")] == [
        *(TOKEN_BUDGETS["cpu"], TOKEN_BUDGETS["cuda"], TOKEN_BUDGETS["cuda"])
    ]
    assert usual_token_budget(eager, torch.device("cuda")) == EAGER_TOKEN_BUDGET < TOKEN_BUDGETS["cpu"]


def test_a_configuration_says_where_prefixes_cannot_be_shared() -> None:
    assert can_share_prefixes(model_with()) and not can_share_prefixes(model_with(shares_prefixes=False))


def test_heads_that_the_operator_takes() -> None:
    def fits(heads: int, **widths: int | None) -> bool:
        return fits_kernel(model_with(hidden_size=128, **widths).config, heads)

    assert fits(8) and not fits(16) and fits(16, head_dim=32) and not fits(8, head_dim=24)
    assert fits(8, head_dim=None, qk_head_dim=48, v_head_dim=32)
    assert not fits(8, qk_head_dim=24, v_head_dim=32) and not fits(8, qk_head_dim=32, v_head_dim=24)


def attending_with(attention: str, **settings: object) -> SimpleNamespace:
    """A model of eight heads, of which four share keys and values, each 16 wide."""
    widths = {"num_attention_heads": 8, "num_key_value_heads": 2, "hidden_size": 128}
    return model_with(_attn_implementation=attention, model_type="llama", **{**widths, **settings})


def told_of(packer: Packer) -> tuple[object, ...]:
    assert (packer.kind, packer.pad_token_id, packer.dtype, packer.replays) == ("tree", PAD, torch.bfloat16, False)
    return packer.way, packer.heads, packer.kv_heads, packer.additive, packer.takes_ways


def test_a_packer_goes_by_the_attention_of_the_model() -> None:
    own = packer_for(attending_with("prefix_tree"), "tree", PAD)
    sdpa = packer_for(attending_with("sdpa", sliding_window=3), "tree", PAD)
    eager = packer_for(attending_with("eager"), "tree", PAD)
    assert told_of(own) == (BLOCKS, 8, 2, False, True) and [*own.windows.values()] == [None]
    assert told_of(sdpa) == (DENSE, 0, 0, False, False) and [*sdpa.windows.values()] == [3]
    assert told_of(eager) == (DENSE, 0, 0, True, False)
    no_groups = packer_for(attending_with("prefix_tree", num_key_value_heads=None), "tree", PAD)
    assert told_of(no_groups) == (BLOCKS, 8, 8, False, True)
    unshared = attending_with("prefix_tree", shares_prefixes=False)
    for packer in (packer_for(unshared, "tree", PAD), packer_for(attending_with("prefix_tree"), "rows", PAD)):
        assert packer == Packer("rows", PAD) and not packer.takes_ways


def test_the_operator_is_taken_where_it_is_wanted_built_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    def way(wanted: bool = True, built: bool = True, **settings: object) -> str:
        monkeypatch.setattr(tree_kernel, "prepare", lambda dtype: built)
        return packer_for(attending_with("prefix_tree", **settings), "tree", PAD, wanted).way

    assert (way(), way(wanted=False), way(built=False), way(head_dim=8)) == (KERNEL, BLOCKS, BLOCKS, BLOCKS)


def test_heads_that_differ_by_layer_are_left_to_the_tensors() -> None:
    model = attending_with("prefix_tree")
    del model.config.num_attention_heads
    assert told_of(packer_for(model, "tree", PAD, kernel=True)) == (BLOCKS, 0, 0, False, True)
