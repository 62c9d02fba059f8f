"""What main_new.py refuses: one line, exit code 2, nothing written; and what it does not do twice."""

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel, PreTrainedTokenizerFast

import main_new
from basics.files import sha256_of, write_atomically
from basics.locks import alone_at, alone_in, lock_beside
from commands import assert_one_line_error, call_script
from data_utils.prompts import render_speaker_prompt
from engine.batching import RowEncoder
from results import summary
from tiny_models import LABELS, PAD, SPECIAL, VOCABULARY_SIZE, character_tokenizer, main_command, save_base, save_rows
from training.checkpoints import STATE_FILE
from training.loop import Trainer

ZERO_SHOT = {"do_train": False, "zero_shot": True, "lora": False}


class Bench:
    """A base, rows to spoil, and main_new.py on them."""

    def __init__(self, folder: Path, base: Path, rows: Path) -> None:
        self.folder, self.base = folder, base
        self.rows = Path(shutil.copytree(rows, folder / "rows"))

    def command(self, **flags: object) -> list[str]:
        return main_command(self.base, self.rows, self.folder / "run", **{"num_train_epochs": 1} | flags)

    def call(self, **flags: object) -> CompletedProcess[str]:
        return call_script(main_new.main, *self.command(**flags))

    def spoil(self, split: str, change: Callable[[list[str]], None]) -> None:
        """Changes the lines of a file of rows."""
        path = self.rows / f"{split}.json"
        lines = path.read_text(encoding="utf-8").splitlines()
        change(lines)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        manifest = json.loads((self.rows / "manifest.json").read_text(encoding="utf-8"))
        manifest["sha256"][path.name] = sha256_of(path)
        (self.rows / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    def assert_nothing_written(self) -> None:
        assert {path.name for path in self.folder.iterdir()} == {"rows"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("made")
    return save_base(folder / "base"), save_rows(folder)


@pytest.fixture
def bench(tmp_path: Path, made: tuple[Path, Path]) -> Bench:
    return Bench(tmp_path, *made)


def test_every_bad_flag_is_named_at_once(bench: Bench, run_code) -> None:
    bad = {
        "beta": -2,
        "lora_dropout": 1.0,
        "batch_size": 0,
        "warmup_ratio": -1,
        "checkpoint_dir": "nowhere",
    }
    result = run_code("code/main_new.py", *bench.command(**bad))
    assert_one_line_error(
        result,
        "--beta: '-2' is not allowed, give a number, 0 or more",
        "--lora_dropout: '1.0' is not allowed, give a number from 0 to below 1",
        "--batch_size: '0' is not allowed, give a whole number, 1 or more",
        "--warmup_ratio: '-1' is not allowed, give a number from 0 to 1",
    )
    bench.assert_nothing_written()


def test_every_flag_that_cannot_stand_beside_the_others_is_named_at_once(bench: Bench) -> None:
    bad = {"zero_shot": True, "checkpoint_dir": "nowhere", "deepspeed_config": "nowhere.json", "calibrate": True}
    result = bench.call(**bad, decode="generate", label_smoothing=0.1)
    assert_one_line_error(result, "--label_smoothing 0.1: is spread over labels: needs --loss labels")
    assert_one_line_error(result, "--zero_shot True trains nothing", "leave --checkpoint_dir none", "--decode score")
    assert_one_line_error(result, "--checkpoint_dir nowhere: no adapter or model there", "nowhere.json: no such file")
    bench.assert_nothing_written()


def test_every_unreadable_flag_is_named_at_once(bench: Bench) -> None:
    result = bench.call(select_on="train", lora="yes", seed="x", dataset="my friends", packing="both", speed=1)
    assert_one_line_error(result, "--select_on", "valid, test", "--lora", "True, False", "--seed", "whole number")
    assert_one_line_error(result, "--dataset", "meld", "--packing", "tree, rows", "--speed")
    bench.assert_nothing_written()


def test_missing_flags_are_named() -> None:
    result = call_script(main_new.main)
    for flag in ("--dataset", "--data_dir", "--model_name_or_path", "--output_dir", "--model_dir"):
        assert_one_line_error(result, f"{flag} is missing")


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"model_name_or_path": "GPT-5"}, ["GPT-5", "SmolLM2-135M"]),
        ({"data_dir": "no/rows"}, ["no/rows", "manifest.json"]),
        ({"dataset": "meld"}, ["EmoryNLP", "--dataset is meld"]),
        ({"precision": "fp16"}, ["--precision fp16", "bf16"]),
        ({"data_percent": 0.5}, ["--data_percent: rows are drawn where they are written", "data_process.py"]),
        ({"zero_shot": True}, ["--zero_shot", "--do_train False"]),
        ({"do_train": False, "do_eval": False}, ["nothing to do"]),
        (
            {"num_beams": 4, "repair_answers": True},
            ["--num_beams 4: only --decode generate", "; --repair_answers True"],
        ),
        ({"packing": "rows", "tree_attention": "blocks"}, ["--tree_attention blocks: only --packing tree reads it"]),
        (
            {"decode": "generate", "packing": "rows", "lora": False, "lora_dim": 4, "dora": True},
            ["--dora True: --lora False leaves it unread; --lora_dim 4: --lora False"],
        ),
        (
            {"packing": "rows", "tree_attention": "blocks", "cuda_graphs": False},
            ["--cuda_graphs False: only --packing tree reads it; --tree_attention blocks: only --packing tree reads"],
        ),
        ({"stop_on_copying": True}, ["--stop_on_copying True: valid.json", "has no demonstration"]),
        ({"beta": 0.3}, ["--beta 0.3: train.json", "has no row of the prediction task", "--emotion_prediction True"]),
        ({"average_weights": 0.5, "offload_optimizer": True}, ["--average_weights 0.5: DeepSpeed keeps no average"]),
        ({"quantize": "nf4", "compile_layers": True}, ["--compile_layers True: layers in 4 bits (--quantize nf4)"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_run_is_refused_before_anything_is_loaded(bench: Bench, flags: dict, parts: list[str]) -> None:
    assert_one_line_error(bench.call(**flags), *parts)
    bench.assert_nothing_written()


def test_an_unreadable_row_is_named_by_file_and_line(bench: Bench) -> None:
    bench.spoil("train", lambda lines: lines.__setitem__(2, lines[2][:-9]))
    assert_one_line_error(bench.call(), "train.json line 3", "not a row")
    bench.assert_nothing_written()


def change_row(number: int, **changes: str) -> Callable[[list[str]], None]:
    return lambda lines: lines.__setitem__(number, json.dumps(json.loads(lines[number]) | changes))


@pytest.mark.parametrize(
    ("split", "change", "parts"),
    [
        ("valid", change_row(4, task="guessing"), ["valid.json line 5", "task is 'guessing'"]),
        ("test", change_row(0, target="Bored"), ["row EmoryNLP/test0/0", "'Bored'", *LABELS]),
        ("test", list.clear, ["nothing to score"]),
        ("valid", list.clear, ["valid", "no row"]),
        ("train", list.clear, ["train.json has no row: nothing to train on"]),
    ],
    ids=["task", "label", "no test", "no valid", "no train"],
)
def test_rows_that_cannot_be_used_are_refused(bench: Bench, split: str, change, parts: list[str]) -> None:
    bench.spoil(split, change)
    assert_one_line_error(bench.call(), *parts)
    bench.assert_nothing_written()


@pytest.mark.parametrize("flags", [ZERO_SHOT, {"select_on": "test"}], ids=str)
def test_a_split_without_rows_is_not_scored_in_silence(bench: Bench, flags: dict) -> None:
    """Else a run would end well, after its training, without any score."""
    bench.spoil("valid", list.clear)
    assert_one_line_error(bench.call(score_on="valid", **flags), "--score_on valid: valid.json has no row to score in")
    bench.assert_nothing_written()


def last_line(result: CompletedProcess[str]) -> str:
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
    return result.stderr.splitlines()[-1]


def test_a_target_that_does_not_fit_is_named(bench: Bench) -> None:
    line = last_line(bench.call(max_length=40))
    assert line.startswith("error: row EmoryNLP/train0/0 (emotion_recognition): ") and "--max_length is 40" in line
    bench.assert_nothing_written()


def speaker_row(lines: list[str]) -> None:
    """One more row, of a task that is scored too, after training; it is far too long."""
    text = render_speaker_prompt("Well. " * 500, 9)
    row = {"id": "EmoryNLP/test0/0", "task": "speaker_identification", "input": text, "target": "Speaker_0"}
    lines.append(json.dumps(row))


@pytest.mark.parametrize(
    ("split", "change", "flags", "parts"),
    [
        ("test", speaker_row, {}, ["row EmoryNLP/test0/0 (speaker_identification)", "--max_length"]),
        ("valid", change_row(3, input="How is it?"), {"calibrate": True}, ["--calibrate True", "How is it?"]),
        ("test", change_row(3, input="How is it?"), {"calibrate": True}, ["--calibrate True", "How is it?"]),
    ],
    ids=["another task", "no content on valid", "no content on test"],
)
def test_what_cannot_be_scored_is_refused_before_training(bench: Bench, split, change, flags, parts) -> None:
    bench.spoil(split, change)
    assert_one_line_error(bench.call(**flags), *parts)
    bench.assert_nothing_written()


def test_no_split_is_encoded_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenized, tokenize = [], RowEncoder.encode_prompts
    monkeypatch.setattr(
        RowEncoder, "encode_prompts", lambda self, prompts: tokenized.append(len(prompts)) or tokenize(self, prompts)
    )
    assert bench.call(num_train_epochs=3, calibrate=True).returncode == 0
    train, valid, test, without_content = 27, 13, 13, 1
    assert sorted(tokenized) == sorted([train, valid, without_content, test, without_content])


def test_history_that_does_not_fit_is_counted(bench: Bench) -> None:
    result = bench.call(max_length=110, do_eval=False)
    assert result.returncode == 0
    assert "prompts; left out of them: " in result.stderr


def test_modules_that_the_base_lacks_are_named(bench: Bench) -> None:
    line = last_line(bench.call(lora_module_name="query_key_value"))
    assert "--lora_module_name query_key_value" in line and "q_proj" in line
    bench.assert_nothing_written()
    result = bench.call(lora_module_name="query_key_value,q_proj", do_eval=False)
    assert result.returncode == 0
    assert "on q_proj: as given; no such linear layer below the head: query_key_value" in result.stderr


def test_labels_that_are_the_same_tokens_are_refused(bench: Bench) -> None:
    """As a tokenizer has them that knows neither word: of equal scores the first would always win."""
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate([*SPECIAL.values(), "?", "Mad"])}, "?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    bench.base = Path(shutil.copytree(bench.base, bench.folder / "base"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?", **SPECIAL).save_pretrained(bench.base)
    line = last_line(bench.call())
    assert line == (
        f"error: base {bench.base}: its tokenizer makes the same tokens of the labels 'Joyful' and 'Peaceful': choose "
        "another base, or other labels"
    )
    assert not (bench.folder / "run").exists()


def test_a_token_without_an_embedding_is_named(bench: Bench) -> None:
    tokenizer, bench.base = character_tokenizer(), Path(shutil.copytree(bench.base, bench.folder / "base"))
    tokenizer.add_tokens(["Great!"])
    tokenizer.save_pretrained(bench.base)
    line = last_line(bench.call())
    assert line == (
        f"error: base {bench.base}: its tokenizer has 'Great!' as token {VOCABULARY_SIZE + 1}, and the model "
        f"{VOCABULARY_SIZE + 1} embeddings, numbered from 0: resize them to the tokenizer, and save it again"
    )
    assert not (bench.folder / "run").exists()


def test_a_label_that_no_generated_answer_can_hold_is_told(bench: Bench) -> None:
    told = "warning: --max_new_tokens {}: no answer can hold the label '{}', which has {} tokens\n"
    generated = ZERO_SHOT | {"decode": "generate"}
    # The label's characters, and the blank before it.
    assert told.format(8, "Peaceful", 9) in bench.call(**generated, max_new_tokens=8).stderr
    assert "warning: --max_new_tokens" not in bench.call(**generated, max_new_tokens=9).stderr


def test_a_base_that_computes_no_layer_again_says_so(bench: Bench) -> None:
    config = OpenAIGPTConfig(vocab_size=VOCABULARY_SIZE + 1, n_embd=32, n_layer=2, n_head=4, pad_token_id=PAD)
    bench.base = bench.folder / "base"
    OpenAIGPTLMHeadModel(config).save_pretrained(bench.base)
    character_tokenizer().save_pretrained(bench.base)
    line = last_line(bench.call(gradient_checkpointing=True))
    assert line == (
        "error: --gradient_checkpointing True: OpenAIGPTLMHeadModel does not support activation checkpointing: leave "
        "it out"
    )
    assert not (bench.folder / "run").exists()


def test_a_run_begins_without_the_answers_and_pictures_of_an_earlier_one(bench: Bench) -> None:
    """Else those of another model would stand beside its own, as when it scores nothing or is stopped."""
    results = bench.folder / "run" / "results"
    assert bench.call().returncode == 0
    answers = {"predictions.jsonl", "confusion_matrix.png"}
    assert answers | {"learning_curve.png"} <= {path.name for path in results.iterdir()}
    assert bench.call(seed=7, do_eval=False).returncode == 0
    assert not answers & {path.name for path in results.iterdir()}
    assert bench.call(**ZERO_SHOT).returncode == 0
    assert answers == {path.name for path in results.iterdir()} & {*answers, "learning_curve.png"}


@pytest.mark.parametrize("place", ["--output_dir", "--model_dir"])
def test_of_two_runs_into_one_folder_the_second_is_refused(bench: Bench, place: str) -> None:
    results = bench.folder / "run" / "results"
    results.mkdir(parents=True)
    (results / "results.json").write_text("of the first")
    model = lock_beside(bench.folder / "run" / "model")
    with alone_in(results, "it") if place == "--output_dir" else alone_at(model, "it"):
        line = last_line(bench.call())
    assert line.startswith(f"error: another program is writing {place} ") and "wait for its end" in line
    assert [path.name for path in results.iterdir()] == ["results.json"]
    assert (results / "results.json").read_text() == "of the first"


@pytest.mark.parametrize("step", [1, 5])
def test_a_folder_that_is_removed_in_mid_run_ends_it_in_one_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Else a log without its beginning, and scores of weights that are gone, would stand for a whole run."""
    run_step = Trainer._run_step

    def remove_and_run(trainer: Trainer, *given: object) -> object:
        if trainer.progress.step == step:
            shutil.rmtree(bench.folder / "run")
        return run_step(trainer, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_run_step", remove_and_run)
        done = bench.call(num_train_epochs=2)
    assert last_line(done).endswith("log.jsonl was removed while this run was writing it: start it again")
    assert bench.call(num_train_epochs=2, resume=True).returncode == 0
    log = (bench.folder / "run/results/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log if '"step", ' in line] == list(range(1, 9))


class TestResuming:
    def test_a_finished_run_is_not_run_again(self, bench: Bench) -> None:
        first = bench.call(resume=True)
        log = bench.folder / "run" / "results" / "log.jsonl"
        before = log.stat().st_mtime_ns
        second = bench.call(resume=True)
        assert (first.returncode, second.returncode) == (0, 0)
        assert second.stdout == first.stdout and "weighted F1" in second.stdout
        assert "finished before" in second.stderr and log.stat().st_mtime_ns == before

    @pytest.mark.parametrize("is_held", [True, False])
    def test_what_another_has_begun_since_is_left_to_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, is_held: bool
    ) -> None:
        """Between the look at the results and the last of what a finished run has left."""
        assert bench.call().returncode == 0
        results, held = bench.folder / "run" / "results", ExitStack()
        state = results / "resume.pt"

        def begin(_: object) -> None:
            (results / "results.json").rename(results / "earlier.json")
            state.touch()
            if is_held:
                held.enter_context(alone_in(results, "it"))

        with monkeypatch.context() as patched, held:
            patched.setattr(summary, "forget_claim", begin)
            assert "finished before" in bench.call(resume=True).stderr and state.exists()
        (results / "earlier.json").rename(results / "results.json")
        assert "finished before" in bench.call(resume=True).stderr and not state.exists()

    def test_test_can_be_scored_later_without_training_again(self, bench: Bench) -> None:
        assert bench.call(do_eval=False).returncode == 0
        log = bench.folder / "run" / "results" / "log.jsonl"
        trained = log.read_text()
        result = bench.call(resume=True)
        assert result.returncode == 0 and "weighted F1" in result.stdout
        assert log.read_text() == trained

    def test_what_an_older_run_was_told_without_effect_is_no_difference(self, bench: Bench) -> None:
        """Its flag is refused today, and without it the run goes on, or is known to be finished."""
        results = bench.folder / "run" / "results"
        assert bench.call(do_eval=False).returncode == 0
        state = torch.load(results / STATE_FILE, weights_only=True)
        torch.save(state | {"fingerprint": state["fingerprint"] | {"num_beams": 4}}, results / STATE_FILE)
        assert "only --decode generate reads it" in last_line(bench.call(num_beams=4, resume=True))
        gone_on = bench.call(resume=True)
        assert gone_on.returncode == 0, gone_on.stderr
        found = json.loads((results / "results.json").read_text(encoding="utf-8"))
        found["fingerprint"] |= {"num_beams": 4, "label_smoothing": 0.1}
        write_atomically(results / "results.json", json.dumps(found))
        assert "finished before" in bench.call(resume=True).stderr
        told = bench.call(resume=True, seed=43, score_on="valid").stderr
        assert "finished before" not in told
        assert "results.json is of a run with other settings, and this one begins anew: score_on was" in told
        assert "'test', is 'valid'; seed was 42, is 43\n" in told

    def test_a_run_that_is_refused_leaves_the_results_of_the_other(self, bench: Bench) -> None:
        results = bench.folder / "run" / "results" / "results.json"
        assert bench.call(do_eval=False).returncode == 0
        before = results.read_bytes()
        told = last_line(bench.call(resume=True, score_on="valid"))
        assert told.startswith("error: cannot resume ") and "score_on was 'test', is 'valid'" in told
        assert results.read_bytes() == before

    def test_a_model_that_is_gone_is_missed_in_one_line(self, bench: Bench) -> None:
        assert bench.call(do_eval=False).returncode == 0
        shutil.rmtree(bench.folder / "run" / "model")
        assert "holds no model" in last_line(bench.call(resume=True))
