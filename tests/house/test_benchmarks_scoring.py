"""Every way to score reads what it says that it reads, and finds the label that this is likeliest for."""

from dataclasses import replace

import pytest
import torch

from basics.errors import UserError
from benchmarks.contenders import scoring
from benchmarks.contenders.definition import Setting, load_weights, wrap_in_lora
from benchmarks.worker import load_builder
from benchmarks.workload import Workload
from tiny_models import LABELS, VOCABULARY_SIZE, character_tokenizer, save_base, small_examples

# Labels that begin with tokens of their own, as those of MELD do in the tokenizer of the benchmark's base.
APART = ("Joyful", "Mad", "Neutral", "Sad")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory):
    """What a scoring contender is built from: base, adapter, rows."""
    folder = tmp_path_factory.mktemp("scored")
    tokenizer = character_tokenizer(merges=[("Ġ", label[0]) for label in APART])
    save_base(folder / "base", vocab_size=VOCABULARY_SIZE + 1 + len(APART))
    tokenizer.save_pretrained(folder / "base")
    model = load_weights(str(folder / "base"), torch.float32, torch.device("cpu"))
    wrap_in_lora(model, None).save_pretrained(folder / "adapter")
    task = {"examples": tuple(small_examples(count=4)), "labels": APART, "max_length": 1024}
    options = task | {"adapter": str(folder / "adapter")}
    return Setting(str(folder / "base"), Workload(()), "fp32", "cpu", options)


def answers(name: str, scored: Setting) -> tuple[str | None, ...]:
    """What a contender says of all rows."""
    (contender,) = [one for one in scoring.scoring_contenders("fp32", compiles=False) if one.name == name]
    setting = replace(scored, options={**contender.options, **scored.options})
    return load_builder(contender.build)(setting)(len(scored.options["examples"])).labels


def log_probabilities(scored: Setting) -> list[list[torch.Tensor]]:
    """Of every row and label: log p of its tokens and its end, (tokens,), each from a pass of its own."""
    model = scoring.load_scored(scored).eval()
    model.set_attn_implementation("sdpa")
    examples, labels, encoder = scoring.task_of(scored)
    found = []
    for row in encoder.encode(examples, labels):
        found.append([])
        for choice in map(encoder.encode_label, labels):
            ids = torch.tensor([[*row.prompt, *choice]])
            with torch.no_grad():
                every = model(input_ids=ids).logits.log_softmax(-1)[0, len(row.prompt) - 1 : -1]
            found[-1].append(every.gather(-1, torch.tensor(choice)[:, None])[:, 0])
    return found


# Contender -> which of a label's tokens its score is the sum over.
READ = {
    "engine_fp32": slice(None),
    "harness_fp32": slice(-1),
    "one_pass_fp32": slice(1),
    "one_pass_merged_fp32": slice(1),
}


@pytest.mark.parametrize("name", READ)
def test_scoring_contenders_choose_the_likeliest_label(name: str, scored: Setting) -> None:
    """In fp32; by all of it, without its end, or by its first token."""
    if name.startswith("harness"):
        pytest.importorskip("lm_eval")
    sums = [[float(one[READ[name]].sum()) for one in row] for row in log_probabilities(scored)]
    assert answers(name, scored) == tuple(APART[row.index(max(row))] for row in sums)


def test_generate_answers_every_row(scored: Setting) -> None:
    """It may find no label; merged or not, it finds the same."""
    found = answers("generate_fp32", scored)
    assert len(found) == len(scored.options["examples"]) and {*found} <= {*APART, None}
    assert answers("generate_merged_fp32", scored) == found


def test_labels_that_begin_alike_need_more_than_one_logit(scored: Setting) -> None:
    with pytest.raises(UserError, match="begin alike"):
        answers("one_pass_fp32", replace(scored, options={**scored.options, "labels": LABELS}))
