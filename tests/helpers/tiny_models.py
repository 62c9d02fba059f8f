"""Tiny random models of every kind, their tokenizer and rows, graphs without a GPU; how far sums may lie apart."""

import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from bases.load import prepare_attention
from data_utils.dialogues import Dialogue, Utterance
from data_utils.draws import ALL_OF_TRAIN, Draw
from data_utils.examples import RowSettings, build_examples
from data_utils.labels import DATASETS
from data_utils.prompts import TEMPLATES
from data_utils.row_files import Example
from data_utils.row_folders import prepare_folder
from engine.batching import EncodedRow, MicroBatch, RowEncoder
from engine.packing import Packer, batch_loss, packer_for
from engine.replay import Replayed, map_tensors

torch.set_num_threads(1)

CPU = torch.device("cpu")

# The error of a sum in another order walks at random; so far do few walks stray from their mean.
DEVIATIONS = 2
# Terms of the sums of a layer of a tiny model (`SIZE`): q k v, a query with a key, keys of a long row,
# the way out, gate and up, down. The gradient goes through as many again.
LAYER = (32, 8, 160, 32, 32, 48)

SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
PAD, BOS, EOS = range(3)
DATASET = "EmoryNLP"
LABELS = DATASETS[DATASET].labels
# The fixed sentences of the prompts are one token each, so that rows stay short; all else is characters.
# Without the demonstrations', so that a new form leaves the drawn weights, and the losses written down, as they are.
_FORMS = [form for name, form in TEMPLATES.items() if not name.startswith("demonstration")]
SENTENCES = sorted({text for form in _FORMS for text in re.split(r"\{\w+\}", form) if len(text) > 5})
VOCABULARY_SIZE = 3 + 256 + len(SENTENCES)

# What a speaker says -> the emotion that it is. A model that learns anything learns these.
LINES = {
    "Great!": "Joyful",
    "No way!": "Mad",
    "Calm down.": "Peaceful",
    "Fine.": "Neutral",
    "He died.": "Sad",
    "I won it.": "Powerful",
    "Run!": "Scared",
}

LAYERS = 2
SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
GROUPED = SIZE | {"num_key_value_heads": 2}
ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"], "head_dim": 8}
# Kind -> (model type, configuration). Weights are drawn wide, so that who attends to whom shows in the loss.
KINDS = {
    "llama": ("llama", GROUPED),
    "qwen2": ("qwen2", GROUPED),
    "qwen3": ("qwen3", GROUPED | {"head_dim": 8}),
    "glm": ("glm", GROUPED | {"head_dim": 8}),
    "glm4": ("glm4", GROUPED | {"head_dim": 8}),
    "gemma2": ("gemma2", GROUPED | ALTERNATING | {"sliding_window": 40, "attn_logit_softcapping": 2.0}),
    "gemma3": ("gemma3_text", GROUPED | ALTERNATING | {"sliding_window": 40}),
    "mistral": ("mistral", GROUPED | {"sliding_window": 40}),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    # Absolute positions: the others see only how far apart two tokens are.
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.0}),
}
# Shapes that no base of the table has.
OTHER_KINDS = {
    # Logits are scaled after the head.
    "cohere": ("cohere", GROUPED | {"logit_scale": 0.5}),
    # Layers that see everything have other heads than those with a window; the configuration has no one number.
    "gemma4": (
        "gemma4_text",
        GROUPED
        | ALTERNATING
        | {"sliding_window": 40, "num_global_key_value_heads": 1, "attention_k_eq_v": True}
        | {"hidden_size_per_layer_input": 0},
    ),
    # Latent attention: keys carry more than values do.
    "mla": (
        "deepseek_v3",
        SIZE
        | {"num_key_value_heads": 4, "first_k_dense_replace": 2, "q_lora_rank": 16, "kv_lora_rank": 16}
        | {"qk_rope_head_dim": 4, "qk_nope_head_dim": 6, "v_head_dim": 6, "head_dim": 4},
    ),
    # Of four experts each token meets two.
    "mixtral": ("mixtral", GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2}),
}


def character_tokenizer(
    closing_eos: bool = False, marks_words: bool = False, merges: Sequence[tuple[str, str]] = ()
) -> PreTrainedTokenizerFast:
    """Characters and the fixed sentences; BOS leads. marks_words: a word begins with a mark, as in SentencePiece."""
    characters = sorted({*pre_tokenizers.ByteLevel.alphabet(), "▁"})
    words = [*SPECIAL.values(), *characters, *map("".join, merges)]
    tokenizer = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=list(merges)))
    if marks_words:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL.values()))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in SENTENCES])
    form = "<s> $A </s>" if closing_eos else "<s> $A"
    tokenizer.post_processor = processors.TemplateProcessing(single=form, special_tokens=[("<s>", BOS), ("</s>", EOS)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def tiny_model(kind: str, attention: str | None = None, seed: int = 0, **changes):
    """A random model in fp32, its attention chosen as for a real base, or `attention` ("sdpa", "eager")."""
    name, settings = (KINDS | OTHER_KINDS)[kind]
    tokens = {"vocab_size": VOCABULARY_SIZE + 1, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    config = AutoConfig.for_model(name, **settings | tokens | {"initializer_range": 0.15} | changes)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    prepare_attention(model)
    if attention:
        model.set_attn_implementation(attention)
    model.config.use_cache = False
    return model.eval()


def count_products(model: nn.Module, batch: MicroBatch) -> int:
    """PyTorch's operations of a step over a tree of made-up tokens, forward and backward, but those of the attention.

    Its products depend on how it cuts its blocks.
    """
    packed = packer_for(model, "tree", 0).pack(batch)
    packed.inputs["input_ids"] %= VOCABULARY_SIZE
    packed.pair_tokens.remainder_(VOCABULARY_SIZE)
    with FlopCounterMode(display=False) as counter:
        batch_loss(model, packed).backward()
    counted = counter.get_flop_counts()["Global"]
    return sum(count for name, count in counted.items() if "bmm" not in str(name))


def save_base(folder: Path, kind: str = "llama", **changes) -> Path:
    """A base as a user has it: a transformers folder of model and tokenizer."""
    tiny_model(kind, **changes).save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return folder


def small_dialogues(split: str, count: int, turns: int) -> tuple[Dialogue, ...]:
    """Made-up dialogues of two speakers, all different."""
    texts = list(LINES)
    return tuple(
        Dialogue(
            f"{split}{number}",
            tuple(
                Utterance(turn % 2, text, LINES[text])
                for turn in range(turns + number % 2)
                for text in [texts[(5 * number + turn * (number + 2)) % len(texts)]]
            ),
        )
        for number in range(count)
    )


def small_examples(kind: str = "window", window: int = 12, count: int = 3, turns: int = 4) -> list[Example]:
    """Training rows of a few dialogues; kind "predict" holds both tasks."""
    settings = RowSettings(DATASET, kind=kind, historical_window=window)
    dialogues = {"train": small_dialogues("train", count, turns), "valid": (), "test": ()}
    return build_examples(settings, dialogues)["train"]


def small_rows(kind: str = "window", window: int = 12, alpha: float = 0.1, **sizes: int) -> list[EncodedRow]:
    """The same as token rows; emotion-prediction rows weigh `alpha`."""
    encoder = RowEncoder(character_tokenizer(), 1024, {"emotion_prediction": alpha})
    return encoder.encode(small_examples(kind, window, **sizes))


def write_pickle(folder: Path, splits: Mapping[str, Sequence[Dialogue]]) -> None:
    """A pickle of made-up dialogues, laid out as the published ones."""
    everyone = {one.dialogue_id: one.utterances for dialogues in splits.values() for one in dialogues}
    columns = (
        lambda one: [int(place == one.speaker) for place in range(9)],
        lambda one: LABELS.index(one.label),
        lambda one: one.text,
    )
    slots = [{name: [column(one) for one in turns] for name, turns in everyone.items()} for column in columns]
    ids = [[one.dialogue_id for one in splits[split]] for split in ("train", "test", "valid")]
    path = folder / DATASET / f"{DATASET}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps([*slots, *ids]))


def save_rows(folder: Path, kind: str = "window", window: int = 2, draw: Draw = ALL_OF_TRAIN) -> Path:
    """A folder of rows as data_process.py writes it, from a pickle of made-up dialogues."""
    sizes = {"train": (6, 4), "valid": (3, 4), "test": (3, 4)}
    splits = {split: small_dialogues(split, *size) for split, size in sizes.items()}
    write_pickle(folder / "original", splits)
    settings = RowSettings(DATASET, kind=kind, historical_window=window, check_counts=False, draw=draw)
    return prepare_folder(settings, folder / "original", folder / "data")


def main_command(base: Path, rows: Path, output: Path, **changes: object) -> list[str]:
    """Flags of main_new.py for a run of a few seconds: 27 rows, 4 steps an epoch, 3 epochs. None: it is not said.

    Those of adapters are said where there are adapters.
    """
    adapters = {"lora_module_name": "all", "lora_dim": 4} if changes.get("lora", True) else {}
    flags = adapters | {
        "dataset": DATASET,
        "data_dir": rows,
        "model_name_or_path": base,
        "output_dir": output / "results",
        "model_dir": output / "model",
        "batch_size": 8,
        "num_train_epochs": 3,
        "learning_rate": 2e-2,
        "precision": "fp32",
        "rows_per_dialogue": 3,
        "save_steps": 2,
    }
    said = {name: value for name, value in (flags | changes).items() if value is not None}
    return [part for name, value in said.items() for part in (f"--{name}", str(value))]


Step = tuple[float, dict[str, Tensor]]  # loss, gradients by the names of weights


def take_gradients(model: nn.Module) -> dict[str, Tensor]:
    taken = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    model.zero_grad()
    return taken


def sum_up_step(model: nn.Module, packer: Packer, batches: Sequence[MicroBatch]) -> Step:
    """A step as training takes it, micro-batch by micro-batch."""
    total = 0.0
    for batch in batches:
        loss = batch_loss(model, packer.pack(batch))
        loss.backward()
        total += loss.item()
    return total, take_gradients(model)


def assert_steps_agree(found: Step, expected: Step, within: float) -> None:
    assert found[0] == pytest.approx(expected[0], rel=within)
    assert found[1].keys() == expected[1].keys()
    errors = {
        name: float((found[1][name] - gradient).norm() / gradient.norm()) for name, gradient in expected[1].items()
    }
    assert {name: error for name, error in errors.items() if not error <= within} == {}


def replay_beside_plain(
    model: nn.Module, packer: Packer, batches: Sequence[MicroBatch], within: float
) -> tuple[Replayed, "StandInGraphs"]:
    """Losses and gradients of every batch, plain and replayed, are the same; what replayed them is on to the end."""
    weights = list(model.parameters())
    for weight in weights:
        weight.grad = torch.zeros_like(weight)

    def run(packed) -> Tensor:
        loss = batch_loss(model, packed)
        loss.backward()
        return loss.detach()

    graphs = StandInGraphs()
    graphs.kept = tuple(weight.grad for weight in weights)
    replayed = Replayed(run, CPU, graphs.kept, graphs=graphs)
    for batch in batches:
        expected = run(packer.pack(batch)).item(), [weight.grad.clone() for weight in weights]
        for weight in weights:
            weight.grad.zero_()
        assert replayed(packer.pack(batch)).item() == pytest.approx(expected[0], rel=within)
        for weight, gradient in zip(weights, expected[1], strict=True):
            assert float((weight.grad - gradient).norm()) <= within * float(gradient.norm())
            weight.grad.zero_()
    assert not replayed.is_off and graphs.replays > graphs.captures > 0
    return replayed, graphs


class StandInGraphs:
    """CUDA graphs without CUDA: what is captured runs again as Python, and writes where it wrote the first time.

    plain, captures, replays: how many passes. kept: what a capture must not change, as it only records.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.plain = self.captures = self.replays = 0
        self.kept: tuple[Tensor, ...] = ()

    def beside(self, run: Callable[[], Tensor]) -> Tensor:
        self.plain += 1
        return run()

    def capture(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.captures += 1
        with unchanged(self.kept):
            written = run()
        written = map_tensors(written, torch.clone)

        def replay() -> None:
            self.replays += 1
            written.copy_(run())

        return replay, written


@contextmanager
def unchanged(tensors: tuple[Tensor, ...]) -> Iterator[None]:
    before, draws = [one.clone() for one in tensors], torch.get_rng_state()
    yield
    torch.set_rng_state(draws)
    with torch.no_grad():
        for one, old in zip(tensors, before, strict=True):
            one.copy_(old)


def rounding(*sums: int, dtype: torch.dtype = torch.float32) -> float:
    """The relative error that another order of summation, or another processor, may bring.

    sums: the terms of each sum of those that feed one another; the errors of all add up.
    """
    return DEVIATIONS * torch.finfo(dtype).eps * sum(terms**0.5 for terms in sums)
