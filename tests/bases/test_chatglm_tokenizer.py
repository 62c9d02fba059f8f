"""ChatGLM's tokenizers against SentencePiece and the published rules, on English and Chinese text together."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from bases.chatglm.tokenizer import ChatGLMTokenizer
from bases.chatglm.tokenizer2 import ChatGLM2Tokenizer, convert_tokenizer
from bases.load import know_own_architectures
from basics.errors import UserError
from engine.batching import RowEncoder
from tiny_chatglm import MIXED, chatglm2_pieces, chatglm_pieces

TEXTS = (
    *MIXED,
    "",
    " ",
    "neutral",
    '### \t Speaker_0:"It\'s 42!"\t Speaker_1:"你好，世界！"   ###\n\n',
    "Ｆｕｌｌ　ｗｉｄｔｈ ½ ﬁ é e\u0301 ① 한국어 \x92 \U0001f600",
    "philosophy [gMASK] [MASK sop <s> </s <n> <|tab|>",
    " " * 165 + "x" + " " * 81 + "y" + " " * 80 + "\t\t\n ",
)
CHARACTERS = "abe ABS  \t\n,.:\"'<>|[]_09你好情感高兴，。！？é½\U0001f600▁"


@pytest.fixture(scope="module")
def chatglm(tmp_path_factory: pytest.TempPathFactory) -> ChatGLMTokenizer:
    path = tmp_path_factory.mktemp("chatglm") / "ice_text.model"
    path.write_bytes(chatglm_pieces())
    return ChatGLMTokenizer(path)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chatglm2") / "tokenizer.model"
    path.write_bytes(chatglm2_pieces())
    return path


@pytest.fixture(scope="module")
def chatglm2(model_file: Path) -> PreTrainedTokenizerFast:
    return convert_tokenizer(model_file)


def published_ids(tokenizer: ChatGLMTokenizer, text: str, offset: int = 20_000) -> list[int]:
    """The published rule, step by step: longest runs of blanks first, image tokens before the pieces."""
    text = text.replace("\n", "<n>").replace("\t", "<|tab|>")
    for length in range(80, 1, -1):
        text = text.replace(" " * length, f"<|blank_{length}|>")
    return [offset + piece for piece in tokenizer.pieces.encode(text)]


@pytest.mark.parametrize("text", TEXTS)
def test_chatglm_splits_as_published(chatglm: ChatGLMTokenizer, text: str) -> None:
    ids = chatglm(text)["input_ids"]
    assert ids == [*published_ids(chatglm, text), chatglm.gmask_token_id, chatglm.bos_token_id]
    assert chatglm(text, add_special_tokens=False)["input_ids"] == ids[:-2]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(CHARACTERS), max_size=40))
def test_chatglm_splits_any_text_as_published(chatglm: ChatGLMTokenizer, text: str) -> None:
    assert chatglm(text, add_special_tokens=False)["input_ids"] == published_ids(chatglm, text)


def test_chatglm_whitespace_is_pieces_of_its_own(chatglm: ChatGLMTokenizer) -> None:
    tokens = chatglm.tokenize("a\tb\n\nc" + " " * 83 + "d")
    whitespace = [token for token in tokens if token.startswith("<")]
    assert whitespace == ["<|tab|>", "<n>", "<n>", "<|blank_80|>", "<|blank_3|>"]


def test_chatglm_gives_the_text_back(chatglm: ChatGLMTokenizer) -> None:
    text = 'Speaker_1:"你高兴吗? I am."\n\tYes,   very \U0001f600'
    ids = chatglm(text)["input_ids"]
    assert chatglm.decode(ids, skip_special_tokens=True) == text
    beyond = [5, *ids, chatglm.eos_token_id, chatglm.pad_token_id, chatglm.vocab_size + 3]
    assert chatglm.decode(beyond, skip_special_tokens=True) == text
    assert chatglm.decode([]) == ""


def test_chatglm_text_does_not_become_a_mark(chatglm: ChatGLMTokenizer) -> None:
    ids = chatglm("an [gMASK] in a text")["input_ids"]
    assert ids.index(chatglm.gmask_token_id) == len(ids) - 2


def test_chatglm_ids_begin_after_the_image_tokens(chatglm: ChatGLMTokenizer, tmp_path: Path) -> None:
    assert chatglm.convert_ids_to_tokens([0, 19_999, 20_000]) == ["<image_0>", "<image_19999>", "<unk>"]
    assert chatglm.convert_tokens_to_ids("<image_17>") == 17 and chatglm.pad_token_id == 20_003
    later = ChatGLMTokenizer(chatglm.vocab_file, num_image_tokens=0)
    text = MIXED[0]
    assert [20_000 + index for index in later(text)["input_ids"]] == chatglm(text)["input_ids"]
    later.save_pretrained(tmp_path)
    again = ChatGLMTokenizer.from_pretrained(tmp_path)
    assert again(text)["input_ids"] == later(text)["input_ids"] and again.eos_token == "<eop>"


def test_chatglm_pairs_and_padding(chatglm: ChatGLMTokenizer) -> None:
    both = chatglm("I am happy.", "joyful", return_special_tokens_mask=True)
    prompt, answer = (chatglm(text, add_special_tokens=False)["input_ids"] for text in ("I am happy.", "joyful"))
    marks = [chatglm.gmask_token_id, chatglm.bos_token_id]
    assert both["input_ids"] == [*prompt, *marks, *answer, chatglm.eos_token_id]
    assert both["special_tokens_mask"] == [*[0] * len(prompt), 1, 1, *[0] * len(answer), 1]
    padded = chatglm(["I am very happy.", "I"], padding=True)
    assert padded["attention_mask"][1][0] == 0 and padded["input_ids"][1][0] == chatglm.pad_token_id


def test_chatglm_without_its_vocabulary_is_told_what_it_may_be(model_file: Path) -> None:
    with pytest.raises(ValueError, match="convert_chatglm.py"):
        ChatGLMTokenizer()
    with pytest.raises(ValueError, match=r"\[gMASK\]"):
        ChatGLMTokenizer(model_file)


def test_rows_are_encoded_with_marks_and_end(chatglm: ChatGLMTokenizer, chatglm2: PreTrainedTokenizerFast) -> None:
    for tokenizer, first, last in ((chatglm, 0, 2), (chatglm2, 2, 0)):
        encoder = RowEncoder(tokenizer, 100)
        prompt = encoder.encode_prompts(["Fine."])[0]
        bare = tokenizer("Fine.", add_special_tokens=False)["input_ids"]
        assert prompt[first : len(prompt) - last] == bare and len(prompt) == len(bare) + 2
        label = encoder.encode_label("Sad")
        assert label == (*tokenizer("Sad", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)
        assert tokenizer.tokenize("Sad")[0].startswith("▁")


@pytest.mark.parametrize("text", TEXTS)
def test_chatglm2_splits_as_sentencepiece(chatglm2: PreTrainedTokenizerFast, model_file: Path, text: str) -> None:
    pieces = SentencePieceProcessor(model_file=str(model_file))
    size = pieces.get_piece_size()
    assert chatglm2(text)["input_ids"] == [size + 1, size + 3, *pieces.encode(text)]  # [gMASK] and sop
    assert chatglm2.decode(pieces.encode(text)) == pieces.decode(pieces.encode(text))


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from(CHARACTERS), max_size=40))
def test_chatglm2_splits_any_text_as_sentencepiece(
    chatglm2: PreTrainedTokenizerFast, model_file: Path, text: str
) -> None:
    pieces = SentencePieceProcessor(model_file=str(model_file))
    assert chatglm2(text, add_special_tokens=False)["input_ids"] == pieces.encode(text)


def test_chatglm2_special_tokens(chatglm2: PreTrainedTokenizerFast, model_file: Path, tmp_path: Path) -> None:
    size = SentencePieceProcessor(model_file=str(model_file)).get_piece_size()
    assert (chatglm2.pad_token_id, chatglm2.unk_token_id, chatglm2.eos_token_id) == (0, 0, 2)
    assert chatglm2.convert_tokens_to_ids(["[MASK]", "eop"]) == [size, size + 4]
    assert len(chatglm2) == size + 5
    pair = chatglm2("a", "b")["input_ids"]
    assert pair[-1] == 2 and pair[:2] == [size + 1, size + 3]
    assert chatglm2("a </s>")["input_ids"][-1] == 2
    with_roles = convert_tokenizer(model_file, ("<|system|>", "<|user|>"))
    assert with_roles.convert_tokens_to_ids("<|user|>") == size + 6
    chatglm2.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "glm"}')
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert again(text)["input_ids"] == chatglm2(text)["input_ids"]
    assert (again.padding_side, again.pad_token_id, again.eos_token_id) == ("left", 0, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "unigram", "hard_vocab_limit": False},
        {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
        {"vocab_size": 300, "add_dummy_prefix": False, "byte_fallback": False},
        {"user_defined_symbols": ["<n>", "好的"]},
    ],
)
def test_other_sentencepiece_models_are_converted_too(options: dict, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(chatglm2_pieces(**options))
    tokenizer, pieces = convert_tokenizer(path), SentencePieceProcessor(model_file=str(path))
    for text in TEXTS:
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == pieces.encode(text)


def test_model_that_no_fast_tokenizer_splits_alike_is_kept(model_file: Path, tmp_path: Path) -> None:
    """Pieces of equal score: SentencePiece merges the leftmost pair first, a fast tokenizer the pair ranked first."""
    spec = sentencepiece_model_pb2.ModelProto.FromString(model_file.read_bytes())
    for piece in spec.pieces:
        piece.score = 0
    (tmp_path / "tokenizer.model").write_bytes(spec.SerializeToString())
    tokenizer = convert_tokenizer(tmp_path / "tokenizer.model", ("<|system|>", "<|user|>"))
    assert type(tokenizer) is ChatGLM2Tokenizer
    pieces, size = tokenizer.pieces, tokenizer.pieces.get_piece_size()
    tokenizer.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_text('{"model_type": "glm"}')
    know_own_architectures()
    for loaded in (tokenizer, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert type(loaded) is ChatGLM2Tokenizer
        for text in TEXTS:
            assert loaded(text)["input_ids"] == [size + 1, size + 3, *pieces.encode(text)]
        assert (loaded.pad_token_id, loaded.eos_token_id, loaded.padding_side) == (0, 2, "left")
        assert loaded.convert_tokens_to_ids("<|user|>") == size + 6
        ids = loaded("你好 \U0001f600")["input_ids"]
        assert loaded.decode([*ids, 2, size + 99], skip_special_tokens=True) == "你好 \U0001f600"


def test_piece_that_is_called_like_a_mark_stays_a_piece(model_file: Path, tmp_path: Path) -> None:
    spec = sentencepiece_model_pb2.ModelProto.FromString(model_file.read_bytes())
    for name in ("so", "sop"):
        spec.pieces.add(piece=name, score=-0.5, type=1)
    path = tmp_path / "tokenizer.model"
    path.write_bytes(spec.SerializeToString())
    tokenizer, pieces = convert_tokenizer(path), SentencePieceProcessor(model_file=str(path))
    size = pieces.get_piece_size()
    ids = tokenizer("philosophy")["input_ids"]
    assert size - 1 in ids[2:] and ids == [size + 1, size + 3, *pieces.encode("philosophy")]


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    for content in (b"", b"not a model at all"):
        path = tmp_path / "tokenizer.model"
        path.write_bytes(content)
        with pytest.raises(UserError, match="tokenizer.model is no SentencePiece model|has no unknown token"):
            convert_tokenizer(path)
