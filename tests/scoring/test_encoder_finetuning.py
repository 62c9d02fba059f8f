"""Fine-tuning a sentence encoder with a head: what it reads, that it learns, on a tiny random BERT."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer, GPT2Config, GPT2Model

import baselines as script
from basics.errors import UserError
from basics.stopping import Stopped
from commands import call_script
from data_utils.dialogues import Dialogue, Utterance
from scoring import baselines
from scoring.baseline_table import FINE_TUNED, MAJORITY, FineTuning, name_finetuned
from scoring.baselines import measure
from scoring.contenders import Task
from scoring.encoder_finetuning import (
    Classifier,
    Row,
    Training,
    finetuned_encoder,
    load_encoder,
    make_rows,
    shuffled_batches,
)
from tiny_models import character_tokenizer
from training.checkpoints import STATE_FILE

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "0", "1", "2", ":", "what", "a", "day", "oh", "no", "fine"]
TURNS = [(3, "what a day"), (1, "oh no"), (3, "a day"), (5, "fine"), (1, "no")]
DIALOGUE = Dialogue("d", tuple(Utterance(speaker, text, "sad") for speaker, text in TURNS))
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(WORDS), initializer_range=0.2, **SIZES)).save_pretrained(folder)
    BertTokenizer(str(vocabulary)).save_pretrained(folder)
    return folder


def small_task(dialogues: tuple[Dialogue, ...], labels: tuple[str, ...] = ("sad", "calm"), window: int = 3) -> Task:
    return Task("small", dict.fromkeys(("train", "valid", "test"), dialogues), labels, "weighted_f1", window)


def told(tokenizer, row: Row) -> str:
    return tokenizer.decode(row.tokens)


def test_an_input_is_the_history_and_the_utterance(tiny_bert: Path) -> None:
    tokenizer = load_encoder(str(tiny_bert))[1]
    rows = make_rows(small_task((DIALOGUE, DIALOGUE)), "train", tokenizer, 64)
    assert [told(tokenizer, row) for row in rows[:5]] == [
        "[CLS] [SEP] 0 : what a day [SEP]",
        "[CLS] 1 : what a day [SEP] 0 : oh no [SEP]",
        "[CLS] 0 : what a day 1 : oh no [SEP] 0 : a day [SEP]",
        # Who spoke last is 1, and so on; the utterance's speaker is always 0.
        "[CLS] 1 : what a day 2 : oh no 1 : a day [SEP] 0 : fine [SEP]",
        "[CLS] 0 : oh no 2 : a day 1 : fine [SEP] 0 : no [SEP]",
    ]
    assert rows[5:] == rows[:5]
    own = [tokenizer.decode(row.tokens[row.start : row.end]) for row in rows[:3]]
    assert own == ["0 : what a day", "0 : oh no", "0 : a day"]


def test_the_oldest_goes_where_there_is_no_room(tiny_bert: Path) -> None:
    tokenizer = load_encoder(str(tiny_bert))[1]
    task = small_task((DIALOGUE,))
    assert told(tokenizer, make_rows(task, "train", tokenizer, 12)[2]) == "[CLS] day 1 : oh no [SEP] 0 : a day [SEP]"
    assert told(tokenizer, make_rows(task, "train", tokenizer, 7)[2]) == "[CLS] [SEP] 0 : a day [SEP]"
    # An utterance that is too long by itself loses its end.
    assert told(tokenizer, make_rows(task, "train", tokenizer, 6)[2]) == "[CLS] [SEP] 0 : a [SEP]"


def test_padding_and_company_change_nothing(tiny_bert: Path) -> None:
    encoder, tokenizer = load_encoder(str(tiny_bert))
    model = Classifier(encoder, 2, tokenizer.pad_token_id).eval()
    rows = make_rows(small_task((DIALOGUE,)), "train", tokenizer, 64)
    with torch.inference_mode():
        together, alone = model(rows), torch.cat([model([row]) for row in rows])
        states = encoder(input_ids=torch.tensor([rows[2].tokens])).last_hidden_state[0]
        pooled = model.head(states[rows[2].start : rows[2].end].mean(dim=0))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone[2], pooled, atol=1e-5, rtol=1e-5)


def test_batches_hold_every_row_once_and_rows_of_like_length() -> None:
    rows = [Row((0,) * length, 0, 1) for length in range(1, 101)]
    batches = shuffled_batches(rows, 10, np.random.default_rng(0))
    assert sorted(place for batch in batches for place in batch) == list(range(100))
    assert all(max(batch) - min(batch) == 9 for batch in batches)
    assert batches != sorted(batches)


def learnable() -> tuple[Dialogue, ...]:
    """`fine` is what the same speaker's turn before was: only history and speakers tell."""
    said = {"oh no": "sad", "a day": "calm"}
    dialogues = []
    for first in said:
        for second in said:
            for last in (0, 1):
                turns = [(0, first, said[first]), (1, second, said[second])]
                turns.append((last, "fine", said[(first, second)[last]]))
                dialogues.append(Dialogue(f"{len(dialogues)}", tuple(Utterance(*turn) for turn in turns)))
    return tuple(dialogues)


@pytest.mark.slow
def test_it_learns_from_history_and_speakers(tiny_bert: Path) -> None:
    task = small_task(learnable())
    settings = FineTuning(str(tiny_bert), batch_size=8, learning_rate=1e-2, head_rate=1e-2, max_length=32)
    plain, _ = measure(FINE_TUNED, lambda of: finetuned_encoder(of, {"epochs": range(1, 121)}, settings), task)
    assert plain.results["test"].score == 100
    assert 1 < plain.settings["epochs"] <= 120
    assert all(len(row.scores) == 2 for row in plain.predictions["valid"])


def test_every_epoch_is_a_candidate_and_one_seed_gives_one_result(tiny_bert: Path) -> None:
    task = small_task(learnable())
    settings, grid = FineTuning(str(tiny_bert), batch_size=8), {"epochs": (1, 2, 3)}
    runs = [
        [(one.settings["epochs"], one.log_p("valid")) for one in finetuned_encoder(task, grid, settings)] for _ in "ab"
    ]
    assert [epoch for epoch, _ in runs[0]] == [1, 2, 3]
    assert runs[0][0][1].shape == (24, 2)
    np.testing.assert_allclose(np.exp(runs[0][0][1]).sum(axis=1), 1)
    assert not np.allclose(runs[0][0][1], runs[0][1][1])
    for (_, one), (_, other) in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stopped_at", [1, 3, 4, 6, 8])
def test_stopped_and_gone_on_with_it_comes_to_the_same(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    """At the first step, in the middle of an epoch, at its end, and at the very last."""
    task, grid = small_task(learnable()), {"epochs": (1, 2)}
    settings, kept = FineTuning(str(tiny_bert), batch_size=6), script.keep_state_in(tmp_path)  # four steps an epoch

    def found(**state: object) -> list[tuple[np.ndarray, np.ndarray, bool]]:
        made = finetuned_encoder(task, grid, settings, **state)
        return [(one.log_p("valid"), one.log_p("test"), one.seconds_before > 0) for one in made]

    def stop(training: Training, batch: list[int]) -> None:
        run_step(training, batch)
        if training.step == stopped_at:
            os.kill(os.getpid(), signal.SIGINT)

    run_step = Training._run_step
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Training, "_run_step", stop)
        found(kept=kept)
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]
    for (valid, test, went_on), (of_valid, of_test, _) in zip(found(kept=kept, resume=True), found(), strict=True):
        np.testing.assert_array_equal(valid, of_valid)
        np.testing.assert_array_equal(test, of_test)
        assert went_on
    assert not list(tmp_path.iterdir()), "of a training that has ended no state is left"


def test_a_state_of_another_training_is_not_gone_on_with(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, settings = small_task(learnable()), FineTuning(str(tiny_bert), batch_size=6)
    kept = script.keep_state_in(tmp_path)
    monkeypatch.setattr("scoring.encoder_finetuning.SECONDS_BETWEEN_STATES", -1)
    next(finetuned_encoder(task, {"epochs": (1, 2)}, settings, kept))
    with pytest.raises(UserError, match="cannot resume .*epochs was 2, is 3"):
        next(finetuned_encoder(task, {"epochs": (1, 2, 3)}, settings, kept, resume=True))
    with pytest.raises(UserError, match="rows was"):
        next(finetuned_encoder(small_task(learnable(), window=1), {"epochs": (1, 2)}, settings, kept, resume=True))
    with pytest.raises(UserError, match="nothing to go on with without --encoder_finetune"):
        script.parse_arguments(["--dataset", "sample", "--resume", "True"])


def test_an_encoder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(str(tmp_path))
    decoder = tmp_path / "decoder"
    GPT2Model(GPT2Config(vocab_size=300, n_embd=8, n_layer=1, n_head=1)).save_pretrained(decoder)
    character_tokenizer().save_pretrained(decoder)
    with pytest.raises(UserError, match="no .CLS. and .SEP."):
        load_encoder(str(decoder))


@pytest.mark.slow
def test_script_fine_tunes_where_it_is_asked(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "CONTENDERS", {name: baselines.CONTENDERS[name] for name in (MAJORITY, FINE_TUNED)})
    flags = ("--dataset", "sample", "--encoder", "none", "--encoder_finetune", tiny_bert, "--output", tmp_path)
    result = call_script(script.main, *flags)
    assert result.returncode == 0, result.stderr
    called = name_finetuned(str(tiny_bert))
    assert called in [line.split()[0] for line in result.stdout.splitlines()]
    assert (tmp_path / "sample" / f"{called}+transitions" / "valid" / "predictions.jsonl").is_file()
