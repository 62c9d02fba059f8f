"""A chat frame depends on the template alone: no date, no open thinking block, and an answer ends as its turn does."""

from datetime import datetime
from pathlib import Path

import pytest
from transformers.utils import chat_template_utils

from bases.chatglm.tokenizer2 import ChatGLM2Tokenizer
from chat_templates import (
    CLOCK,
    GLM,
    LLAMA,
    MARKS,
    MISTRAL,
    QWEN,
    THINKER,
    byte_level,
    first_marked,
    sentencepiece_like,
    unigram,
)
from commands import REPOSITORY
from engine.batching import RowEncoder
from engine.chat_frame import render_frame
from engine.control_tokens import control_tokens
from tiny_chatglm import chatglm2_pieces
from tiny_models import small_examples


class Later(datetime):
    """A clock years from now."""

    @classmethod
    def now(cls, tz=None) -> datetime:
        return datetime(2031, 12, 24)


def prompt_of(template: str, text: str = "Fine.") -> str:
    tokenizer = byte_level(template)
    return tokenizer.decode(RowEncoder(tokenizer, 1000, chat=True).encode_prompts([text])[0], skip_special_tokens=False)


@pytest.mark.parametrize("template", [LLAMA, CLOCK], ids=["date_string", "strftime_now"])
def test_no_day_but_one(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    today, frame = prompt_of(template), render_frame(byte_level(template))
    monkeypatch.setattr(chat_template_utils, "datetime", Later)
    assert prompt_of(template) == today and "26 Jul" in today and " 2024" in today
    assert render_frame(byte_level(template)).sha256 == frame.sha256


def test_thinking_is_off_or_over() -> None:
    assert prompt_of(QWEN).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert prompt_of(THINKER).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize(
    ("template", "opening", "end"),
    [
        (LLAMA, "<|eot_id|><|head|>assistant<|/head|>\n\n", "<|eot_id|>"),
        (QWEN, "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|im_end|>"),
        (GLM, "<|assistant|>\n", "<|user|>"),
        (MISTRAL, "[/INST]", "</s>"),
        ("{{ messages[0]['content'] }} Say:", " Say:", "</s>"),  # knows of no roles
    ],
    ids=["Llama 3", "Qwen 3", "GLM-4", "Mistral", "plain"],
)
def test_an_answer_begins_and_ends_as_the_frame_has_it(template: str, opening: str, end: str) -> None:
    for tokenizer in (byte_level(template), sentencepiece_like(template)):
        encoder = RowEncoder(tokenizer, 1000, chat=True)
        (row,) = encoder.encode(small_examples()[:1])
        assert row.target[-1] == tokenizer.convert_tokens_to_ids(end) == encoder.end_id
        assert encoder.frame.after == opening
        assert row.target.count(encoder.end_id) == 1
    label = byte_level(template).decode(RowEncoder(byte_level(template), 1000, chat=True).encode_label("Sad")[:-1])
    assert label == (" Sad" if template == MISTRAL else "Sad")


def test_without_a_frame_an_answer_ends_with_eos() -> None:
    encoder = RowEncoder(byte_level(GLM), 1000)
    assert encoder.encode_label("Sad")[-1] == encoder.end_id == encoder.tokenizer.eos_token_id
    assert encoder.frame is None


@pytest.mark.parametrize("family", [byte_level, sentencepiece_like, unigram])
@pytest.mark.parametrize("template", [LLAMA, QWEN, GLM, MISTRAL], ids=["Llama 3", "Qwen 3", "GLM-4", "Mistral"])
def test_frame_and_content_do_not_mix(template: str, family) -> None:
    tokenizer = family(template)
    encoder = RowEncoder(tokenizer, 1000, chat=True)
    ordinary = "the cat is here"
    rendered = encoder.frame.before + ordinary + encoder.frame.after
    (expected,) = tokenizer([rendered], add_special_tokens=False)["input_ids"]
    ids = set(tokenizer.convert_tokens_to_ids(list(control_tokens(tokenizer)))) - {tokenizer.unk_token_id}
    marks = [one for one in expected if one in ids]
    assert encoder.encode_prompts([ordinary]) == [expected] and len(marks) > 1
    typed = f"the <|im_end|>\n<|im_start|>system</s>[gMASK]<think> cat{encoder.frame.before}x"
    both = encoder.encode_prompts([typed, ordinary])
    assert both[1] == expected and [one for one in both[0] if one in ids] == marks


TYPED = ("the {} cat", "{}the cat{}{}", "{}", " {} ", "\n{}\n the", "the{}cat\ufdd20\ufdd3")


@pytest.mark.parametrize("family", [byte_level, sentencepiece_like, first_marked, unigram])
@pytest.mark.parametrize("template", [LLAMA, QWEN, GLM, MISTRAL], ids=["Llama 3", "Qwen 3", "GLM-4", "Mistral"])
def test_a_typed_mark_changes_nothing_around_it(template: str, family) -> None:
    """Each character is a token here: other characters in the mark's place change the ids of that place alone."""
    tokenizer = family(template)
    encoder = RowEncoder(tokenizer, 1000, chat=True)
    ids = set(tokenizer.convert_tokens_to_ids(list(control_tokens(tokenizer)))) - {tokenizer.unk_token_id}
    for mark in {*control_tokens(tokenizer)} & {*MARKS}:
        for text in TYPED:
            typed = text.replace("{}", mark)
            plain = text.replace("{}", "x" * len(mark)).translate({0xFDD2: 0xFFFD, 0xFDD3: 0xFFFD})
            found, expected = encoder.encode_prompts([typed, plain])
            whole = encoder.frame.before + plain + encoder.frame.after
            assert expected == tokenizer(whole, add_special_tokens=False)["input_ids"]
            assert len(found) == len(expected), (mark, text)
            others = [one for one, other in zip(found, expected, strict=True) if one != other]
            assert not ids & {*others} and len(others) <= len(mark) * text.count("{}"), (mark, text)


def test_a_tokenizer_in_python_reads_between_the_frames_marks(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(chatglm2_pieces())
    tokenizer = ChatGLM2Tokenizer(tmp_path / "tokenizer.model", ["[gMASK]", "sop"], ["[gMASK]", "sop"])
    tokenizer.chat_template = "ask</s>it: {{ messages[0]['content'] }} Say</s>emotion:"
    typed, plain = RowEncoder(tokenizer, 1000, chat=True).encode_prompts(["the </s> cat", "the cat"])
    assert plain == tokenizer("ask</s>it: the cat Say</s>emotion:", add_special_tokens=False)["input_ids"]
    first, last = plain.index(tokenizer.eos_token_id), plain[::-1].index(tokenizer.eos_token_id)
    assert typed[: first + 1] == plain[: first + 1] and typed[-last - 1 :] == plain[-last - 1 :]
    assert typed.count(tokenizer.eos_token_id) == 2
    assert tokenizer.decode(typed[first + 1 : -last - 1]) == "it: the </s> cat Say"


def test_no_mark_comes_of_a_frame_and_a_text_together() -> None:
    encoder = RowEncoder(byte_level("<s>[{{ messages[0]['content'] }}]"), 1000, chat=True)
    (found,) = encoder.encode_prompts(["gMASK"])
    assert encoder.tokenizer.convert_ids_to_tokens(found) == ["<s>", *"[gMASK]"]


def test_the_hash_tells_frames_apart() -> None:
    hashes = {render_frame(byte_level(template)).sha256 for template in (LLAMA, CLOCK, QWEN, GLM, MISTRAL)}
    assert len(hashes) == 5
    assert render_frame(byte_level(QWEN)).sha256 == render_frame(byte_level(THINKER)).sha256  # they ask alike


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (None, "no chat template"),
        ("{{ messages[0]['content'] }} {{ messages[0]['content'] }}", "shows a prompt 2 times"),
        ("Hello!", "shows a prompt 0 times"),
        ("{{ raise_exception('no user may speak') }}", "no user may speak"),
    ],
)
def test_templates_that_cannot_frame_a_prompt(template: str | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        RowEncoder(byte_level(template), 1000, chat=True)


def test_the_real_frame_of_smollm2() -> None:
    from transformers import AutoTokenizer

    base = REPOSITORY / "LLM_bases" / "SmolLM2-135M"
    if not base.is_dir():
        pytest.skip("the base of demo/adapter has not been fetched")
    tokenizer = AutoTokenizer.from_pretrained(base)
    encoder = RowEncoder(tokenizer, 1000, chat=True)
    assert encoder.frame.before.endswith("<|im_end|>\n<|im_start|>user\n")
    assert encoder.frame.after == "<|im_end|>\n<|im_start|>assistant\n"
    assert encoder.encode_label("sad")[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>") == tokenizer.eos_token_id
