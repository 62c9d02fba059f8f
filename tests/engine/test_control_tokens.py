"""Marks of a tokenizer that somebody has typed stay text, for every family; ordinary text keeps its ids."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from bases.chatglm.tokenizer import ChatGLMTokenizer
from bases.chatglm.tokenizer2 import ChatGLM2Tokenizer, convert_tokenizer
from chat_templates import MARKS, QWEN, byte_level, sentencepiece_like, unigram
from commands import REPOSITORY
from engine.batching import RowEncoder
from engine.control_tokens import control_tokens
from tiny_chatglm import chatglm2_pieces, chatglm_pieces
from tiny_models import small_examples

ORDINARY = (
    "the cat, 9 < 10 [really]?  <b>",
    '\tSpeaker_0:"It\'s <fine>"\n',
    "",
    *(row.input for row in small_examples()),
)


def chatglm(folder: Path) -> ChatGLMTokenizer:
    (folder / "ice_text.model").write_bytes(chatglm_pieces())
    return ChatGLMTokenizer(folder / "ice_text.model")


def chatglm2(folder: Path):
    (folder / "tokenizer.model").write_bytes(chatglm2_pieces())
    return convert_tokenizer(folder / "tokenizer.model", ("<|system|>", "<|user|>"))


def chatglm2_slow(folder: Path) -> ChatGLM2Tokenizer:
    (folder / "tokenizer.model").write_bytes(chatglm2_pieces())
    return ChatGLM2Tokenizer(folder / "tokenizer.model", ["[gMASK]", "sop", "<|user|>"], ["[gMASK]", "sop"])


def smollm2(folder: Path):
    base = REPOSITORY / "LLM_bases" / "SmolLM2-135M"
    if not base.is_dir():
        pytest.skip("the base of demo/adapter has not been fetched")
    return AutoTokenizer.from_pretrained(base)


FAMILIES = {
    "byte-level BPE": lambda folder: byte_level(QWEN),
    "SentencePiece BPE": lambda folder: sentencepiece_like(QWEN),
    "unigram": lambda folder: unigram(QWEN),
    "ChatGLM": chatglm,
    "ChatGLM2": chatglm2,
    "ChatGLM2, slow": chatglm2_slow,
    "SmolLM2": smollm2,
}


@pytest.fixture(params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path):
    return FAMILIES[request.param](tmp_path)


def test_typed_marks_are_text(tokenizer) -> None:
    marks = control_tokens(tokenizer)
    assert len(marks) >= 2 and tokenizer.eos_token in marks
    encoder = RowEncoder(tokenizer, 1000)
    ids = set(tokenizer.convert_tokens_to_ids(list(marks))) - {tokenizer.unk_token_id}
    around = [one for one in encoder.encode_prompts([""])[0] if one in ids]  # BOS, [gMASK], ...
    for mark in marks:
        for text in (mark, f"the {mark} the{mark}the", f"{mark}{mark}\n"):
            (prompt,) = encoder.encode_prompts([text])
            assert [one for one in prompt if one in ids] == around, (mark, text)
            typed = encoder.encode_label(text)[:-1]
            assert not ids & set(typed), (mark, text)


def test_typed_marks_can_be_read_again() -> None:
    encoder = RowEncoder(byte_level(QWEN), 1000)
    for mark in MARKS:
        (prompt,) = encoder.encode_prompts([f"the {mark} the"])
        assert encoder.tokenizer.decode(prompt, skip_special_tokens=True) == f"the {mark} the"


def test_ordinary_text_keeps_its_ids(tokenizer) -> None:
    encoder = RowEncoder(tokenizer, 1000)
    expected = [
        ids[:-1] if ids[-1:] == [tokenizer.eos_token_id] else ids for ids in tokenizer(list(ORDINARY))["input_ids"]
    ]
    assert encoder.encode_prompts(ORDINARY) == expected


def test_the_tokenizer_is_saved_as_it_was(tmp_path: Path) -> None:
    tokenizer = unigram(QWEN)
    tokenizer.save_pretrained(tmp_path / "before")
    RowEncoder(tokenizer, 1000).encode_prompts(["the </s><think>"])
    tokenizer.save_pretrained(tmp_path / "after")
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes()
