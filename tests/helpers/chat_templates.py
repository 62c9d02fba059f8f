"""Chat templates after those of today's bases, in our own words, and tokenizers of every family that has marks."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tiny_models import character_tokenizer

# As Llama 3.2: the day stands in the system turn, and comes from the clock unless it is given.
LLAMA = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{% endif %}"
    "<s><|head|>system<|/head|>\n\nToday: {{ date_string }}\n\n<|eot_id|>"
    "{% for one in messages %}<|head|>{{ one['role'] }}<|/head|>\n\n{{ one['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
# The same day under another name, as in templates that take no date.
CLOCK = LLAMA.replace("{% if not date_string is defined %}", "{% if true %}").replace("%d %b %Y", "%A, %d %B %Y")
# As Qwen3: a thinking block that is shut where thinking is off, else left to the model.
QWEN = (
    "{% for one in messages %}<|im_start|>{{ one['role'] }}\n{{ one['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# As bases that always think: the block is open.
THINKER = QWEN.split("{% if enable_thinking", maxsplit=1)[0] + "<think>\n{% endif %}"
# As GLM-4: nothing ends an answer but the next turn's mark, and the answer begins on a line of its own.
GLM = (
    "[gMASK]<sop>{% for one in messages %}<|{{ one['role'] }}|>\n{{ one['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# As Mistral: roles are marks around the user's turn, and the answer begins with a blank.
MISTRAL = (
    "<s>{% for one in messages %}{% if one['role'] == 'user' %}[INST] {{ one['content'] }}[/INST]"
    "{% else %} {{ one['content'] }}</s>{% endif %}{% endfor %}"
)
SPECIAL = ("<|head|>", "<|/head|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "[gMASK]", "<sop>", "<|user|>")
SPECIAL += ("<|assistant|>", "[INST]", "[/INST]")
NOT_SPECIAL = ("<think>", "</think>", "<|fim_middle|>")  # as in Qwen3: added, but not marked as special
MARKS = ("<s>", "</s>", *SPECIAL, *NOT_SPECIAL)


def with_marks(tokenizer: PreTrainedTokenizerFast, template: str | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer with all marks of the templates above."""
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in NOT_SPECIAL])
    tokenizer.chat_template = template
    return tokenizer


def byte_level(template: str | None = None) -> PreTrainedTokenizerFast:
    """Byte-level BPE, as GPT-2, Llama 3 and Qwen."""
    return with_marks(character_tokenizer(), template)


def sentencepiece_like(template: str | None = None) -> PreTrainedTokenizerFast:
    """BPE over marked words, as Llama 2 and Mistral."""
    return with_marks(character_tokenizer(marks_words=True), template)


def unigram(template: str | None = None) -> PreTrainedTokenizerFast:
    """Unigram, as XGLM: the marks are in the model's own vocabulary, where text reaches them."""
    letters = sorted({character for text in ("abcdefghijklmnopqrstuvwxyz", *MARKS) for character in text})
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -2.0), ("▁the", -1.5), *((c, -3.0) for c in letters)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}
    return with_marks(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names), template)


def first_marked(template: str | None = None) -> PreTrainedTokenizerFast:
    """As today's Llama 2: a blank before a whole text alone; and marks that take the blanks beside them."""
    tokenizer = character_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(prepend_scheme="first", split=False), None
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(one, rstrip=True) for one in SPECIAL]})
    return with_marks(tokenizer, template)
