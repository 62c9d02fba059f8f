"""export.py: merged weights that other programs load, adapters that others can use, and nothing half-written."""

import json
import os
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

import export
import main_new
from bases.adapters import load_adapter
from bases.load import load_model
from bases.table import BASES
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from own_dialogues.exports import folders
from own_dialogues.exports.folders import merge
from own_dialogues.recognizer import EmotionRecognizer
from tiny_models import main_command, save_base, save_rows, tiny_model
from training.checkpoints import replaced_folder
from training.rows.trained_texts import TRAINED_TEXTS_FILE

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")


class Place:
    """A base, rows, a trained adapter, and what is exported of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base, self.rows = save_base(folder / "base", "qwen2"), save_rows(folder)

    def train(self, run: str, **flags: object) -> Path:
        flags = {"num_train_epochs": 1, "save_steps": 0} | flags
        result = call_script(main_new.main, *main_command(self.base, self.rows, self.folder / run, **flags))
        assert result.returncode == 0, result.stderr
        return self.folder / run / "model"

    def export(self, checkpoint: Path, output: Path, *flags: str) -> CompletedProcess[str]:
        command = ("--checkpoint_dir", checkpoint, "--output_dir", output)
        return call_script(export.main, *command, *flags)

    def predictions(self, run: str) -> list[dict]:
        lines = (self.folder / run / "results" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def adapter(place: Place) -> Path:
    return place.train("lora")


def merged_in_fp32(place: Place, adapter: Path, output: Path) -> Path:
    result = place.export(adapter, output, "--precision", "fp32")
    assert (result.returncode, result.stdout) == (0, f"{output}\n"), result.stderr
    return output


def test_merged_weights_load_without_us_and_say_the_same(place: Place, adapter: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = merged_in_fp32(place, adapter, tmp_path / "merged")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours = load_adapter(load_model(str(place.base), torch.float32, CPU), str(adapter), trainable=False).eval()
    ids = AutoTokenizer.from_pretrained(folder)('Speaker_0:"Fine."', return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        base = load_model(str(place.base), torch.float32, CPU).eval()(ids).logits
        found, expected = model(ids).logits, ours(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert float((found - base).abs().max()) > 0.1, "the adapter changed nothing"


def test_deepspeed_which_saving_imports_need_not_guess_the_device(
    place: Place, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)  # it would warn of each guess
    merged_in_fp32(place, adapter, tmp_path / "merged")
    assert os.environ["DS_ACCELERATOR"] == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("flags", [{}, {"dora": True, "rslora": True}], ids=["LoRA", "rsDoRA"])
def test_merged_weights_score_as_the_adapter(place: Place, tmp_path: Path, flags: dict) -> None:
    adapter = place.train("scored", **flags)
    folder = merged_in_fp32(place, adapter, tmp_path / "merged")
    command = main_command(folder, place.rows, place.folder / "merged", do_train=False, zero_shot=True)
    assert call_script(main_new.main, *command).returncode == 0
    assert len(EmotionRecognizer.from_pretrained(folder).predict([("Ann", "Run!")])) == 1  # as the adapter was asked
    for merged, apart in zip(place.predictions("merged"), place.predictions("scored"), strict=True):
        assert merged["label"] == apart["label"]
        assert merged["scores"] == pytest.approx(apart["scores"], abs=1e-3)


def test_what_lies_in_the_folder(place: Place, adapter: Path, tmp_path: Path) -> None:
    (place.base / "tokenizer.model").write_bytes(b"pieces")
    folder = merged_in_fp32(place, adapter, tmp_path / "merged")
    (place.base / "tokenizer.model").unlink()
    files = {path.name for path in folder.iterdir()}
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "tokenizer.model"}
    assert (folder / TRAINED_TEXTS_FILE).read_bytes() == (adapter / TRAINED_TEXTS_FILE).read_bytes()
    assert files >= wanted | {"README.md"} and "adapter_config.json" not in files
    config = json.loads((folder / "config.json").read_text())
    assert config["use_cache"] is True and config["architectures"] == ["Qwen2ForCausalLM"]
    assert "prefix_tree" not in json.dumps(config)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "library_name: transformers" in card and "merged into its base" in card
    assert "--checkpoint_dir merged " in card and str(tmp_path) not in card and "--precision fp32" in card
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_each_sum_is_rounded_once(place: Place, adapter: Path, tmp_path: Path) -> None:
    assert place.export(adapter, tmp_path / "merged").returncode == 0
    found = load_file(tmp_path / "merged" / "model.safetensors")
    weights = load_file(adapter / "adapter_model.safetensors")
    name = "model.layers.1.self_attn.q_proj"
    a, b = (weights[f"base_model.model.{name}.lora_{side}.weight"].float() for side in "AB")
    base = load_file(place.base / "model.safetensors")[f"{name}.weight"].bfloat16().float()
    merged = found[f"{name}.weight"]
    assert merged.dtype == torch.bfloat16
    assert torch.equal(merged, (base + (b @ a) * (16 / 4)).bfloat16())


def test_a_whole_model_is_exported_in_another_precision(place: Place, tmp_path: Path) -> None:
    whole = place.train("whole", lora=False, learning_rate=1e-3)
    assert place.export(whole, tmp_path / "half", "--precision", "fp16").returncode == 0
    found, kept = (load_file(folder / "model.safetensors") for folder in (tmp_path / "half", whole))
    assert all(torch.equal(found[name], weight.half()) for name, weight in kept.items())
    assert "all parameters fine-tuned" in (tmp_path / "half" / "README.md").read_text(encoding="utf-8")


def test_an_adapter_is_exported_with_its_card(place: Place, adapter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    assert place.export(adapter, folder, "--kind", "adapter").returncode == 0
    assert {path.name for path in folder.iterdir()} == {path.name for path in adapter.iterdir()}
    assert "--checkpoint_dir adapter " in (folder / "README.md").read_text(encoding="utf-8")
    load_adapter(load_model(str(place.base), torch.float32, CPU), str(folder), trainable=False)
    source = {"hub_id": "somebody/base"}
    (place.base / "SOURCE.json").write_text(json.dumps(source))
    try:
        assert place.export(adapter, folder, "--kind", "adapter").returncode == 0
    finally:
        (place.base / "SOURCE.json").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "somebody/base"


def test_a_failure_leaves_the_earlier_export(place: Place, adapter: Path, tmp_path: Path, monkeypatch) -> None:
    folder = merged_in_fp32(place, adapter, tmp_path / "merged")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def break_off(*_) -> str:
        raise RuntimeError("killed")

    monkeypatch.setattr(folders, "write_atomically", break_off)
    with pytest.raises(RuntimeError, match="killed"):
        place.export(adapter, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_an_export_killed_between_its_last_steps_is_not_lost(place: Place, adapter: Path, tmp_path: Path) -> None:
    """The earlier one had moved aside, and the new one had not come yet; the next export then fails."""
    folder = merged_in_fp32(place, adapter, tmp_path / "merged")
    folder.rename(tmp_path / ".merged.old")
    with pytest.raises(RuntimeError, match="killed"), replaced_folder(folder):
        raise RuntimeError("killed")
    assert (folder / "model.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_one_that_ships_goes_by_its_name(tmp_path: Path) -> None:
    assert [export.find_model(Path(name)).name for name in ("meld", "emorynlp", "sample")] == [
        "meld",
        "EmoryNLP",
        "adapter",
    ]


def test_what_is_refused(place: Place, adapter: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(checkpoint: Path, output: Path, *flags: str, told: tuple[str, ...]) -> None:
        before = sorted(tmp_path.rglob("*"))
        assert_one_line_error(place.export(checkpoint, output, *flags), *told)
        assert sorted(tmp_path.rglob("*")) == before

    copy = Path(shutil.copytree(adapter, tmp_path / "copy"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    refuse(
        tmp_path / "full", tmp_path / "new", told=("--checkpoint_dir", "no adapter or model", "meld, EmoryNLP, sample")
    )
    refuse(copy, tmp_path / "full", told=("something else",))
    other = Path(shutil.copytree(place.base, tmp_path / "other"))  # a base, which no export has made
    refuse(copy, other, told=("--output_dir", "holds something else than an export"))
    refuse(copy, copy, told=("--output_dir", "would replace --checkpoint_dir"))
    refuse(copy, tmp_path, told=("would replace --checkpoint_dir",))
    refuse(copy, tmp_path / "new", "--kind", "both", told=("merged, adapter",))
    refuse(copy, tmp_path / "new", "--kind", "adapter", "--precision", "fp32", told=("exported as it is",))
    refuse(copy, tmp_path / "new", "--model_name_or_path", "GPT-5", told=("GPT-5",))
    refuse(copy, tmp_path / "new", "--model_name_or_path", "Qwen3-8B", told=("LLM_bases/fetch.py Qwen3-8B",))
    refuse(copy, tmp_path / "new", "--model_name_or_path", BASES["Qwen3-8B"].hub_id, told=("fetch.py Qwen3-8B",))
    refuse(place.base, tmp_path / "new", "--kind", "adapter", told=("holds a whole model",))
    named = ("--model_name_or_path", str(place.base))
    refuse(copy, tmp_path / "new", "--kind", "adapter", *named, told=("is exported without its base; leave it away",))
    whole = Path(shutil.copytree(place.base, tmp_path / "whole"))
    shutil.copy(copy / "README.md", whole / "README.md")
    refuse(whole, tmp_path / "new", *named, told=("holds a whole model, without a base; leave it away",))
    (copy / "README.md").unlink()
    refuse(copy, tmp_path / "new", "--kind", "adapter", told=("README.md", "model card"))


def test_nothing_of_the_repository_that_exports_are_made_from_is_replaced(
    adapter: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(folders, "find_repository", lambda: tmp_path)
    for kept in ("LLM_bases", "checkpoint"):
        place = Path(shutil.copytree(adapter, tmp_path / kept / "base" / "run"))
        (told,) = folders.find_output_problems(adapter, place)
        assert f"is in {kept}/, of which nothing is replaced" in told
        assert folders.find_output_problems(adapter, tmp_path / kept / "new") == []


def test_a_precision_in_which_the_base_overflows_is_refused(place: Place, adapter: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(place.base, tmp_path / "Gemma-3-1B"))
    copy = Path(shutil.copytree(adapter, tmp_path / "copy"))
    config = json.loads((copy / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(base)}
    (copy / "adapter_config.json").write_text(json.dumps(config))
    whole = Path(shutil.copytree(base, tmp_path / "whole"))  # as trained from it in all parameters
    for name in ("README.md", "erc_config.json"):
        shutil.copy(adapter / name, whole / name)
    named = json.loads((whole / "erc_config.json").read_text()) | {"base": BASES["Gemma-3-1B"].hub_id}
    named |= {"weights_sha256": None, "files_sha256": None}
    (whole / "erc_config.json").write_text(json.dumps(named))
    told = "--precision fp16: Gemma-3-1B overflows in it; choose bf16, fp32"
    for checkpoint in (copy, whole):
        assert_one_line_error(place.export(checkpoint, tmp_path / "new", "--precision", "fp16"), told)
        with pytest.raises(UserError, match=told):
            EmotionRecognizer.from_pretrained(checkpoint, precision="fp16")
    assert not (tmp_path / "new").exists()


def test_merging_changes_no_weight_without_an_adapter(place: Place, adapter: Path) -> None:
    base = load_model(str(place.base), torch.bfloat16, CPU)
    expected = {name: weight.clone() for name, weight in base.state_dict().items() if "embed" in name or "norm" in name}
    merged = merge(load_adapter(base, str(adapter), trainable=False)).state_dict()
    assert expected and all(torch.equal(merged[name], weight) for name, weight in expected.items())


def test_an_adapted_head_is_merged_beside_the_embeddings_that_it_shares(tmp_path: Path) -> None:
    """Of an adapter that was made elsewhere: here none sits on a head."""
    torch.manual_seed(0)
    config = LoraConfig(r=3, target_modules=["q_proj", "lm_head"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(tiny_model("llama", tie_word_embeddings=True), config).eval()
    tokens = torch.arange(3, 20)[None]
    with torch.inference_mode():
        expected = model(tokens).logits
        merge(model).save_pretrained(tmp_path)
        torch.testing.assert_close(load_model(str(tmp_path), torch.float32, CPU)(tokens).logits, expected)
