"""Rows that stand side by side, in a table or a figure, tell of which seeds they are, and are of the same labels."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from experiment_utils import report_figures
from experiment_utils.conditions import EXPERIMENTS, list_conditions, read_table
from experiment_utils.dialogue_counts import Counts
from experiment_utils.records import RUNS, Record, Records
from experiment_utils.report_figures import (
    Draw,
    Scene,
    draw_differences,
    draw_labels,
    draw_panel,
    look_of_rows,
    plan_figures,
)
from experiment_utils.report_tables import Shown, name_with_seeds, render_labels

CONDITIONS = list_conditions(read_table())
COMMITTED = Record.read(EXPERIMENTS / RUNS / "baselines/words/meld/seed_0.json")


def make_runs(condition: str, *seeds: int) -> list[Record]:
    """Runs that never were, all with the same answers to MELD's test."""
    return [replace(COMMITTED, condition=condition, seed=seed) for seed in seeds]


def show(*runs: Record) -> Shown:
    return Shown(Records(Path(), runs))


def test_means_of_other_seeds_are_called_so_where_they_stand_side_by_side() -> None:
    runs = [*make_runs("small/plain/meld", 42), *make_runs("small/window/meld", 42, 43)]
    shown = show(*runs, *make_runs("scaling_total/0.5", 42, 43), *make_runs("scaling_total/1", 42))
    members = [CONDITIONS["small/window/meld"], CONDITIONS["small/plain/meld"]]
    told = {one.row: shown.ran(one) for one in members}
    assert name_with_seeds(told) == {"window": "window (seed 42, 43)", "plain": "plain (seed 42)"}
    assert name_with_seeds({"plain": told["plain"]} | {"again": told["plain"]}) == {"plain": "plain", "again": "again"}
    assert "window (seed 42, 43)" in render_labels(members, shown)
    axes = Figure().subplots()
    draw_panel(axes, [CONDITIONS[f"scaling_total/{row}"] for row in ("1", "0.5")], shown, "meld")
    assert axes.get_legend_handles_labels()[1][1].endswith("(ours; NOT ALL OF THE SAME SEEDS)")


@pytest.mark.parametrize("draw", [draw_labels, partial(draw_differences, other="window")])
def test_a_figure_of_several_seeds_names_them(draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(report_figures, "save_figure", lambda figure, path: drawn.append(figure))
    runs = {"window": make_runs("small/window/meld", 42, 43), "plain": make_runs("small/plain/meld", 42)}
    shown = show(*runs["plain"], *runs["window"])
    draw(tmp_path / "drawn.png", scene=Scene("", "meld", runs, look_of_rows(CONDITIONS), shown))
    (axes,) = drawn[0].axes
    texts = [*axes.get_legend_handles_labels()[1], *(tick.get_text() for tick in axes.get_yticklabels())]
    assert "plain (seed 42)" in texts


def test_a_bar_is_of_the_label_below_it_whatever_order_a_row_has_them_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(report_figures, "FEWEST", 10)
    monkeypatch.setattr(report_figures, "save_figure", lambda figure, path: drawn.append(figure))
    answers = [(f"d/{n}", gold, "joyful", 1) for n in range(10) for gold in ("joyful", "sad")]
    rows = {"window": ("joyful", "sad", "fear"), "plain": ("sad", "joyful")}
    runs = {
        row: [replace(run, counts={"meld": Counts.of(answers, labels)}, labels=labels)]
        for row, labels in rows.items()
        for run in make_runs(f"small/{row}/meld", 42)
    }
    shown = show(*runs["plain"], *runs["window"])
    draw_labels(tmp_path / "drawn.png", Scene("", "meld", runs, look_of_rows(CONDITIONS), shown))
    (axes,) = drawn[0].axes
    heights = [[bar.get_height() for bar in bars.patches] for bars in axes.containers if isinstance(bars, BarContainer)]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["joyful\n(10)", "sad\n(10)"]
    assert heights[0] == heights[1] == pytest.approx([200 / 3, 0])


@pytest.mark.parametrize(
    ("table", "rows"), [("own", ("1", "2")), ("window", ("short", "long")), ("window", ("1", "1.0"))]
)
def test_rows_are_points_where_they_are_numbers_in_a_table_of_a_curve(
    table: str, rows: tuple[str, str], tmp_path: Path
) -> None:
    """What else a file of one's own calls its rows is drawn side by side, and two rows of one number are."""
    like = CONDITIONS["small/window/meld"]
    group = like.group.model_copy(update={"table": table, "compare_with": rows[0]})
    own = {f"own/{row}/meld": replace(like, name=f"own/{row}/meld", row=row, group=group) for row in rows}
    where = {"meld": Records(EXPERIMENTS).breakdowns(COMMITTED, "meld")}
    for run in (run for name in own for run in make_runs(name, 42)):
        run.write(tmp_path, where)
    shown = Shown(Records.read(tmp_path))
    assert list(plan_figures(read_table(), own, shown)["own"]) == [
        f"{kind}_own_meld.png" for kind in ("differences", "breakdowns", "labels", "confusion")
    ]
    assert look_of_rows(own).keys() == set(rows)
