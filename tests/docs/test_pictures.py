"""The pictures of the pages, the photographs and the map of files are what the commands of docs/ make today."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import photographed
from basics.errors import UserError
from commands import REPOSITORY
from draw import MADE
from draw_tree import list_runs, rows_of_turns
from examples_shown import LABELS, answers_to, find_dialogue, shares
from file_structure import list_tracked, subject_of
from photographed import ANSWERED_BY, DIALOGUE, LOCK, SOURCES, WINDOWS, digest_shown, sign, signed
from svg import STYLE, Picture, shorten

PICTURES = [name for name in MADE if name.endswith(".svg")]
# How wide a letter is on the average, in pixels, with the widest of the usual fonts.
LETTERS = {"mono": 7.25, "small": 5.7, "title": 8.0, "": 6.4}
PAGES = ("README.md", "docs/METHOD.md", "demo/README.md")


@pytest.mark.parametrize("name", MADE)
def test_what_is_committed_is_made_today(name: str) -> None:
    assert MADE[name]() == (REPOSITORY / name).read_text(encoding="utf-8"), "python docs/draw.py"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_whole_and_shown(name: str) -> None:
    root = ElementTree.fromstring(MADE[name]())
    width, height = (float(root.get(side)) for side in ("width", "height"))
    assert root[0].tag.endswith("title") and root[0].text
    marks = [mark for mark in root.iter() if mark.get("x")]
    assert len(marks) > 20
    for mark in marks:
        kinds = (mark.get("class") or "").split()
        letter = next((LETTERS[kind] for kind in kinds if kind in LETTERS), LETTERS[""])
        words = 0 if {"end", "middle"} & set(kinds) else letter * len(mark.text or "")
        right = float(mark.get("x")) + float(mark.get("width", words))
        bottom = float(mark.get("y")) + float(mark.get("height", 0))
        assert right <= width and bottom <= height, ElementTree.tostring(mark)
    assert any(Path(name).name in (REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("name", WINDOWS)
def test_a_photograph_shows_the_page_of_today(name: str) -> None:
    path = REPOSITORY / "docs/pictures" / name
    assert signed(path) == digest_shown(), "the page has changed: python docs/photograph.py"
    with Image.open(path) as picture:
        assert picture.size == WINDOWS[name][:2]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that decides the photographs."""
    adapter = [f"demo/adapters/meld/{name}" for name in ANSWERED_BY]
    for pattern in (*SOURCES, DIALOGUE, LOCK, *adapter):
        found = list(REPOSITORY.glob(pattern))
        assert found, pattern
        for path in found:
            target = tmp_path / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    monkeypatch.setattr(photographed, "find_repository", lambda: tmp_path)
    return tmp_path


def test_what_is_seen_makes_photographs_stale(copied: Path) -> None:
    first = digest_shown()
    seen = {
        "demo/page_layout.py": ("Find emotions", "Look for emotions"),
        "demo/page.css": ("600", "700"),
        "demo/emotion_figures.py": ("0.55 *", "0.56 *"),
        "demo/dialogue.txt": (": ", ": Well, "),
        "demo/adapters/meld/results.json": ("{", "{ "),
        LOCK: ("gradio==", "gradio==1"),
    }
    for name, (old, new) in seen.items():
        path = copied / name
        text = path.read_text(encoding="utf-8")
        assert old in text, name
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        assert digest_shown() != first, name
        path.write_text(text, encoding="utf-8")
    assert digest_shown() == first


def test_what_is_not_seen_leaves_photographs_as_they_are(copied: Path) -> None:
    first = digest_shown()
    page = copied / "demo/page_layout.py"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace('"""', '"""In other words: ', 1) + "\n\n# a comment\n", encoding="utf-8")
    lock = copied / LOCK
    lock.write_text(lock.read_text(encoding="utf-8").replace("torch==", "torch==1"), encoding="utf-8")
    whole = copied / DIALOGUE
    whole.write_text(whole.read_text(encoding="utf-8") + "\nAnn: One more.\n", encoding="utf-8")
    assert digest_shown() == first


def test_signing_leaves_the_pixels(tmp_path: Path) -> None:
    picture = Image.effect_noise((40, 30), 90).convert("RGB")
    path = tmp_path / "noise.png"
    picture.save(path)
    assert signed(path) is None
    path.write_bytes(sign(path.read_bytes()))
    assert signed(path) == digest_shown() and Image.open(path).tobytes() == picture.tobytes()


def test_every_look_has_a_dark_one() -> None:
    """A fill that is not told again in the dark scheme would be as light there."""
    light, _, dark = STYLE.partition("@media")
    filled = {name for name, rule in re.findall(r"(\.?\w+) {([^}]*)}", light) if "fill: #" in rule}
    assert filled == {name for name, rule in re.findall(r"(\.?\w+) {([^}]*)}", dark) if "fill: #" in rule}


def test_words_are_data() -> None:
    picture = Picture(10, 10, "a < b")
    picture.text(1, 2, "<script>&")
    root = ElementTree.fromstring(picture.render())
    assert [root[0].text, root[-1].text] == ["a < b", "<script>&"]
    assert (shorten("as it is", 8), shorten("too long a line", 9)) == ("as it is", "too long\N{HORIZONTAL ELLIPSIS}")


def test_the_runs_of_a_tree_are_its_rows() -> None:
    """Paths from the root spell the prompts, and every target hangs at the end of one."""
    rows = rows_of_turns(3)
    runs, tree = list_runs(rows)
    assert sum(run.pieces for run in runs) == len(tree)
    path: list[str] = []
    spelt = []
    for run in runs:
        path[run.depth :] = [run.words]
        spelt += ["".join(path)] * len(run.leads_to)
    assert sorted(spelt) == sorted(row.input for row in rows)
    assert sorted(end.removeprefix("next: ") for run in runs for end in run.leads_to) == sorted(
        row.target for row in rows
    )


def test_what_is_drawn_was_answered() -> None:
    split, dialogue = find_dialogue("test_result")
    run, said = answers_to(dialogue)
    assert split == run.split == "test" and len(said) == len(dialogue.utterances)
    for answer in said:
        found = shares(answer)
        assert list(found) == list(LABELS) and sum(found.values()) == pytest.approx(1)
        assert max(found, key=found.get) == answer.label


def test_subjects_of_files(tmp_path: Path) -> None:
    made = {
        "a.py": ('"""Of two\nlines.\n\nMore."""\n', "Of two lines."),
        "b.sh": ("#!/usr/bin/env bash\n# shellcheck shell=bash\n# Does it.\n", "Does it."),
        "c.md": ("# A page\n", "A page"),
        "d.json": ("{}", ""),
        "e.py": ("x = 1\n", ""),
    }
    for name, (text, subject) in made.items():
        (tmp_path / name).write_text(text)
        assert subject_of(tmp_path / name) == subject, name
    with pytest.raises(UserError, match="made in a clone"):
        list_tracked(tmp_path)
