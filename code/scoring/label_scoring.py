"""log p(label | prompt) for a closed set of labels, in one forward pass; greedy generation as the reference."""

from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch

from engine.batching import EncodedRow, RowEncoder, scoring_batches
from engine.deepspeed_state import is_sharded
from engine.distributed import Item, World
from engine.layers import merged_adapters
from engine.neighbours import Neighbours
from engine.objective import LabelLoss
from engine.packing import Packer, sequence_log_probabilities
from engine.replay import Replayed
from engine.running_prompts import RunningPrompts
from scoring.metrics import Prediction, extract_label

REPLAYS_THAT_PAY = 8  # micro-batches from which on capturing a pass is worth its time
ROWS_THAT_MERGE = 64  # rows from which on merging an adapter is worth its time
Advance = Callable[[int], None]  # called with the number of rows that have been finished since the last call


@dataclass(frozen=True)
class DecodeSettings:
    """How a model is asked for labels.

    packer: makes model inputs of prompts and labels. decode: "score" or "generate". token_budget: tokens of one forward
    pass. eval_batch_size: prompts that `generate` answers together. repair_answers: an answer without a label becomes
    the nearest label. calibrate: divide each label's probability by the one that it has after the row's prompt without
    content. world: the processes that score at the same time. running: score rows one by one, as prompts of a dialogue
    that goes on, and reuse what was computed for the one before; None: score them together.
    """

    packer: Packer
    decode: str = "score"
    token_budget: int = 2048
    eval_batch_size: int = 8
    num_beams: int = 1
    max_new_tokens: int = 16
    repair_answers: bool = False
    calibrate: bool = False
    world: World = World()
    running: RunningPrompts | None = None


def predict_labels(
    model,
    encoder: RowEncoder,
    rows: Sequence[EncodedRow],
    labels: Sequence[str],
    settings: DecodeSettings,
    advance: Advance = lambda rows: None,
) -> list[Prediction]:
    """One prediction per row, in the rows' order. rows: those that this process scores."""
    method = {"score": score_labels, "generate": generate_answers}[settings.decode]
    # Weights that ZeRO-3 has gathered in inference mode could no longer be trained.
    sharded = is_sharded(model)
    merging = len(rows) >= ROWS_THAT_MERGE and not settings.running and not sharded
    inference = torch.no_grad() if sharded else torch.inference_mode()
    with evaluating(model), merged_adapters(model) if merging else nullcontext(), inference:
        found = method(model, encoder, rows, labels, settings, advance)
        if settings.calibrate:
            biases = score_without_content(model, encoder, rows, labels, settings)
            found = [calibrated(scores, bias) for (_, scores, _), bias in zip(found, biases, strict=True)]
    return [Prediction(row.id, row.task, row.label, *outcome) for row, outcome in zip(rows, found, strict=True)]


@contextmanager
def evaluating(model):
    """Inside, the model is in evaluation mode; afterwards in the mode that it was in before."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


Outcome = tuple[str | None, dict[str, float] | None, str | None]  # label, log p of every label, answer


def _as_many_everywhere(passes: list[Item], model, world: World) -> list[Item]:
    """The passes of this process; under ZeRO-3, where all processes must run equally many, some are repeated."""
    return world.in_step(passes) if is_sharded(model) else passes


def score_labels(
    model,
    encoder: RowEncoder,
    rows: Sequence[EncodedRow],
    labels: Sequence[str],
    settings: DecodeSettings,
    advance: Advance,
) -> list[Outcome]:
    """Each row's label of the greatest log p, summed over its tokens and EOS; of equals the first."""
    packer = settings.packer
    device = next(model.parameters()).device
    choices = [encoder.encode_label(label) for label in labels]
    if settings.running:
        found = [_most_probable(labels, settings.running.log_probabilities(row.prompt, choices)) for row in rows]
        advance(len(found))
        return found
    outcomes: dict[tuple[str, str], Outcome] = {}
    batches = scoring_batches(rows, choices, settings.token_budget, packer.shares_prefixes)
    read = partial(sequence_log_probabilities, model)
    replayed = Replayed(read, device) if packer.replays and len(batches) >= REPLAYS_THAT_PAY else None
    with Neighbours(device) as neighbours:
        for batch in _as_many_everywhere(batches, model, settings.world):
            already = len(outcomes)
            packed = packer.pack(batch)
            read_all = replayed(packed) if replayed else read(packed.to(device))
            scores = read_all[: packed.sequences].view(len(batch.rows), len(labels)).cpu()
            for row, row_scores in zip(batch.rows, scores, strict=True):
                outcomes[row.id, row.task] = _most_probable(labels, row_scores)
            advance(len(outcomes) - already)
            neighbours.look()
    return [outcomes[row.id, row.task] for row in rows]


def _most_probable(labels: Sequence[str], scores: torch.Tensor) -> Outcome:
    """The label of the greatest score, of equals the first. scores: (labels,) log p."""
    found = dict(zip(labels, scores.tolist(), strict=True))
    return max(found, key=found.__getitem__), found, None


def score_without_content(
    model, encoder: RowEncoder, rows: Sequence[EncodedRow], labels: Sequence[str], settings: DecodeSettings
) -> list[dict[str, float]]:
    """For each row, log p of every label after its prompt without content (`EncodedRow.without_content`).

    Equal prompts are scored once: those of rows that differ in their utterances alone, and not in demonstrations. Every
    process does so for its rows, as those of ZeRO-3 must take the same steps.
    """
    distinct = {row.without_content: replace(row, prompt=row.without_content) for row in rows}
    outcomes = score_labels(model, encoder, list(distinct.values()), labels, settings, lambda rows: None)
    biases = {prompt: scores for prompt, (_, scores, _) in zip(distinct, outcomes, strict=True)}
    return [biases[row.without_content] for row in rows]


def calibrated(scores: dict[str, float], bias: dict[str, float]) -> Outcome:
    """Subtracts the bias from log p, and takes the label that is then greatest; of equals the first."""
    corrected = {label: score - bias[label] for label, score in scores.items()}
    return max(corrected, key=corrected.__getitem__), corrected, None


def mean_target_loss(
    predictions: Sequence[Prediction], encoder: RowEncoder, settings: DecodeSettings, label_loss: LabelLoss | None
) -> float | None:
    """The training loss of scored rows, without dropout and weights: the mean over rows.

    It is -log p per token of the target, EOS included, or the loss of `label_loss`. None where log p of the model are
    not known: for generated answers, calibrated scores, and without predictions.
    """
    if settings.decode != "score" or settings.calibrate or not predictions:
        return None
    if label_loss:
        log_p = torch.tensor([list(row.scores.values()) for row in predictions])
        wanted = torch.tensor([label_loss.wanted(row.task, row.target) for row in predictions])
        return -float((wanted * log_p.log_softmax(1)).sum(1).mean())
    lengths = {label: len(encoder.encode_label(label)) for label in {row.target for row in predictions}}
    return -sum(row.scores[row.target] / lengths[row.target] for row in predictions) / len(predictions)


def generate_answers(
    model,
    encoder: RowEncoder,
    rows: Sequence[EncodedRow],
    labels: Sequence[str],
    settings: DecodeSettings,
    advance: Advance,
) -> list[Outcome]:
    """The label in each generated answer (greedy, or by beam search); None without any. Like lengths run together."""
    from transformers import GenerationConfig

    tokenizer = encoder.tokenizer
    config = GenerationConfig(
        do_sample=False,
        num_beams=settings.num_beams,
        max_new_tokens=settings.max_new_tokens,
        eos_token_id=sorted({encoder.end_id, tokenizer.eos_token_id}),
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )
    outcomes: dict[int, Outcome] = {}
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].prompt))
    size = settings.eval_batch_size
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    for chosen in _as_many_everywhere(chunks, model, settings.world):
        already = len(outcomes)
        with without_own_settings(model):
            answers = _generate(model, tokenizer, [rows[index] for index in chosen], config)
        for index, answer in zip(chosen, answers, strict=True):
            outcomes[index] = (extract_label(answer, labels, settings.repair_answers), None, answer)
        advance(len(outcomes) - already)
    return [outcomes[index] for index in range(len(rows))]


@contextmanager
def without_own_settings(model):
    """Inside, the checkpoint's own generation settings, such as penalties and forced tokens, do not count."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _generate(model, tokenizer, rows: Sequence[EncodedRow], config) -> list[str]:
    """Answers to a batch of prompts, padded on the left."""
    inputs = _padded_before(rows, tokenizer.pad_token_id, next(model.parameters()).device)
    output = model.generate(**inputs, generation_config=config, synced_gpus=is_sharded(model))
    return tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def _padded_before(rows: Sequence[EncodedRow], pad_token_id: int, device: torch.device) -> dict[str, torch.Tensor]:
    longest = max(len(row.prompt) for row in rows)
    input_ids = torch.full((len(rows), longest), pad_token_id)
    mask = torch.zeros_like(input_ids)
    for index, row in enumerate(rows):
        input_ids[index, longest - len(row.prompt) :] = torch.tensor(row.prompt)
        mask[index, longest - len(row.prompt) :] = 1
    return {"input_ids": input_ids.to(device), "attention_mask": mask.to(device)}


def first_step(model, rows: Sequence[EncodedRow], pad_token_id: int) -> torch.Tensor:
    """(rows, vocabulary) float32 on the CPU: log p of the first token of the answer, as `generate` computes it."""
    from transformers import GenerationConfig

    told = {"output_logits": True, "return_dict_in_generate": True}
    config = GenerationConfig(max_new_tokens=1, pad_token_id=pad_token_id, use_cache=True, **told)
    inputs = _padded_before(rows, pad_token_id, next(model.parameters()).device)
    with without_own_settings(model):
        output = model.generate(**inputs, generation_config=config)
    return output.logits[0].float().cpu().log_softmax(-1)
