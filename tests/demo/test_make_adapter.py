"""demo/adapter: what ships with the repository says where it lies and what may be done with it, and how it is made."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import main_new
from bases.load import choose_precision
from bases.table import BASES
from bases.terms import GEMMA_TERMS
from commands import REPOSITORY, assert_one_line_error, call_script
from data_utils.examples import RowSettings
from data_utils.row_files import read_manifest
from data_utils.row_folders import prepare_folder
from experiment_utils.conditions import list_conditions, read_table
from results.card import render_licences
from shell_checkout import ShellCheckout, training_command
from training.rows.trained_texts import read_trained_texts

FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors", "erc_config.json", "results.json"}
FILES |= {"trained_texts.txt", "elsewhere.json"}
SHIPPED = REPOSITORY / "demo" / "adapter"
PEOPLE = ("meld", "EmoryNLP")


def test_the_shipped_card_names_its_folder_and_licences() -> None:
    assert {path.name for path in SHIPPED.iterdir()} == FILES - {"elsewhere.json"}
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert "main_new.py --do_train False --checkpoint_dir demo/adapter --dataset sample " in card
    licences = render_licences("sample", "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert licences in card and licences.count("Apache-2.0") == 2 and "CC0 1.0" in licences


@pytest.mark.parametrize("name", PEOPLE)
def test_adapters_of_people_are_small_and_say_what_they_score(name: str) -> None:
    folder = REPOSITORY / "demo" / "adapters" / name
    assert {path.name for path in folder.iterdir()} == FILES | {"transitions.json"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"--checkpoint_dir demo/adapters/{name} --dataset {name} " in card and "`bash demo/make_adapter.sh`" in card
    assert render_licences(name, "HuggingFaceTB/SmolLM2-135M-Instruct") in card
    scores = json.loads((folder / "elsewhere.json").read_bytes())
    assert {one["dataset"] for one in scores} == {"sample", "meld", "EmoryNLP", "iemocap"}
    assert all(
        f"| {one['dataset']}, test | {one['utterances']:,} | {one['weighted_f1']:.2f} (" in card for one in scores
    )


def test_the_front_page_says_what_adapters_of_people_score() -> None:
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    runs = [json.loads((REPOSITORY / "demo/adapters" / name / "results.json").read_bytes()) for name in PEOPLE]
    assert (
        f"scores {runs[0]['weighted_f1']:.2f} on MELD's test set, `EmoryNLP` {runs[1]['weighted_f1']:.2f} on its own"
        in page
    )
    scores = json.loads((REPOSITORY / "demo/adapters/meld/elsewhere.json").read_bytes())
    found = {one["dataset"]: f"{one['weighted_f1']:.2f}" for one in scores}
    assert (
        f"scores {found['EmoryNLP']} on EmoryNLP, {found['iemocap']} on IEMOCAP, {found['sample']} on our sample"
        in page
    )


def test_the_shipped_adapter_tells_the_texts_of_its_training(tmp_path: Path) -> None:
    folder = prepare_folder(RowSettings("sample"), REPOSITORY / "original_data", tmp_path)
    rows, learned = read_manifest(folder), json.loads((SHIPPED / "results.json").read_bytes())["row_digests"]
    assert learned["window/train.json"] == rows["sha256"]["train.json"]
    assert read_trained_texts(SHIPPED) == set(rows["texts"]["train"].values())


@pytest.mark.slow
def test_the_command_of_the_shipped_card_gives_the_shipped_scores(
    shipped_adapter: Path, agreement_known: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word but for its folders, and in fp32 on a processor that would emulate bf16 at three times the time."""
    card = (shipped_adapter / "README.md").read_text(encoding="utf-8")
    (line,) = (line for line in card.splitlines() if line.startswith("    python"))
    _, script, *flags = shlex.split(line)
    assert script == "code/main_new.py"
    rows = prepare_folder(RowSettings("sample"), REPOSITORY / "original_data", tmp_path)
    places = {"--data_dir": rows, "--output_dir": tmp_path / "scored"}
    if choose_precision("auto", torch.device("cpu")) == torch.float32:
        places["--precision"] = "fp32"
    for name, place in places.items():
        flags[flags.index(name) + 1] = place
    monkeypatch.chdir(REPOSITORY)
    result = call_script(main_new.main, *flags)
    assert result.returncode == 0, result.stderr
    ours, shipped = (
        json.loads(path.read_bytes()) for path in (tmp_path / "scored/results.json", SHIPPED / "results.json")
    )
    assert ours["rows"] == shipped["rows"] and ours["weighted_f1"] == pytest.approx(shipped["weighted_f1"], abs=1)


def test_licences_of_others_are_left_to_them() -> None:
    licences = render_licences("meld", "somebody/base")
    assert "base" not in licences and "`meld` may only be passed on as that dataset's licence allows" in licences
    assert "Licence of `meld`: GPL-3.0" in licences and "Licence" not in render_licences("iemocap", "somebody/base")[9:]


def test_a_card_holds_the_notice_of_the_bases_terms() -> None:
    licences = render_licences("meld", "google/gemma-3-270m")
    assert f"base Gemma Terms of Use ({GEMMA_TERMS.notice})" in licences
    assert all(base.terms is GEMMA_TERMS for base in BASES.values() if base.licence == "Gemma Terms of Use")


@pytest.mark.parametrize(
    ("arguments", "knobs", "told"),
    [(["--help"], {}, "Trains an adapter that ships"), ([], {"FLAG": "0"}, "the settings are fine")],
    ids=["help", "FLAG=0"],
)
def test_what_trains_nothing_ships_nothing(
    checkout: ShellCheckout, arguments: list[str], knobs: dict[str, str], told: str
) -> None:
    """Also where an earlier run has left a checkpoint, which would take the place of the adapter that ships."""
    (checkout.root / "demo").mkdir()
    shutil.copy(REPOSITORY / "demo" / "make_adapter.sh", checkout.root / "demo")
    (checkout.root / "demo" / "ship_adapter.sh").write_text("echo it took its place\n")
    done = checkout.run(*arguments, script="../demo/make_adapter.sh", DRY_RUN=0, **knobs)
    assert (done.returncode, done.stderr) == (0, "")
    assert told in done.stdout and "it took its place" not in done.stdout


@pytest.mark.parametrize("flags", [["--output_dir", "x"], ["--model_dir=x"], ["--seed", "1", "--do_train", "False"]])
def test_flags_that_lead_elsewhere_are_refused(checkout: ShellCheckout, flags: list[str]) -> None:
    """What an earlier run had left in the usual folders was shipped as if it had been trained by them."""
    (checkout.root / "demo").mkdir()
    shutil.copy(REPOSITORY / "demo" / "make_adapter.sh", checkout.root / "demo")
    done = checkout.run(*flags, script="../demo/make_adapter.sh")
    wrong = next(flag for flag in flags if flag.startswith(("--output", "--model", "--do")))
    assert_one_line_error(done, f"{wrong}: what ships is trained and scored anew", "leave it out")


@pytest.mark.slow
def test_the_script_exports_what_was_trained(trained: Path, tmp_path: Path) -> None:
    """With an adapter of a tiny base in the place of the one that would be trained."""
    for folder in ("code", "demo", "envs"):
        (tmp_path / folder).mkdir()
    for name in ("make_adapter.sh", "ship_adapter.sh"):
        shutil.copy(REPOSITORY / "demo" / name, tmp_path / "demo")
    for name in ("export.py", "score_elsewhere.py"):
        (tmp_path / "code" / name).symlink_to(REPOSITORY / "code" / name)
    (tmp_path / "envs" / "setup.sh").write_text(f"echo {sys.executable}\n")
    trains = f"mkdir checkpoint experiments; cp -r '{trained}/run/model' checkpoint/demo_sample\n"
    trains += f"cp -r '{trained}/run/results' experiments/demo_sample\n"
    (tmp_path / "code" / "train_and_inference_Uni.sh").write_text(trains)
    made = tmp_path / "demo" / "adapter"
    made.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "of_an_earlier_one"):
        (made / name).touch()
    shutil.copy(REPOSITORY / "demo" / "adapter" / "README.md", made)  # the card of an earlier one
    environment = os.environ | {"DRY_RUN": "0", "ERC_ORIGINAL_DATA": str(tmp_path)}  # no corpus of people there
    command = ["bash", tmp_path / "demo" / "make_adapter.sh"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in made.iterdir()} == FILES
    card = (made / "README.md").read_text(encoding="utf-8")
    assert "--checkpoint_dir demo/adapter " in card
    (score,) = json.loads((made / "elsewhere.json").read_bytes())
    assert f"| sample, test | 116 | {score['weighted_f1']:.2f} (" in card


def test_adapters_of_people_are_trained_as_their_condition_says(checkout: ShellCheckout, pickles: Path) -> None:
    condition = list_conditions(read_table())["shipped/compact+step_6+class_weights/meld"]
    (checkout.root / "demo").mkdir()
    shutil.copy(REPOSITORY / "demo" / "make_adapter.sh", checkout.root / "demo")
    made = checkout.run(script="../demo/make_adapter.sh", dataset="meld", ERC_ORIGINAL_DATA=pickles)
    usual = checkout.run(**condition.settings, ERC_ORIGINAL_DATA=pickles)
    assert "--model_dir checkpoint/demo_meld" in training_command(made)
    folders = re.compile(r" --(output_dir|model_dir) \S+")
    ours, theirs = (folders.sub("", training_command(result)) for result in (made, usual))
    assert ours == theirs
