"""Build the sample corpus: check dialogues.txt and write sample.pkl beside it.

    python original_data/sample/build.py
    python original_data/sample/build.py --csv original_data/sample_csv    # the same as a corpus of one's own

The pickle has the seven slots of the MELD pickle, so it is read by the same code. The same text gives the
same bytes on every run.
"""

import argparse
import csv
import io
import pickle
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1] / "code"))

from basics.errors import UserError, raise_together  # noqa: E402
from basics.files import write_atomically  # noqa: E402
from basics.scripts import run_script  # noqa: E402
from data_utils.labels import DATASETS, SPLITS  # noqa: E402

LABELS = DATASETS["sample"].labels
ONE_HOT_LENGTH = DATASETS["sample"].speakers
TURNS = range(6, 15)
SPEAKERS = range(2, 6)
PICKLE_PROTOCOL = 2
PICKLE_SPLITS = ("train", "test", "valid")
MOST_PROBLEMS_SHOWN = 10
QUOTE_LENGTH = 60

NEUTRAL, POSITIVE, NEGATIVE = 0, 1, 2
# Surprise can be either; one number per label has to choose, and ours says positive.
SENTIMENTS = {"neutral": NEUTRAL, "surprise": POSITIVE, "joyful": POSITIVE}

HEADER = re.compile(r"== (?P<id>[a-z0-9_]+) \| (?P<split>\w+)")
HEADER_FORM = "'== dialogue_id | split', the id of a-z, 0-9 and _"
TURN_FORM = "'speaker | label | text'"


@dataclass(frozen=True)
class SourceDialogue:
    """One dialogue as it stands in the text: (speaker, label, text) per turn, and the line of its header."""

    dialogue_id: str
    split: str
    line: int
    turns: list[tuple[str, str, str]] = field(default_factory=list)


def read_corpus(source: Path) -> list[SourceDialogue]:
    """Read and check the text, in its own order.

    Raises UserError with the first ten problems: file, line number and the allowed values of each.
    """
    if not source.is_file():
        raise UserError(f"{source}: no such file; allowed is a text in the form of dialogues.txt")
    dialogues: list[SourceDialogue] = []
    problems: list[str] = []
    # Not splitlines(): a form feed inside a line would shift every number after it.
    lines = source.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            problems.extend(f"{source}:{number}: {what}" for what in _read_line(line, number, dialogues))
    problems.extend(f"{source}:{line}: {what}" for line, what in _check_dialogues(dialogues))
    hidden = len(problems) - MOST_PROBLEMS_SHOWN
    raise_together(problems[:MOST_PROBLEMS_SHOWN] + ([f"and {hidden} more"] if hidden > 0 else []))
    return dialogues


def _read_line(line: str, number: int, dialogues: list[SourceDialogue]) -> Iterator[str]:
    """Add one header or turn to `dialogues`; yield what is wrong with it."""
    if not (line.isascii() and line.isprintable()):
        yield f"{_quote(line)} holds other characters; allowed are printable ASCII characters"
    elif line.startswith("=="):
        yield from _read_header(line, number, dialogues)
    elif dialogues:
        yield from _read_turn(line, dialogues[-1])
    else:
        yield f"a turn before the first dialogue; allowed is {HEADER_FORM}"


def _read_header(line: str, number: int, dialogues: list[SourceDialogue]) -> Iterator[str]:
    header = HEADER.fullmatch(line)
    if header is None:
        yield f"{_quote(line)} is no header; allowed is {HEADER_FORM}"
    # A bad header still opens a dialogue, or its turns would be laid to the one before.
    dialogue_id, split = (header["id"], header["split"]) if header else (line, SPLITS[0])
    dialogue = SourceDialogue(dialogue_id, split, number)
    if dialogue.split not in SPLITS:
        yield f"unknown split {_quote(dialogue.split)}; allowed are {', '.join(SPLITS)}"
    if any(dialogue.dialogue_id == earlier.dialogue_id for earlier in dialogues):
        yield f"dialogue id {_quote(dialogue.dialogue_id)} is taken; allowed is an id used once"
    dialogues.append(dialogue)


def _read_turn(line: str, dialogue: SourceDialogue) -> Iterator[str]:
    parts = [part.strip() for part in line.split("|")]
    if len(parts) != 3 or not all(parts):
        yield f"{_quote(line)} is no turn; allowed is {TURN_FORM}, none of them empty, no other '|'"
        return
    speaker, label, text = parts
    if label not in LABELS:
        yield f"unknown label {_quote(label)}; allowed are {', '.join(LABELS)}"
    dialogue.turns.append((speaker, label, text))


def _quote(text: str) -> str:
    return ascii(text if len(text) <= QUOTE_LENGTH else text[:QUOTE_LENGTH] + "...")


def _check_dialogues(dialogues: Sequence[SourceDialogue]) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) for what only whole dialogues show."""
    for dialogue in dialogues:
        sizes = (
            ("turns", len(dialogue.turns), TURNS),
            ("speakers", len({speaker for speaker, _, _ in dialogue.turns}), SPEAKERS),
        )
        for name, size, allowed in sizes:
            if size not in allowed:
                yield dialogue.line, f"number of {name} is {size}; allowed are {allowed[0]} to {allowed[-1]}"
    for split in SPLITS:
        if not any(dialogue.split == split for dialogue in dialogues):
            last_line = dialogues[-1].line if dialogues else 1
            yield last_line, f"no dialogue in {split}; allowed is at least one in each of {', '.join(SPLITS)}"


def build_slots(dialogues: Sequence[SourceDialogue]) -> list:
    """Return the seven slots: speakers, emotions, sentiments, sentences, train, test and valid ids."""
    speakers = {dialogue.dialogue_id: _encode_speakers(dialogue) for dialogue in dialogues}
    emotions, sentiments, sentences = {}, {}, {}
    for dialogue in dialogues:
        labels = [label for _, label, _ in dialogue.turns]
        emotions[dialogue.dialogue_id] = [LABELS.index(label) for label in labels]
        sentiments[dialogue.dialogue_id] = [SENTIMENTS.get(label, NEGATIVE) for label in labels]
        sentences[dialogue.dialogue_id] = [text for _, _, text in dialogue.turns]
    ids = [[item.dialogue_id for item in dialogues if item.split == split] for split in PICKLE_SPLITS]
    return [speakers, emotions, sentiments, sentences, *ids]


def _encode_speakers(dialogue: SourceDialogue) -> list[list[int]]:
    """Return one one-hot row per turn; a speaker's number is the order of appearance in the dialogue."""
    names = list(dict.fromkeys(speaker for speaker, _, _ in dialogue.turns))
    return [[int(place == names.index(speaker)) for place in range(ONE_HOT_LENGTH)] for speaker, _, _ in dialogue.turns]


def write_tables(dialogues: Sequence[SourceDialogue], folder: Path) -> None:
    """train.csv, valid.csv and test.csv, a row for each turn, with the names of the speakers."""
    for split in SPLITS:
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(("dialogue", "speaker", "utterance", "emotion"))
        for item in dialogues:
            if item.split == split:
                rows.writerows((item.dialogue_id, speaker, text, label) for speaker, label, text in item.turns)
        write_atomically(folder / f"{split}.csv", table.getvalue())


def format_counts(dialogues: Sequence[SourceDialogue]) -> str:
    """Return the table of counts: one row per split, then dialogues, utterances and every label."""
    rows = [("split", "dialogues", "utterances", *LABELS)]
    for split in SPLITS:
        chosen = [dialogue for dialogue in dialogues if dialogue.split == split]
        count = Counter(label for dialogue in chosen for _, label, _ in dialogue.turns)
        rows.append((split, len(chosen), count.total(), *(count[label] for label in LABELS)))
    return "\n".join("".join(f"{cell:>11}" for cell in row) for row in rows)


def main() -> None:
    """Read the text, write the pickle, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=FOLDER / "dialogues.txt", help="the readable text")
    parser.add_argument("--output", type=Path, default=FOLDER / "sample.pkl", help="the pickle to write")
    parser.add_argument("--csv", type=Path, help="a folder for train.csv, valid.csv and test.csv, beside the pickle")
    arguments = parser.parse_args()
    if arguments.output.is_dir():
        raise UserError(f"--output {arguments.output} is a folder; allowed is the name of a file")
    dialogues = read_corpus(arguments.source)
    write_atomically(arguments.output, pickle.dumps(build_slots(dialogues), protocol=PICKLE_PROTOCOL))
    if arguments.csv:
        write_tables(dialogues, arguments.csv)
    print(format_counts(dialogues))


if __name__ == "__main__":
    run_script(main)
