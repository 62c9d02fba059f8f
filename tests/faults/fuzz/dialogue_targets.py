"""Readers of dialogue files: each form, files as they are found, code pages, what is pasted into the page."""

import io
from functools import cache, partial
from pathlib import Path

import page_input
from basics.errors import UserError
from basics.files import find_repository
from dialogue_files.live import LiveLines
from dialogue_files.readers.forms import FORMATS
from dialogue_files.reading import count_turns, find_format, read_turns
from dialogue_files.report import Report
from own_dialogues.preview import render_turns, summary_lines
from tests.faults.fuzz.target import Target

EXAMPLES = find_repository() / "tests" / "dialogue_files" / "files"
ENCODINGS = (
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-7",
    "cp932",
    "gb18030",
    "iso2022_jp",
    "mac_roman",
    "unicode_escape",
)
LARGEST_SEED = 4_000  # bytes
TOKENS = (
    *(
        b"Ann: ",
        b"**Ann**: ",
        b"[10:01] ",
        b"10:01:03 From ",
        b" to Everyone: ",
        b"[5/1/2024 10:01 AM] ",
        b"~ ",
        b"INT. ",
    ),
    *(
        b'Replying to "',
        b"1/2/24, 10:01 - Ann: ",
        b"00:00:01.000 --> 00:00:02.000\n",
        b"<00:00:01.000>",
        b"{\\an8}",
        b">> ",
    ),
    *(
        b"WEBVTT\n\n",
        b"NOTE x\n",
        b"Dialogue: ",
        b"Format: Start, End, Text\n",
        b"__eou__",
        b"1 | A | joy | x",
        b"sep=;\n",
    ),
    *(
        b"speaker,utterance\n",
        b"Season,Episode,Scene_ID,Utterance,Speaker\n",
        b"['Nora', 'Tim']",
        b"[" + b"-" * 900 + b"1]",
    ),
    *(b'"text": ', b'"speaker": ', b'"messages": [', b'"turns": [', b"\xe4\xf6", b"\xd0\xd1", b" \xe2\x80\x94 10:01"),
)


@cache
def seeds_of(suffixes: tuple[str, ...], form: str = "") -> tuple[bytes, ...]:
    """The examples of the tests whose names end so; those of a form three times, so that they are drawn more often."""
    paths = sorted(path for path in EXAMPLES.iterdir() if path.suffix in suffixes)
    own = [path for path in paths if form and find_format(path) == form]
    return tuple(path.read_bytes()[:LARGEST_SEED] for path in (*own, *own, *paths))


def read_form(name: str, folder: Path, data: bytes) -> None:
    """All of a file of a form, and what is said of it."""
    path = folder / f"dialogues{FORMATS[name].suffixes[0]}"
    path.write_bytes(data)
    report = Report()
    for _ in read_turns(path, name, report=report):
        pass
    list(report.lines())
    list(report.speaker_lines())


def read_found(suffix: str, folder: Path, data: bytes) -> None:
    """As predict.py --preview True reads what lies there under a name."""
    path = folder / f"dialogues{suffix}"
    path.write_bytes(data)
    form = find_format(path)
    counts = count_turns(path, form)
    list(summary_lines(counts))
    list(render_turns(read_turns(path, form)))


def read_encoded(folder: Path, data: bytes) -> None:
    """A file that is said to be in an encoding, by its first byte."""
    path, encoding = folder / "dialogues.csv", ENCODINGS[(data or b"\0")[0] % len(ENCODINGS)]
    path.write_bytes(data)
    count_turns(path, find_format(path, None, encoding), encoding)


def read_pasted(folder: Path, data: bytes) -> None:
    """What somebody pastes into the page, and one turn more."""
    try:
        text = data.decode("utf-8", "surrogatepass")  # half a character, as a browser may send it
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    report = Report()
    turns = page_input.read_dialogue(text, report)
    page_input.describe(report)
    page_input.read_dialogue(page_input.add_turn(text, "Ann", turns[-1].text))


def read_followed(folder: Path, data: bytes) -> None:
    """Turns that come one by one on stdin."""
    told: list[str] = []
    for _ in LiveLines(io.BufferedReader(io.BytesIO(data)), None, Report(), told.append).turns():
        pass
    if told:
        raise UserError(told[0])


@cache
def encoded_seeds() -> tuple[bytes, ...]:
    """Tables in each encoding, behind a byte that chooses it."""
    text = "\nspeaker,utterance\nÄnne,Hallo du!\nБен,Привет\n"
    return tuple(
        bytes([number]) + text.encode(encoding, "replace") for number, encoding in enumerate(ENCODINGS)
    ) + seeds_of((".csv",))


FORMS = {
    f"form_{name}": Target(partial(read_form, name), partial(seeds_of, form.suffixes, name), TOKENS)
    for name, form in FORMATS.items()
}
FOUND = {
    f"found_{suffix[1:]}": Target(partial(read_found, suffix), partial(seeds_of, (suffix,)), TOKENS)
    for suffix in (".txt", ".csv", ".json", ".jsonl", ".srt")
}
TARGETS = {
    **FORMS,
    **FOUND,
    "encodings": Target(read_encoded, encoded_seeds, TOKENS),
    "pasted": Target(read_pasted, partial(seeds_of, (".txt", ".md")), TOKENS),
    "followed": Target(read_followed, partial(seeds_of, (".txt", ".jsonl")), TOKENS),
}
