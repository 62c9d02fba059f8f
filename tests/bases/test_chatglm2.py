"""ChatGLM2 converted into transformers' GLM: its weights and logits, and the whole main job on the result."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GlmConfig, GlmForCausalLM

import main_new
from bases.chatglm.conversion2 import convert_chatglm2, native_settings
from commands import call_script
from tiny_chatglm import chatglm2_config, chatglm2_weights, save_chatglm2
from tiny_models import main_command, save_rows
from tiny_runs import Place

pytestmark = pytest.mark.numeric

IDS = [5, 9, 300, 42, 17, 17, 8]
# Logits of the tiny model below for IDS, made once by SwissArmyTransformer 0.4.3 (its `chatglm2_model`): token -> the
# first four and the last.
GOLDEN = {
    0: [-0.657971, -1.087805, -0.788908, 0.826337, 1.586807],
    3: [-0.433143, -0.150165, 0.094266, -0.253288, 1.452221],
    6: [-0.366755, -0.800725, 1.10123, -1.400992, 0.147182],
}
VOCABULARY = 320  # of the golden logits


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chatglm2(tmp_path_factory.mktemp("published") / "chatglm2-6b")


@pytest.fixture(scope="module")
def native(published: Path) -> Path:
    return convert_chatglm2(published, published.with_name("native"))


def test_logits_are_those_of_an_independent_implementation(tmp_path: Path) -> None:
    source = save_chatglm2(tmp_path / "published", padded_vocab_size=VOCABULARY)
    # Its tokenizer is larger than this vocabulary; the logits need none.
    model = AutoModelForCausalLM.from_pretrained(convert_chatglm2(source, tmp_path / "native"), dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([IDS])).logits[0]
    for token, values in GOLDEN.items():
        found = torch.cat((logits[token, :4], logits[token, -1:]))
        torch.testing.assert_close(found, torch.tensor(values), atol=1e-5, rtol=0)


def test_published_size_has_the_published_number_of_parameters(tmp_path: Path) -> None:
    sizes = {"num_layers": 28, "hidden_size": 4096, "num_attention_heads": 32, "kv_channels": 128}
    config = chatglm2_config(65_024, ffn_hidden_size=13_696, **sizes)
    with torch.device("meta"):
        model = GlmForCausalLM(GlmConfig(**native_settings(config, tmp_path)))
    assert sum(weight.numel() for weight in model.parameters()) == 6_243_584_000


def test_every_weight_is_where_glm_has_it(published: Path, native: Path) -> None:
    model, told = AutoModelForCausalLM.from_pretrained(native, dtype=torch.float32, output_loading_info=True)
    assert type(model) is GlmForCausalLM
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    config = json.loads((published / "config.json").read_text())
    weights = chatglm2_weights(config)
    qkv = weights["transformer.encoder.layers.1.self_attention.query_key_value.weight"]
    attention = model.model.layers[1].self_attn
    assert torch.equal(torch.cat([getattr(attention, f"{part}_proj").weight for part in "qkv"]), qkv)
    assert (attention.q_proj.out_features, attention.k_proj.out_features) == (32, 16)
    assert attention.k_proj.bias is not None and attention.o_proj.bias is None
    first = weights["transformer.encoder.layers.0.mlp.dense_h_to_4h.weight"]
    assert torch.equal(model.model.layers[0].mlp.gate_up_proj.weight, first)
    assert torch.equal(model.lm_head.weight, weights["transformer.output_layer.weight"])
    assert (model.config.eos_token_id, model.config.pad_token_id, model.config.dtype) == (2, 0, torch.float32)
    assert model.config.rope_parameters["partial_rotary_factor"] == 0.5


class NativePlace(Place):
    """The converted base, rows, and the runs over them."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base, self.rows = folder, base, save_rows(folder)


@pytest.fixture(scope="module")
def place(native: Path, tmp_path_factory: pytest.TempPathFactory) -> NativePlace:
    return NativePlace(tmp_path_factory.mktemp("place"), native)


@pytest.mark.parametrize(
    ("setting", "flags"),
    [("lora", {"lora_module_name": "q_proj,k_proj,v_proj"}), ("everything", {"lora": False, "learning_rate": 3e-3})],
)
def test_trains_scores_saves_and_reloads(place: NativePlace, setting: str, flags: dict) -> None:
    place.finish(setting, **flags, num_train_epochs=2)
    results = place.results(setting)
    assert results["packing"] == "tree" and results["rows"] == 13
    losses = [epoch["train_loss"] for epoch in results["epochs"]]
    assert losses[1] < losses[0]
    place.score(f"{setting} reloaded", checkpoint=setting)
    assert place.predictions(f"{setting} reloaded") == place.predictions(setting)


def test_generates_and_scores_alike_in_trees_and_rows(place: NativePlace) -> None:
    place.score("generated", zero_shot=True, decode="generate", max_new_tokens=4, eval_batch_size=5)
    rows = [json.loads(line) for line in place.predictions("generated").splitlines()]
    assert len(rows) == 13 and all(row["response"] is not None for row in rows)
    for packing in ("tree", "rows"):
        place.score(packing, zero_shot=True, packing=packing)
    expected, found = place.scores("rows"), place.scores("tree")
    assert all(found[row] == pytest.approx(expected[row], abs=1e-3) for row in expected)


def test_unconverted_folder_is_one_line_with_the_command(published: Path, place: NativePlace) -> None:
    command = main_command(published, place.rows, place.folder / "refused")
    result = call_script(main_new.main, *command)
    told = f"python LLM_bases/convert_chatglm.py {published}"
    assert (result.returncode, result.stderr.count("\n")) == (2, 1) and told in result.stderr
