"""The steps of demo/demo.ipynb that are more than a line."""

import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from IPython.display import Image

from basics.words import counted
from dialogue_files.reading import read_text
from emotion_figures import draw_emotions, draw_scores
from own_dialogues.checkpoint import ensure_base, find_checkpoint
from own_dialogues.facts import find_facts
from own_dialogues.recognizer import EmotionRecognizer
from own_dialogues.writing import TurnEmotion

PROMPT_WIDTH = 100  # characters

Answers = Mapping[str, Mapping[str, float]]  # what was asked, in words -> label -> its share among the labels


def open_recognizer() -> EmotionRecognizer:
    """The recognizer of the checkpoint that `ERC_CHECKPOINT` names, else of the shipped one.

    Raises:
        UserError: there is no checkpoint or no base; the line says what gets it.
    """
    checkpoint = find_checkpoint()
    ensure_base(checkpoint)
    with _without_notices():
        return EmotionRecognizer.from_pretrained(checkpoint)


@contextmanager
def _without_notices() -> Iterator[None]:
    """What libraries say while they load does not belong among a notebook's outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging

        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            if shown:
                logging.enable_progress_bar()


def introduce() -> str:
    """Which base learned from what, and what it can answer, a sentence each."""
    facts = find_facts(find_checkpoint())
    labels = ", ".join(facts.config.labels)
    return f"{facts.base} has learned from {facts.learned_from}.\nIt answers with one of: {labels}."


def show_scores() -> Image | None:
    """A bar for the F1 of each label on the corpus that the checkpoint learned from; None: no score lies beside it."""
    score = find_facts(find_checkpoint()).score
    if score is None:
        return None
    told = "; ".join(f"{label}: {f1:.0f}" for label, f1 in score.per_label.items())
    return Image(draw_scores(score.per_label, f"F1 on {score.split} (%)"), alt=told)


def ask(recognizer: EmotionRecognizer, text: str) -> list[TurnEmotion]:
    """The emotion of every turn of plain text, `Name: utterance` lines; UserError names a line that is none."""
    return [row for rows in recognizer.predict_turns(read_text(text)) for row in rows]


def by_turn(rows: Sequence[TurnEmotion]) -> dict[str, Mapping[str, float]]:
    """What was answered to each turn, under its number, speaker and words."""
    return {_name(row): row.probabilities for row in rows}


def _name(row: TurnEmotion) -> str:
    return f"{row.turn.turn} {row.turn.speaker}: {row.turn.text}"


def forget_history(recognizer: EmotionRecognizer, rows: Sequence[TurnEmotion]) -> list[TurnEmotion]:
    """The same turns, each asked by itself, with no turn before it."""
    alone = recognizer.predict_dialogues([[(row.turn.speaker, row.turn.text)] for row in rows])
    return [replace(row, **found._asdict()) for row, (found,) in zip(rows, alone, strict=True)]


def tell_changes(rows: Sequence[TurnEmotion], alone: Sequence[TurnEmotion]) -> str:
    """One sentence: how many turns the history gives another label than they have by themselves."""
    changed = [str(row.turn.turn) for row, bare in zip(rows, alone, strict=True) if row.emotion != bare.emotion]
    which = f" (turn{'s' * (len(changed) > 1)} {', '.join(changed)})" if changed else ""
    return f"The history changes the label of {len(changed)} of {counted(len(rows), 'turn')}{which}."


def by_turn_and_alone(rows: Sequence[TurnEmotion], alone: Sequence[TurnEmotion]) -> dict[str, Mapping[str, float]]:
    """Line after line what was answered to each turn, and below it to the turn by itself."""
    lines = {}
    for row, bare in zip(rows, alone, strict=True):
        lines |= {_name(row): row.probabilities, f"{row.turn.turn} by itself": bare.probabilities}
    return lines


def show(answers: Answers, labels: Sequence[str]) -> Image:
    """The picture of some answers; who cannot see it is told each one's label and probability."""
    best = {name: max(shares, key=shares.__getitem__) for name, shares in answers.items()}
    told = "; ".join(f"{name}: {best[name]} {shares[best[name]]:.2f}" for name, shares in answers.items())
    return Image(draw_emotions(answers, labels), alt=told)


def wrap(prompt: str) -> str:
    """A prompt in lines that fit the page; it has none itself but where demonstrations stand in it."""
    return "\n".join(textwrap.fill(line, PROMPT_WIDTH) for line in prompt.splitlines())
