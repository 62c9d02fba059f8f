"""The shell pipeline: what the result folders are called."""

import re
from pathlib import Path

import pytest

from bases.tensor_files import PICKLE
from shell_checkout import PLAIN, ShellCheckout, training_command


@pytest.mark.parametrize(
    ("knobs", "folder"),
    [
        ({"historical_window": 5}, "lora/sample/window_5"),
        ({"window_step": 1}, "lora/sample/window_12"),
        ({"window_step": 6}, "lora/sample/window_12-step_6-#"),
        ({"window_step": 6, "prompt": "compact"}, "lora/sample/window_12-step_6-prompt_compact-#"),
        ({"seed": 7}, "lora/sample/window_12-seed_7-#"),
        ({"select_on": "test"}, "lora/sample/window_12-select_test-#"),
        ({"score_on": "valid"}, "lora/sample/window_12-score_valid-#"),
        ({"data_percent": 0.25}, "lora/sample/window_12-data_0.25-#"),
        ({"seed": 7, "data_percent": 0.25}, "lora/sample/window_12-seed_7-data_0.25-#"),
        ({"clean_text": True}, "lora/sample/window_12-clean_text_True-#"),
        ({"accumulations": 8}, "lora/sample/window_12-batch_8-#"),
        ({"accumulations": 8, "graphics_card": 2, "NPROC": 1}, "lora/sample/window_12"),
        ({"lora_module_name": "q_proj,v_proj"}, "lora/sample/window_12-lora_on_q_proj+v_proj-#"),
        ({"resume": True, "save_steps": 5}, "lora/sample/window_12"),
        ({"seed": 42}, "lora/sample/window_12"),
        ({"Experiments_setting": "zero_shot", "accumulations": 8}, "zero_shot/sample/window_12"),
        ({"decode": "generate", "num_beams": 4}, "lora/sample/window_12-decode_generate-beams_4-#"),
        ({"script": PLAIN, "seed": 7}, "lora/sample/plain-seed_7-#"),
    ],
)
def test_two_settings_never_share_a_folder(checkout: ShellCheckout, knobs: dict[str, object], folder: str) -> None:
    command = training_command(checkout.run(**knobs))
    called = re.escape(f"/SmolLM2-135M/{folder} ").replace(r"\#", "[0-9a-f]{8}")
    assert re.search(f"--output_dir experiments{called}", command)
    assert re.search(f"--model_dir checkpoint{called}", command)


def test_further_arguments_come_last_and_in_the_folder_name(checkout: ShellCheckout) -> None:
    command = training_command(checkout.run("--seed", "3", "--data_dir", "two words; and $more"))
    assert command.endswith(" --seed 3 --data_dir 'two words; and $more'")
    assert re.search(r"sample/window_12-seed_3_data_dir_two_words__and__more-[0-9a-f]{8} ", command)


def test_an_argument_has_one_folder_however_it_is_joined_to_its_value(checkout: ShellCheckout) -> None:
    (joined, apart) = (training_command(checkout.run(*words)) for words in (["--seed=3"], ["--seed", "3"]))
    assert joined.replace("--seed=3", "--seed 3") == apart


@pytest.mark.parametrize(
    ("further", "folder"),
    [
        ("--resume True --save_steps 5 --token_budget 512", "window_12"),
        ("--resume=True --seed 3", "window_12-seed_3-#"),
        ("--seed 3 --save_steps 5 --clip_norm 2", "window_12-seed_3_clip_norm_2-#"),
    ],
)
def test_what_leaves_the_result_as_it_is_is_not_in_its_name(checkout: ShellCheckout, further: str, folder: str) -> None:
    command = training_command(checkout.run(*further.split()))
    assert re.search(re.escape(f"/lora/sample/{folder} ").replace(r"\#", "[0-9a-f]{8}"), command)
    assert command.endswith(f" {further}")


def result_base(checkout: ShellCheckout, base: object, **knobs: object) -> str:
    """What the result folders call a base."""
    found = re.search(r"--output_dir '?experiments/([^/]+)/", training_command(checkout.run(MODEL_NAME=base, **knobs)))
    assert found
    return found.group(1)


def test_two_bases_never_share_a_folder(checkout: ShellCheckout, tmp_path: Path) -> None:
    for folder in (checkout.root / "LLM_bases/base", tmp_path / "a/base", tmp_path / "b/base"):
        folder.mkdir(parents=True)
        (folder / "config.json").touch()
        (folder / "pytorch_model.bin").write_bytes(PICKLE)
    (tmp_path / "link").symlink_to(tmp_path / "a/base")
    names = [result_base(checkout, base) for base in ("o1/base", "o2/base", tmp_path / "a/base", tmp_path / "b/base")]
    assert names[:2] == ["o1--base", "o2--base"]
    assert len({*names, "base"}) == 5
    assert result_base(checkout, tmp_path / "link") == names[2]
    assert result_base(checkout, "base") == result_base(checkout, checkout.root / "LLM_bases/base") == "base"
    assert result_base(checkout, "HuggingFaceTB/SmolLM2-135M-Instruct") == "SmolLM2-135M"


def test_a_base_of_the_table_is_meant_by_its_name(checkout: ShellCheckout, tmp_path: Path) -> None:
    (tmp_path / "LLaMA2").mkdir()
    result = checkout.run(cwd=tmp_path, MODEL_NAME="LLaMA2", NPROC=1)
    assert "fetch.py LLaMA2)" in result.stdout
    assert "experiments/LLaMA2/lora/sample/window_12 " in training_command(result)
