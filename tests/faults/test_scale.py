"""Memory and time of a row that do not grow with the rows, at a small size; `scale.py` goes to a million."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import scale
from bases import load
from data_utils.dialogues import Dialogue, Utterance
from data_utils.examples import RowSettings, build_examples, plan_rows
from data_utils.labels import DATASETS, SPLITS
from dialogue_files.reading import count_turns, find_format
from planning import texts
from planning.texts import draw_enough, texts_of
from tiny_models import character_tokenizer

LABELS = DATASETS["sample"].labels
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@linux
@pytest.mark.parametrize(
    ("part", "rows", "megabytes"),
    [
        ("csv", 20_000, 3),
        ("telegram", 20_000, 3),
        ("corpus", 10_000, 14),  # less than the words of its rows, which are twice as many bytes
    ],
)
def test_memory_is_bounded(part: str, rows: int, megabytes: float) -> None:
    assert scale.measure_apart(part, rows)[1] < megabytes


@pytest.mark.parametrize("form", scale.FORMS)
def test_what_is_measured_is_of_its_form(form: str, tmp_path: Path) -> None:
    """Else another reader would be measured in its place."""
    scale.PARTS[form].make(tmp_path, scale.WARM)
    (path,) = tmp_path.iterdir()
    assert find_format(path) == form and count_turns(path, form).turns == scale.WARM


def dialogue(name: str, turns: int) -> Dialogue:
    return Dialogue(name, tuple(Utterance(turn % 2, f"Turn {turn}.", LABELS[turn % 3]) for turn in range(turns)))


class Spans(tuple):
    """Utterances that remember how many were asked for at once."""

    longest = 0

    def __getitem__(self, at):
        found = super().__getitem__(at)
        if isinstance(at, slice):
            Spans.longest = max(Spans.longest, len(found))
        return found


@pytest.mark.parametrize("kind", ["window", "predict", "plain", "speaker"])
def test_a_row_of_a_long_dialogue_looks_at_its_window_alone(kind: str) -> None:
    """Else time grows with the square of the dialogue."""
    Spans.longest = 0
    long = Dialogue("long", Spans(dialogue("long", 300).utterances))
    rows = build_examples(RowSettings("sample", kind), {"train": [long], "valid": [], "test": []})["train"]
    assert len(rows) == 300 * (2 if kind == "predict" else 1)
    assert Spans.longest <= 13


def test_planned_rows_are_the_rows_without_their_words() -> None:
    splits = {split: [dialogue(f"{split}{number}", 3) for number in range(2)] for split in SPLITS}
    for kind in ("window", "predict", "plain", "speaker"):
        planned, worded = (make(RowSettings("sample", kind), splits) for make in (plan_rows, build_examples))
        for split in SPLITS:
            assert [(row.id, row.task) for row in planned[split]] == [(row.id, row.task) for row in worded[split]]
            assert [row.worded() for row in planned[split]] == worded[split]


def counted(dialogues: Sequence[Dialogue]) -> int:
    return sum(len(one.labelled) for one in dialogues)


def test_of_a_large_train_enough_dialogues_are_drawn() -> None:
    many = [dialogue(str(number), 4 + number % 3) for number in range(100)]
    assert draw_enough(many, 500) == many and counted(many) == 499
    drawn = draw_enough(many, 50)
    assert 50 <= counted(drawn) < 56 and drawn == draw_enough(many, 50)
    assert all(one in many for one in drawn) and len({one.dialogue_id for one in drawn}) == len(drawn)
    assert drawn != many[: len(drawn)]
    (cut,) = draw_enough([dialogue("long", 1000)], 30)
    assert cut == dialogue("long", 30)


def test_the_tokens_of_a_drawn_part_stand_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "part"):
        (tmp_path / name).mkdir()
        scale.make_corpus(tmp_path / name, 2_000)
        (tmp_path / name / name).rename(tmp_path / f"own_{name}")
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path))
    monkeypatch.setattr(load, "load_tokenizer", lambda _: character_tokenizer())
    monkeypatch.setattr(load, "resolve_base", str)
    whole = texts_of("own_whole")
    monkeypatch.setattr(texts.draw_enough, "__defaults__", (300,))
    encoded = []
    count = texts.count_encoded
    monkeypatch.setattr(texts, "count_encoded", lambda rows: encoded.append(len(rows)) or count(rows))
    part = texts_of("own_part")
    assert 300 <= encoded[0] < 320
    assert part.rows == whole.rows == 1_600
    assert part.tokens == pytest.approx(whole.tokens, rel=0.05) and part.tokens != whole.tokens
    assert part.shared == pytest.approx(whole.shared, rel=0.1)
