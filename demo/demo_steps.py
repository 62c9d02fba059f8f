"""The steps of demo/demo.ipynb that are more than a line."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dialogue_files.reading import read_text
from own_dialogues.checkpoint import ensure_base, find_checkpoint
from own_dialogues.recognizer import EmotionRecognizer
from own_dialogues.writing import TurnEmotion


def open_recognizer() -> EmotionRecognizer:
    """The recognizer of the checkpoint that `ERC_CHECKPOINT` names, else of the shipped one."""
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


def ask(recognizer: EmotionRecognizer, text: str) -> list[TurnEmotion]:
    """The emotion of every turn of plain text, `Name: utterance` lines."""
    return [row for rows in recognizer.predict_turns(read_text(text)) for row in rows]


def tabulate(rows: Sequence[TurnEmotion]) -> list[dict[str, object]]:
    """What a table of the answer shows, turn by turn."""
    return [
        {
            "speaker": row.turn.speaker,
            "utterance": row.turn.text,
            "emotion": row.emotion,
            "probability": round(row.probability, 2),
        }
        for row in rows
    ]


def compare_without_history(recognizer: EmotionRecognizer, rows: Sequence[TurnEmotion]) -> list[dict[str, object]]:
    """For each turn the emotion with the turns before it, and the emotion of the same words on their own."""
    alone = recognizer.predict_dialogues([[(row.turn.speaker, row.turn.text)] for row in rows])
    return [
        {
            "utterance": row.turn.text,
            "with history": f"{row.emotion} {row.probability:.2f}",
            "on its own": f"{bare.emotion} {bare.probability:.2f}",
            "history decides": "yes" if bare.emotion != row.emotion else "",
        }
        for row, (bare,) in zip(rows, alone, strict=True)
    ]
