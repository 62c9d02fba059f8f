"""The two pictures of a run: what stands in them, the same bytes each time, whole or not at all."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from results import fonts
from results.figures import STYLE, draw_confusion_matrix, draw_learning_curve, own_style
from scoring.metrics import Prediction, evaluate_predictions

LABELS = ("neutral", "joyful", "$mad$")
ANSWERS = (("neutral", "neutral", 300), ("neutral", "joyful", 1), ("joyful", "$mad$", 2), ("joyful", "joyful", 2))
EPOCHS = [
    {"epoch": 1, "train_loss": 2.0, "valid_weighted_f1": 40.0},
    {"epoch": 2, "train_loss": 1.0, "valid_weighted_f1": 61.256, "seconds": 3.0},
    {"epoch": 3, "train_loss": None, "valid_weighted_f1": 50.0},
]


def make_result(*extra):
    """Scores of ANSWERS and the extra (target, label, count)."""
    pairs = [(target, label) for target, label, count in (*ANSWERS, *extra) for _ in range(count)]
    predictions = [Prediction(f"a/b/{turn}", "task", *pair) for turn, pair in enumerate(pairs)]
    return evaluate_predictions(predictions, LABELS)


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that were saved, for a look at what they hold."""
    figures, save = [], Figure.savefig

    def keep(figure, *args, **options):
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def texts(axes) -> str:
    """What is written inside the axes, in the order of writing."""
    return " ".join(text.get_text() for text in axes.texts)


def test_confusion_matrix_holds_counts_shares_and_names(tmp_path, drawn):
    path = tmp_path / "new" / "confusion_matrix.png"
    draw_confusion_matrix(path, make_result(), LABELS, "a $title$")
    axes = drawn[0].axes[0]
    assert texts(axes) == "300 100% 1 <1% 0 0 2 50% 2 50% 0 0 0"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(LABELS)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["neutral (301)", "joyful (4)", "$mad$ (0)"]
    shades = axes.images[0].get_array()
    assert shades.tolist() == [pytest.approx([300 / 301, 1 / 301, 0]), [0, 0.5, 0.5], [0, 0, 0]]
    assert axes.images[0].get_clim() == (0.0, 1.0)
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert (colours["300"], colours["50%"]) == ("white", "black")
    assert axes.get_title() == "a $title$" and not axes.title.get_parse_math()
    assert not any(tick.get_parse_math() for tick in axes.get_xticklabels())
    with Image.open(path) as image:
        assert image.format == "PNG" and image.width > 500 and image.height > 400


def test_invalid_answers_have_a_column_where_there_are_any(tmp_path, drawn):
    draw_confusion_matrix(tmp_path / "a.png", make_result(("$mad$", None, 3)), LABELS, "")
    axes = drawn[0].axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [*LABELS, "invalid"]
    assert texts(axes).endswith(" 0 0 0 3 100%") and axes.images[0].get_array().shape == (3, 4)


def test_labels_may_stand_in_another_order(tmp_path, drawn):
    draw_confusion_matrix(tmp_path / "a.png", make_result(), LABELS[::-1], "")
    assert texts(drawn[0].axes[0]) == "0 0 0 2 50% 2 50% 0 0 1 <1% 300 100%"
    with pytest.raises(ValueError, match="not those of the result"):
        draw_confusion_matrix(tmp_path / "b.png", make_result(), LABELS[:2], "")


def test_learning_curve_holds_score_and_loss(tmp_path, drawn):
    draw_learning_curve(tmp_path / "a.png", EPOCHS, 2, "a title")
    score, loss = drawn[0].axes
    assert [line.get_xydata().tolist() for line in score.lines if line.get_label() == "valid"] == [
        [[1, 40.0], [2, 61.256], [3, 50.0]]
    ]
    assert [line.get_xydata().tolist() for line in loss.lines if line.get_label() == "train"] == [[[1, 2.0], [2, 1.0]]]
    assert texts(score) == "61.26"
    for axes in (score, loss):
        assert [2, 2] in [list(line.get_xdata()) for line in axes.lines]
        assert axes.get_xlabel() == "epoch"
    assert score.get_ylabel() == "weighted F1 (%)" and loss.get_ylim()[0] == 0.0
    assert drawn[0].get_suptitle() == "a title"


def test_learning_curve_of_several_scores(tmp_path, drawn):
    epochs = [epoch | {"test_weighted_f1": 30.0 + epoch["epoch"]} for epoch in EPOCHS]
    draw_learning_curve(tmp_path / "a.png", epochs, 3, "")
    assert texts(drawn[0].axes[0]) == "50.00 33.00"


def test_learning_curve_shows_the_metric_that_chose(tmp_path, drawn):
    both = [epoch | {"valid_micro_f1_without_neutral": 12.0} for epoch in EPOCHS]
    draw_learning_curve(tmp_path / "a.png", both, 2, "")
    draw_learning_curve(tmp_path / "b.png", both, 2, "", "micro_f1_without_neutral")
    weighted, micro = (figure.axes[0] for figure in drawn)
    assert (weighted.get_ylabel(), texts(weighted)) == ("weighted F1 (%)", "61.26")
    assert (micro.get_ylabel(), texts(micro)) == ("micro F1 without neutral (%)", "12.00")
    drawn_scores = [list(line.get_ydata()) for line in micro.lines if line.get_label() == "valid"]
    assert drawn_scores == [[12.0, 12.0, 12.0]]
    with pytest.raises(ValueError, match="no epoch has a score"):
        draw_learning_curve(tmp_path / "c.png", EPOCHS, 2, "", "micro_f1_without_neutral")


@pytest.mark.parametrize("epochs", [[], [{"epoch": 1, "train_loss": 1.0}]])
def test_a_curve_without_scores_is_refused(tmp_path, epochs):
    with pytest.raises(ValueError, match="no epoch has a score"):
        draw_learning_curve(tmp_path / "a.png", epochs, 1, "")
    assert os.listdir(tmp_path) == []


def draw_both(folder) -> list[bytes]:
    """The bytes of both pictures."""
    draw_confusion_matrix(folder / "a.png", make_result(("joyful", None, 1)), LABELS, "a title")
    draw_learning_curve(folder / "b.png", EPOCHS, 2, "a title")
    return [(folder / name).read_bytes() for name in ("a.png", "b.png")]


def test_the_same_bytes_whatever_the_settings_of_the_user(tmp_path, monkeypatch):
    first = draw_both(tmp_path / "first")
    assert all(b"Software" not in picture and b"matplotlib" not in picture for picture in first)
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "red")
    assert draw_both(tmp_path / "second") == first
    assert mpl.rcParams["font.size"] == 30.0 and mpl.rcParams["text.parse_math"] is True


LACKING = "\u2901"  # an arrow that DejaVu Sans has not, and STIX, which comes with matplotlib too, has


def draw_label(folder, label) -> None:
    """A matrix with such a label."""
    labels = ("neutral", label)
    result = evaluate_predictions([Prediction("a/b/0", "task", "neutral", label)], labels)
    draw_confusion_matrix(folder / "a.png", result, labels, "a title")


def test_a_label_that_the_font_lacks_is_written_in_another(tmp_path, drawn, capfd, recwarn):
    draw_label(tmp_path, f"{LACKING} joyful")
    families = {family for tick in drawn[0].axes[0].get_xticklabels() for family in tick.get_fontfamily()}
    assert len(families) == 2 and "DejaVu Sans" in families and not any("Last" in family for family in families)
    assert capfd.readouterr().err == "" and not [str(one.message) for one in recwarn]


def test_of_a_family_the_upright_face_of_the_usual_weight_decides(tmp_path, monkeypatch, drawn):
    own = [font for font in fonts.fontManager.ttflist if font.name == fonts.OWN]
    stix = fonts.findfont("STIXGeneral")
    faces = [fonts.FontEntry(fname=stix, name="Two", weight=500)]
    faces += [fonts.FontEntry(fname="gone.ttf", name="Two", weight=700)]
    faces += [fonts.FontEntry(fname="gone.ttf", name="Two", weight=400, style="italic")]
    monkeypatch.setattr(fonts.fontManager, "ttflist", [*own, *faces])
    fonts._find_fonts.cache_clear()
    draw_label(tmp_path, f"{LACKING} joyful")
    fonts._find_fonts.cache_clear()
    families = [tick.get_fontfamily() for tick in drawn[0].axes[0].get_xticklabels()]
    assert families == [["DejaVu Sans", "Two"]] * 2


def test_what_is_not_written_needs_no_font(tmp_path, drawn, capfd):
    draw_label(tmp_path, "joyful\u200b\u2066")
    families = [tick.get_fontfamily() for tick in drawn[0].axes[0].get_xticklabels()]
    assert (families, capfd.readouterr().err) == ([["sans-serif"]] * 2, "")


def test_a_label_that_no_font_has_is_told_once(tmp_path, monkeypatch, capfd):
    own = [font for font in fonts.fontManager.ttflist if font.name in (fonts.OWN, "Last Resort High-Efficiency")]
    monkeypatch.setattr(fonts.fontManager, "ttflist", own)
    fonts._find_fonts.cache_clear()
    draw_label(tmp_path, f"{LACKING} joyful \u9ad8")
    draw_label(tmp_path, f"{LACKING} joyful \u9ad8")
    fonts._find_fonts.cache_clear()
    told = capfd.readouterr().err
    assert told.startswith(f"warning: no font here has {LACKING} \u9ad8: figures show boxes") and told.count("\n") == 1


def test_a_font_that_is_gone_is_passed_over(tmp_path, monkeypatch, drawn):
    gone = fonts.FontEntry(fname=str(tmp_path / "gone.ttf"), name="Gone")
    monkeypatch.setattr(fonts.fontManager, "ttflist", [gone, *fonts.fontManager.ttflist])
    fonts._find_fonts.cache_clear()
    draw_label(tmp_path, f"{LACKING} joyful")
    fonts._find_fonts.cache_clear()
    families = {family for tick in drawn[0].axes[0].get_xticklabels() for family in tick.get_fontfamily()}
    assert len(families) == 2 and "Gone" not in families


def test_matplotlib_does_not_warn_of_each_letter(tmp_path):
    code = (
        "import sys; from pathlib import Path; from matplotlib.figure import Figure; from results.figures import *;"
        "figure = Figure(); figure.suptitle('\u9ad8'); save_figure(figure, Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "Glyph" not in done.stderr, done.stderr


def test_failed_writing_leaves_the_old_pictures_whole(tmp_path, monkeypatch):
    before = draw_both(tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="a.png"):
        draw_confusion_matrix(tmp_path / "a.png", make_result(), LABELS, "another")
    with pytest.raises(OSError, match="b.png"):
        draw_learning_curve(tmp_path / "b.png", EPOCHS[:1], 1, "another")
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


def test_pictures_need_no_pyplot_and_reports_no_torch():
    code = (
        "import sys, results.figures, results.files;"
        "print([name for name in ('matplotlib.pyplot', 'torch', 'transformers') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", done.stderr


def test_threads_that_draw_at_once_keep_the_style_until_they_are_through():
    def look() -> dict:
        return {name: mpl.rcParams[name] for name in STYLE}

    def draw() -> dict:
        with own_style():
            is_inside.set()
            has_left.wait(10)
            return look()

    before, is_inside, has_left = look(), threading.Event(), threading.Event()

    with ThreadPoolExecutor(1) as pool:
        with own_style():
            style = pool.submit(draw)
            is_inside.wait(0.5)
        has_left.set()
    assert (style.result(), look()) == (STYLE, before)
