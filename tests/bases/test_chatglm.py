"""ChatGLM-6B: its published layout, positions, mask and logits, and the whole main job."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import main_new
from bases.adapters import add_lora, count_trainable
from bases.chatglm.config import ChatGLMConfig
from bases.chatglm.layout import read_config
from bases.chatglm.model import ChatGLMForCausalLM
from bases.load import know_own_architectures, load_model, load_tokenizer, resolve_base
from basics.errors import UserError
from commands import call_script
from engine.batching import EncodedRow, training_batches
from engine.packing import packer_for
from scoring.self_check import packer_that_agrees
from tiny_chatglm import chatglm_config, chatglm_weights, save_chatglm
from tiny_models import LABELS, main_command, save_rows
from tiny_runs import Place

pytestmark = pytest.mark.numeric

PAD, MASK, GMASK, SOP = 3, 40, 41, 44
PROMPT = [7, 9, 11, 13, GMASK, SOP]
# Logits of the tiny model below for PROMPT + [8, 10], made once by SwissArmyTransformer 0.4.12 (`chatglm_model`, with
# the published fp16 frequencies): token -> the first four and the last.
GOLDEN = {
    0: [0.881142, 0.072508, 1.097361, -0.737198, 1.058653],
    4: [-0.085086, -1.313216, 1.591117, -1.264507, 0.996124],
    5: [0.494157, -0.292061, 0.012154, 1.066379, 1.159957],
    7: [-0.699713, 0.264918, 1.371343, -1.190338, -1.279816],
}


def tiny_model() -> ChatGLMForCausalLM:
    """Weights by formula under their published names, in fp32."""
    config = chatglm_config(48, MASK)
    model = ChatGLMForCausalLM(ChatGLMConfig(**config)).eval()
    weights = {name: value for name, value in chatglm_weights(config).items() if "inv_freq" not in name}
    model.load_state_dict(weights)
    return model


@pytest.fixture(scope="module")
def model() -> ChatGLMForCausalLM:
    return tiny_model()


def test_published_size_has_the_published_number_of_parameters() -> None:
    """No weights are made. Head and embeddings are one matrix, as in the published program; r 16 on query_key_value."""
    with torch.device("meta"):
        model = add_lora(ChatGLMForCausalLM(ChatGLMConfig()), 16, 16, 0, "q_proj,k_proj,v_proj,query_key_value")
    assert count_trainable(model) == (7_340_032, 6_173_286_400 + 7_340_032)


def logits_of(model: ChatGLMForCausalLM, *rows: list[int]) -> list[torch.Tensor]:
    """(tokens, vocabulary) of each row, all in one batch padded on the left."""
    longest = max(map(len, rows))
    ids = torch.tensor([[PAD] * (longest - len(row)) + row for row in rows])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=(ids != PAD).long()).logits
    return [one[longest - len(row) :] for one, row in zip(logits, rows, strict=True)]


def test_logits_are_those_of_an_independent_implementation(model: ChatGLMForCausalLM) -> None:
    logits = logits_of(model, [*PROMPT, 8, 10])[0]
    for token, values in GOLDEN.items():
        found = torch.cat((logits[token, :4], logits[token, -1:]))
        torch.testing.assert_close(found, torch.tensor(values), atol=1e-5, rtol=0)


def test_padding_and_neighbours_change_nothing(model: ChatGLMForCausalLM) -> None:
    rows = [[*PROMPT, 8, 10], [5, GMASK, SOP], [6, 6, 6, 7, MASK, 8, SOP, 9]]
    for together, row in zip(logits_of(model, *rows), rows, strict=True):
        torch.testing.assert_close(together, logits_of(model, row)[0], atol=1e-5, rtol=1e-5)


def test_the_prompt_is_read_in_both_directions_and_the_answer_in_one(model: ChatGLMForCausalLM) -> None:
    usual = logits_of(model, [*PROMPT, 8, 10])[0]
    other_prompt = logits_of(model, [7, 9, 11, 14, GMASK, SOP, 8, 10])[0]
    other_answer = logits_of(model, [*PROMPT, 8, 12])[0]
    assert (usual - other_prompt).abs().amax(1).min() > 1e-3
    assert torch.equal(usual[:-1], other_answer[:-1]) and not torch.equal(usual[-1], other_answer[-1])


@pytest.mark.parametrize("beams", [1, 3])
def test_generating_with_a_cache_gives_the_same_tokens(model: ChatGLMForCausalLM, beams: int) -> None:
    rows = [PROMPT, [6, 5, GMASK, SOP]]
    ids = torch.tensor([[PAD] * (6 - len(row)) + row for row in rows])
    options = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams, "eos_token_id": 47, "pad_token_id": PAD}
    inputs = {"input_ids": ids, "attention_mask": (ids != PAD).long()}
    cached = model.generate(**inputs, use_cache=True, **options)
    assert torch.equal(cached, model.generate(**inputs, use_cache=False, **options))


def test_logits_while_generating_are_those_of_the_whole_row(model: ChatGLMForCausalLM) -> None:
    rows = [PROMPT, [6, 5, GMASK, SOP]]
    ids = torch.tensor([[PAD] * (6 - len(row)) + row for row in rows])
    told = {"output_logits": True, "return_dict_in_generate": True, "eos_token_id": 47, "pad_token_id": PAD}
    mask = (ids != PAD).long()
    output = model.generate(ids, attention_mask=mask, max_new_tokens=6, do_sample=False, use_cache=True, **told)
    for number, row in enumerate(rows):
        whole = logits_of(model, [*row, *output.sequences[number, 6:-1].tolist()])[0][len(row) - 1 :]
        torch.testing.assert_close(torch.stack(output.logits)[:, number], whole, atol=1e-5, rtol=1e-5)


def test_cache_without_positions_and_foreign_masks_are_refused(model: ChatGLMForCausalLM) -> None:
    ids = torch.tensor([PROMPT])
    cache = model(input_ids=ids, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="positions"):
        model(input_ids=ids[:, -1:], past_key_values=cache)
    with pytest.raises(ValueError, match="mask"):
        model(input_ids=ids, attention_mask=torch.ones(1, 1, 6, 6))


def test_prefixes_are_not_shared(model: ChatGLMForCausalLM, capsys: pytest.CaptureFixture) -> None:
    """The configuration says so, and no tree is tried; rows are, padded behind their end."""
    prompts = [(*PROMPT[:1] * longer, *PROMPT) for longer in range(4)]
    rows = [EncodedRow(f"a/b/{turn}", "emotion", prompt, (8, 10), 1.0, 0) for turn, prompt in enumerate(prompts)]
    batches = training_batches(rows, 10**6, share_prefixes=True)
    packer = packer_that_agrees(model, lambda _: [batches], "tree", PAD, torch.device("cpu"))
    assert (packer.kind, packer.pad_token_id) == ("rows", PAD) and packer_for(model, "tree", PAD).kind == "rows"
    assert "both directions" in capsys.readouterr().err
    assert packer_that_agrees(model, lambda _: [batches], "rows", PAD, torch.device("cpu")).kind == "rows"
    assert capsys.readouterr().err == ""
    assert packer_for(add_lora(tiny_model(), 4, 4, 0, "query_key_value"), "tree", PAD).kind == "rows"


class ChatGLMPlace(Place):
    """The tiny chatglm-6b, rows, and the runs over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base, self.rows = save_chatglm(folder / "base"), save_rows(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> ChatGLMPlace:
    return ChatGLMPlace(tmp_path_factory.mktemp("place"))


def test_published_folder_loads_whole_and_runs_no_code(place: Place) -> None:
    know_own_architectures()
    model, told = AutoModelForCausalLM.from_pretrained(place.base, dtype=torch.float32, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    assert type(model) is ChatGLMForCausalLM and model.lm_head.weight is model.transformer.word_embeddings.weight
    weights = chatglm_weights(json.loads((place.base / "config.json").read_text()))
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    tokenizer = AutoTokenizer.from_pretrained(place.base)
    assert tokenizer("你好")["input_ids"][-2:] == [model.config.gmask_token_id, model.config.bos_token_id]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (model.config.eos_token_id, 3)
    assert tokenizer("an [gMASK] in a text")["input_ids"].count(model.config.gmask_token_id) == 1


@pytest.mark.parametrize(
    ("setting", "flags", "files"),
    [
        ("lora", {"lora_module_name": "q_proj,k_proj,v_proj,query_key_value"}, {"adapter_model.safetensors"}),
        ("everything", {"lora": False, "learning_rate": 3e-3}, {"config.json", "model.safetensors"}),
    ],
)
def test_trains_scores_saves_and_reloads(place: Place, setting: str, flags: dict, files: set[str]) -> None:
    result = place.finish(setting, **flags, num_train_epochs=2)
    results = place.results(setting)
    assert results["packing"] == "rows" and "both directions" in result.stderr
    assert results["rows"] == 13 and results["invalid"] == 0
    assert 0 < results["trainable_parameters"] <= results["parameters"]
    losses = [epoch["train_loss"] for epoch in results["epochs"]]
    assert losses[1] < losses[0]
    assert {path.name for path in place.model(setting).iterdir()} >= files | {"README.md", "ice_text.model"}
    text = 'Speaker_0:"你好."'
    assert load_tokenizer(str(place.model(setting)))(text) == load_tokenizer(str(place.base))(text)
    place.score(f"{setting} reloaded", checkpoint=setting)
    assert place.predictions(f"{setting} reloaded") == place.predictions(setting)


def test_generates_answers_in_the_main_job(place: Place) -> None:
    place.score("generated", zero_shot=True, decode="generate", max_new_tokens=4, eval_batch_size=5)
    rows = [json.loads(line) for line in place.predictions("generated").splitlines()]
    assert len(rows) == 13 and all(row["response"] is not None and "scores" not in row for row in rows)


def test_labels_are_scored_as_one_row_at_a_time(place: Place) -> None:
    place.score("zero", zero_shot=True)
    model = load_model(str(place.base), torch.float32, torch.device("cpu")).eval()
    tokenizer = load_tokenizer(str(place.base))
    row = json.loads((place.rows / "test.json").read_text(encoding="utf-8").splitlines()[0])
    prompt = tokenizer(row["input"])["input_ids"]
    scores = place.scores("zero")[row["id"]]
    for label in LABELS:
        target = [*tokenizer(label, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *target]])).logits[0].log_softmax(-1)
        expected = sum(float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(target))
        assert scores[label] == pytest.approx(expected, abs=1e-3)


def test_gradient_checkpointing_gives_the_same_losses(place: Place) -> None:
    for run, flag in (("plain", False), ("checkpointed", True)):
        place.finish(run, gradient_checkpointing=flag, do_eval=False, lora_dropout=0)
    plain, checkpointed = (place.results(run)["epochs"][0]["train_loss"] for run in ("plain", "checkpointed"))
    assert checkpointed == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quantization_bit": 4}, "quantization_bit is 4"),
        ({"position_encoding_2d": False}, "position_encoding_2d is False"),
        ({"padded_vocab_size": 64, "ffn_hidden_size": 64, "kv_channels": 8}, "LLM_bases/convert_chatglm.py"),
    ],
)
def test_other_generations_and_variants_are_one_line(place: Place, change: dict, told: str, tmp_path: Path) -> None:
    for path in place.base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = main_command(tmp_path, place.rows, place.folder / "refused", num_train_epochs=1)
    result = call_script(main_new.main, *command)
    assert result.returncode == 2 and told in result.stderr.splitlines()[-1]
    assert not (place.folder / "refused" / "results" / "results.json").exists()


def test_a_base_of_another_kind_is_not_taken_for_chatglm2(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "kv_channels": 8}')
    assert resolve_base(str(tmp_path)) == str(tmp_path)
    (tmp_path / "config.json").write_text("not JSON")
    with pytest.raises(UserError, match="config.json cannot be read .not JSON"):
        resolve_base(str(tmp_path))
    with pytest.raises(UserError, match="nowhere/config.json cannot be read .No such file or directory.$"):
        read_config(tmp_path / "nowhere")
