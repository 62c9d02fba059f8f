"""main_new.py from its flags to what it leaves behind, on a tiny base."""

import gc
import json
import shutil
import weakref
from collections.abc import Iterator
from functools import partialmethod
from subprocess import CompletedProcess

import pytest
import torch

import training.run
from commands import assert_one_line_error
from data_utils.draws import Draw
from engine.attention import tree_attention
from engine.layers import missing_for_compiling
from scoring.metrics import evaluate_predictions
from scoring.prediction_files import VALID_FILE, read_predictions
from tiny_models import LABELS, character_tokenizer, save_base, save_rows
from tiny_runs import Place
from training.arguments import ModelArguments
from training.erc_config import find_erc_config

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def lora(place: Place) -> CompletedProcess[str]:
    return place.finish("lora", num_train_epochs=2)


@pytest.fixture(scope="module")
def everything(place: Place) -> CompletedProcess[str]:
    """All parameters."""
    return place.finish("everything", lora=False, learning_rate=3e-3)


@pytest.mark.usefixtures("lora")
def test_results_hold_all_that_must_be_read_beside_a_score(place: Place) -> None:
    results = place.results("lora")
    assert results["rows"] == 13 and results["invalid"] == 0
    assert {"weighted_f1", "accuracy", "macro_f1", "score", "metric", "split", "confusion"} <= results.keys()
    assert list(results["per_label"]) == sorted(LABELS)
    for scores in results["per_label"].values():
        assert scores.keys() == {"precision", "recall", "f1", "support"}
    assert results["selection"] == "chosen on valid"
    assert results["unseen_text"] is None and results["seen_text"]["rows"] == 13  # few lines: all stand in train
    assert results["majority"]["label"] in LABELS
    assert results["seed"] == 42 and results["arguments"]["learning_rate"] == 2e-2
    assert results["arguments"].keys() >= {"dataset", "lora_dim", "packing", "rows_per_dialogue", "select_on"}
    assert results["versions"].keys() >= {"python", "torch", "transformers", "peft"}
    assert results["commit"] is None or len(results["commit"].split("+")[0]) == 40
    assert {len(digest) for digest in results["row_digests"].values()} == {64} and len(results["row_digests"]) == 3
    assert results["seconds"]["process"] > results["seconds"]["training_steps"] > 0
    assert results["peak_memory_mib"] > 100 and results["gpu_peak_memory_mib"] is None
    assert (results["precision"], results["packing"], results["device"]) == ("float32", "tree", "cpu")
    assert 0 < results["trainable_parameters"] < results["parameters"]
    assert results["training_rows"] == {"emotion_recognition": 27}
    assert [epoch["epoch"] for epoch in results["epochs"]] == [1, 2]
    best = max(results["epochs"], key=lambda epoch: epoch["score"])
    assert results["best_epoch"] == best["epoch"] and best["score"] == best["valid_weighted_f1"]


def test_predictions_figures_and_table(place: Place, lora: CompletedProcess[str]) -> None:
    rows = [json.loads(line) for line in place.predictions("lora").splitlines()]
    written = [json.loads(line) for line in (place.rows / "test.json").read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["target"]) for row in rows] == [(row["id"], row["target"]) for row in written]
    for row in rows:
        assert tuple(row["scores"]) == LABELS and row["label"] == max(LABELS, key=row["scores"].__getitem__)
    for name in ("confusion_matrix.png", "learning_curve.png"):
        assert place.path("lora", name).read_bytes().startswith(PNG)
    assert "chosen on valid" in lora.stdout and f"{place.results('lora')['weighted_f1']:.2f}" in lora.stdout
    assert all(label in lora.stdout for label in LABELS)


@pytest.mark.usefixtures("lora")
def test_the_answers_that_chose_the_epoch_are_kept(place: Place) -> None:
    results = place.results("lora")
    rows = read_predictions(place.path("lora", VALID_FILE))
    written = [json.loads(line) for line in (place.rows / "valid.json").read_text(encoding="utf-8").splitlines()]
    assert [row.id for row in rows] == [row["id"] for row in written]
    best = next(epoch for epoch in results["epochs"] if epoch["epoch"] == results["best_epoch"])
    assert evaluate_predictions(rows, LABELS).weighted_f1 == best["score"]


def test_answers_of_another_run_on_valid_do_not_stay(place: Place) -> None:
    for chooser, stay in (("valid", True), ("test", False)):
        place.finish("chosen otherwise", num_train_epochs=1, select_on=chooser)
        assert place.path("chosen otherwise", VALID_FILE).exists() == stay


@pytest.mark.usefixtures("lora")
def test_events_are_what_the_log_says(place: Place) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(place.path("lora", "tensorboard")))
    events.Reload()
    lines = [json.loads(line) for line in place.path("lora", "log.jsonl").read_text().splitlines()]
    curves = (("step/loss", "step"), ("step/learning_rate", "step"))
    curves += (("epoch/score", "epoch"), ("epoch/valid_accuracy", "epoch"), ("epoch/valid_loss", "epoch"))
    for curve, kind in curves:
        name = curve.partition("/")[2]
        expected = [(line["step"], line[name]) for line in lines if line["kind"] == kind]
        assert [event.step for event in events.Scalars(curve)] == [step for step, _ in expected]
        assert [event.value for event in events.Scalars(curve)] == pytest.approx([value for _, value in expected])


@pytest.mark.usefixtures("lora")
def test_the_log_tells_the_rate_of_every_step(place: Place) -> None:
    lines = [json.loads(line) for line in place.path("lora", "log.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if line["kind"] == "step"]
    assert rates == pytest.approx([2e-2 * share / 7 for share in (0, 7, 6, 5, 4, 3, 2, 1)])


@pytest.mark.numeric
def test_the_loss_on_valid_is_the_training_loss_of_its_rows(place: Place) -> None:
    """Trained on what chooses the epoch, at a rate of nothing: both losses are of the same rows and weights."""
    rows = shutil.copytree(place.rows, place.folder / "the same rows")
    same = (rows / "train.json").read_bytes()
    manifest = json.loads((rows / "manifest.json").read_text(encoding="utf-8"))
    (rows / "valid.json").write_bytes(same)
    manifest["sha256"]["valid.json"] = manifest["sha256"]["train.json"]
    (rows / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    flags = {"data_dir": rows, "learning_rate": 1e-12, "lora_dropout": 0.0, "batch_size": 27, "do_eval": False}
    place.finish("same rows", **flags)
    (epoch,) = place.results("same rows")["epochs"]
    assert epoch["valid_loss"] == pytest.approx(epoch["train_loss"], rel=1e-4)
    place.finish("same rows, labels", **flags, loss="labels", label_smoothing=0.1)
    (over_labels,) = place.results("same rows, labels")["epochs"]
    assert over_labels["valid_loss"] == pytest.approx(over_labels["train_loss"], rel=1e-4)
    assert over_labels["valid_loss"] != pytest.approx(epoch["valid_loss"], rel=0.1)
    for way in ({"decode": "generate", "max_new_tokens": 2}, {"calibrate": True}):
        place.finish("no loss", **flags, **way)
        assert "valid_loss" not in place.results("no loss")["epochs"][0], "log p of the target is not known"


def test_the_seed_decides_how_adapters_begin(place: Place) -> None:
    """Not what ran in the process before: a rate of nearly nothing leaves A as it was drawn."""
    from safetensors.torch import load_file

    drawn = []
    for run, seed in (("first draw", 5), ("second draw", 5), ("third draw", 6)):
        place.finish(run, seed=seed, learning_rate=1e-12, do_eval=False)
        weights = load_file(place.model(run) / "adapter_model.safetensors")
        drawn.append(next(weight for name, weight in weights.items() if "lora_A" in name))
    assert bool((drawn[0] == drawn[1]).all()) and not bool((drawn[0] == drawn[2]).any())
    assert not place.path("first draw", "predictions.jsonl").exists()


@pytest.mark.usefixtures("lora", "everything")
@pytest.mark.parametrize(
    ("run", "files"),
    [
        ("lora", {"adapter_config.json", "adapter_model.safetensors"}),
        ("everything", {"config.json", "model.safetensors"}),
    ],
)
def test_a_saved_model_reloads_to_the_same_predictions(place: Place, run: str, files: set[str]) -> None:
    from transformers import AutoTokenizer

    saved = {path.name for path in place.model(run).iterdir()}
    assert saved >= files | {"README.md", "tokenizer.json", "tokenizer_config.json"}
    text = 'Speaker_0:"Fine."'
    assert AutoTokenizer.from_pretrained(place.model(run))(text) == character_tokenizer()(text)
    card = (place.model(run) / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nbase_model: ") and ", ".join(LABELS) in card and "| seed | 42 |" in card
    place.score(f"{run} reloaded", checkpoint=run)
    assert place.predictions(f"{run} reloaded") == place.predictions(run)
    assert place.results(f"{run} reloaded")["selection"] == "checkpoint as given, not chosen by this run"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[weakref.ref]]]:
    """The weights of each model that was loaded; they must be gone before the next is there, asked for or not."""
    models: list[list[weakref.ref]] = []
    load = training.run.load_model

    def load_alone(*arguments):
        assert not [weight for weights in models for weight in weights if weight() is not None], "two models in memory"
        model = load(*arguments)
        models.append([weakref.ref(weight) for weight in model.parameters()])
        return model

    monkeypatch.setattr(training.run, "load_model", load_alone)
    gc.disable()  # Python collects circles when it comes to it, on a GPU that is too late
    yield models
    gc.enable()


KINDS = {"LoRA": {}, "all parameters": {"lora": False, "learning_rate": 3e-3}, "kept": {"gradient_checkpointing": True}}


@pytest.mark.parametrize("kind", KINDS)
def test_the_trained_model_is_gone_before_the_best_is_loaded(place: Place, loaded: list, kind: str) -> None:
    place.finish(f"freed {kind}", **KINDS[kind])
    assert len(loaded) == 2


@pytest.mark.skipif(bool(missing_for_compiling(torch.device("cpu"))), reason="no C++ compiler")
def test_so_is_a_compiled_one(place: Place, loaded: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced, and run as it is: what is kept of a model is kept by then, and C++ takes minutes."""
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(compile_module, backend="eager"))
    base = save_base(place.folder / "one layer", num_hidden_layers=1)
    place.finish("freed compiled", compile_layers=True, model_name_or_path=base, lora_module_name="q_proj")
    tree_attention.register()
    torch.compiler.reset()
    assert len(loaded) == 2


@pytest.mark.parametrize("flags", [{"do_eval": False}, {"select_on": "test"}, {"score_on": "valid"}], ids=str)
def test_what_is_not_scored_is_not_loaded(place: Place, loaded: list, flags: dict) -> None:
    place.finish("not loaded", **flags)
    assert len(loaded) == 1
    assert place.results("not loaded")["parameters"] > place.results("not loaded")["trainable_parameters"] > 0


@pytest.mark.numeric
@pytest.mark.usefixtures("lora", "everything")
def test_training_goes_on_from_a_checkpoint(place: Place) -> None:
    def first_loss(run: str) -> float:
        return json.loads(place.path(run, "log.jsonl").read_text().splitlines()[0])["loss"]

    place.finish("from adapter", checkpoint_dir=place.model("lora"), lora_dim=None, lora_module_name=None)
    place.finish("from model", checkpoint_dir=place.model("everything"), lora=False)
    for run, start in (("from adapter", "lora"), ("from model", "everything")):
        assert first_loss(run) < 0.9 * first_loss(start)
    adapter = json.loads((place.model("from adapter") / "adapter_config.json").read_text())
    assert adapter["r"] == 4 != ModelArguments("").lora_dim
    assert place.results("from adapter")["arguments"]["lora_dim"] == 4


@pytest.mark.numeric
@pytest.mark.usefixtures("everything")
def test_adapters_on_a_whole_checkpoint_stay_on_it(place: Place) -> None:
    """Neither the score of the run itself nor the adapter's file may take the base instead."""
    whole = place.model("everything")
    place.finish("adapter on model", checkpoint_dir=whole, learning_rate=1e-9)
    expected, found = place.scores("everything"), place.scores("adapter on model")
    assert all(found[row] == pytest.approx(expected[row], abs=1e-4) for row in expected)
    adapter = json.loads((place.model("adapter on model") / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str(whole)


@pytest.mark.usefixtures("lora")
def test_an_adapter_does_not_pass_for_all_parameters(place: Place) -> None:
    result = place.call("refused", checkpoint_dir=place.model("lora"), lora=False)
    assert_one_line_error(result, "--lora False", "is a LoRA adapter")
    assert not (place.folder / "refused").exists()


@pytest.mark.numeric
def test_zero_shot_trains_and_saves_nothing(place: Place) -> None:
    result = place.score("zero", zero_shot=True)
    results = place.results("zero")
    assert (results["selection"], results["epochs"], results["training_rows"]) == ("no training", [], {})
    assert "zero-shot" in result.stdout
    assert not place.model("zero").exists() and not place.path("zero", "learning_curve.png").exists()
    assert place.path("zero", "confusion_matrix.png").exists()
    place.score("zero in rows", zero_shot=True, packing="rows")
    expected, found = place.scores("zero"), place.scores("zero in rows")
    assert all(found[row] == pytest.approx(expected[row], abs=1e-4) for row in expected)


def test_generated_answers_are_kept(place: Place) -> None:
    place.score("generated", zero_shot=True, decode="generate", max_new_tokens=4, eval_batch_size=5)
    rows = [json.loads(line) for line in place.predictions("generated").splitlines()]
    assert all(row["response"] and "scores" not in row for row in rows)
    assert place.results("generated")["invalid"] == sum(row["label"] is None for row in rows) > 0


def test_all_rows_of_a_drawn_folder_are_trained_on_and_its_checkpoint_knows_the_draw(place: Place) -> None:
    rows = save_rows(place.folder / "drawn", draw=Draw(0.25, 7))
    assert rows.name == "window_2_data_0.25_seed_7"
    place.finish("share", data_dir=rows, do_eval=False)
    assert place.results("share")["training_rows"] == {"emotion_recognition": 7}
    assert find_erc_config(place.model("share")).draw == Draw(0.25, 7)


def test_both_tasks_are_trained_and_one_is_scored(place: Place) -> None:
    rows = save_rows(place.folder / "two tasks", kind="predict")
    place.finish("both", data_dir=rows, beta=0.2, gradient_accumulation_steps=2)
    assert place.results("both")["training_rows"] == {"emotion_recognition": 27, "emotion_prediction": 27}
    assert place.results("both")["rows"] == 13


def test_the_results_of_an_earlier_run_do_not_outlive_it(place: Place) -> None:
    place.finish("twice")
    assert place.call("twice", lora=False, learning_rate=1e30).returncode == 2
    assert not place.path("twice", "results.json").exists()


def test_a_model_that_another_run_has_laid_there_is_not_scored_for_this_one(place: Place) -> None:
    flags = {"num_train_epochs": 2, "save_steps": 2}
    place.finish("left unscored", **flags, do_eval=False)
    place.finish("intruder", seed=7, model_dir=place.model("left unscored"))
    again = place.call("left unscored", **flags, resume=True)
    told = again.stderr.splitlines()[-1]
    assert again.returncode == 2 and told.startswith("error: --model_dir ")
    assert told.endswith("holds another model than that of this run's epoch 2: begin anew, with a folder of its own")


def test_choosing_on_test_is_named_wherever_the_score_stands(place: Place) -> None:
    result = place.finish("on test", select_on="test")
    results = place.results("on test")
    assert results["selection"].startswith("best epoch chosen on TEST")
    assert results["selection"] in result.stdout
    assert results["epochs"][0]["test_weighted_f1"] == results["weighted_f1"]
    assert "not a held-out" in (place.model("on test") / "README.md").read_text(encoding="utf-8")


def test_test_is_left_alone_when_valid_is_scored(place: Place) -> None:
    result = place.finish("on valid", num_train_epochs=2, score_on="valid")
    results, written = place.results("on valid"), (place.rows / "valid.json").read_text(encoding="utf-8").splitlines()
    assert list(place.scores("on valid")) == [json.loads(line)["id"] for line in written]
    assert results["split"] == "valid" and results["score"] == max(epoch["score"] for epoch in results["epochs"])
    assert ": valid, " in result.stdout and "score test" not in result.stderr
    place.score("valid again", "on valid", score_on="valid")  # what lies on disk scores the same
    assert place.scores("valid again") == place.scores("on valid")
