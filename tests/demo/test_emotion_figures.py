"""Pictures of emotions: the same bytes for the same answer, for any length and any names."""

import io
from collections import Counter

import pytest
from matplotlib import image

import emotion_figures
from dialogue_files.turns import SpokenTurn
from emotion_figures import (
    COLOURS,
    SHADES,
    colour_of,
    draw_emotions,
    draw_label_shares,
    draw_lengths,
    draw_probabilities,
    draw_scores,
    draw_shares,
    draw_timeline,
    ink_on,
    relative_luminance,
)
from own_dialogues.writing import TurnEmotion
from results.figures import to_png

LABELS = ("sad", "joyful", "angry")


def rows(count: int, name: str = "Ann $x$ {b}") -> list[TurnEmotion]:
    made = []
    for turn in range(count):
        shares = {"sad": 0.2, "joyful": 0.1, "angry": 0.7}
        made.append(TurnEmotion(SpokenTurn(0, "1", turn, f"{name}{turn % 3}", turn % 3, "x"), "angry", 0.7, shares))
    return made


@pytest.mark.parametrize("count", [1, 12, 200])
@pytest.mark.parametrize("draw", [draw_timeline, draw_probabilities])
def test_any_length_is_drawn_the_same_way_twice(draw, count: int) -> None:
    png = draw(rows(count), LABELS)
    assert png == draw(rows(count), LABELS)
    height, width, _ = image.imread(io.BytesIO(png)).shape
    assert 100 < height < 600 and 300 < width < 1800


def test_what_is_drawn_depends_on_what_was_found() -> None:
    assert draw_timeline(rows(5), LABELS) != draw_timeline(rows(6), LABELS)
    assert draw_timeline(rows(5), LABELS) != draw_timeline(rows(5, "Ben"), LABELS)
    assert draw_shares([[0.1, 0.9]], ["a"], ["b", "c"], "", "") != draw_shares([[0.9, 0.1]], ["a"], ["b", "c"], "", "")
    counts = {"train": {"sad": 1, "joyful": 3, "angry": 0}}
    assert draw_label_shares(counts, LABELS) != draw_label_shares({"train": dict.fromkeys(LABELS, 1)}, LABELS)


@pytest.mark.parametrize("count", [7, 10, 28])
def test_a_legend_holds_every_label(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In lines that are as wide as the picture at most; no two labels look the same."""
    labels = [f"emotion {number}" for number in range(count)]
    drawn = []
    monkeypatch.setattr(
        emotion_figures, "to_png", lambda figure, dots: (drawn.append(figure), to_png(figure, dots))[-1]
    )
    draw_emotions({"0 Ann: Hi.": dict.fromkeys(labels, 1 / count)}, labels)
    (figure,) = drawn
    (legend,) = figure.legends
    place = legend.get_window_extent()
    assert place.x0 >= 0 and place.x1 <= figure.bbox.width and place.y1 <= figure.bbox.height
    assert figure.axes[0].get_window_extent().height > 20
    assert [text.get_text() for text in legend.get_texts()] == labels
    looks = {(part.get_facecolor(), part.get_hatch()) for part in legend.get_patches()}
    assert len(looks) == count


@pytest.mark.parametrize("count", [1, 22])
def test_a_bar_for_each_answer(count: int) -> None:
    shares = {"sad": 0.2, "joyful": 0.1, "angry": 0.7}
    answers = {f"{number} Ann $x$: {'so ' * 40}": shares for number in range(count)}
    png = draw_emotions(answers, LABELS)
    assert png == draw_emotions(answers, LABELS)
    height, width, _ = image.imread(io.BytesIO(png)).shape
    assert width == 950 and abs(height - (75 + 27 * count)) <= 1
    last = list(answers)[-1]
    assert png != draw_emotions(answers | {last: shares | {"sad": 0.25, "joyful": 0.05}}, LABELS), "the widths, too"


def test_a_bar_for_each_score() -> None:
    png = draw_scores({"sad": 20.0, "joyful": 71.5}, "F1")
    assert png == draw_scores({"sad": 20.0, "joyful": 71.5}, "F1") != draw_scores({"sad": 20.0, "joyful": 72.6}, "F1")


def test_lengths_have_a_panel_each() -> None:
    lengths = {"turns": {"train": Counter({3: 2, 5: 1})}, "words": {"train": Counter({8: 4}), "test": Counter({1: 1})}}
    png = draw_lengths(lengths)
    assert png == draw_lengths(lengths) != draw_lengths(lengths | {"turns": {"train": Counter({3: 1, 5: 2})}})


def test_colours_are_told_apart() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == 9
    assert len({colour_of(label, LABELS) for label in LABELS}) == 3


def test_numbers_are_read_on_every_shade() -> None:
    """With the contrast of WCAG 2, 4.5 to 1 at least."""
    assert relative_luminance((1, 1, 1)) == pytest.approx(1) and relative_luminance((1, 0, 0)) == pytest.approx(0.2126)
    for value in (share / 100 for share in range(101)):
        below, ink = relative_luminance(SHADES(value)[:3]), 1.0 if ink_on(value) == "white" else 0.0
        assert (max(ink, below) + 0.05) / (min(ink, below) + 0.05) >= 4.5, value
