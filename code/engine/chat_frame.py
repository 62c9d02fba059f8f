"""The text that a chat template puts around a prompt; it depends on the template alone, not on the date."""

from dataclasses import dataclass
from typing import Any

from basics.files import sha256_of_text
from engine.control_tokens import control_tokens

PROMPT, ANSWER, NEXT = "\ufdd0prompt\ufdd1", "\ufdd0answer\ufdd1", "\ufdd0next\ufdd1"
# strftime code -> its value, for templates that write the date: the one that Llama 3's uses where there is no clock.
DAY = {"%d": "26", "%-d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%-m": "7", "%Y": "2024", "%y": "24"}
DAY |= {"%A": "Friday", "%a": "Fri", "%H": "00", "%I": "12", "%M": "00", "%S": "00", "%p": "AM"}
FIXED = {"date_string": "26 Jul 2024", "enable_thinking": False, "thinking": False}
OPEN_THOUGHT, NO_THOUGHT = "<think>", "\n\n</think>\n\n"


@dataclass(frozen=True)
class ChatFrame:
    """The text before a prompt, and after it up to the answer.

    blank: whether the answer begins with a blank. end: the token that ends the turn of the answer; None: there is none.
    """

    before: str
    after: str
    blank: bool
    end: str | None

    @property
    def sha256(self) -> str:
        """A digest of all fields."""
        return sha256_of_text("\0".join((self.before, self.after, " " * self.blank, self.end or "")))


def render_frame(tokenizer) -> ChatFrame:
    """The frame of a user's first turn, with thinking off.

    Raises:
        ValueError: the tokenizer has no template, or its template does not show the prompt once.
    """
    if not tokenizer.chat_template:
        raise ValueError("the tokenizer has no chat template")
    asked = _render(tokenizer, [PROMPT], add_generation_prompt=True)
    if asked.count(PROMPT) != 1:
        raise ValueError(f"the chat template shows a prompt {asked.count(PROMPT)} times")
    before, _, after = asked.partition(PROMPT)
    lead, end = _around_answer(tokenizer, asked)
    if after.rstrip().endswith(OPEN_THOUGHT):
        after = after.rstrip() + NO_THOUGHT
    return ChatFrame(before, after + lead.rstrip(" "), lead.endswith(" "), end)


def _around_answer(tokenizer, asked: str) -> tuple[str, str | None]:
    """(blanks and line ends between the frame and an answer, the mark that follows the answer)."""
    try:
        told = _render(tokenizer, [PROMPT, ANSWER, NEXT])
    except ValueError:  # a template for a single turn
        return "", None
    beginning, _, rest = told.partition(ANSWER)
    lead = beginning.removeprefix(asked) if beginning.startswith(asked) else ""
    ending = rest.partition(NEXT)[0]
    marks = [mark for mark in control_tokens(tokenizer) if mark in ending]
    end = min(marks, key=lambda mark: (ending.index(mark), -len(mark)), default=None)
    return lead if lead.isspace() else "", end


def _render(tokenizer, turns: list[str], **options: Any) -> str:
    """Turns of user and assistant, in the template's form."""
    from jinja2 import TemplateError

    messages = [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]
    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        # A macro, because no function can be passed to a template; the line end after it belongs to it.
        day = "".join(f" | replace('{code}', '{value}')" for code, value in DAY.items())
        template = f"{{% macro strftime_now(format) %}}{{{{ format{day} }}}}{{% endmacro %}}\n{template}"
    try:
        return tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **FIXED, **options)
    except TemplateError as error:
        raise ValueError(f"its chat template cannot be filled: {error}") from None
