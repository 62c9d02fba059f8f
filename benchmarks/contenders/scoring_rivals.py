"""One padded forward pass a row, whose last logits tell the label: in ten lines of one's own, and in a library.

Both read the first tokens that differ and no end of sequence, which this engine adds to every label.
"""

from collections.abc import Sequence

import torch

from basics.errors import UserError
from benchmarks.contenders.definition import Setting, Stopwatch
from benchmarks.contenders.plain_loops import logits_at
from benchmarks.contenders.scoring import Repetition, ScoringOutcome, load_scored, task_of
from engine.batching import EncodedRow
from engine.layers import compile_layers
from scoring.label_scoring import evaluating


def build_one_pass(setting: Setting) -> Repetition:
    """Prompts of like length padded together. options: size (of a batch), merge, compile."""
    model = load_scored(setting)
    model.set_attn_implementation("sdpa")
    if setting.options.get("compile"):
        compile_layers(model)
    examples, labels, encoder = task_of(setting)
    first_tokens = [encoder.encode_label(label)[0] for label in labels]
    if len(set(first_tokens)) < len(labels):
        raise UserError("labels of this tokenizer begin alike: one logit a label does not tell them apart")
    size, device = setting.options["size"], setting.torch_device

    def run(rows: int) -> ScoringOutcome:
        found = [""] * rows
        with Stopwatch(device) as watch, evaluating(model), torch.inference_mode():
            encoded = encoder.encode(examples[:rows], labels)
            order = sorted(range(rows), key=lambda index: len(encoded[index].prompt))
            for start in range(0, rows, size):
                chosen = order[start : start + size]
                inputs, lasts = pad_prompts([encoded[index] for index in chosen], encoder.tokenizer.pad_token_id or 0)
                logits = logits_at(model, inputs, torch.arange(len(chosen)), lasts)[:, first_tokens]
                for index, best in zip(chosen, logits.argmax(dim=-1).tolist(), strict=True):
                    found[index] = labels[best]
        return ScoringOutcome(watch.seconds, tuple(found))

    return run


def pad_prompts(rows: Sequence[EncodedRow], pad_token_id: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Prompts padded on the right, (rows, longest), and the place of the last token of each, (rows,)."""
    lengths = torch.tensor([len(row.prompt) for row in rows])
    longest = int(lengths.max())
    ids = torch.tensor([[*row.prompt, *[pad_token_id] * (longest - len(row.prompt))] for row in rows])
    return {"input_ids": ids, "attention_mask": (torch.arange(longest) < lengths[:, None]).long()}, lengths - 1


def build_harness(setting: Setting) -> Repetition:
    """`loglikelihood` of lm-evaluation-harness: its cache reads all labels of one token from one pass.

    options: size (of a batch), merge.
    """
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = load_scored(setting)
    model.set_attn_implementation("sdpa")
    examples, labels, encoder = task_of(setting)
    harness = HFLM(
        pretrained=model.eval(),
        tokenizer=encoder.tokenizer,
        batch_size=setting.options["size"],
        max_length=encoder.max_length,
    )

    def run(rows: int) -> ScoringOutcome:
        with Stopwatch(setting.torch_device) as watch:
            requests = [
                Instance("loglikelihood", {}, (example.input, encoder.label_prefix + label), number)
                for example in examples[:rows]
                for number, label in enumerate(labels)
            ]
            scores = [score for score, _ in harness.loglikelihood(requests, disable_tqdm=True)]
        by_row = (scores[start : start + len(labels)] for start in range(0, len(scores), len(labels)))
        return ScoringOutcome(watch.seconds, tuple(labels[row.index(max(row))] for row in by_row))

    return run
