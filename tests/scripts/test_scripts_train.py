"""The scripts for real: set-up given, a tiny base, several stages, from the sample corpus to scores."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from shell_checkout import REPOSITORY, UNI
from tiny_models import save_base

# Few and short prompts: the tokenizer's tokens are characters.
KEPT = ("PATH", "HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")
KNOBS = {"historical_window": 1, "data_percent": 0.05, "num_train_epochs": 1, "lora_module_name": "all"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of what the scripts need, with a base in it."""
    folder = tmp_path_factory.mktemp("scripts") / "a checkout"
    for part in ("code", "envs", "LLM_bases"):
        left = shutil.ignore_patterns("*.pyc.*", "SmolLM2*", "all-MiniLM*", "Gemma*", ".cache")
        shutil.copytree(REPOSITORY / part, folder / part, ignore=left)
    shutil.copytree(REPOSITORY / "original_data" / "sample", folder / "original_data" / "sample")
    save_base(folder / "base")
    return folder


def run(root: Path, script: str, **knobs: object) -> str:
    """What a script prints; it must end well."""
    settings = {"MODEL_NAME": root / "base", "ERC_PYTHON": sys.executable, **KNOBS, **knobs}
    inherited = {name: value for name, value in os.environ.items() if name in KEPT}
    environment = inherited | {name: str(value) for name, value in settings.items()}
    command = ["bash", str(root / "code" / script)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def results_of(root: Path, pattern: str) -> dict:
    (path,) = (root / "experiments").glob(f"*/lora/{pattern}/results.json")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_speakers_first_then_emotions_with_their_prediction(root: Path) -> None:
    """What stands from before where the model goes is replaced."""
    knobs = {"speaker_task": True, "emotion_prediction": True, "speaker_epochs": 1}
    words = shlex.split(run(root, UNI, **knobs, DRY_RUN=1).splitlines()[-1])
    places = {name: root / words[words.index(f"--{name}") + 1] for name in ("model_dir", "output_dir")}
    weights = places["model_dir"] / "adapter_model.safetensors"
    earlier = [weights, weights.with_name("adapter_config.json"), places["output_dir"] / "results.json"]
    earlier += [places["output_dir"] / "stage_1" / "results.json"]
    for path in earlier:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of before")
    run(root, UNI, **knobs)
    first = results_of(root, "sample/window_1-speaker_True-*/stage_1")
    second = results_of(root, "sample/window_1-speaker_True-*")
    assert set(first["training_rows"]) == {"speaker_identification"}
    assert set(second["training_rows"]) == {"emotion_recognition", "emotion_prediction"}
    assert second["arguments"]["checkpoint_dir"] == first["arguments"]["model_dir"]
    assert second["rows"] == 116 and first["arguments"]["model_dir"].endswith("-stages/stage_1")
    assert load_file(weights) and not any(path.read_bytes() == b"of before" for path in earlier)
