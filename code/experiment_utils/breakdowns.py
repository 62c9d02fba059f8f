"""Scores by kind of utterance: turn position, emotion shift, length, text seen in training, kind of recording."""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from basics.errors import UserError
from basics.packed import read_packed, write_packed
from data_utils.dialogues import Dialogue, previous_of_speakers, recording_of, row_id
from data_utils.texts import digest_texts, list_seen
from experiment_utils.dialogue_counts import COLUMNS, Counts
from scoring.metrics import Prediction


@dataclass(frozen=True)
class TurnFacts:
    """Facts on an utterance, by which scores are broken down.

    turn: from 0. words: how many, by blanks. shifts: whether its gold emotion differs from that of the same speaker's
    previous utterance; None where there is none. seen: its text (as `fold_text` compares) was trained on.
    recording: see `recording_of`.
    """

    turn: int
    words: int
    shifts: bool | None
    seen: bool
    recording: str | None = None


def describe_split(
    dataset: str,
    dialogues: Mapping[str, Sequence[Dialogue]],
    split: str = "test",
    seen: Collection[str] | None = None,
) -> dict[str, TurnFacts]:
    """Row id -> facts, for the utterances of a split.

    seen: ids of those whose text a run was trained on, `seen_rows` of its results.json; None: taken from all of
    the dataset's train.
    """
    if seen is None:
        trained = set(digest_texts(dataset, dialogues["train"]).values())
        seen = list_seen(digest_texts(dataset, dialogues[split]), trained)
    seen = frozenset(seen)
    facts = {}
    for dialogue in dialogues[split]:
        recording = recording_of(dataset, dialogue.dialogue_id)
        for (turn, utterance), own in zip(dialogue.labelled, previous_of_speakers(dialogue), strict=True):
            shifts = None if own is None else own.label != utterance.label
            name = row_id(dataset, dialogue.dialogue_id, turn)
            facts[name] = TurnFacts(turn, len(utterance.text.split()), shifts, name in seen, recording)
    return facts


def _range_of(value: int, starts: Sequence[int]) -> str:
    """The range that holds a value, its first and last number in words: starts 0, 1, 3 make 0, 1-2, 3 and more."""
    place = bisect_right(starts, value)
    first = starts[place - 1]
    if place == len(starts):
        return f"{first} and more"
    last = starts[place] - 1
    return str(first) if first == last else f"{first}-{last}"


# Question -> function that gives an utterance's answer; None where its dataset has none.
BREAKDOWNS: Mapping[str, Callable[[TurnFacts], str | None]] = {
    "turn position": lambda facts: _range_of(facts.turn, (0, 1, 3, 6, 11, 21)),
    "emotion of the same speaker": lambda facts: {None: "first turn", True: "shifts", False: "stays"}[facts.shifts],
    "words": lambda facts: _range_of(facts.words, (0, 4, 8, 16)),
    "text": lambda facts: "also in train" if facts.seen else "not in train",
    "recording": lambda facts: facts.recording,
}


def _questions_of(facts: Mapping[str, TurnFacts]) -> dict[str, Callable[[TurnFacts], str | None]]:
    """The questions of `BREAKDOWNS` to which every utterance has an answer."""
    return {name: of for name, of in BREAKDOWNS.items() if None not in map(of, facts.values())}


# The order of answers that are words.
ORDER = ("first turn", "stays", "shifts", "also in train", "not in train", "scripted", "improvised")


Breakdowns = Mapping[str, Mapping[str, Counts]]  # question -> answer -> counts of those utterances


def break_down(
    predictions: Sequence[Prediction], facts: Mapping[str, TurnFacts], labels: Sequence[str]
) -> dict[str, dict[str, Counts]]:
    """Question -> answer -> the counts of the utterances with that answer."""
    found: dict[str, dict[str, Counts]] = {}
    for question, answer_of in _questions_of(facts).items():
        groups: dict[str, list[Prediction]] = {}
        for prediction in predictions:
            groups.setdefault(answer_of(facts[prediction.id]), []).append(prediction)
        found[question] = {
            answer: Counts.of_predictions(rows, labels)
            for answer, rows in sorted(groups.items(), key=lambda group: answer_order(group[0]))
        }
    return found


def write_breakdowns(path: Path, breakdowns: Breakdowns) -> None:
    """Writes them as packed CSV; equal counts make equal bytes."""
    lines = [",".join(("question", "answer to it", *COLUMNS))]
    for question, answers in breakdowns.items():
        for answer, counts in answers.items():
            # Not splitlines(): the name of a dialogue may hold U+0085 or U+2028, which are no ends of a line here.
            lines += [f"{question},{answer},{line}" for line in counts.write().split("\n")[1:-1]]
    text = "".join(f"{line}\n" for line in lines)
    write_packed(path, text)


def read_breakdowns(path: Path, labels: Sequence[str]) -> dict[str, dict[str, Counts]]:
    """What `write_breakdowns` wrote, in its order; UserError names a file that cannot be read."""
    texts: dict[str, dict[str, list[str]]] = {}
    try:
        for line in read_packed(path).removesuffix("\n").split("\n")[1:]:
            question, answer, counts = line.split(",", 2)
            texts.setdefault(question, {}).setdefault(answer, [",".join(COLUMNS)]).append(counts)
        return {
            question: {answer: Counts.read("\n".join(lines), labels) for answer, lines in answers.items()}
            for question, answers in texts.items()
        }
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"{path} cannot be read ({error}); git checkout {path}") from error


def answer_order(answer: str) -> int:
    """A sort key of answers: ranges by their first number, words as in `ORDER`."""
    return ORDER.index(answer) if answer in ORDER else int(re.match(r"\d+", answer).group())
