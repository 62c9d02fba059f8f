"""Label scores against each label scored alone, and generation that is greedy whatever a checkpoint says."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import transformers

from basics.errors import UserError
from data_utils.prompts import add_demonstrations, without_content
from data_utils.row_files import Example
from engine.attention import tree_attention
from engine.batching import RowEncoder, training_batches
from engine.packing import Packer, batch_loss, packer_for
from scoring import label_scoring
from scoring.label_scoring import DecodeSettings, first_step, generate_answers, predict_labels
from scoring.metrics import Prediction
from tiny_models import (
    EOS,
    LABELS,
    LAYER,
    LAYERS,
    LINES,
    PAD,
    VOCABULARY_SIZE,
    character_tokenizer,
    rounding,
    small_examples,
    tiny_model,
)
from training.engines import OptimizerSettings, PlainEngine

pytestmark = pytest.mark.numeric

# Of several tokens each; they share first tokens, and some begin others.
NESTED = ("Sad", "Scared", "S", "Sadder", "Mad", "Madly in love", "Joyful")
TOLERANCE = rounding(*LAYER * LAYERS, 32, VOCABULARY_SIZE)  # the layers, the logits and their normaliser


def encoder(max_length: int = 1024) -> RowEncoder:
    return RowEncoder(character_tokenizer(), max_length)


def examples(window: int = 2) -> list[Example]:
    """Three dialogues, mixed up: predictions must come back in this order."""
    rows = small_examples(window=window)
    return [replace(row, target="Sad") for row in rows[::2] + rows[1::2]]


def scored_alone(model, prompt: str, label: str) -> float:
    """log p(label, EOS | prompt) from one forward pass of its own, unpadded."""
    ids = encoder().encode_prompts([prompt])[0]
    target = encoder().encode_label(label)
    with torch.inference_mode():
        log_p = model(input_ids=torch.tensor([[*ids, *target]]), use_cache=False).logits[0].log_softmax(-1)
    return sum(float(log_p[len(ids) - 1 + place, token]) for place, token in enumerate(target))


def assert_scores(model, rows: Sequence[Example], found: Sequence[Prediction], labels: Sequence[str]) -> None:
    assert [(one.id, one.target) for one in found] == [(row.id, row.target) for row in rows]
    for row, one in zip(rows, found, strict=True):
        assert list(one.scores) == list(labels)
        expected = {label: scored_alone(model, row.input, label) for label in labels}
        assert one.scores == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
        assert one.label == max(labels, key=expected.__getitem__)
        assert one.response is None


@pytest.mark.parametrize("kind", ["llama", "gemma3", "bloom"])
@pytest.mark.parametrize("packing", ["tree", "rows"])
@pytest.mark.parametrize("budget", [100_000, 500])
def test_scores_are_those_of_each_label_alone(kind: str, packing: str, budget: int, monkeypatch) -> None:
    monkeypatch.setattr(tree_attention, "BLOCK", 8)
    model = tiny_model(kind)
    rows = examples()
    settings = DecodeSettings(packer_for(model, packing, PAD), token_budget=budget)
    advanced = []
    found = predict_labels(model, encoder(), encoder().encode(rows, NESTED), NESTED, settings, advanced.append)
    assert_scores(model, rows, found, NESTED)
    assert sum(advanced) == len(rows) and (len(advanced) > 1) == (budget == 500)


def test_a_prompt_longer_than_the_budget_is_scored_too() -> None:
    model = tiny_model("llama")
    rows = examples(window=12)
    settings = DecodeSettings(packer_for(model, "tree", PAD), token_budget=9)
    found = predict_labels(model, encoder(), encoder().encode(rows, NESTED), NESTED, settings)
    assert_scores(model, rows, found, NESTED)


@pytest.mark.parametrize("packing", ["tree", "rows"])
def test_a_tie_goes_to_the_earlier_label(packing: str) -> None:
    """A model without weights finds labels of one length equally likely, and shorter ones likelier."""
    model = tiny_model("llama")
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)
    settings = DecodeSettings(packer_for(model, packing, PAD))
    for labels, expected in ((("Mad", "Sad", "Bad"), "Mad"), (("Joyful", "Sad", "Mad"), "Sad")):
        found = predict_labels(model, encoder(), encoder().encode(examples()[:3], labels), labels, settings)
        assert [one.label for one in found] == [expected] * 3


def test_prompts_too_long_lose_the_same_history_as_in_training() -> None:
    """Room is kept for the longest label, in training for its sake as in scoring, not for the target's own."""
    row = max(small_examples(window=12), key=lambda one: len(one.input))
    whole = len(encoder().encode_prompts([row.input])[0])
    limit = whole + len(encoder().encode_label("Madly in love")) - 1
    short = replace(row, target="S")
    alone, among = (encoder(limit).encode([short], choices)[0] for choices in ((), NESTED))
    assert (alone.utterances_dropped, among.utterances_dropped) == (0, 1)
    model = tiny_model("llama")
    found = predict_labels(model, encoder(limit), [among], NESTED, DecodeSettings(packer_for(model, "tree", PAD)))
    text = encoder().tokenizer.decode(among.prompt[1:])
    assert found[0].scores["S"] == pytest.approx(scored_alone(model, text, "S"), rel=TOLERANCE)


def test_scores_that_are_no_numbers_are_refused() -> None:
    model = tiny_model("llama")
    torch.nn.init.constant_(model.lm_head.weight, torch.nan)
    with pytest.raises(UserError, match="not a finite number"):
        rows = encoder().encode(examples()[:1], NESTED)
        predict_labels(model, encoder(), rows, NESTED, DecodeSettings(packer_for(model, "tree", PAD)))


def test_dropout_is_off_while_scoring_and_on_again_after() -> None:
    model = tiny_model("llama").train()
    modes = []
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    settings = DecodeSettings(packer_for(model, "tree", PAD))
    rows = encoder().encode(examples()[:2], NESTED)
    predict_labels(model, encoder(), rows, NESTED, settings)
    assert modes == [False] and model.training
    torch.nn.init.constant_(model.lm_head.weight, torch.nan)
    with pytest.raises(UserError):
        predict_labels(model, encoder(), rows, NESTED, settings)
    assert model.training


def greedy(model, prompt: str, most: int) -> str:
    """The likeliest token after the likeliest token, until EOS."""
    ids = encoder().encode_prompts([prompt])[0]
    answer: list[int] = []
    while len(answer) < most and EOS not in answer:
        with torch.inference_mode():
            answer.append(int(model(input_ids=torch.tensor([[*ids, *answer]])).logits[0, -1].argmax()))
    return encoder().tokenizer.decode(answer, skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "bloom"])
def test_generation_is_greedy_whatever_the_checkpoint_says(kind: str) -> None:
    model = tiny_model(kind)
    own = model.generation_config
    own.update(do_sample=True, temperature=9.0, top_k=0, repetition_penalty=5.0, min_new_tokens=6, num_beams=3)
    own.update(no_repeat_ngram_size=1, suppress_tokens=[5, 6, 7])
    rows = examples()
    settings = DecodeSettings(Packer("rows", PAD), decode="generate", eval_batch_size=4, max_new_tokens=7)
    found = predict_labels(model, encoder(), encoder().encode(rows, LABELS), LABELS, settings)
    assert [one.id for one in found] == [row.id for row in rows]
    assert [one.response for one in found] == [greedy(model, row.input, 7) for row in rows]
    assert all(one.scores is None for one in found)
    assert model.generation_config is own and own.do_sample


def test_the_library_has_nothing_to_say_of_how_it_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    model, rows = tiny_model("llama"), encoder().encode(examples()[:3])
    library = logging.getLogger("transformers")
    transformers.utils.logging.warning_once.cache_clear()
    library.addHandler(caplog.handler)
    try:
        predict_labels(
            model, encoder(), rows, LABELS, DecodeSettings(Packer("rows", PAD), "generate", max_new_tokens=2)
        )
        first_step(model, rows, PAD)
    finally:
        library.removeHandler(caplog.handler)
    assert caplog.messages == []


def test_the_label_is_found_in_the_answer_and_repaired_on_request(monkeypatch) -> None:
    monkeypatch.setattr("scoring.label_scoring._generate", lambda model, tokenizer, rows, _: [" Saad"] * len(rows))
    model = tiny_model("llama")
    rows = encoder().encode(examples()[:2])
    plain = DecodeSettings(Packer("rows", PAD), decode="generate")
    for settings, label in ((plain, None), (replace(plain, repair_answers=True), "Sad")):
        found = generate_answers(model, encoder(), rows, LABELS, settings, lambda rows: None)
        assert found == [(label, None, " Saad")] * 2


@pytest.fixture(scope="module")
def memorised():
    """A model that knows which emotion each line is; its answers are labels."""
    model = tiny_model("llama", initializer_range=0.05).train()
    rows = encoder().encode(small_examples(window=0, count=2))
    packer = packer_for(model, "tree", PAD)
    engine = PlainEngine(model, OptimizerSettings(1e-2, 0.1, 0.0, 1.0, 60))
    for _ in range(60):
        for batch in training_batches(rows, 4096, True):
            loss = batch_loss(model, packer.pack(batch))
            engine.backward(loss, last=True)
        engine.step()
    assert loss.item() < 0.05
    return model.eval()


def test_generate_and_score_agree_on_a_model_that_has_learned(memorised) -> None:
    rows = small_examples(window=0, count=2)
    score = DecodeSettings(packer_for(memorised, "tree", PAD))
    scored, generated = (
        predict_labels(memorised, encoder(), encoder().encode(rows, LABELS), LABELS, settings)
        for settings in (score, replace(score, decode="generate", eval_batch_size=3))
    )
    assert [one.label for one in scored] == [one.label for one in generated] == [row.target for row in rows]
    assert {row.target for row in rows} <= set(LINES.values()) and len({row.target for row in rows}) > 3


def with_two_contexts(rows: Sequence[Example]) -> list[Example]:
    """Every other row shows one demonstration, the rest another."""
    pairs = [("Great!", "Joyful"), ("No way!", "Mad")]
    return [replace(row, input=add_demonstrations(row.input, pairs[n % 2 :][:1], "last")) for n, row in enumerate(rows)]


CALIBRATED = {
    "one prompt for all": (examples(), NESTED, 1),
    "each its demonstrations": (with_two_contexts(examples()), NESTED, 2),
    "who speaks": (small_examples("speaker"), [f"Speaker_{number}" for number in range(9)], 1),
    "plain": (small_examples("plain"), LABELS, 1),
}


@pytest.mark.parametrize("name", CALIBRATED)
def test_calibration_divides_by_what_the_rows_own_prompt_gets_without_content(name: str, monkeypatch) -> None:
    rows, labels, contexts = CALIBRATED[name]
    model, scored = tiny_model("llama"), []
    settings = DecodeSettings(packer_for(model, "tree", PAD))
    encoded = encoder().encode(rows, labels, calibrate=True)
    plain = predict_labels(model, encoder(), encoded, labels, settings)
    score = label_scoring.score_labels
    monkeypatch.setattr(label_scoring, "score_labels", lambda *args: scored.append(len(args[2])) or score(*args))
    found = predict_labels(model, encoder(), encoded, labels, replace(settings, calibrate=True))
    assert scored == [len(rows), contexts]
    for row, one, before in zip(rows, found, plain, strict=True):
        bare = without_content(row.input, labels)
        assert "N/A" in bare and bare != row.input
        expected = {label: before.scores[label] - scored_alone(model, bare, label) for label in labels}
        assert one.scores == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
        assert one.label == max(labels, key=one.scores.__getitem__)


def test_nothing_to_calibrate_is_nothing() -> None:
    model = tiny_model("llama")
    settings = DecodeSettings(packer_for(model, "tree", PAD), calibrate=True)
    assert predict_labels(model, encoder(), encoder().encode([], NESTED, calibrate=True), NESTED, settings) == []
