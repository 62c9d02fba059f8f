"""The shell pipeline: what it refuses, and that it then writes nothing."""

import contextlib
import os
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from safetensors.numpy import save_file

import settings
from bases.table import BASES
from commands import call_script
from shell_checkout import MIXED, PLAIN, UNI, Result, ShellCheckout, environment_of, make_checkout

BASE_NAMES = " ".join(BASES)


def assert_refused(result: Result, *lines: str) -> None:
    """Exit code 2, nothing on stdout, and exactly these lines on stderr."""
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [f"error: {line}" for line in lines]


KINDS_OF_ROWS = {UNI: settings.WINDOW, PLAIN: settings.PLAIN, MIXED: settings.MIXED}


def settle(checkout: ShellCheckout, script: str = UNI, **knobs: object) -> Result:
    """What `checkout.run` comes to where the settings are refused, without a shell and a Python of its own."""
    with (
        contextlib.chdir(checkout.root),
        patch.object(os, "environ", environment_of(knobs)),
        patch.object(settings, "find_repository", lambda: checkout.root),
    ):
        return call_script(settings.main, KINDS_OF_ROWS[script])


# Each names its own knob and value.
ENCODER_LINE = (
    "encoder={value}: choose one of all-MiniLM-L6-v2 all-mpnet-base-v2, a folder with a sentence encoder, "
    "or a hub id (owner/name)"
)
SETS_LINE = (
    "datasets={value}: give each of sample iemocap meld EmoryNLP dailydialog, or a corpus of your own, at most once, "
    "joined by commas, and at least one"
)
REFUSALS = [
    "dataset=foo: there is no such dataset; choose one of sample iemocap meld EmoryNLP dailydialog, or make a corpus "
    "of your own known: python code/data_process.py --corpus FOLDER",
    "dataset=: choose one of sample iemocap meld EmoryNLP dailydialog, or a corpus of your own",
    "dataset=meld EmoryNLP: choose one of sample iemocap meld EmoryNLP dailydialog, or a corpus of your own",
    "Experiments_setting=LoRA: choose one of zero_shot lora all_parameters",
    "FLAG=2: choose one of 0 1",
    "DRY_RUN=yes: choose one of 0 1",
    "historical_window=: give a whole number, 0 or more",
    "historical_window=-1: give a whole number, 0 or more",
    "seed=a[$(touch x)]: give a whole number from 0 to 4294967295",
    "graphics_card=0: give a whole number, 1 or more",
    "accumulations=08: give a whole number, 1 or more",
    "NPROC=two: give a whole number, 1 or more",
    "learning_rate=0: give a number above 0, with an exponent of two digits at most",
    "learning_rate=1e-3x: give a number above 0, with an exponent of two digits at most",
    "learning_rate=1e400: give a number above 0, with an exponent of two digits at most",
    "clip_norm=1e400: give a number, 0 or more, with an exponent of two digits at most",
    "data_percent=1.5: give a number above 0 and up to 1",
    "lora_dropout=1: give a number from 0 to below 1",
    "lora_module_name=q proj: give names joined by commas, or all or auto alone",
    "lora_module_name=q_proj,all: give names joined by commas, or all or auto alone",
    "report_to=wandb,mlflow,wandb: give each of tensorboard wandb mlflow at most once, joined by commas, or none",
    "speaker_task=Both: choose one of None True True_mixed",
    "domain_base=true: choose one of False True",
    "emotion_prediction=1: choose one of False True",
    "pairing=paper: only domain_base=True reads it",
    "encoder=other: only domain_base=True reads it",
    "stop_on_copying=True: only domain_base=True reads it",
    "speaker_epochs=9: only speaker_task=True reads it",
    "loss=label: choose one of tokens labels",
    "label_smoothing=0.1: only loss=labels reads it",
    "class_weights=2: give a number from 0 to 1",
    "average_weights=1: give a number from 0 to below 1",
    "patience=-1: give a whole number, 0 or more",
    "select_on=train: choose one of valid test",
    "decode=beam: choose one of score transitions generate",
    "precision=bf16,fp32: choose one of auto bf16 fp32 fp16",
    "precision=*: choose one of auto bf16 fp32 fp16",
    "precision=fp8: choose one of auto bf16 fp32 fp16",
    "deepspeed_config=nowhere.json: there is no such file",
    "HOSTFILE=nowhere: there is no such file",
    "checkpoint_dir=nowhere: there is no such folder",
    "checkpoint_dir=code: this folder holds no config.json or adapter_config.json, so no model and no adapter",
    "num_beams=4: only decode=generate reads it",
    "max_new_tokens=8: only decode=generate reads it",
    "repair_answers=True: only decode=generate reads it",
    "eval_batch_size=4: only decode=generate reads it",
    "ERC_ORIGINAL_DATA=nowhere: there is no such folder",
    "ERC_PYTHON=nowhere/python: there is no such program",
    "ERC_TORCH=gpu: choose one of cpu cuda",
    "MODEL_NAME=code: this folder holds no config.json, so no transformers model",
    f"MODEL_NAME=: choose one of {BASE_NAMES}, a folder with a transformers model, or a hub id (owner/name)",
    f"MODEL_NAME=GPT9: choose one of {BASE_NAMES}, a folder with a transformers model, or a hub id (owner/name)",
]


# What a shell would split, match with files or compute, and what the scripts read themselves.
BY_SHELL = ("dataset=meld EmoryNLP", "seed=a[$(touch x)]", "precision=*", "FLAG=2", "DRY_RUN=yes", "ERC_PYTHON=")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> ShellCheckout:
    """One for all, as nothing may be written into it."""
    return make_checkout(tmp_path_factory.mktemp("untouched"))


@pytest.mark.parametrize("line", REFUSALS, ids=[line.partition(":")[0] for line in REFUSALS])
def test_wrong_values_are_refused_before_anything_is_written(untouched: ShellCheckout, line: str) -> None:
    before = untouched.list_files()
    name, value = line.partition(":")[0].split("=")
    run = untouched.run if line.startswith(BY_SHELL) else partial(settle, untouched)
    assert_refused(run(**{"DRY_RUN": "0", name: value}), line)
    assert untouched.list_files() == before


def test_a_value_of_several_lines_is_told_in_one(checkout: ShellCheckout) -> None:
    line = "precision=bf16 fp32: choose one of auto bf16 fp32 fp16"
    assert_refused(checkout.run(precision="bf16\nfp32"), line)


def test_a_knob_that_nothing_reads_is_refused(checkout: ShellCheckout) -> None:
    assert_refused(
        checkout.run(lora_dim=8, Experiments_setting="all_parameters"),
        "lora_dim=8: Experiments_setting=all_parameters on window rows has no use for it",
    )
    assert_refused(
        checkout.run(historical_window=5, script=PLAIN),
        "historical_window=5: Experiments_setting=lora on plain rows has no use for it",
    )
    (checkout.root / "adapter").mkdir()
    (checkout.root / "adapter/adapter_config.json").touch()
    assert_refused(
        checkout.run(checkpoint_dir="adapter", Experiments_setting="zero_shot"),
        "checkpoint_dir=adapter: Experiments_setting=zero_shot on window rows has no use for it",
    )
    assert_refused(
        checkout.run(checkpoint_dir="adapter", Experiments_setting="all_parameters"),
        "checkpoint_dir=adapter: this folder holds an adapter, which Experiments_setting=all_parameters cannot train; "
        "choose lora",
    )
    assert "--checkpoint_dir adapter " in checkout.run(checkpoint_dir="adapter").stdout


def test_a_dry_run_may_start_from_what_another_run_has_yet_to_make(checkout: ShellCheckout) -> None:
    place = "checkpoint/SmolLM2-135M/lora/sample/window_12"
    assert f"--checkpoint_dir {place} " in checkout.run(checkpoint_dir=place).stdout
    for dry in ({"DRY_RUN": 0}, {"DRY_RUN": 0, "FLAG": 0}):
        assert_refused(checkout.run(checkpoint_dir=place, **dry), f"checkpoint_dir={place}: there is no such folder")
    (checkout.root / place).mkdir(parents=True)
    assert "holds no config.json or adapter_config.json" in checkout.run(checkpoint_dir=place).stderr


def test_a_base_or_encoder_that_is_not_whole_is_told_at_once(checkout: ShellCheckout, tmp_path: Path) -> None:
    """Else the runs before it in a group of conditions would have to end first."""
    base, mine = tmp_path / "base", checkout.root / "LLM_bases/mine"
    for folder in (base, mine):
        folder.mkdir(parents=True)
        (folder / "config.json").touch()
        (folder / "modules.json").touch()
        (folder / "training_args.bin").touch()  # as trainers leave it beside weights
    lacks = "this folder holds no weights, such as model.safetensors, pytorch_model.bin"
    assert_refused(checkout.run(MODEL_NAME=base), f"MODEL_NAME={base}: {lacks}")
    assert_refused(checkout.run(MODEL_NAME="mine"), f"MODEL_NAME=mine: {lacks}")
    assert_refused(checkout.run(domain_base=True, encoder=base), f"encoder={base}: {lacks}")
    (base / "model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}')
    save_file({"a": np.zeros(9)}, base / "1.safetensors")
    assert_refused(checkout.run(MODEL_NAME=base), f"MODEL_NAME={base}: of the weights 2.safetensors is missing")
    cut = base / "2.safetensors"
    cut.write_bytes((base / "1.safetensors").read_bytes()[:-1])
    told = checkout.run(MODEL_NAME=base).stderr
    assert told.startswith(f"error: MODEL_NAME={base}: {cut}: no whole safetensors file (") and told.count("\n") == 1
    cut.write_bytes((base / "1.safetensors").read_bytes())
    assert checkout.run(MODEL_NAME=base).returncode == 0
    for index in ("[]", '{"weight_map": {}}'):
        (base / "model.safetensors.index.json").write_text(index)
        assert "tells no files of weights" in checkout.run(MODEL_NAME=base).stderr, index


def test_two_names_of_a_knob_must_agree(checkout: ShellCheckout) -> None:
    assert_refused(
        checkout.run(domain_base=True, ENCODER="owner/one", encoder="owner/other"),
        "ENCODER=owner/one: encoder=owner/other is the same knob and says otherwise; set one of them",
    )


def test_missing_pickle_is_refused(checkout: ShellCheckout) -> None:
    folder = checkout.root / "original_data"
    advice = {
        "meld": "python original_data/fetch.py meld gets it",
        "EmoryNLP": "python original_data/fetch.py EmoryNLP gets it",
        "iemocap": "see original_data/README.md",
    }
    for dataset, told in advice.items():
        assert_refused(
            checkout.run(dataset=dataset),
            f"dataset={dataset}: there is no {folder}/{dataset}/{dataset}.pkl: {told}, or set ERC_ORIGINAL_DATA",
        )
    elsewhere = checkout.run(dataset="meld", ERC_ORIGINAL_DATA=checkout.root)
    assert f"fetch.py meld --original_data {checkout.root} gets it" in elsewhere.stderr


def test_all_problems_are_told_at_once(checkout: ShellCheckout) -> None:
    wrong = {"dataset": "foo", "historical_window": "x", "decode": "beam", "lora_dim": "-1"}
    result = checkout.run(**wrong)
    names = [line.removeprefix("error: ").partition("=")[0] for line in result.stderr.splitlines()]
    assert result.returncode == 2
    assert sorted(names) == sorted(wrong)


@pytest.mark.parametrize(
    ("knobs", "line"),
    [
        ({"domain_base": True, "encoder": "nowhere"}, ENCODER_LINE.format(value="nowhere")),
        ({"domain_base": True, "demonstrations": 0}, "demonstrations=0: give a whole number, 1 or more"),
        (
            {"speaker_task": True, "Experiments_setting": "zero_shot"},
            "speaker_task=True: Experiments_setting=zero_shot trains nothing; choose lora or all_parameters",
        ),
        (
            {"emotion_prediction": True, "Experiments_setting": "zero_shot"},
            "emotion_prediction=True: Experiments_setting=zero_shot trains nothing; choose lora or all_parameters",
        ),
        (
            {"script": MIXED, "dataset": "sample"},
            "dataset=sample: mixed rows are of several datasets; set datasets, joined by commas",
        ),
        (
            {"script": MIXED, "datasets": "sample,sample"},
            SETS_LINE.format(value="sample,sample"),
        ),
        ({"script": MIXED, "mix": "single"}, "train_on=: mix=single trains on one of sample"),
        (
            {"script": MIXED, "mode": "sequence", "mix": "ratio"},
            "mix=ratio: mode=sequence draws of each set in turn; leave mix away",
        ),
        ({"script": MIXED, "train_on": "sample"}, "train_on=sample: only mix=single reads it"),
        ({"script": MIXED, "datasets": "sample,"}, SETS_LINE.format(value="sample,")),
        ({"script": MIXED, "datasets": "sample\nmeld"}, SETS_LINE.format(value="sample meld")),
        (
            {"historical_window": 0, "emotion_prediction": True},
            "historical_window=0: emotion_prediction=True asks for what follows the history; show one utterance "
            "or more",
        ),
        (
            {"prompt": "compact", "domain_base": True},
            "prompt=compact: domain_base=True shows demonstrations, which compact has no place for; choose paper",
        ),
        (
            {"prompt": "compact", "script": PLAIN},
            "prompt=compact: Experiments_setting=lora on plain rows has no use for it",
        ),
        ({"precision": "fp16"}, "precision=fp16: needs a GPU, and there is none; choose auto"),
        ({"calibrate": True, "decode": "generate"}, "calibrate=True: only decode=score or transitions reads it"),
        (
            {"decode": "transitions", "Experiments_setting": "zero_shot"},
            "decode=transitions: transitions are counted on train, which zero_shot leaves alone; choose score or "
            "generate",
        ),
        (
            {"script": MIXED, "decode": "transitions"},
            "decode=transitions: labels of several datasets follow each other in several ways; choose score or "
            "generate",
        ),
        (
            {"model_name_or_path": "LLaMA2"},
            "model_name_or_path=LLaMA2: no setting is called so; did you mean MODEL_NAME?",
        ),
        (
            {"do_train": False},
            "do_train=False: no setting is called so; set it behind the command: bash ... --do_train False",
        ),
        ({"data_precent": 0.01}, "data_precent=0.01: no setting is called so; did you mean data_percent?"),
    ],
    ids=[
        "encoder",
        "count",
        "speaker",
        "prediction",
        "dataset",
        "twice",
        "single",
        "sequence",
        "train_on",
        "comma",
        "newline",
        "nothing",
        "compact demonstrations",
        "compact alone",
        "gpu",
        "score",
        "transitions",
        "transitions of several",
        "flag of a knob",
        "flag",
        "misspelt",
    ],
)
def test_modules_are_refused_where_they_cannot_work(untouched: ShellCheckout, knobs: dict, line: str) -> None:
    assert_refused(settle(untouched, DRY_RUN=0, **knobs), line)


@pytest.mark.parametrize(
    "knob", ["mode=sequence", "mix=ratio", "train_on=sample", "without_shared_scenes=True", "data_percent=0.1"]
)
def test_what_several_sets_are_trained_on_is_refused_where_nothing_is_trained(
    untouched: ShellCheckout, knob: str
) -> None:
    knobs = dict([knob.split("=")], datasets="sample,meld", Experiments_setting="zero_shot")
    told = settle(untouched, script=MIXED, DRY_RUN=0, **knobs).stderr
    assert f"error: {knob}: Experiments_setting=zero_shot trains nothing; choose lora or all_parameters\n" in told


@pytest.mark.parametrize(
    ("further", "line"),
    [
        (["--learning_rate", "abc"], "--learning_rate: 'abc' is not allowed, give a number above 0"),
        (["--num_beams", "four"], "--num_beams: 'four' is not allowed, give a whole number, 1 or more"),
        (["--note", "two words"], "unknown argument '--note two words'"),
        (["--zero_shot", "True"], "--zero_shot True trains nothing: add --do_train False"),
        (["--lora", "False"], "--lora: set it before the command: Experiments_setting=... bash ..."),
        (["dataset=meld"], "dataset=meld: a setting stands before the command: dataset=meld bash ..."),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_further_arguments_are_checked_too(checkout: ShellCheckout, further: list[str], line: str) -> None:
    before = checkout.list_files()
    result = checkout.run(*further, DRY_RUN=0, FLAG=0)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert line in result.stderr
    assert checkout.list_files() == before


def test_a_setting_that_further_arguments_leave_without_effect_is_told_at_once(checkout: ShellCheckout) -> None:
    result = checkout.run("--decode", "score", decode="generate", num_beams=4)
    assert (result.returncode, result.stderr) == (2, "error: --num_beams 4: only --decode generate reads it\n")
    assert checkout.run("--decode", "score", decode="generate").returncode == 0


def test_what_stages_hand_on_is_not_left_to_further_arguments(checkout: ShellCheckout) -> None:
    told = "error: --checkpoint_dir: set it before the command: checkpoint_dir=... bash ...\n"
    assert checkout.run("--checkpoint_dir", "adapter").stderr == told
    for script, knobs in ((UNI, {"speaker_task": True}), (MIXED, {"datasets": "sample,meld", "mode": "sequence"})):
        (stages,) = (f"{name}={value}" for name, value in knobs.items() if name != "datasets")
        for flag in ("--output_dir", "--model_dir", "--data_dir"):
            told = f"error: {flag}: {stages} makes several runs, each with a folder of its own; leave it out\n"
            assert checkout.run(flag, "place", script=script, **knobs).stderr.endswith(told)
        told = f"{stages} makes several runs, each from what the one before has trained; leave one of them out\n"
        stderr = checkout.run("--do_train", "False", script=script, **knobs).stderr
        assert stderr.endswith(f"error: --do_train False: {told}")
    assert checkout.run("--model_dir", "place").returncode == 0


def test_stages_put_no_adapters_on_a_whole_model_that_they_start_from(checkout: ShellCheckout) -> None:
    """The second stage was told the base, with which the first one's adapter does not go: it ended there."""
    (checkout.root / "whole").mkdir()
    (checkout.root / "whole" / "config.json").write_text("{}")
    for script, stages in ((UNI, "speaker_task=True"), (MIXED, "mode=sequence")):
        asked = dict([stages.split("=")], checkpoint_dir="whole")
        told = f"checkpoint_dir=whole: {stages} would put adapters on this whole model, which is then their base: "
        assert_refused(checkout.run(script=script, **asked), f"{told}MODEL_NAME=whole")
        assert checkout.run(script=script, Experiments_setting="all_parameters", **asked).returncode == 0
    assert checkout.run(checkpoint_dir="whole").returncode == 0
    (checkout.root / "whole" / "adapter_config.json").write_text("{}")
    assert checkout.run(checkpoint_dir="whole", speaker_task="True").returncode == 0


@pytest.mark.parametrize(
    ("further", "line"),
    [
        ("--data_percent 0.5", "--data_percent: rows are drawn where they are written"),
        ("--data_percent=0.5", "or set data_percent before the script"),
        ("--seed 3", "--seed: of what is drawn of train, too; set it before the command: seed=... bash ..."),
        ("--seed=3", "--seed: of what is drawn of train, too; set it before the command: seed=3 bash ..."),
    ],
)
def test_what_is_drawn_is_not_left_to_further_arguments(checkout: ShellCheckout, further: str, line: str) -> None:
    result = checkout.run(*further.split(), data_percent=0.25)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1) and line in result.stderr


def test_a_checkout_whose_path_has_a_comma_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one,two").mkdir()
    result = make_checkout(tmp_path / "one,two").run(FLAG=0)
    assert (result.returncode, result.stdout) == (2, "")
    assert "a comma joins folders of rows; move the checkout" in result.stderr
