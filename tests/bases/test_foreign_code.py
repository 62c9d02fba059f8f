"""A base that brings code of its own: refused in one line, and nobody is asked whether the code may run."""

import builtins
import json
from pathlib import Path

import pytest
import torch

from bases.load import load_model, load_tokenizer
from basics.errors import UserError
from planning.meta_model import load_config
from scoring.encoder_finetuning import load_encoder
from tiny_models import save_base

CLASSES = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model", "AutoTokenizer": ["theirs.T", None]}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base of an architecture that only its own code knows; that code would leave a trace, a question would fail."""
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("somebody was asked"))
    folder = save_base(tmp_path / "base")
    for name, changes in {"config.json": {"model_type": "theirs"}, "tokenizer_config.json": {}}.items():
        read = json.loads((folder / name).read_text())
        read.pop("tokenizer_class", None)
        (folder / name).write_text(json.dumps(read | changes | {"auto_map": CLASSES}))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    return folder


def test_code_of_a_base_is_neither_run_nor_asked_about(base: Path, tmp_path: Path) -> None:
    loads = (
        load_tokenizer,
        lambda name: load_model(name, torch.float32, torch.device("cpu")),
        load_config,
        load_encoder,
    )
    for load in loads:
        with pytest.raises(UserError, match="cannot be loaded") as caught:
            load(str(base))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_known_architecture_is_loaded_by_our_own_code(base: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    assert load_model(str(base), torch.float32, torch.device("cpu")).config.model_type == "llama"
    assert not (tmp_path / "ran").exists()
