"""One's own turns -> the prompts that a checkpoint was trained on. No turn ever sees a later one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from basics.errors import UserError
from data_utils.dialogues import Utterance, clean_text, row_id
from data_utils.examples import window_start
from data_utils.prompts import add_demonstrations, render_plain_prompt, render_recognition_prompt, render_turn
from data_utils.retrieval import Match
from data_utils.row_files import RECOGNITION, Example
from dialogue_files.turns import SpokenTurn
from engine.batching import RowEncoder
from training.erc_config import ErcConfig

# Tokens that a tokenizer puts around a text, at most; every other one stands for a byte or more.
TOKENS_AROUND = 64


@dataclass(frozen=True)
class Question:
    """A turn and what its prompt shows: the turns before it, oldest first, then the turn itself.

    shortened: its utterance was cut at the end to fit.
    """

    turn: SpokenTurn
    shown: tuple[Utterance, ...]
    shortened: bool = False


class PromptMaker:
    """Makes prompts as the training of one checkpoint made them: its window, labels, template and length."""

    def __init__(self, config: ErcConfig, encoder: RowEncoder) -> None:
        self.config, self.encoder = config, encoder
        self.room = encoder.max_length - max(len(encoder.encode_label(label)) for label in config.labels)

    def questions(self, turns: Iterable[SpokenTurn]) -> Iterator[Question]:
        """One question for each turn; of a dialogue no more is kept than the window shows.

        Raises:
            UserError: the checkpoint's longest prompt holds no utterance at all.
        """
        window = 0 if self.config.kind == "plain" else self.config.historical_window
        shown: list[Utterance] = []
        part = first = -1  # of the dialogue, and of its turns that `shown` holds
        for turn in turns:
            start = window_start(turn.turn, window, self.config.window_step)
            shown = shown[start - first :] if turn.part == part else []
            part, first = turn.part, start
            number = turn.number + self.config.speaker_offset
            text = clean_text(turn.text) if self.config.clean_text else turn.text
            fitting = self._shorten(text, number)
            shown.append(Utterance(number, fitting, None))
            yield Question(turn, tuple(shown), fitting != text)

    def example(self, question: Question, matches: Sequence[Match] = ()) -> tuple[Example, Sequence[Match]]:
        """The row that asks, and the demonstrations in it: those, nearest first, that fit beside the utterance.

        Its target is a stand-in: the first label.
        """
        alone = self._render(question.shown[-1:])
        while matches and not self._fits(self._demonstrate(alone, matches)):
            matches = matches[:-1]
        prompt = self._render(question.shown)
        prompt = self._demonstrate(prompt, matches) if matches else prompt
        name = row_id("own", str(question.turn.part), question.turn.turn)
        return Example(name, RECOGNITION, prompt, self.config.labels[0]), matches

    def _render(self, shown: Sequence[Utterance]) -> str:
        if self.config.kind == "plain":
            return render_plain_prompt(shown[-1].text, self.config.labels)
        turns = [render_turn(one.speaker, one.text) for one in shown]
        return render_recognition_prompt(turns, self.config.labels, self.config.prompt)

    def _demonstrate(self, prompt: str, matches: Sequence[Match]) -> str:
        pairs = [(match.entry.text, match.entry.label) for match in matches]
        position = self.config.retrieval.position if self.config.retrieval else "last"
        return add_demonstrations(prompt, pairs, position)

    def _fits(self, prompt: str) -> bool:
        if not self.encoder.frame and len(prompt.encode("utf-8")) + TOKENS_AROUND <= self.room:
            return True
        return len(self.encoder.encode_prompts([prompt])[0]) <= self.room

    def _shorten(self, text: str, speaker: int) -> str:
        """The text, or as many of its first characters as a prompt without history can hold."""
        if self._fits(self._render([Utterance(speaker, text, None)])):
            return text
        fits, too_long = 0, len(text)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self._fits(self._render([Utterance(speaker, text[:middle], None)])):
                fits = middle
            else:
                too_long = middle
        if not fits:
            raise UserError(f"max_length {self.config.max_length} of the checkpoint holds no utterance of this length")
        return text[:fits]
