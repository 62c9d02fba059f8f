"""Every architecture of the table from its published files to its scores: fetch, train, score, save, load again."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file

import main_new
from bases.fetch import fetch_from_hub
from bases.load import load_model
from bases.table import BASES
from commands import call_script
from published_layouts import LAYOUTS, FolderHub, publish
from tiny_models import LABELS, main_command, save_rows

# Weights that are tied, joined, beside a tower of pictures, and named unlike all others.
ALL_TRAINED = ("Llama-3.2-1B", "GLM-4-9B", "Gemma-3-4B", "Bloom-560m")


class Job:
    """One base, fetched from a hub of folders, and main_new.py on it."""

    def __init__(self, name: str, folder: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base, self.folder, self.rows = BASES[name], folder, rows
        hub = FolderHub(publish(name, self.base.architecture, folder / "page"))
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
        self.fetched = fetch_from_hub(self.base, folder, folder / "work")

    def run(self, name: str, **flags: object) -> CompletedProcess[str]:
        flags = {"num_train_epochs": 1, "save_steps": 0, "learning_rate": 5e-3, "compile_layers": False} | flags
        command = main_command(self.fetched, self.rows, self.folder / name, **flags)
        result = call_script(main_new.main, *command)
        assert result.returncode == 0, result.stderr
        return result

    def score(self, name: str, checkpoint: str, **flags: object) -> list[dict[str, Any]]:
        """The predictions of what an earlier run saved."""
        start = {"checkpoint_dir": self.folder / checkpoint / "model", "lora_module_name": None}
        self.run(name, do_train=False, **start, **flags)
        return self.predictions(name)

    def predictions(self, name: str) -> list[dict[str, Any]]:
        lines = (self.folder / name / "results" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def results(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name / "results" / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    return save_rows(tmp_path_factory.mktemp("rows"))


def test_every_architecture_of_the_table_has_a_layout() -> None:
    """Those of ChatGLM are in test_chatglm.py and test_chatglm2.py."""
    table = {row.architecture for row in BASES.values()}
    assert table - {"chatglm", "glm"} == {BASES[name].architecture for name in LAYOUTS}
    assert set(ALL_TRAINED) < set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_whole_job(name: str, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(name, tmp_path, rows, monkeypatch)
    fetched = {path.name for path in job.fetched.iterdir()}
    assert not fetched & {"README.md", "modeling_custom.py", "consolidated.safetensors"}

    check_weights(job)

    trained = job.run("lora", lora_module_name="auto")
    assert f"the table's for {name}" in trained.stderr
    assert job.results("lora")["packing"] == "tree"
    check_adapter(job)
    predictions = job.predictions("lora")
    assert [tuple(row["scores"]) for row in predictions] == [LABELS] * len(predictions)
    assert job.score("lora reloaded", "lora") == predictions
    for tree, alone in zip(predictions, job.score("lora in rows", "lora", packing="rows"), strict=True):
        assert alone["scores"] == pytest.approx(tree["scores"], abs=2e-4)

    if name in ALL_TRAINED:
        check_all_parameters(job, predictions)


def check_all_parameters(job: Job, predictions: list[dict[str, Any]]) -> None:
    """All are trained, saved, and score and write as they were left; predictions: of the adapter, which are others."""
    job.run("all", lora=False, learning_rate=1e-3)
    found = job.results("all")
    assert found["packing"] == "tree" and found["trainable_parameters"] == found["parameters"]
    assert job.score("all reloaded", "all") == job.predictions("all") != predictions
    answers = job.score("all generated", "all", decode="generate", max_new_tokens=3)
    assert all(isinstance(row["response"], str) for row in answers)


def check_weights(job: Job) -> None:
    """Every weight is the published one of its name, none is drawn."""
    published = {name: tensor for file in job.fetched.glob("*.safetensors") for name, tensor in load_file(file).items()}
    for name, weight in load_model(str(job.fetched), torch.bfloat16, torch.device("cpu")).named_parameters():
        inner = name.removeprefix("model.").removeprefix("transformer.")
        (found,) = (tensor for other, tensor in published.items() if other == inner or other.endswith(f".{inner}"))
        assert torch.equal(weight, found), name


def check_adapter(job: Job) -> None:
    """The adapter sits where the row says, its base goes by its hub id, and the tokenizer keeps the row's rule."""
    from transformers import AutoTokenizer

    model = job.folder / "lora" / "model"
    config = json.loads((model / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == job.base.hub_id
    if job.base.lora_targets != "all":
        assert set(config["target_modules"]) == set(job.base.lora_targets)
    else:
        assert len(config["target_modules"]) >= 4
    tokenizer = AutoTokenizer.from_pretrained(model)
    layout = LAYOUTS[job.base.name]
    assert tokenizer.eos_token == (job.base.eos or layout.special["eos_token"])
    assert tokenizer.pad_token == layout.special.get("pad_token", job.base.pad or tokenizer.eos_token)
