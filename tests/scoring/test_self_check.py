"""The check of a run: packed rows against each row alone, on the largest micro-batch, in fp32, for any base."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from basics.errors import UserError
from engine import packing
from engine.attention import tree_attention, tree_kernel
from engine.attention.tree_ways import BLOCKS, KERNEL
from engine.batching import MicroBatch, RowEncoder
from engine.layers import missing_for_compiling
from engine.packing import Packer, packer_for, pair_log_probabilities
from engine.prefix_tree import PrefixTree
from every_architecture import tiny, try_one
from scoring import self_check
from scoring.self_check import can_go_on, packer_that_agrees, prompts_together
from tiny_models import KINDS, LABELS, OTHER_KINDS, PAD, character_tokenizer, small_examples, small_rows, tiny_model
from training import run as runs

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")
ROWS = Packer("rows", PAD)


def as_batch(rows) -> MicroBatch:
    return MicroBatch(tuple(rows), tuple((row.target,) for row in rows), (1.0,) * len(rows))


def first_rows() -> MicroBatch:
    return as_batch(small_rows(window=2)[:6])


def full_pack() -> MicroBatch:
    """19 rows of three dialogues, more than a thousand nodes."""
    return as_batch(small_rows(window=12, count=3, turns=6))


def always(*batches: MicroBatch) -> Callable[[bool], list[list[MicroBatch]]]:
    """A plan of these, whether prefixes are shared or not."""
    return lambda share_prefixes: [list(batches)]


@pytest.mark.parametrize("kind", [*KINDS, *OTHER_KINDS])
def test_every_kind_of_the_table_shares(kind: str, capsys) -> None:
    assert packer_that_agrees(tiny_model(kind), always(first_rows()), "tree", PAD, CPU).shares_prefixes
    assert capsys.readouterr().err == ""
    assert packer_that_agrees(tiny_model(kind), always(first_rows()), "rows", PAD, CPU) == ROWS


@pytest.mark.skipif(bool(missing_for_compiling(CPU)), reason="no C++ compiler")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_operator_is_prepared_in_the_middle_of_the_check(precision: torch.dtype, monkeypatch, capsys) -> None:
    monkeypatch.setattr(tree_kernel, "prepare", cache(tree_kernel.prepare.__wrapped__))  # as in a new process
    supported = tree_kernel.load().erc_supports(int(precision == torch.float32))
    model = tiny_model("llama", head_dim=16).to(precision)
    packer = packer_that_agrees(model, always(first_rows()), "tree", PAD, CPU, kernel=True)
    assert (packer.way, capsys.readouterr().err) == (KERNEL if supported else BLOCKS, "")


def see_siblings(tree: PrefixTree, window: int | None = None):
    """A wrong mask: plain causal order, in which a branch sees the branches before it."""
    return torch.ones(len(tree), len(tree), dtype=torch.bool).tril().numpy()


@pytest.mark.parametrize("kind", ["llama", "bloom"])
def test_a_wrong_dense_mask_is_caught(kind: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(PrefixTree, "visibility", see_siblings)
    model = tiny_model(kind, attention="sdpa" if kind == "llama" else "eager")
    assert packer_that_agrees(model, always(first_rows()), "tree", PAD, CPU) == ROWS
    warning = capsys.readouterr().err
    assert warning.startswith("warning: ") and "differs" in warning and warning.count("\n") == 1


def test_wrong_blocks_are_caught(monkeypatch, capsys) -> None:
    plan = tree_attention.plan_blocks

    def forget_ancestors(tree: PrefixTree, *settings):
        return plan(replace(tree, end=tree.end - (tree.end < len(tree))), *settings)

    monkeypatch.setattr(tree_attention, "plan_blocks", forget_ancestors)
    assert packer_that_agrees(tiny_model("llama"), always(first_rows()), "tree", PAD, CPU) == ROWS
    assert "using --packing rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"layer_types": ["chunked_attention", "full_attention"]}, "chunked"), ({"attention_dropout": 0.1}, "drop")],
)
def test_layers_that_attend_otherwise_take_rows(change: dict, reason: str, capsys) -> None:
    """They may agree on these rows and differ on others: the configuration decides, not the numbers."""
    model = tiny_model("llama")
    for name, value in change.items():
        setattr(model.config, name, value)
    assert not packer_that_agrees(model, always(first_rows()), "tree", PAD, CPU).shares_prefixes
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "result", "reason"),
    [
        ("gpt_neo", "rows", "place of a token"),
        ("mpt", "rows", "place of a token"),
        ("falcon (ALiBi)", "rows", "place of a token"),
        ("rwkv", "rows", "place of a token"),
        ("xlstm", "rows", "place of a token"),
        ("mamba", "rows", "linear_attention"),
        ("longcat_flash", "tree, in blocks", ""),
        ("qwen3_moe", "tree, in blocks", ""),
        ("gpt_oss", "tree, dense mask", ""),
        ("roberta", "refused", "reads ahead"),
        ("bert", "refused", "reads ahead"),
        ("xlnet", "refused", "reads ahead"),
    ],
)
def test_architectures_end_in_equal_scores_or_one_line(name: str, result: str, reason: str) -> None:
    """All of them: tests/helpers/every_architecture.py, whose table stands in LLM_bases/README.md."""
    found, why = try_one(name)
    assert found == result and reason in why and "\n" not in why


def test_what_goes_by_place_is_found_in_the_largest_micro_batch(monkeypatch, capsys) -> None:
    """GPT-Neo's windows, were they not known: a small pack hides nothing, one of the real size does."""
    monkeypatch.setattr(tree_attention, "BY_PLACE", frozenset())
    model = tiny("gpt_neo")
    small, large = as_batch(small_rows(window=2)[:1]), full_pack()
    assert packer_that_agrees(model, always(small), "tree", PAD, CPU).shares_prefixes
    assert packer_that_agrees(model, always(small, large, small), "tree", PAD, CPU) == ROWS
    assert "differs by" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["rwkv", "xlstm", "roberta (is_decoder)", "bart", "mamba"])
def test_padded_rows_are_rows_for_any_causal_base(name: str) -> None:
    kind, changes = {"roberta (is_decoder)": ("roberta", {"is_decoder": True})}.get(name, (name, {}))
    model, batch = tiny(kind, **changes), first_rows()
    with torch.no_grad():
        together = pair_log_probabilities(model, ROWS.pack(batch))
        alone = [pair_log_probabilities(model, ROWS.pack(as_batch([row]))) for row in batch.rows]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def answering(model, change: Callable[[torch.Tensor], torch.Tensor]):
    """The model, its logits changed."""
    forward = model.forward

    def changed(*args, **kwargs):
        kwargs.pop("logits_to_keep", None)
        output = forward(*args, **kwargs)
        output.logits = change(output.logits)
        return output

    model.forward = changed
    return model


def test_logits_of_all_places_are_read_at_those_that_were_asked_for() -> None:
    plain, swallowing = tiny_model("llama"), answering(tiny_model("llama"), lambda logits: logits)
    for packer in (ROWS, packer_for(plain, "tree", PAD)):
        packed = packer.pack(first_rows())
        torch.testing.assert_close(pair_log_probabilities(swallowing, packed), pair_log_probabilities(plain, packed))


def test_logits_of_another_shape_are_an_error() -> None:
    model = answering(tiny_model("llama"), lambda logits: logits[:, 1:])
    with pytest.raises(ValueError, match="places were asked for"):
        pair_log_probabilities(model, ROWS.pack(first_rows()))


@pytest.mark.parametrize("error", [KeyError("full_attention"), IndexError("out of range"), AttributeError("heads")])
def test_a_base_that_does_not_run_a_tree_takes_rows(error: Exception, monkeypatch, capsys) -> None:
    def fail(*_):
        raise error

    monkeypatch.setattr(packing, "pack_tree", fail)
    assert packer_that_agrees(tiny_model("llama"), always(first_rows()), "tree", PAD, CPU) == ROWS
    told = capsys.readouterr().err
    assert type(error).__name__ in told and told.count("\n") == 1


def test_out_of_memory_is_said_as_such(monkeypatch) -> None:
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(packing, "pack_tree", fail)
    with pytest.raises(UserError, match=r"out of memory in the largest micro-batch, \d+ tokens; .*--token_budget"):
        packer_that_agrees(tiny_model("llama"), always(first_rows()), "tree", PAD, CPU)


def test_weights_that_are_not_finite_are_refused() -> None:
    model = tiny_model("llama")
    model.lm_head.weight.data[5] = torch.nan
    with pytest.raises(UserError, match="no finite log p"):
        packer_that_agrees(model, always(first_rows()), "tree", PAD, CPU)


def test_half_precision_is_checked_in_fp32_and_comes_back_as_it_was(monkeypatch) -> None:
    model = tiny_model("llama").to(torch.bfloat16)
    before = {name: weight.data_ptr() for name, weight in model.named_parameters()}
    seen = []

    def look(*arguments):
        seen.append(next(model.parameters()).dtype)
        return log_p_alone(*arguments)

    log_p_alone = self_check.log_p_alone
    monkeypatch.setattr(self_check, "log_p_alone", look)
    packer = packer_that_agrees(model, always(first_rows()), "tree", PAD, CPU)
    assert set(seen) == {torch.float32} and packer.dtype == torch.bfloat16
    assert {name: weight.data_ptr() for name, weight in model.named_parameters()} == before
    monkeypatch.setattr(self_check, "has_room", lambda *_: False)
    seen.clear()
    assert packer_that_agrees(model, always(first_rows()), "tree", PAD, CPU).shares_prefixes
    assert set(seen) == {torch.bfloat16}


def test_logits_of_which_half_precision_rounds_much_are_no_trouble(monkeypatch, capsys) -> None:
    """Near 400 bf16 has steps of 2; what is held against each other is not rounded by the head."""
    monkeypatch.setattr(self_check, "has_room", lambda *_: False)
    for kind in ("gpt2", "bloom"):
        model = tiny_model(kind)
        plain = model.get_output_embeddings()
        head = torch.nn.Linear(plain.in_features, plain.out_features)
        with torch.no_grad():
            head.weight.copy_(plain.weight * 4)
            head.bias.fill_(-400)
        model.set_output_embeddings(head)
        model.to(torch.bfloat16)
        assert packer_that_agrees(model, always(first_rows()), "tree", PAD, CPU).shares_prefixes, kind
        assert can_go_on(model, small_rows(count=1, turns=6)[-1], CHOICES, PAD, CPU), kind
    assert capsys.readouterr().err == ""


def test_a_base_that_reads_its_padding_answers_prompts_one_at_a_time(capsys) -> None:
    assert prompts_together(tiny_model("llama"), [first_rows()], 8, PAD, CPU) == 8
    assert capsys.readouterr().err == ""
    assert prompts_together(tiny("rwkv"), [first_rows()], 8, PAD, CPU) == 1
    assert "one at a time" in capsys.readouterr().err


def planned_run(**training) -> SimpleNamespace:
    """What the check asks of a run that trains, scores 9 rows of test, and 6 of another task there."""
    encoder = RowEncoder(character_tokenizer(), 1024)
    rows = encoder.encode(small_examples(window=12, count=6, turns=6), LABELS)
    settings = {"do_train": True, "score_on": "test", "batch_size": 16, "rows_per_dialogue": 8, "seed": 7}
    settings |= {"packing": "tree", "decode": "score", "gradient_accumulation_steps": 1, "eval_batch_size": 8}
    settings |= {"tree_attention": "auto", "cuda_graphs": "auto", "compile_layers": "auto", "num_train_epochs": 1}
    plain = SimpleNamespace(quantize="none", gradient_checkpointing=False)
    return SimpleNamespace(
        base="tiny",
        row_sets=SimpleNamespace(labels=LABELS, also_scored={"test": {"speaker": ((), ("Ann", "Ben"))}}),
        encoded={"train": rows, "test": rows[:9]},
        also_encoded={"speaker": rows[9:15]},
        encoder=encoder,
        arguments=(plain, None, SimpleNamespace(**settings | training)),
        device=CPU,
        token_budget=600,
        world=SimpleNamespace(size=1),
        deepspeed=None,
        label_loss=None,
    )


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, MicroBatch]]:
    """(kind of packing, micro-batch) of every comparison, as they are made."""
    seen, compare = [], self_check._Check._trouble

    def look(check, kind: str, batch: MicroBatch):
        seen.append((kind, batch))
        return compare(check, kind, batch)

    monkeypatch.setattr(self_check._Check, "_trouble", look)
    return seen


def test_a_run_checks_the_largest_micro_batches_of_training_and_of_scoring(checked) -> None:
    run, model = planned_run(), tiny_model("llama")
    assert runs._check(run, model, compiles=False) == (packer_for(model, "tree", PAD), 8)
    trained, scored = runs.planned_batches(run, True)
    assert [kind for kind, _ in checked] == ["tree", "tree"] and len(trained) > 3 and len(scored) > 3
    for batches, (_, batch) in zip((trained, scored), checked, strict=True):
        assert batch.tokens() == max(len(one.tree()) for one in batches) > 400
    assert {len(choices) for batch in trained for choices in batch.continuations} == {1}
    assert {len(choices) for batch in scored for choices in batch.continuations} == {len(LABELS), 2}
    assert sum(len(batch.rows) for batch in trained) == len(run.encoded["train"])
    assert sum(len(batch.rows) for batch in scored) == 9 + 6
    assert runs.planned_batches(planned_run(do_train=False), True) == [scored]
    assert runs.planned_batches(planned_run(decode="generate"), True) == [trained]


@pytest.mark.parametrize("falls_back", [False, True])
def test_rows_are_checked_on_the_rows_that_will_run(falls_back: bool, checked, monkeypatch, capsys) -> None:
    run, model = planned_run(packing="tree" if falls_back else "rows"), tiny_model("llama")
    if falls_back:
        model.config.attention_dropout = 0.1
    assert runs._check(run, model, compiles=False)[0] == ROWS
    assert (capsys.readouterr().err != "") == falls_back
    if falls_back:
        assert checked.pop(0)[0] == "tree"
    plan = runs.planned_batches(run, False)
    for batches in plan:
        assert {"rows"} == {kind for kind, _ in checked}
        sizes = [ROWS.pack(batch).tokens for batch in batches]
        padded = [size - sum(batch.lengths()) for size, batch in zip(sizes, batches, strict=True)]
        mine = [batch for _, batch in checked if any(batch == one for one in batches)]
        assert ROWS.pack(mine[0]).tokens == max(sizes) and mine[-1].padding() == max(padded) > 0
    assert 2 <= len(checked) <= 4


def test_a_base_that_fails_on_rows_of_the_plan_alone_is_refused(monkeypatch) -> None:
    """As one that reads what pads a row would: only a micro-batch with padding shows it."""
    model = answering(tiny_model("llama"), lambda logits: logits)
    forward = model.forward

    def read_padding(input_ids, **inputs):
        output = forward(input_ids, **inputs)
        output.logits = output.logits + (input_ids == PAD).sum() * torch.arange(output.logits.shape[-1])
        return output

    model.forward = read_padding
    one = as_batch(small_rows(window=2)[:1])
    assert packer_that_agrees(model, always(one, one), "rows", PAD, CPU) == ROWS
    with pytest.raises(UserError, match="in padded rows it differs"):
        packer_that_agrees(model, always(full_pack(), first_rows(), one), "rows", PAD, CPU)
    with pytest.raises(UserError, match="in padded rows it differs"):
        packer_that_agrees(model, lambda _: [[one], [], [first_rows()]], "rows", PAD, CPU)


def test_nothing_to_run_is_nothing_to_check(checked) -> None:
    assert packer_that_agrees(tiny_model("llama"), lambda _: [[], []], "tree", PAD, CPU).shares_prefixes
    assert checked == []


CHOICES = [RowEncoder(character_tokenizer(), 1024).encode_label(label) for label in LABELS]


@pytest.mark.parametrize("kind", [*KINDS, *OTHER_KINDS])
def test_every_kind_of_the_table_goes_on(kind: str, capsys) -> None:
    assert can_go_on(tiny_model(kind), small_rows(count=1, turns=6)[-1], CHOICES, PAD, CPU)
    assert capsys.readouterr().err == ""


def forget_kept(model):
    """Reads positions and new tokens rightly, and of what is kept the keys of the wrong tokens."""
    forward = model.forward

    def forgetful(*args, past_key_values=None, **kwargs):
        for layer in past_key_values.layers if past_key_values is not None else ():
            layer.keys = layer.keys.flip(-2)
        return forward(*args, past_key_values=past_key_values, **kwargs)

    model.forward = forgetful
    return model


def refuse_kept(model):
    forward = model.forward

    def refusing(*args, past_key_values=None, **kwargs):
        if past_key_values is not None:
            raise NotImplementedError("no cache here\nat all")
        return forward(*args, **kwargs)

    model.forward = refusing
    return model


@pytest.mark.parametrize(("spoil", "told"), [(forget_kept, "differs by"), (refuse_kept, "does not run it (NotImpl")])
def test_a_base_that_goes_on_wrongly_is_told(spoil: Callable, told: str, capsys) -> None:
    row = small_rows(count=1, turns=6)[-1]
    assert not can_go_on(spoil(tiny_model("llama")), row, CHOICES, PAD, CPU)
    warning = capsys.readouterr().err
    assert warning.startswith("warning: this base cannot go on with a prompt: it ") and warning.count("\n") == 1
    assert told in warning and warning.endswith("each turn is read anew\n")
