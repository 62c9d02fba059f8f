"""Which checkpoints can be predicted with, what training says of them, and how one is found."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import main_new
from basics.errors import UserError
from basics.files import sha256_of
from commands import call_script
from data_utils.examples import RowSettings
from data_utils.labels import UNIFIED_PROMPT_LABELS
from data_utils.mixing import MixSettings, prepare_mixed_folder
from data_utils.prompts import COMPACT, TEMPLATE_DIGESTS
from data_utils.retrieval import RetrievalSettings
from data_utils.row_files import read_manifest, read_rows
from data_utils.row_folders import prepare_folder
from own_dialogues import checkpoint as checkpoint_choice
from own_dialogues import recognizer as recognizer_module
from own_dialogues.checkpoint import ensure_base, find_base, find_checkpoint
from own_dialogues.demonstrations import DemonstrationSource, open_demonstrator
from own_dialogues.recognizer import EmotionRecognizer
from tiny_models import DATASET, LABELS, main_command, save_base, small_dialogues
from training.erc_config import ErcConfig, decisive_files, read_erc_config

DIALOGUE = [("Ann", "Great!"), ("Ben", "He died."), ("Ann", "No way!"), ("Cem", "He died."), ("Ben", "Run!")]


def retrained(trained: Path, name: str, rows: Path, **flags: object) -> Path:
    place = trained / name
    flags = {"num_train_epochs": 1, "do_eval": False} | flags
    result = call_script(main_new.main, *main_command(trained / "base", rows, place, **flags))
    assert result.returncode == 0, result.stderr
    return place / "model"


def test_other_kinds_of_checkpoints(trained: Path) -> None:
    rows = trained / "data" / DATASET / "window_2"
    whole = EmotionRecognizer.from_pretrained(retrained(trained, "whole", rows, lora=False))
    assert [len(one) for one in whole.predict_dialogues([DIALOGUE, DIALOGUE[:2]])] == [5, 2]
    settings = RowSettings(DATASET, "speaker", historical_window=0, check_counts=False)
    speaker = retrained(trained, "speaker", prepare_folder(settings, trained / "original", trained / "data"))
    with pytest.raises(UserError, match="trained on speaker rows"):
        EmotionRecognizer.from_pretrained(speaker)
    mixed = MixSettings((DATASET,), historical_window=1, window_step=3, check_counts=False)
    folder = prepare_mixed_folder(mixed, trained / "original", trained / "data")
    unified = read_erc_config(retrained(trained, "unified", folder, dataset="unified", max_length=900))
    assert (unified.labels, unified.speaker_offset, unified.max_length) == (UNIFIED_PROMPT_LABELS, 10, 900)
    assert (unified.historical_window, unified.window_step, unified.kind, unified.speakers) == (1, 3, "window", 9)


def test_a_checkpoint_is_asked_in_the_form_of_its_rows(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compact prompts from a window that moves by steps, calibrated: what predict says is what the run wrote."""
    settings = RowSettings(DATASET, historical_window=1, window_step=2, prompt=COMPACT, check_counts=False)
    rows = prepare_folder(settings, trained / "original", trained / "data")
    model = retrained(trained, "compact", rows, do_eval=True, calibrate=True)
    assert read_manifest(rows)["template_sha256"] == TEMPLATE_DIGESTS[COMPACT]
    config = read_erc_config(model)
    assert (config.window_step, config.prompt, config.template_sha256) == (2, COMPACT, TEMPLATE_DIGESTS[COMPACT])
    recognizer = EmotionRecognizer.from_pretrained(model, precision="fp32")
    dialogues = [[(f"{turn.speaker}", turn.text) for turn in one.utterances] for one in small_dialogues("test", 3, 4)]
    assert "other templates" not in capsys.readouterr().err
    shown = [prompt for dialogue in dialogues for prompt in recognizer.seen_prompts(dialogue)]
    assert shown == [f"<s>{row.input}" for row in read_rows(rows / "test.json")]
    lines = (model.parent / "results" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [answer for dialogue in recognizer.predict_dialogues(dialogues) for answer in dialogue]
    for answer, written in zip(answers, map(json.loads, lines), strict=True):
        total = sum(map(math.exp, written["scores"].values()))
        expected = {label: math.exp(score) / total for label, score in written["scores"].items()}
        assert answer.probabilities == pytest.approx(expected, abs=1e-4) and answer.emotion == written["label"]


def test_training_says_how_it_asked(trained: Path) -> None:
    config = read_erc_config(trained / "run" / "model")
    digests = {"base_sha256": trained / "base" / "model.safetensors"}
    digests["weights_sha256"] = trained / "run" / "model" / "adapter_model.safetensors"
    recorded = {name: sha256_of(path) for name, path in digests.items()} | {"precision": "fp32"}
    recorded["files_sha256"] = decisive_files(trained / "run" / "model")
    assert recorded["files_sha256"]["tokenizer.json"] == sha256_of(trained / "run" / "model" / "tokenizer.json")
    assert config == ErcConfig(DATASET, LABELS, "window", 2, 1024, str(trained / "base"), quantize="none", **recorded)


def test_what_a_file_names_is_not_downloaded_unasked(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that may be asked is not asked for a base or an encoder that a checkpoint, not its user, names."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(recognizer_module, "load_model", lambda *_: pytest.fail("the base was loaded"))
    place = Path(shutil.copytree(trained / "run" / "model", tmp_path / "model"))
    adapter = json.loads((place / "adapter_config.json").read_text())
    (place / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": "somebody/huge"}))
    with pytest.raises(UserError, match="needs the base somebody/huge, which is not here: `python LLM_bases/fetch.py"):
        EmotionRecognizer.from_pretrained(place)
    config = replace(read_erc_config(place), retrieval=RetrievalSettings("somebody/encoder", balance=False))
    with pytest.raises(UserError, match="by the encoder somebody/encoder, which is not here: `--encoder"):
        open_demonstrator(config, DemonstrationSource(original_data=trained / "original"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "erc_config.json cannot be read"),
        ("{", "not JSON"),
        ("[]", "dataset, labels"),
        ({"labels": []}, "labels missing or of the wrong kind"),
        ({"retrieval": {"unknown": 1}}, "retrieval missing"),
        ({"historical_window": -1}, "historical_window missing"),
        ({"window_step": 0}, "window_step missing"),
        ({"prompt": "long"}, "prompt missing"),
    ],
)
def test_a_config_that_is_not_there_or_wrong(trained: Path, tmp_path: Path, content: object, told: str) -> None:
    folder = Path(shutil.copytree(trained / "run" / "model", tmp_path / "model"))
    path = folder / "erc_config.json"
    if isinstance(content, dict):
        path.write_text(json.dumps(json.loads(path.read_text()) | content))
    elif content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(UserError, match=told):
        EmotionRecognizer.from_pretrained(folder)


def test_checkpoints_and_bases_are_found_or_missed_in_words(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained / "run" / "model"
    assert find_base(model) == str(trained / "base")
    for module in ("own_dialogues.checkpoint", "bases.find"):
        monkeypatch.setattr(f"{module}.find_repository", lambda: tmp_path)
    place = Path(shutil.copytree(model, tmp_path / "checkpoint" / "tiny" / "window"))
    monkeypatch.setenv("ERC_CHECKPOINT", str(model))
    assert find_checkpoint() == model and find_checkpoint(place) == place
    with pytest.raises(UserError, match="no adapter and no model there"):
        find_checkpoint(tmp_path)
    adapter = json.loads((place / "adapter_config.json").read_text())
    hub_id = "HuggingFaceTB/SmolLM2-135M-Instruct"
    (place / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": hub_id}))
    with pytest.raises(UserError, match="LLM_bases/fetch.py SmolLM2-135M"):
        find_base(place)
    save_base(tmp_path / "LLM_bases" / "SmolLM2-135M")
    assert find_base(place) == str(tmp_path / "LLM_bases" / "SmolLM2-135M")


@pytest.mark.parametrize("name", ["base", "SmolLM2-135M"])
def test_a_base_that_has_moved_is_found_by_what_the_error_says(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """On another machine, the base outside the repository: nothing is fetched, and answers are the same."""
    place = Path(shutil.copytree(trained / "run" / "model", tmp_path / "model"))
    path, gone = place / "adapter_config.json", tmp_path / "gone" / "base"
    adapter = json.loads(path.read_text())
    path.write_text(json.dumps(adapter | {"base_model_name_or_path": str(gone)}))
    told = f"{place} needs the base {gone}, which is not here: if it lies elsewhere, write its folder into {path}, "
    with pytest.raises(UserError, match=f"^{re.escape(told)}as base_model_name_or_path$"):
        find_base(place)
    monkeypatch.setattr(checkpoint_choice, "find_repository", lambda: tmp_path)
    monkeypatch.setattr(checkpoint_choice.subprocess, "run", lambda *_, **__: pytest.fail("something was fetched"))
    moved = Path(shutil.copytree(trained / "base", tmp_path / "élsewhere now" / name))
    path.write_text(json.dumps(adapter | {"base_model_name_or_path": str(moved)}))
    ensure_base(place)
    found = EmotionRecognizer.from_pretrained(place).predict([("Ann", "Run!")])
    assert found == EmotionRecognizer.from_pretrained(trained / "run" / "model").predict([("Ann", "Run!")])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"decode": "transition"}, "decode 'transition': allowed are score and transitions"),
        ({"precision": "float32"}, "precision 'float32': allowed are auto, bf16, fp32, fp16"),
    ],
)
def test_a_word_that_is_none_of_the_choices_is_refused(trained: Path, asked: dict[str, str], told: str) -> None:
    """From Python nothing else looks: a filter was left away unsaid for a misspelt word."""
    with pytest.raises(UserError, match=f"^{told}$"):
        EmotionRecognizer.from_pretrained(trained / "run" / "model", **asked)


def test_a_device_that_is_not_there(trained: Path) -> None:
    for name in ("cuda:7", "nonsense"):
        with pytest.raises(UserError, match="allowed are cpu"):
            EmotionRecognizer.from_pretrained(trained / "run" / "model", device=name)


def test_a_small_base_is_fetched_when_it_is_not_there(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(shutil.copytree(trained / "run" / "model", tmp_path / "adapter"))
    adapter = json.loads((place / "adapter_config.json").read_text())
    asked, codes = [], [1, 0]

    def run(command, **options):
        asked.append(command[1:])
        return SimpleNamespace(returncode=codes.pop(0))

    for module in ("own_dialogues.checkpoint", "bases.find"):
        monkeypatch.setattr(f"{module}.find_repository", lambda: tmp_path)
    monkeypatch.setattr(checkpoint_choice.subprocess, "run", run)
    ensure_base(place)  # its base is in no table
    for hub_id in ("meta-llama/Llama-2-7b-hf", "HuggingFaceTB/SmolLM2-135M-Instruct"):
        assert asked == []  # the large ones are left to the user
        (place / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": hub_id}))
        if "Smol" in hub_id:
            with pytest.raises(UserError, match="fetch.py SmolLM2-135M"):
                ensure_base(place)
        ensure_base(place)
    assert asked == [[str(tmp_path / "LLM_bases" / "fetch.py"), "SmolLM2-135M"]] * 2
    save_base(tmp_path / "LLM_bases" / "SmolLM2-135M")
    ensure_base(place)
    assert len(asked) == 2
