"""The weights of a base are those of its files, and what it cannot do is said in one line: through main_new.py."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from peft.utils import load_peft_weights
from safetensors.torch import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
)

import main_new
from bases.adapters import load_adapter
from bases.load import explained, load_model, load_tokenizer, positions_of, refuse_larger_than_card
from bases.quantization import report_unquantized
from basics.errors import UserError
from commands import call_script
from every_architecture import small_config
from own_dialogues.recognizer import EmotionRecognizer
from tiny_models import GROUPED, VOCABULARY_SIZE, character_tokenizer, main_command, save_base, save_rows

CPU = torch.device("cpu")
NO_CAUSAL = "is no causal language model but"
VISION = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
VISION |= {"image_size": 28, "patch_size": 14}
TEXT = GROUPED | {"vocab_size": VOCABULARY_SIZE + 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    return save_rows(tmp_path_factory.mktemp("rows"))


def save(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return folder


def change_weights(folder: Path, change: Callable[[dict], dict]) -> None:
    path = folder / "model.safetensors"
    save_file({name: tensor.clone() for name, tensor in change(load_file(path)).items()}, path, {"format": "pt"})


def call(base: Path, rows: Path, output: Path, **flags: object) -> CompletedProcess[str]:
    flags = {"num_train_epochs": 1, "save_steps": 0, "compile_layers": False} | flags
    return call_script(main_new.main, *main_command(base, rows, output, **flags))


def refused(result: CompletedProcess[str], output: Path) -> str:
    """The one line of the refusal; nothing is written."""
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
    assert not output.exists() or not any(output.rglob("*.json"))
    return result.stderr.splitlines()[-1]


def without_a_layers_mlp(state: dict) -> dict:
    return {name: tensor for name, tensor in state.items() if "layers.1.mlp" not in name}


def with_scales(state: dict) -> dict:
    return state | {"model.layers.0.mlp.up_proj.weight_scale_inv": torch.ones(1, 1)}


def narrower(state: dict) -> dict:
    return state | {"model.layers.1.mlp.up_proj.weight": torch.ones(40, 32)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_a_layers_mlp, "model.layers.1.mlp.down_proj.weight, model.layers.1.mlp.gate_proj.weight, "),
        (with_scales, "model.layers.0.mlp.up_proj.weight_scale_inv is there, but not in this model"),
        (narrower, "model.layers.1.mlp.up_proj.weight is there in another shape"),
    ],
)
def test_weights_that_are_not_those_of_the_files_stop_the_run(change, told: str, rows: Path, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    change_weights(base, change)
    assert told in refused(call(base, rows, tmp_path / "run"), tmp_path / "run")


def test_tied_heads_and_old_tables_are_no_fault(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tie_word_embeddings=True)
    table = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    change_weights(base, lambda state: state | table)
    assert "lm_head.weight" not in load_file(base / "model.safetensors")
    model = load_model(str(base), torch.float32, CPU)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def smolvlm():
    config = CONFIG_MAPPING["smolvlm"](text_config={"model_type": "llama", **TEXT}, vision_config=VISION)
    return config, "model.text_model."


def idefics3():
    config = CONFIG_MAPPING["idefics3"](text_config={"model_type": "llama", **TEXT}, vision_config=VISION)
    return config, "model.text_model."


def gemma3():
    text = {**TEXT, "head_dim": 8, "sliding_window": 40}
    return CONFIG_MAPPING["gemma3"](text_config=text, vision_config=VISION), "language_model.model."


def mistral3():
    vision = {"model_type": "pixtral", **VISION}
    text = {"model_type": "mistral", **TEXT}
    return CONFIG_MAPPING["mistral3"](text_config=text, vision_config=vision), "language_model.model."


@pytest.mark.parametrize("make", [smolvlm, idefics3, gemma3, mistral3])
def test_text_parts_have_the_weights_of_the_whole(make, tmp_path: Path) -> None:
    """Their logits are the whole's on text; the files' own names say where the text part is."""
    config, published = make()
    torch.manual_seed(0)
    whole = AutoModelForImageTextToText.from_config(config).eval()
    base = save(whole, tmp_path / "base")
    assert any(name.startswith(published) for name in load_file(base / "model.safetensors"))
    ids = torch.randint(5, 200, (1, 30))
    text = load_model(str(base), torch.float32, CPU).eval()
    with torch.no_grad():
        torch.testing.assert_close(text(input_ids=ids).logits, whole(input_ids=ids).logits)
    change_weights(base, lambda state: {n: t for n, t in state.items() if "layers.1.mlp.up_proj" not in n})
    with pytest.raises(UserError, match="layers.1.mlp.up_proj.weight is not in its files"):
        load_model(str(base), torch.float32, CPU)


def test_a_whole_without_a_causal_text_part_is_one_line(rows: Path, tmp_path: Path) -> None:
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    vision = {"depth": 1, "hidden_size": 8, "out_hidden_size": 32, "num_heads": 1, "intermediate_size": 8}
    config = CONFIG_MAPPING["qwen2_5_vl"](text_config={**TEXT, "rope_parameters": rope}, vision_config=vision)
    base = save(AutoModelForImageTextToText.from_config(config), tmp_path / "base")
    assert NO_CAUSAL in refused(call(base, rows, tmp_path / "run"), tmp_path / "run")


def test_encoders_with_decoders_are_refused(rows: Path, tmp_path: Path) -> None:
    config = CONFIG_MAPPING["t5"](d_model=32, d_kv=8, d_ff=8, num_layers=1, num_heads=4, vocab_size=VOCABULARY_SIZE)
    base = save(AutoModelForSeq2SeqLM.from_config(config), tmp_path / "base")
    line = refused(call(base, rows, tmp_path / "run"), tmp_path / "run")
    assert f"{base} {NO_CAUSAL} t5: choose" in line


@pytest.mark.parametrize("content", [b"", b"hello", b"version https://git-lfs.github.com/spec/v1", b"PK\x03\x04 cut"])
def test_files_of_pytorch_that_are_not_whole_are_named(content: bytes, rows: Path, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(content)
    line = refused(call(base, rows, tmp_path / "run"), tmp_path / "run")
    assert f"{base / 'pytorch_model.bin'}: no whole file of PyTorch's weights ({len(content)} bytes)" in line


@pytest.mark.parametrize("as_zip", [True, False])
def test_files_of_pytorch_are_read(as_zip: bool, tmp_path: Path) -> None:
    """Those of before version 1.6 too."""
    base = save_base(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    torch.save(weights, base / "pytorch_model.bin", _use_new_zipfile_serialization=as_zip)
    read = load_model(str(base), torch.float32, CPU).state_dict()
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_base_without_a_tokenizer_is_refused(kind: str, rows: Path, tmp_path: Path) -> None:
    """For some architectures transformers makes up an empty one, by which a plan counted no tokens."""
    base = save_base(tmp_path / "base", kind)
    for path in base.glob("tokenizer*"):
        path.unlink()
    line = refused(call(base, rows, tmp_path / "run"), tmp_path / "run")
    assert f"base {base}: this folder holds no tokenizer, such as tokenizer.json" in line
    with pytest.raises(UserError, match="this folder holds no tokenizer"):
        load_tokenizer(str(base))


@pytest.mark.parametrize(("error", "told"), [(EOFError(), "EOFError"), (KeyError(101), "KeyError 101")])
def test_a_reason_without_words_has_the_errors_name(error: Exception, told: str) -> None:
    with pytest.raises(UserError, match=f"the base cannot be loaded: {told}$"), explained("the base"):
        raise error


def test_a_text_part_ends_in_scores(rows: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = save(AutoModelForImageTextToText.from_config(smolvlm()[0]), tmp_path / "base")
    result = call(base, rows, tmp_path / "run", do_eval=True)
    assert result.returncode == 0 and "weighted F1" in result.stdout, result.stderr


def test_encoders_are_refused(rows: Path, tmp_path: Path) -> None:
    base = save(AutoModelForMaskedLM.from_config(small_config("roberta")), tmp_path / "base")
    for packing in ("tree", "rows"):
        line = refused(call(base, rows, tmp_path / "run", packing=packing), tmp_path / "run")
        assert "(roberta) reads ahead" in line and "causal language model" in line


def test_gpt_neo_scores_alike_in_both_packings(rows: Path, tmp_path: Path) -> None:
    base = save(AutoModelForCausalLM.from_config(small_config("gpt_neo")), tmp_path / "base")
    answers = {}
    for packing in ("tree", "rows"):
        result = call(base, rows, tmp_path / packing, packing=packing, lora_module_name="auto")
        assert result.returncode == 0, result.stderr
        assert ("go by the place of a token" in result.stderr) == (packing == "tree")
        answers[packing] = (tmp_path / packing / "results" / "predictions.jsonl").read_bytes()
    assert answers["tree"] == answers["rows"]


def test_prompts_longer_than_the_bases_positions_are_refused(rows: Path, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "gpt2", n_positions=64)
    assert positions_of(str(base)) == 64
    line = refused(call(base, rows, tmp_path / "run"), tmp_path / "run")
    assert line.startswith("error: --max_length 1024: ") and "reads 64: give --max_length 6" in line
    base = save_base(tmp_path / "longer", "gpt2", n_positions=110)
    line = refused(call(base, rows, tmp_path / "run"), tmp_path / "run")
    fitting = int(line.rpartition(" ")[2])
    result = call(base, rows, tmp_path / "run", max_length=fitting, lora_module_name="auto")
    assert result.returncode == 0, result.stderr
    recognizer = EmotionRecognizer.from_pretrained(tmp_path / "run" / "model")
    assert recognizer.encoder.max_length <= 110 + 9
    talk = [(("Ann", "Ben")[turn % 2], f"I have {turn} of them, and no more than that.") for turn in range(9)]
    assert len(recognizer.predict(talk)) == 9


@pytest.mark.parametrize("kind", ["qwen3_moe", "gpt_oss", "jetmoe"])
def test_experts_are_not_left_out_of_all_in_silence(kind: str, rows: Path, tmp_path: Path) -> None:
    base = save(AutoModelForCausalLM.from_config(small_config(kind)), tmp_path / "base")
    line = refused(call(base, rows, tmp_path / "run"), tmp_path / "run")
    assert "--lora_module_name all: the experts of this base" in line and "proj" in line and "give auto" in line
    result = call(base, rows, tmp_path / "run", lora_module_name="auto")
    assert result.returncode == 0 and "found by inspection" in result.stderr, result.stderr


@pytest.mark.parametrize("wanted", ["all", "auto"])
def test_auto_is_not_advised_where_it_led_to_the_experts(wanted: str, rows: Path, tmp_path: Path) -> None:
    base = save(AutoModelForCausalLM.from_config(small_config("qwen3_moe")), tmp_path / "SmolLM2-135M")  # a row's name
    line = refused(call(base, rows, tmp_path / "run", lora_module_name=wanted), tmp_path / "run")
    assert f"--lora_module_name {wanted}: the experts of this base" in line and "q_proj" in line
    assert "give auto" not in line


def test_experts_that_stay_in_16_bits_are_counted(capsys) -> None:
    report_unquantized(AutoModelForCausalLM.from_config(small_config("qwen3_moe")), "nf4")
    assert "nf4" in (told := capsys.readouterr().err) and "parameters of experts stay in 16 bits" in told
    report_unquantized(AutoModelForCausalLM.from_config(small_config("llama")), "nf4")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["lora_A", "lora_B"])
def test_an_adapter_that_is_not_whole_is_refused(name: str, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for path in (trained / "run" / "model").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_peft_weights(str(folder), device="cpu")
    gone = next(key for key in weights if name in key)
    save_file({key: tensor for key, tensor in weights.items() if key != gone}, folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match=f"lacks .*{name}.* not whole"):
        load_adapter(load_model(str(trained / "base"), torch.float32, CPU), str(folder), trainable=False)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["target_modules"]


@pytest.mark.parametrize(
    ("dtype", "quantize", "gib", "fits"),
    [
        (torch.bfloat16, "none", 80, True),
        (torch.bfloat16, "none", 24, False),
        (torch.float32, "none", 80, True),
        (torch.float32, "none", 48, False),
        (torch.bfloat16, "nf4", 8, True),
        (torch.bfloat16, "nf4", 6, False),
    ],
)
def test_a_base_larger_than_the_card_is_refused_before_it_is_loaded(
    dtype: torch.dtype, quantize: str, gib: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [13, 2**30], "data_offsets": [0, 0]}, "__metadata__": {}})
    content = len(header).to_bytes(8, "little") + header.encode()
    for name in ("model.safetensors", "consolidated.safetensors", "pytorch_model.bin"):  # of which one is loaded
        (tmp_path / name).write_bytes(content)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "of-another.safetensors"}}')  # unread
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, gib * 2**30))
    check = nullcontext() if fits else pytest.raises(UserError, match=f"cuda:0 has {gib}: choose a smaller base")
    with check:
        refuse_larger_than_card(str(tmp_path), dtype, quantize, torch.device("cuda", 0))
    refuse_larger_than_card(str(tmp_path), dtype, quantize, torch.device("cpu"))
