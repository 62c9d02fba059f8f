"""Exports that other versions and other programs read: older names beside those of transformers 5."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoTokenizer

from gguf_checkpoints import exported, run_export, train
from own_dialogues.exports.portable import with_older_names, with_older_tokenizer
from training.erc_config import find_erc_config, refuse_changed_files

pytestmark = pytest.mark.numeric

LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 64}
# Run by the older version: what it reads, and what the model answers.
READ_BY_OTHERS = """
import json, sys, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer(sys.argv[2])["input_ids"]
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=torch.float32, attn_implementation="eager").eval()
with torch.inference_mode():
    last = model(torch.tensor([ids])).logits[0, -1].tolist()
print(json.dumps([transformers.__version__, ids, last]))
"""
TEXT = 'Speaker_0:"Oh,   no. 42!' * 4


def read_by(folder: Path, packages: str | None) -> list:
    """[version, ids, last logits] as the transformers of a folder of packages, None: ours, reads a model."""
    environment = os.environ | ({"PYTHONPATH": str(Path(packages).resolve())} if packages else {})
    command = [sys.executable, "-c", READ_BY_OTHERS, str(folder), TEXT]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("llama"), "llama", rope_parameters=LLAMA3)


def test_a_merged_folder_has_the_older_names_and_reads_as_before(checkpoint: Path, tmp_path: Path) -> None:
    folder = exported(checkpoint, tmp_path / "merged", "fp32", "merged")
    config = json.loads((folder / "config.json").read_text())
    assert (config["rope_theta"], config["torch_dtype"]) == (500.0, "float32")
    assert config["rope_scaling"] == {name: value for name, value in LLAMA3.items() if name != "rope_theta"}
    assert AutoConfig.from_pretrained(folder).rope_parameters == LLAMA3
    said = json.loads((folder / "tokenizer_config.json").read_text())
    assert said["tokenizer_class"] == "PreTrainedTokenizerFast" and "backend" not in said
    ours, theirs = AutoTokenizer.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(folder)
    assert ours(TEXT)["input_ids"] == theirs(TEXT)["input_ids"] and ours.eos_token == theirs.eos_token
    assert os.stat(folder / "model.safetensors").st_mode & 0o044
    refuse_changed_files(folder, find_erc_config(folder))


def test_an_adapter_says_nothing_that_is_null(checkpoint: Path, tmp_path: Path) -> None:
    result = run_export(checkpoint, tmp_path / "adapter", "--kind", "adapter")
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    there = json.loads((checkpoint / "adapter_config.json").read_text())
    assert None in there.values() and None not in config.values()
    assert config["target_modules"] == there["target_modules"] and config["r"] == 4
    config = find_erc_config(tmp_path / "adapter")
    refuse_changed_files(tmp_path / "adapter", config)
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(Exception, match="adapter_config.json"):
        refuse_changed_files(tmp_path / "adapter", config)


def test_layers_that_turn_by_two_bases() -> None:
    """As transformers 4 writes Gemma 3."""
    rope = {"sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0}}
    rope |= {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}}
    older = with_older_names({"rope_parameters": rope})
    assert older["rope_parameters"] == rope
    assert (older["rope_theta"], older["rope_local_base_freq"]) == (1e6, 10_000.0)
    assert older["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}
    assert "rope_scaling" not in with_older_names({"rope_parameters": rope["sliding_attention"]})
    assert with_older_names({"model_type": "bloom"}) == {"model_type": "bloom"}


def test_further_marks_have_their_older_name() -> None:
    marks = ["<|one|>", "<|two|>"]
    changed = with_older_tokenizer({"tokenizer_class": "Qwen2Tokenizer", "extra_special_tokens": marks})
    assert changed == {"tokenizer_class": "Qwen2Tokenizer", "additional_special_tokens": marks}


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gemma3"])
def test_transformers_4_answers_the_same(kind: str, tmp_path: Path) -> None:
    packages = os.environ.get("ERC_TRANSFORMERS_4")
    if not packages:
        pytest.skip("ERC_TRANSFORMERS_4 names no folder of packages")
    changes = {"rope_parameters": LLAMA3} if kind == "llama" else {}
    folder = exported(train(tmp_path, kind, **changes), tmp_path / "merged", "fp32", "merged")
    version, ids, last = read_by(folder, packages)
    assert version.startswith("4.")
    assert ids == (ours := read_by(folder, None))[1]
    assert last == pytest.approx(ours[2], abs=1e-3)
