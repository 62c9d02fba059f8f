"""What demo/app.py shows, as HTML: every character that a user wrote is escaped, every input has its limit."""

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from basics.errors import UserError
from dialogue_files.reading import find_text_form, read_text
from dialogue_files.report import Report
from dialogue_files.turns import SpokenTurn
from emotion_figures import colour_of, draw_probabilities, draw_timeline
from own_dialogues.recognizer import EmotionRecognizer
from own_dialogues.writing import TurnEmotion, csv_header, render_csv, render_json_lines

MOST_CHARACTERS = 20_000
MOST_TURNS = 200
TURNS_AT_ONCE = 8  # so that the first emotions appear while the later ones are still sought
MORE = "`python code/predict.py` takes files of any size"

STYLE = """
.erc ol {list-style: none; margin: 0; padding: 0}
.erc li {border-left: 6px solid var(--c, #999); margin: 0 0 .5rem; padding: .3rem .7rem; overflow-wrap: anywhere}
.erc .who {font-weight: 600}
.erc .what {font-weight: 600; border: 2px solid var(--c, #999); border-radius: .8rem; padding: 0 .5rem}
.erc .what {white-space: nowrap}
.erc summary {cursor: pointer; font-size: .85rem}
.erc pre {white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem}
.erc meter {width: 8rem; vertical-align: middle}
.erc .wide {overflow-x: auto}
.erc .wide img {max-width: none; background: white}
.erc [role=alert] {border: 2px solid #D55E00; padding: .6rem; font-weight: 600; overflow-wrap: anywhere}
"""


def escape(text: str) -> str:
    """Text as HTML shows it: no tag, no attribute, no placeholder of a template comes out of it."""
    escaped = html.escape(text)
    for character in "`${}":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return escaped


def read_dialogue(text: str, report: Report | None = None) -> list[SpokenTurn]:
    """The one dialogue of a text: `Name: utterance` lines, blank ones do not count, or a pasted chat or script.

    Raises:
        UserError: it is empty or too long, or a line is no turn.
    """
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"The dialogue has {len(text):,} characters, this page takes {MOST_CHARACTERS:,}; {MORE}.")
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise UserError("There is no dialogue yet: write lines like 'Ann: I passed!', or add a turn below.")
    turns = read_text("\n".join(lines) if find_text_form(text) == "text" else text, report)
    if len(turns) > MOST_TURNS:
        raise UserError(f"The dialogue has {len(turns):,} turns, this page takes {MOST_TURNS}; {MORE}.")
    if not turns:
        raise UserError("Nobody says anything in it: write lines like 'Ann: I passed!'.")
    return turns


def describe(report: Report) -> str:
    """Who speaks how often, what is left out: what is shown before the model is asked."""
    return "; ".join((*report.speaker_lines(), *report.lines()))


def add_turn(text: str, name: str, utterance: str) -> str:
    """The dialogue with one more turn; UserError when that turn cannot be one."""
    name, utterance = " ".join(name.split()), " ".join(utterance.split())
    if not name or not utterance or ":" in name:
        raise UserError("A turn needs a name without a colon, and what is said.")
    if find_text_form(text) != "text":  # of a pasted chat or script the turns go on as lines
        text = "\n".join(f"{one.speaker}: {one.text}" for one in read_dialogue(text))
    longer = "\n".join([*filter(None, [text.rstrip()]), f"{name}: {utterance}"])
    read_dialogue(longer)
    return longer


def answer(recognizer: EmotionRecognizer, text: str, known: Sequence[TurnEmotion] = ()) -> Iterator[list[TurnEmotion]]:
    """Ever more of the dialogue's emotions, at last all of them.

    known: those of an earlier text by the same recognizer; of turns that both begin with nothing is computed anew,
    as no later turn can change them.
    """
    turns = [replace(one, line=0) for one in read_dialogue(text)]
    same = 0
    while same < min(len(turns), len(known)) and known[same].turn == turns[same]:
        same += 1
    rows = list(known[:same])
    if same:
        yield rows
    size = 1 if len(turns) - same == 1 else TURNS_AT_ONCE  # a single one goes on from what is kept of the turns before
    for new in recognizer.predict_turns(turns, skip=same, size=size, follower=recognizer.follow(rows)):
        rows = [*rows, *new]
        yield rows


def explain_failure(error: Exception) -> str:
    """What a user is told when the model could not answer."""
    # PyTorch has a class for a GPU's memory; for a CPU's it has words.
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error):
        return f"The memory did not suffice: shorten the dialogue, or close what else needs memory; {MORE}."
    return f"The model could not answer ({' '.join(str(error).split())[:200]}): the terminal says more."


def render_error(message: str) -> str:
    """A problem in words, announced to screen readers."""
    return f'<div class="erc"><p role="alert">{escape(message)}</p></div>'


def render_status(message: str) -> str:
    """How things go."""
    return f'<div class="erc"><p role="status">{escape(message)}</p></div>'


def render_rows(rows: Sequence[TurnEmotion], labels: Sequence[str], prompts: Sequence[str] = ()) -> str:
    """Every turn with its emotion; with the prompts, pictures and downloads too: the answer is then whole."""
    items = []
    for place, row in enumerate(rows):
        prompt = f"<pre>{escape(prompts[place])}</pre>" if place < len(prompts) else ""
        items.append(_render_row(row, labels, prompt))
    pictures = _render_pictures(rows, labels) + _render_downloads(rows, labels) if prompts else ""
    return f'<div class="erc"><ol aria-label="turns and emotions">{"".join(items)}</ol>{pictures}</div>'


def _render_row(row: TurnEmotion, labels: Sequence[str], prompt: str) -> str:
    bars = "".join(
        f"<div><meter min=0 max=1 value={row.probabilities[label]:.4f}></meter> {escape(label)} "
        f"{100 * row.probabilities[label]:.1f}%</div>"
        for label in labels
    )
    shown = f"<summary>probabilities{' and prompt' if prompt else ''}</summary>"
    cut = " <em>(too long: cut at its end)</em>" if row.shortened else ""
    return (
        f'<li style="--c: {colour_of(row.emotion, labels)}"><span class="who">{escape(row.turn.speaker)}</span>: '
        f'{escape(row.turn.text)}{cut} <span class="what">{escape(row.emotion)} {100 * row.probability:.0f}%</span>'
        f"<details>{shown}{bars}{prompt}</details></li>"
    )


def _render_pictures(rows: Sequence[TurnEmotion], labels: Sequence[str]) -> str:
    said = escape("; ".join(f"turn {row.turn.turn}, {row.turn.speaker}: {row.emotion}" for row in rows))
    pictures = (
        ("Timeline", draw_timeline(rows, labels), f"timeline: {said}"),
        ("Probabilities", draw_probabilities(rows, labels), "share of each label at each turn; also listed by turn"),
    )
    return "".join(
        f'<h3>{title}</h3><div class="wide" tabindex=0><img alt="{told}" src="{_as_link(png, "image/png")}"></div>'
        for title, png, told in pictures
    )


def _render_downloads(rows: Sequence[TurnEmotion], labels: Sequence[str]) -> str:
    files = {
        "emotions.csv": ("text/csv", csv_header(labels) + render_csv(rows)),
        "emotions.jsonl": ("application/jsonl", render_json_lines(rows)),
    }
    links = " ".join(
        f'<a download="{name}" href="{_as_link(content.encode("utf-8"), kind)}">{name}</a>'
        for name, (kind, content) in files.items()
    )
    return f"<p>Download: {links}</p>"


def _as_link(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
