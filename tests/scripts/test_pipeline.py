"""The shell pipeline: the commands it prints, and that it runs what it prints."""

import re
import subprocess
from pathlib import Path

import pytest

from bases.tensor_files import PICKLE
from corpora import write_own_corpus
from shell_checkout import MIXED, PLAIN, UNI, ShellCheckout, training_command

# Stands in for envs/setup.sh and the python that it names: writes down what it was asked to run.
STUB_SETUP = """\
if [[ ${1-} == --interpreter ]]; then command -v python3; else printf '%s\\n' "$PWD/stub_python"; fi
"""
STUB_PYTHON = """#!/usr/bin/env bash
printf '<%s>' "$@" >>calls.txt
printf '\\n' >>calls.txt
echo "${MALLOC_TOP_PAD_-unset}" >>allocator.txt
case $1 in
    *fetch.py) echo "the base" ;;
    *data_process*) if [[ $* == *"--speaker_task True "* ]]; then echo "the rows,more rows"; else echo "the rows"; fi ;;
    *main_new.py) exit "${STUB_EXIT:-0}" ;;
esac
"""


SAMPLE_COMMANDS = """\
set -euo pipefail
cd '{checkout}'
python=$(bash envs/setup.sh)
base=$("$python" LLM_bases/fetch.py SmolLM2-135M)
rows=$("$python" code/data_process.py --dataset sample --historical_window 12 --speaker_task None \
--domain_base False --emotion_prediction False --clean_text False --check_counts True --seed 42 --data_percent 1)
source envs/allocator.sh
"$python" code/main_new.py --dataset sample --data_dir "$rows" --model_name_or_path "$base" \
--output_dir experiments/SmolLM2-135M/lora/sample/window_12 \
--model_dir checkpoint/SmolLM2-135M/lora/sample/window_12 \
--batch_size 16 --max_length 1024 --chat_template False --decode score --calibrate False --score_on test \
--precision auto --packing tree --seed 42 --num_train_epochs {epochs} --learning_rate 1e-3 --warmup_ratio 0.1 \
--weight_decay 0 --clip_norm 1 --rows_per_dialogue 8 --select_on valid \
--lora_dim 16 --lora_alpha 16 --lora_dropout 0 --lora_module_name all --rslora False --dora False
"""
EPOCHS = re.compile(r"(?<=--num_train_epochs )\d+")


def test_default_commands(checkout: ShellCheckout) -> None:
    result = checkout.run()
    assert (result.returncode, result.stderr) == (0, "")
    epochs = EPOCHS.search(result.stdout)
    assert epochs
    assert result.stdout == SAMPLE_COMMANDS.format(checkout=checkout.root, epochs=epochs.group())


@pytest.mark.parametrize("script", [UNI, PLAIN, MIXED])
def test_a_script_explains_itself_and_the_settings_that_it_reads(checkout: ShellCheckout, script: str) -> None:
    told = checkout.run("--seed", "7", "--help", script=script)
    assert (told.returncode, told.stderr) == (0, "")
    assert f"bash code/{script}" in told.stdout and "\n  num_train_epochs=WHOLE_NUMBER\n" in told.stdout
    assert ("\n  speaker_task=" in told.stdout) == (script == UNI)


def test_a_knob_that_came_later_is_said_where_it_is_not_as_usual(checkout: ShellCheckout) -> None:
    """Commands that were kept before there was the knob are those of today."""
    usual, said = checkout.run().stdout, checkout.run(window_step=6, prompt="compact").stdout
    assert "window_step" not in usual and checkout.run(window_step=1, prompt="paper").stdout == usual
    assert " --historical_window 12 --window_step 6 --prompt compact " in said
    assert " --historical_window 12 --prompt compact " in checkout.run(script=MIXED, prompt="compact").stdout


def test_meld_changes_the_data_and_nothing_else(checkout: ShellCheckout, pickles: Path) -> None:
    result = checkout.run(dataset="meld", ERC_ORIGINAL_DATA=pickles)
    commands = SAMPLE_COMMANDS.format(checkout=checkout.root, epochs="N")
    expected = commands.replace("sample", "meld").replace("--batch_size 16", "--batch_size 32").splitlines()
    expected.insert(2, f"export ERC_ORIGINAL_DATA={pickles}")
    assert EPOCHS.sub("N", result.stdout).splitlines() == expected


def test_a_corpus_of_ones_own_is_a_dataset(checkout: ShellCheckout, tmp_path: Path) -> None:
    """One that lies in the checkout, and one where ERC_ORIGINAL_DATA points; with nothing installed."""
    write_own_corpus(checkout.root / "original_data" / "mine")
    write_own_corpus(tmp_path / "elsewhere" / "yours")
    result = checkout.run(dataset="mine")
    commands = SAMPLE_COMMANDS.format(checkout=checkout.root, epochs=3).replace("sample", "mine")
    assert result.stdout == commands, "a small train has the recipe of one"
    assert "code/data_process_plain.py --dataset mine " in checkout.run(dataset="mine", script=PLAIN).stdout
    both = {"datasets": "mine,sample,yours", "ERC_ORIGINAL_DATA": tmp_path / "elsewhere"}
    result = checkout.run(script=MIXED, mix="single", train_on="yours", **both)
    assert "--datasets mine,sample,yours " in result.stdout and "--train_on yours " in result.stdout, result.stderr
    unknown = checkout.run(dataset="yours", script=PLAIN)
    assert "choose one of sample iemocap meld EmoryNLP dailydialog mine, or make a corpus" in unknown.stderr


def test_paper_base_gets_the_paper_recipe(checkout: ShellCheckout, pickles: Path) -> None:
    result = checkout.run(dataset="iemocap", MODEL_NAME="LLaMA2", NPROC=1, ERC_ORIGINAL_DATA=pickles)
    command = training_command(result)
    assert "LLM_bases/fetch.py LLaMA2)" in result.stdout
    for part in (
        "--batch_size 32 --max_length 1200",
        "--num_train_epochs 6 --learning_rate 2e-4 ",
        "--lora_dim 16 --lora_alpha 16 --lora_dropout 0.05 ",
        "--lora_module_name q_proj,k_proj,v_proj,query_key_value",
        "--output_dir experiments/LLaMA2/lora/iemocap/window_12 ",
    ):
        assert part in command


def test_todays_base_has_its_own_modules_and_kinds_of_adapters(checkout: ShellCheckout) -> None:
    command = training_command(checkout.run(MODEL_NAME="Qwen3-8B", NPROC=1, dora="True", quantize="nf4"))
    assert " --lora_module_name auto" in command and " --dora True" in command and " --quantize nf4" in command
    assert " --output_dir experiments/Qwen3-8B/lora/sample/window_12-dora_True-quantize_nf4-" in command


def test_a_checkpoint_decides_what_nobody_has_said(checkout: ShellCheckout) -> None:
    """An adapter its layers, an erc_config.json how it is asked; a folder without them nothing."""
    start, changed = checkout.root / "adapter", {"max_length": 500, "lora_dim": 8}
    start.mkdir()
    (start / "config.json").touch()
    usual = training_command(checkout.run(checkpoint_dir="adapter"))
    assert "--lora_dim 16" in usual and "--max_length 1024" in usual and "--checkpoint_dir adapter" in usual
    (start / "erc_config.json").touch()
    whole = training_command(checkout.run(checkpoint_dir="adapter"))
    assert "--lora_dim 16" in whole and not re.search("--(max_length|chat_template|calibrate|precision) ", whole)
    (start / "adapter_config.json").touch()
    adapter = training_command(checkout.run(checkpoint_dir="adapter"))
    assert not re.search("--(lora_|rslora|dora|max_length)", adapter) and "--learning_rate 1e-3" in adapter
    told = training_command(checkout.run(checkpoint_dir="adapter", **changed))
    assert "--lora_dim 8" in told and "--max_length 500" in told and "--lora_alpha" not in told
    assert "--quantize none" in training_command(checkout.run(checkpoint_dir="adapter", quantize="none"))


def test_all_parameters(checkout: ShellCheckout) -> None:
    result = checkout.run(Experiments_setting="all_parameters", MODEL_NAME="LLaMA2", NPROC=1)
    command = training_command(result)
    assert "--model_dir checkpoint/LLaMA2/all_parameters/sample/window_12 " in command
    assert " --lora False --batch_size 32 " in command and "--zero_shot" not in command
    assert "--learning_rate 2e-5" in command
    assert "--lora_" not in command and "dora" not in command


def test_zero_shot_passes_nothing_about_training(checkout: ShellCheckout) -> None:
    command = training_command(checkout.run(Experiments_setting="zero_shot"))
    assert command.endswith(
        "--model_dir checkpoint/SmolLM2-135M/zero_shot/sample/window_12 "
        "--zero_shot True --do_train False --lora False --batch_size 16 --max_length 1024 --chat_template False "
        "--decode score --calibrate False --score_on test --precision auto --packing tree --seed 42"
    )


def test_plain_reads_the_utterance_alone(checkout: ShellCheckout) -> None:
    result = checkout.run(script=PLAIN)
    assert "code/data_process_plain.py --dataset sample --clean_text False " in result.stdout
    command = training_command(result)
    assert "/lora/sample/plain " in command and "--batch_size 16 --max_length 300 " in command


def test_nothing_is_said_where_the_usual_is_something(checkout: ShellCheckout) -> None:
    assert "--report_to none" in training_command(checkout.run(report_to="none"))
    assert "--quantize" not in training_command(checkout.run(quantize="none"))


def test_several_processes_on_a_cpu_start_each_other(checkout: ShellCheckout) -> None:
    command = training_command(checkout.run(NPROC=2))
    assert command.startswith('"$python" code/main_new.py --dataset sample')
    assert " --batch_size 16 " in command and command.endswith(" --processes 2")
    assert command.removesuffix(" --processes 2") == training_command(checkout.run())
    refused = checkout.run("--processes", "2", DRY_RUN=0, FLAG=0)
    assert refused.stderr == "error: --processes: set it before the command: NPROC=... bash ...\n"


def test_several_processes_run_under_deepspeed_where_it_is_asked_for(checkout: ShellCheckout) -> None:
    result = checkout.run(NPROC=2, offload_optimizer=True)
    *_, path, command = result.stdout.splitlines()
    assert path == 'export PATH="${python%/*}:$PATH"'
    assert command.startswith(
        '"$python" -m deepspeed.launcher.runner --num_accelerators 2 code/main_new.py --dataset sample'
    )
    assert " --batch_size 16 " in command and "--processes" not in command
    assert command.endswith(" --deepspeed_config code/data_utils/deepspeed_config.json")


def test_offloading_needs_deepspeed(checkout: ShellCheckout) -> None:
    command = training_command(checkout.run(offload_optimizer=True))
    assert command.startswith('"$python" -m deepspeed.launcher.runner --num_accelerators 1 code/main_new.py')


def test_deepspeed_setting_and_machines(checkout: ShellCheckout) -> None:
    (checkout.root / "zero3.json").touch()
    (checkout.root / "code" / "hosts").touch()
    result = checkout.run(cwd=checkout.root / "code", deepspeed_config="../zero3.json", HOSTFILE="hosts")
    command = training_command(result)
    assert command.startswith('"$python" -m deepspeed.launcher.runner --hostfile code/hosts code/main_new.py')
    assert "--deepspeed_config zero3.json" in command


def test_flag_0_checks_and_stops(checkout: ShellCheckout) -> None:
    before = checkout.list_files()
    result = checkout.run(FLAG=0, DRY_RUN=0)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "the settings are fine; FLAG=1 would run lora on sample with SmolLM2-135M, "
        "batches of 1 x 16 = 16 rows, processes: 1 -> experiments/SmolLM2-135M/lora/sample/window_12\n"
    )
    assert checkout.list_files() == before


def test_dry_run_writes_nothing_and_works_from_any_folder(checkout: ShellCheckout, tmp_path: Path) -> None:
    before = checkout.list_files()
    folders = (tmp_path, checkout.root, checkout.root / "code")
    printed = {checkout.run(cwd=folder).stdout for folder in folders}
    assert len(printed) == 1
    assert checkout.list_files() == before


def test_paths_of_the_caller(checkout: ShellCheckout, tmp_path: Path) -> None:
    for folder in (checkout.root / "LLM_bases/mine", tmp_path / "my models/other"):
        folder.mkdir(parents=True)
        (folder / "config.json").touch()
        (folder / "pytorch_model.bin").write_bytes(PICKLE)
    inside = checkout.run(cwd=checkout.root / "LLM_bases", MODEL_NAME=checkout.root / "LLM_bases/mine")
    assert "fetch.py LLM_bases/mine)" in inside.stdout
    outside = checkout.run(cwd=tmp_path / "my models", MODEL_NAME="other/")
    assert f"fetch.py '{tmp_path}/my models/other')" in outside.stdout
    assert re.search(r"experiments/other-[0-9a-f]{8}/lora/sample/window_12 ", training_command(outside))
    assert "fetch.py mine)" in checkout.run(MODEL_NAME="mine").stdout


def test_set_to_nothing_is_unset(checkout: ShellCheckout) -> None:
    names = ("ERC_PYTHON", "ERC_ORIGINAL_DATA", "ERC_TORCH", "HOSTFILE", "NPROC")
    assert checkout.run(**dict.fromkeys(names, "")).stdout == checkout.run().stdout


@pytest.fixture
def stubbed(checkout: ShellCheckout) -> ShellCheckout:
    """The checkout with a python that only writes down what it is asked to run."""
    (checkout.root / "envs/setup.sh").write_text(STUB_SETUP)
    (checkout.root / "stub_python").write_text(STUB_PYTHON)
    (checkout.root / "stub_python").chmod(0o755)
    return checkout


@pytest.mark.parametrize(
    "knobs",
    [{}, {"NPROC": 2}, {"script": PLAIN}, {"script": MIXED}, {"speaker_task": True, "domain_base": True}],
    ids=["one", "two", "plain", "mixed", "stages"],
)
def test_a_run_does_what_the_dry_run_prints(stubbed: ShellCheckout, knobs: dict[str, object]) -> None:
    calls = stubbed.root / "calls.txt"
    # Stages hand on folders of their own.
    further = ["--local_rank", "-1", *([] if "speaker_task" in knobs else ["--data_dir", "two words"])]
    script = stubbed.run(*further, **knobs).stdout
    subprocess.run(["bash", "-c", script], check=True, timeout=300)
    printed = calls.read_text()
    calls.unlink()
    result = stubbed.run(*further, DRY_RUN=0, **knobs)
    assert result.returncode == 0, result.stderr
    assert calls.read_text() == printed
    assert "<--data_dir><the rows><--model_name_or_path><the base>" in printed
    assert printed.endswith("".join(f"<{word}>" for word in further) + "\n")


def test_exit_code_of_the_training_is_passed_on(stubbed: ShellCheckout) -> None:
    assert stubbed.run(DRY_RUN=0, STUB_EXIT=7).returncode == 7


@pytest.mark.parametrize(("knobs", "expected"), [({}, "268435456"), ({"MALLOC_TOP_PAD_": "4096"}, "4096")])
def test_training_keeps_its_memory_unless_the_caller_says_otherwise(stubbed, knobs, expected: str) -> None:
    script = stubbed.run(**knobs).stdout
    assert stubbed.run(DRY_RUN=0, **knobs).returncode == 0
    subprocess.run(["bash", "-c", script], check=True, timeout=300, env={"PATH": "/usr/bin:/bin", **knobs})
    seen = (stubbed.root / "allocator.txt").read_text().split()
    assert seen[2::3] == [expected] * 2, seen
