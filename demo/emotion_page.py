"""What demo/app.py shows, as HTML: every character that a user or a checkpoint wrote is escaped."""

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from dialogue_files.turns import SpokenTurn
from emotion_figures import colour_of, draw_probabilities, draw_timeline
from own_dialogues.facts import Facts
from own_dialogues.recognizer import Emotion, EmotionRecognizer
from own_dialogues.writing import TurnEmotion, csv_header, render_csv, render_json_lines
from page_input import MORE, OpenedFile

TURNS_AT_ONCE = 8  # so that the first emotions appear while the later ones are still sought
MOST_PREVIEWED = 50  # turns of a file


def escape(text: str) -> str:
    """Text as HTML shows it: no tag, no attribute, no placeholder of a template comes out of it."""
    escaped = html.escape(text)
    for character in "`${}":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return escaped


def _apart(text: str) -> str:
    """A text in whose element marks that turn the direction of writing end."""
    return f"<bdi>{escape(text)}</bdi>"


def answer(
    recognizer: EmotionRecognizer, turns: Sequence[SpokenTurn], known: Sequence[TurnEmotion] = ()
) -> Iterator[list[TurnEmotion]]:
    """Ever more of a dialogue's emotions, at last all of them.

    known: those of an earlier dialogue by the same recognizer; of turns that both begin with nothing is computed anew,
    as no later turn can change them.
    """
    same = 0
    while same < min(len(turns), len(known)) and _is_same(known[same].turn, turns[same]):
        same += 1
    rows = [replace(row, turn=turn) for row, turn in zip(known[:same], turns[:same], strict=True)]
    if same:
        yield rows
    size = 1 if len(turns) - same == 1 else TURNS_AT_ONCE  # a single one goes on from what is kept of the turns before
    for new in recognizer.predict_turns(turns, skip=same, size=size, follower=recognizer.follow(rows)):
        rows = [*rows, *new]
        yield rows


def _is_same(one: SpokenTurn, other: SpokenTurn) -> bool:
    return replace(one, line=other.line) == other  # in which line it stands decides nothing


def judge_alone(recognizer: EmotionRecognizer, rows: Sequence[TurnEmotion]) -> Emotion | None:
    """The last turn's emotion with nothing before it, which shows what history does; None: nothing stands before it."""
    if len(rows) < 2 or recognizer.config.kind == "plain":
        return None
    return recognizer.predict([(rows[-1].turn.speaker, rows[-1].turn.text)])[0]


def explain_failure(error: Exception) -> str:
    """What a user is told when the model could not answer."""
    # PyTorch has a class for a GPU's memory; for a CPU's it has words.
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error):
        return f"The memory did not suffice: shorten the dialogue, or close what else needs memory; {MORE}."
    return f"The model could not answer ({' '.join(str(error).split())[:200]}): the terminal says more."


def render_error(message: str) -> str:
    """A problem in words, announced to screen readers."""
    return f'<div class="erc"><p role="alert">{escape(message)}</p></div>'


def render_status(message: str, done: int = 0, total: int = 0) -> str:
    """How things go. done, total: turns that are answered, and all of them; 0 of 0: there is nothing to wait for."""
    bar = f'<progress max="{total}" value="{done}" aria-label="answered turns"></progress>' if total else ""
    return f'<div class="erc"><p role="status">{bar}{escape(message)}</p></div>'


def render_facts(facts: Facts) -> str:
    """What a checkpoint learned from and what it cannot do, with its labels in their colours."""
    labels = facts.config.labels
    chips = " ".join(
        f'<span class="what" style="--c: {colour_of(label, labels)}">{escape(label)}</span>' for label in labels
    )
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in facts.limits())
    return f'<div class="erc"><div class="told">{sentences}<p>Labels: {chips}</p></div></div>'


def render_preview(opened: OpenedFile, turns: Sequence[SpokenTurn]) -> str:
    """What would be judged of a file, before the model is asked: who speaks, what is left out, the first turns."""
    told = "".join(f"<p>{escape(line)}</p>" for line in opened.told)
    shown = "".join(
        f"<tr><td>{one.turn}</td><td>{escape(one.speaker)}</td><td>{escape(one.text)}</td></tr>"
        for one in turns[:MOST_PREVIEWED]
    )
    more = f"<p>and {len(turns) - MOST_PREVIEWED:,} more</p>" if len(turns) > MOST_PREVIEWED else ""
    head = "<tr><th>turn</th><th>speaker</th><th>text</th></tr>"
    return f'<div class="erc"><div class="told">{told}</div><table>{head}{shown}</table>{more}</div>'


def render_rows(
    rows: Sequence[TurnEmotion], labels: Sequence[str], prompts: Sequence[str] = (), alone: Emotion | None = None
) -> str:
    """Every turn with its emotion; with the prompts, probabilities, pictures and downloads too: it is then whole.

    alone: what the last turn would be with nothing before it.
    """
    details = [_render_details(row, labels, prompt) for row, prompt in zip(rows, prompts, strict=False)]
    details += [""] * (len(rows) - len(details))
    items = "".join(_render_row(row, labels, detail) for row, detail in zip(rows, details, strict=True))
    turns = f'<div><ol aria-label="turns and emotions">{items}</ol>{_render_alone(rows, alone)}</div>'
    charts = f"<div>{_render_pictures(rows, labels)}{_render_downloads(rows, labels)}</div>" if prompts else ""
    return f'<div class="erc"><div class="answer">{turns}{charts}</div></div>'


def _render_row(row: TurnEmotion, labels: Sequence[str], details: str) -> str:
    cut = " <em>(too long: cut at its end)</em>" if row.shortened else ""
    return (
        f'<li style="--c: {colour_of(row.emotion, labels)}"><span class="who">{_apart(row.turn.speaker)}</span>: '
        f'{_apart(row.turn.text)}{cut} <span class="what">{escape(row.emotion)} {100 * row.probability:.0f}%</span>'
        f"{details}</li>"
    )


def _render_details(row: TurnEmotion, labels: Sequence[str], prompt: str) -> str:
    bars = "".join(
        f"<div><meter min=0 max=1 value={row.probabilities[label]:.4f}></meter> {escape(label)} "
        f"{100 * row.probabilities[label]:.1f}%</div>"
        for label in labels
    )
    return f"<details><summary>probabilities and prompt</summary>{bars}<pre>{escape(prompt)}</pre></details>"


def _render_alone(rows: Sequence[TurnEmotion], alone: Emotion | None) -> str:
    if alone is None:
        return ""
    found, bare = (f"<b>{escape(one.emotion)} {100 * one.probability:.0f}%</b>" for one in (rows[-1], alone))
    return f'<p class="alone">The last turn after all that was said: {found}; on its own: {bare}.</p>'


def _render_pictures(rows: Sequence[TurnEmotion], labels: Sequence[str]) -> str:
    said = escape("; ".join(f"turn {row.turn.turn}, {row.turn.speaker}: {row.emotion}" for row in rows))
    pictures = (
        ("Timeline", draw_timeline(rows, labels), f"timeline: {said}"),
        ("Probabilities", draw_probabilities(rows, labels), "share of each label at each turn; also listed by turn"),
    )
    return "".join(
        f'<h2>{title}</h2><div class="wide" role="region" aria-label="{title}" tabindex=0>'
        f'<img alt="{told}" src="{_as_link(png, "image/png")}"></div>'
        for title, png, told in pictures
    )


def _render_downloads(rows: Sequence[TurnEmotion], labels: Sequence[str]) -> str:
    files = {
        "emotions.csv": ("text/csv", csv_header(labels) + render_csv(rows)),
        "emotions.jsonl": ("application/jsonl", render_json_lines(rows)),
    }
    links = " ".join(_render_link(name, kind, content) for name, (kind, content) in files.items())
    return f"<p>Download: {links}</p>"


def _render_link(name: str, kind: str, content: str) -> str:
    return f'<a download="{name}" href="{_as_link(content.encode("utf-8"), kind)}">{name}</a>'


def _as_link(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
