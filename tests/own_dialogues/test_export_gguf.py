"""export.py --kind gguf: read back, the file holds the weights, the tokens and the template of the checkpoint."""

import json
import shutil
from pathlib import Path

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bases.gguf import convert_gguf
from bases.gguf_vocabulary import WAYS_TO_SPLIT
from commands import assert_one_line_error
from gguf_checkpoints import BLANKS, TEMPLATE, TOKENS, exported, merging_tokenizer, run_export, train
from scoring.transitions import TransitionFilter, Transitions
from tiny_models import LABELS, SENTENCES
from training.stages import keep_filter

pytestmark = pytest.mark.numeric

TEXT = 'Speaker_0:"Oh,   no. 42!\n\n"'


def logits(folder: Path, ids: torch.Tensor, **options: object) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval()
    with torch.inference_mode():
        return model(ids).logits


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("llama"), "llama")


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied"])
def test_the_file_answers_as_the_merged_folder(tmp_path: Path, kind: str, tied: bool) -> None:
    checkpoint = train(tmp_path, kind, tie_word_embeddings=tied, rope_parameters={"rope_theta": 500.0})
    merged = exported(checkpoint, tmp_path / "merged", "fp32", "merged")
    file = exported(checkpoint, tmp_path / "file", "fp32")
    ids = AutoTokenizer.from_pretrained(merged)(TEXT, return_tensors="pt")["input_ids"]
    found, expected = logits(file, ids, gguf_file="model-fp32.gguf"), logits(merged, ids)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert float((expected - logits(tmp_path / "base", ids)).abs().max()) > 0.1, "the adapter changed nothing"


def test_heads_of_a_size_of_their_own_are_told(tmp_path: Path) -> None:
    """transformers takes the size of a head of Qwen 3 from its width alone, so that nothing else can be asked."""
    file = exported(train(tmp_path, "qwen3", head_dim=16), tmp_path / "file", "fp32")
    reader = gguf.GGUFReader(file / "model-fp32.gguf")
    assert reader.get_field("qwen3.attention.key_length").contents() == 16


def test_the_way_of_the_default_base_gives_the_same_weights_and_tokens(checkpoint: Path, tmp_path: Path) -> None:
    merged = exported(checkpoint, tmp_path / "merged", "bf16", "merged")
    file = exported(checkpoint, tmp_path / "file", "bf16") / "model-bf16.gguf"
    convert_gguf(file, tmp_path / "read")
    ours, read = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (merged, tmp_path / "read"))
    assert ours.keys() == read.keys() and all(torch.equal(ours[name], read[name]) for name in ours)
    ours, read = (AutoTokenizer.from_pretrained(folder) for folder in (merged, tmp_path / "read"))
    ids = ours(TEXT, add_special_tokens=False)["input_ids"]
    assert read(TEXT, add_special_tokens=False)["input_ids"] == ids and BLANKS in ours.convert_ids_to_tokens(ids)
    assert (read.eos_token, read.bos_token, read.pad_token) == (ours.eos_token, ours.bos_token, ours.pad_token)
    assert read.chat_template == TEMPLATE


def test_what_the_file_says_of_itself(checkpoint: Path, tmp_path: Path) -> None:
    folder = exported(checkpoint, tmp_path / "file", "q8_0")
    assert {path.name for path in folder.iterdir()} == {"model-q8_0.gguf", "README.md", "erc_config.json"}
    reader = gguf.GGUFReader(folder / "model-q8_0.gguf")
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert (said["general.architecture"], said["general.name"]) == ("llama", "InstructERC EmoryNLP")
    assert said["tokenizer.ggml.tokens"][-2:] == [SENTENCES[-1], f"[PAD{TOKENS}]"]
    kinds = said["tokenizer.ggml.token_type"]
    names = [gguf.TokenType(kinds[place]).name for place in (0, 5, TOKENS - 1, TOKENS)]
    assert names == ["CONTROL", "NORMAL", "USER_DEFINED", "UNUSED"]
    assert said["tokenizer.ggml.add_bos_token"] is True and said["tokenizer.ggml.eos_token_id"] == 2
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types["blk.0.attn_q.weight"] == "Q8_0" and types["blk.0.attn_norm.weight"] == "F32"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "library_name: gguf" in card and "`model-q8_0.gguf` loads in llama.cpp" in card
    asked = json.loads((folder / "erc_config.json").read_text())
    assert asked["historical_window"] == 2 and asked.get("weights_sha256") is None


def test_what_makes_answers_of_log_p_is_told_and_taken_along(checkpoint: Path, tmp_path: Path) -> None:
    filtered = Path(shutil.copytree(checkpoint, tmp_path / "filtered"))
    keep_filter(TransitionFilter(Transitions(LABELS, *[((1,) * 7,) * 7] * 2), 1.0, 0.5, 0.5), filtered)
    config = json.loads((filtered / "erc_config.json").read_text())
    (filtered / "erc_config.json").write_text(json.dumps(config | {"calibrate": True}))
    folder, plain = exported(filtered, tmp_path / "file", "q8_0"), exported(checkpoint, tmp_path / "plain", "q8_0")
    assert (folder / "transitions.json").read_bytes() == (filtered / "transitions.json").read_bytes()
    told, less = ((one / "README.md").read_text(encoding="utf-8") for one in (folder, plain))
    assert "transitions.json makes the answers" in told and "after a prompt without content is taken first" in told
    assert "transitions.json" not in less and "without content" not in less


def test_eight_bits_round_and_no_more(checkpoint: Path, tmp_path: Path) -> None:
    ids = torch.arange(3, 40)[None]
    file = exported(checkpoint, tmp_path / "file", "q8_0")
    merged = exported(checkpoint, tmp_path / "merged", "fp32", "merged")
    found, expected = logits(file, ids, gguf_file="model-q8_0.gguf"), logits(merged, ids)
    apart = float((found - expected).abs().mean() / expected.abs().mean())
    assert 0 < apart < 0.03
    exported(checkpoint, file, "fp16")  # an earlier file is replaced
    assert [path.name for path in file.glob("*.gguf")] == ["model-fp16.gguf"]


def test_slower_turning_positions_are_written_as_factors(tmp_path: Path) -> None:
    rope = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    checkpoint = train(tmp_path, "llama", rope_parameters=rope)
    file = exported(checkpoint, tmp_path / "file", "fp32") / "model-fp32.gguf"
    factors = next(one.data for one in gguf.GGUFReader(file).tensors if one.name == "rope_freqs.weight")
    # 4 frequencies: wavelengths 2 pi 100^(i/4) of 6, 20, 63 and 199 tokens; from 64 / 4 on they grow, from 64 by 8.
    assert factors[0] == pytest.approx(1) and 1 < factors[1] < factors[2] < 8 and factors[3] == pytest.approx(8)


def test_what_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    def refuse(checkpoint: Path, *flags: str, told: tuple[str, ...]) -> None:
        assert_one_line_error(run_export(checkpoint, tmp_path / "new", "--kind", *flags), *told)
        assert not (tmp_path / "new").exists()

    refuse(checkpoint, "merged", "--precision", "q8_0", told=("q8_0 is for --kind gguf", "bf16, fp32, fp16"))
    other = train(tmp_path / "other", "gemma3")
    refuse(other, "gguf", told=("gemma3_text", "llama, qwen2, qwen3", "convert_hf_to_gguf"))
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (copy / "erc_config.json").unlink()
    merging_tokenizer(pre_tokenizer={"type": "Whitespace"}).save_pretrained(copy)
    refuse(copy, "gguf", told=(f"none of these ways: {', '.join(WAYS_TO_SPLIT)}",))
    merging_tokenizer(byte_fallback=True).save_pretrained(copy)
    refuse(copy, "gguf", told=("no byte-level BPE",))
    merging_tokenizer(merges=[]).save_pretrained(copy)
    refuse(copy, "gguf", told=("has no merges",))
