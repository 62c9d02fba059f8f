"""The shell pipeline's stages: speakers first, demonstrations, and several datasets at once or in turn."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shell_checkout import MIXED, PLAIN, UNI, Result, ShellCheckout


def stages_of(result: Result) -> list[dict[str, str]]:
    """The flags of every training command that a dry run prints."""
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    commands = [line.split() for line in result.stdout.splitlines() if "main_new.py" in line]
    return [dict(zip(words[2::2], words[3::2], strict=False)) for words in commands]


def test_speaker_stage_comes_first_and_hands_on_its_weights(checkout: ShellCheckout) -> None:
    first, second = stages_of(checkout.run(speaker_task=True, emotion_prediction=True, speaker_epochs=5))
    assert (first["--data_dir"], second["--data_dir"]) == ('"${folders[0]}"', '"${folders[1]}"')
    assert first["--num_train_epochs"] == "5" and second["--num_train_epochs"] == "3"
    assert "--checkpoint_dir" not in first and second["--checkpoint_dir"] == first["--model_dir"]
    assert first["--output_dir"] == second["--output_dir"] + "/stage_1"
    assert first["--model_dir"] == second["--model_dir"] + "-stages/stage_1"


def test_epochs_of_further_arguments_are_those_of_the_emotions(checkout: ShellCheckout) -> None:
    stages = stages_of(checkout.run("--num_train_epochs", "7", speaker_task=True, speaker_epochs=2))
    assert [stage["--num_train_epochs"] for stage in stages] == ["2", "7"]


# An environment whose main_new.py saves when it is told to end, whose launcher starts one and tells it nothing, and
# whose other programs print a word.
FAKE_PYTHON = """#!/usr/bin/env bash
case $1 in
    -) ;;
    -m) "$0" code/main_new.py & sleep 60 ;;
    code/main_new.py)
        trap 'sleep 1; touch saved; exit 143' TERM
        echo $$ >>pids.new && cp pids.new pids
        for ((;;)); do sleep 0.05; done ;;
    LLM_bases/fetch.py | code/data_process.py) echo word ;;
    *) exec {python} "$@" ;;
esac
"""


@pytest.mark.parametrize(
    "settings",
    [{}, {"speaker_task": "True"}, {"deepspeed_config": "code/data_utils/deepspeed_config.json"}],
    ids=["last", "stage", "launcher"],
)
def test_kill_reaches_what_can_save(settings: dict[str, str], checkout: ShellCheckout) -> None:
    """The script's process is that of its last program; it hands on what it is told to one that others follow."""
    python = checkout.root / "python"
    python.write_text(FAKE_PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "ERC_PYTHON": str(python), **settings}
    started = checkout.root / "pids"
    with subprocess.Popen(["bash", checkout.root / "code" / UNI], env=environment, stderr=subprocess.DEVNULL) as script:
        deadline = time.monotonic() + 300
        while not started.exists():
            assert script.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        script.terminate()
    (process,) = map(int, started.read_text().split())
    assert script.returncode == 143 and (checkout.root / "saved").exists()
    assert (process == script.pid) == (not settings) and not psutil.pid_exists(process)


def test_one_stage_on_both_kinds_of_rows(checkout: ShellCheckout) -> None:
    (only,) = stages_of(checkout.run(speaker_task="True_mixed"))
    assert only["--data_dir"] == '"$rows"' and "/window_12-speaker_True_mixed-" in only["--output_dir"]


def test_demonstrations_bring_an_encoder(checkout: ShellCheckout) -> None:
    lines = checkout.run(domain_base=True, demonstrations=2, pairing="paper").stdout.splitlines()
    assert 'encoder=$("$python" LLM_bases/fetch.py all-MiniLM-L6-v2)' in lines
    rows = next(line for line in lines if line.startswith("rows="))
    assert rows.endswith('--encoder "$encoder")') and "--demonstrations 2 --pairing paper" in rows


def test_encoder_has_another_name(checkout: ShellCheckout) -> None:
    named = checkout.run(domain_base=True, encoder="owner/name")
    assert 'encoder=$("$python" LLM_bases/fetch.py owner/name)' in named.stdout.splitlines()
    assert checkout.run(domain_base=True, ENCODER="owner/name").stdout == named.stdout
    assert checkout.run(domain_base=True, ENCODER="owner/name", encoder="owner/name").stdout == named.stdout
    usual = checkout.run(domain_base=True).stdout
    assert checkout.run(domain_base=True, ENCODER="").stdout == usual != named.stdout


@pytest.mark.parametrize("knobs", [{}, {"speaker_task": True}, {"script": PLAIN}], ids=["window", "speaker", "plain"])
def test_rows_are_drawn_by_their_writer(checkout: ShellCheckout, knobs: dict[str, object]) -> None:
    result = checkout.run(data_percent=0.25, seed=7, **knobs)
    stages = stages_of(result)
    assert all(stage["--seed"] == "7" and "--data_percent" not in stage for stage in stages)
    rows = next(line for line in result.stdout.splitlines() if line.startswith("rows="))
    assert " --seed 7 --data_percent 0.25" in rows


def test_few_shot_prompts_may_be_of_a_share_of_train(checkout: ShellCheckout) -> None:
    zero_shot = {"Experiments_setting": "zero_shot", "data_percent": 0.25}
    lines = checkout.run(domain_base=True, **zero_shot).stdout.splitlines()
    assert any(line.startswith("rows=") and " --data_percent 0.25" in line for line in lines)
    result = checkout.run(**zero_shot)
    assert (result.returncode, result.stderr) == (2, "error: data_percent=0.25: only domain_base=True reads it\n")


def test_mixed_rows_are_drawn_by_their_writer(checkout: ShellCheckout, pickles: Path) -> None:
    knobs = {"script": MIXED, "datasets": "meld,EmoryNLP", "ERC_ORIGINAL_DATA": pickles}
    result = checkout.run(mix="ratio", data_percent=0.25, seed=7, **knobs)
    (only,) = stages_of(result)
    assert only["--dataset"] == "unified" and only["--seed"] == "7" and "--data_percent" not in only
    rows = next(line for line in result.stdout.splitlines() if line.startswith("rows="))
    assert "--datasets meld,EmoryNLP --mode mixed --mix ratio" in rows and "--seed 7 --data_percent 0.25" in rows


def test_scenes_are_left_out_by_the_writer_and_in_the_name(checkout: ShellCheckout, pickles: Path) -> None:
    knobs = {"script": MIXED, "datasets": "meld,EmoryNLP", "ERC_ORIGINAL_DATA": pickles}
    (whole,), (only,) = (stages_of(checkout.run(**knobs, **more)) for more in ({}, {"without_shared_scenes": True}))
    assert "-without_scenes_True-" in only["--output_dir"] and "without" not in whole["--output_dir"]
    rows = checkout.run(without_shared_scenes=True, **knobs).stdout
    assert " --without_shared_scenes True" in rows and "--without_shared_scenes" not in only
    refused = checkout.run(without_shared_scenes=True)
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: without_shared_scenes=True: Experiments_setting=lora on window rows has no use for it\n",
    )


def test_sets_one_after_the_other(checkout: ShellCheckout, pickles: Path) -> None:
    sets = "meld,EmoryNLP,iemocap"
    stages = stages_of(checkout.run(script=MIXED, datasets=sets, mode="sequence", ERC_ORIGINAL_DATA=pickles))
    assert [stage["--data_dir"] for stage in stages] == [f'"${{folders[{number}]}}"' for number in range(3)]
    assert [stage.get("--checkpoint_dir") for stage in stages] == [None, *(s["--model_dir"] for s in stages[:2])]


# The signal comes when the command heeds it, and before the shell has looked whether one came earlier.
TOLD_AS_IT_BEGINS = """
source code/experiment.sh
DRY_RUN=0
set -T
trap 'case $BASH_COMMAND in
    "set +m") until [[ -e heeds ]]; do sleep 0.05; done; kill $$ ;;
    "((!told"*) sleep 0.5 ;;
esac' DEBUG
do_and_wait bash -c 'trap "echo told" TERM; >heeds; for turn in {1..20}; do sleep 0.1; done'
"""


def test_what_has_just_begun_is_told_once(checkout: ShellCheckout) -> None:
    """A second signal would take away its time to save."""
    command = ["bash", "-c", TOLD_AS_IT_BEGINS]
    done = subprocess.run(command, cwd=checkout.root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (143, "told\n"), done.stderr
