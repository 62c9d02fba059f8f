"""What names and utterances say reaches no shell, no path, no formula, no line of a log or terminal, no page."""

import base64
import csv
import html
import io
import json
import shlex
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

import data_process
import emotion_page as page
import page_input
import predict
from commands import call_script
from dialogue_files.reading import count_turns, find_format
from experiment_utils.conditions import Condition, Group, Row
from experiment_utils.runner import Job
from own_dialogues.prediction import Position, predict_file
from own_dialogues.tasks import FileTask, check_outputs
from own_dialogues.writing import FORMULA_SIGNS, OUTPUTS, TurnEmotion, printer

LABELS = ("sad", "joyful")
SAID = (
    "$(touch ran)",
    "`touch ran`; touch ran & touch ran | touch ran",
    "../../../ran",
    "/etc/passwd",
    "=cmd|'/C touch ran'!A0",
    "+1+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\uff1dHYPERLINK(1)",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "${7*7}{{7*7}}`7`",
    "javascript:alert(1)",
    "\x1b[2J\x1b]0;owned\x07\x1b[31m",
    "\x9b2J\x9d0;owned\x9c",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "a\u2028b\u2029c\u0085d\x0be\x0cf",
    "a\\nerror: no\\r\\n",
    "%s %n {0} {} %(levelname)s",
    "\u200d\ufeffx\ufffe",
    "$\\frac{1}{$",
)
NAMES = tuple(f"{said[:60].replace(':', ' ')} {number}" for number, said in enumerate(SAID))


def as_csv(path: Path) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["dialogue", "speaker", "utterance", "emotion"])
        rows.writerows(
            ("d", name, said, LABELS[number % 2]) for number, (name, said) in enumerate(zip(NAMES, SAID, strict=True))
        )
    return path


def as_json_lines(path: Path) -> Path:
    lines = [
        json.dumps({"dialogue": "d", "speaker": name, "text": said}) for name, said in zip(NAMES, SAID, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def as_text(path: Path) -> Path:
    path.write_text("".join(f"{name}: {said}\n" for name, said in zip(NAMES, SAID, strict=True)), encoding="utf-8")
    return path


FILES = {"said.csv": as_csv, "said.jsonl": as_json_lines, "said.txt": as_text}


class Answering:
    """Of a recognizer what a file is answered with: always the same."""

    config = SimpleNamespace(labels=LABELS)

    def follow(self) -> None:
        return None

    def predict_turns(self, turns, skip: int = 0, follower=None) -> Iterator[list[TurnEmotion]]:
        yield [TurnEmotion(turn, "joyful", 0.75, {"sad": 0.25, "joyful": 0.75}) for turn in turns]


@pytest.fixture(params=FILES)
def hostile(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of what must stay text, alone in the current folder."""
    monkeypatch.chdir(tmp_path)
    make: Callable[[Path], Path] = FILES[request.param]
    return make(tmp_path / request.param)


def assert_plain(text: str) -> None:
    """No line holds what a terminal would obey, or what another program takes for the end of a line."""
    assert [line for line in text.split("\n") if not line.isprintable()] == []


def test_preview_prints_lines_that_no_terminal_obeys(hostile: Path) -> None:
    result = call_script(
        predict.main,
        "--input",
        hostile,
        "--input_format",
        hostile.suffix[1:].replace("txt", "text"),
        "--preview",
        "True",
    )
    assert result.returncode == 0, result.stderr
    assert_plain(result.stdout)
    assert_plain(result.stderr)
    said = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert len(said) >= len(SAID) - 3 and "$(touch ran)" in said and "<script>alert(1)</script>" in said
    assert [path.name for path in hostile.parent.iterdir()] == [hostile.name]


@pytest.mark.parametrize("form", OUTPUTS)
def test_outputs_hold_what_was_said_and_nothing_runs(hostile: Path, form: str) -> None:
    task = FileTask(hostile, find_format(hostile), Path("out") / f"emotions.{form}", form)
    counts = count_turns(hostile, task.input_format)
    check_outputs([task])
    predict_file(Answering(), task, counts, {}, Position())
    made = ["out", hostile.name, task.output.name, task.state.name]
    assert sorted(path.name for path in hostile.parent.rglob("*")) == sorted(made)
    text = task.output.read_bytes().decode()
    if form == "csv":
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert len(rows) == counts.turns + 1
        assert [cell for row in rows for cell in row if cell.lstrip().startswith(FORMULA_SIGNS)] == []
        return
    assert_plain(text)
    lines = text.splitlines()
    assert len(lines) == counts.turns + (form == "table") * counts.dialogues
    if form == "jsonl":
        assert {"$(touch ran)", "\x1b[2J\x1b]0;owned\x07\x1b[31m"} <= {json.loads(line)["text"] for line in lines}


def test_what_is_printed_is_plain_in_every_encoding(hostile: Path) -> None:
    turns = [row for rows in Answering().predict_turns(iter_turns(hostile)) for row in rows]
    for encoding in ("utf-8", "ascii", "cp1252"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
        printer(stream, OUTPUTS["table"], LABELS)(turns)
        assert_plain(stream.buffer.getvalue().decode(encoding))


def iter_turns(path: Path):
    from dialogue_files.reading import read_turns

    return read_turns(path, find_format(path))


@pytest.mark.parametrize("said", SAID)
def test_refusals_are_one_plain_line(tmp_path: Path, said: str) -> None:
    table, words, labelled = tmp_path / "bad.csv", tmp_path / "bad.txt", tmp_path / "corpus.csv"
    quoted = said.replace('"', '""')
    table.write_text(f'"{quoted}",b\nx,y\n', encoding="utf-8")
    words.write_text(f"Ann: Hi.\n{said.replace(':', '')}\nx\n", encoding="utf-8")
    labelled.write_text(f'speaker,utterance,emotion\nAnn,Hi.,"{quoted}"\nBen,Hi.,joy\n', encoding="utf-8")
    calls = [
        (predict.main, "--input", table, "--preview", "True"),
        (predict.main, "--input", words, "--input_format", "text", "--preview", "True"),
        (predict.main, "--input", tmp_path / said.replace("/", " "), "--preview", "True"),
        (data_process.main, "--corpus", labelled),
    ]
    for main, *arguments in calls:
        result = call_script(main, *arguments)
        if result.returncode == 0:
            assert main is predict.main
            continue
        assert result.returncode == 2 and result.stderr.splitlines()[-1].startswith("error: "), result.stderr
        assert_plain(result.stderr)
        assert result.stderr.count("\n") == 1 and not list(tmp_path.rglob("ran"))


def test_settings_stay_words_of_a_command() -> None:
    settings = {f"name{number}": said for number, said in enumerate(SAID)}
    group = Group(table="1", title="x", script="Uni", rows={"a": Row()})
    job = Job(Condition("g/a/sample", group, "a", "Uni", settings, ("sample",), {}, None), 42)
    assert shlex.split(job.command)[: len(SAID)] == [f"{name}={said}" for name, said in settings.items()]


class Tags(HTMLParser):
    """The elements of a page and what they say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, list[str]] = {}
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_the_page_shows_text_and_offers_tables_without_formulas(hostile: Path) -> None:
    opened = page_input.open_file(hostile)
    rows = [row for of in Answering().predict_turns(iter_turns(hostile)) for row in of]
    prompts = [f"<{row.turn.speaker}>: {row.turn.text}" for row in rows]
    shown = page.render_rows(rows, LABELS, prompts) + page.render_preview(opened, [row.turn for row in rows])
    shown += page.render_error(SAID[0]) + "".join(map(page.render_status, SAID))
    found = Tags(shown)
    assert found.tags <= {
        *("div", "ol", "li", "span", "bdi", "details", "summary", "meter", "pre", "h2", "img", "p", "a", "table", "tr"),
        *("td", "th", "em", "b", "progress"),
    }
    assert not [name for name in found.attributes if name.startswith("on")]
    links = [*found.attributes["href"], *found.attributes["src"]]
    assert all(link.startswith("data:") for link in links)
    assert "<script>alert(1)</script>" in "".join(found.said) and html.unescape(shown).count("<script>") >= 2
    tables = [base64.b64decode(link.partition(",")[2]).decode() for link in links if link.startswith("data:text/csv")]
    assert [
        cell for row in csv.reader(io.StringIO(tables[0], newline="")) for cell in row if cell.startswith("=")
    ] == []


def test_marks_that_turn_writing_end_with_their_text() -> None:
    (row,) = next(Answering().predict_turns(page_input.read_dialogue("Ann: \u202eabc")))
    shown = page.render_rows([row], LABELS)
    assert "<bdi>\u202eabc</bdi>" in shown and "<bdi>Ann</bdi>" in shown
