"""What is committed of runs: report, figures and README are what the records make."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import reproduce
from basics.markdown import replace_section
from commands import call_script
from data_utils.labels import WEIGHTED_F1
from experiment_utils.conditions import EXPERIMENTS, list_conditions, read_table
from experiment_utils.overview import list_systems, render_overview, render_systems
from experiment_utils.records import Records
from experiment_utils.report_figures import draw_all, plan_figures
from experiment_utils.report_tables import Shown, render_transitions
from experiment_utils.report_text import render_report, render_sample
from experiment_utils.reports import README, SAMPLE_MARKS, look_at

TABLE = read_table()
CONDITIONS = list_conditions(TABLE)
CALLED = {"iemocap": "IEMOCAP", "meld": "MELD", "EmoryNLP": "EmoryNLP"}


@pytest.fixture(scope="module")
def shown() -> Shown:
    """The committed records, read once."""
    return look_at(CONDITIONS, EXPERIMENTS)


def test_committed_figures_are_what_the_records_make(shown: Shown, tmp_path: Path) -> None:
    """Pixel by pixel but for rounding, which another processor may do otherwise."""
    draw_all(tmp_path, TABLE, CONDITIONS, shown)
    for path in tmp_path.iterdir():
        kept = EXPERIMENTS / "figures" / path.name
        if path.read_bytes() == kept.read_bytes():
            continue
        drawn, committed = imread(path), imread(kept)
        assert drawn.shape == committed.shape, path.name
        assert np.abs(drawn - committed).mean() < 1e-3, f"python code/reproduce.py --report draws {path.name} anew"


def test_committed_report_and_readme_are_what_the_records_make(shown: Shown) -> None:
    assert shown.records.runs, "no records are committed"
    assert Records.read(EXPERIMENTS) == shown.records, "records of conditions that are no more"
    report = (EXPERIMENTS / "REPORT.md").read_text(encoding="utf-8")
    figures = plan_figures(TABLE, CONDITIONS, shown)
    assert render_report(TABLE, CONDITIONS, shown, figures) == report
    names = {name for drawings in figures.values() for name in drawings}
    assert names == {path.name for path in (EXPERIMENTS / "figures").glob("*.png")}
    readme = README.read_text(encoding="utf-8")
    assert replace_section(readme, render_overview(TABLE, CONDITIONS, shown)) == readme
    assert replace_section(readme, render_sample(shown), marks=SAMPLE_MARKS) == readme


def test_the_first_lines_of_the_readme_say_what_its_table_says(shown: Shown) -> None:
    systems = list_systems(TABLE, CONDITIONS, shown)
    small, gemma = (
        next(one.scores for one in systems if one.name.endswith(f"(`{name}/compact+step_6`)"))
        for name in ("small_compact", "gemma_compact")
    )
    told = (f"{small[name].value:.0f} and {gemma[name].value:.0f} on {called}" for name, called in CALLED.items())
    assert f"score {', '.join(told)} (weighted F1, the mean of three seeds)" in README.read_text(encoding="utf-8")


def test_a_row_that_is_not_for_the_readme_is_a_system_of_the_report(shown: Shown) -> None:
    run = {record.condition for record in shown.records.runs}
    hidden = [one for name, one in CONDITIONS.items() if name in run and not one.group.rows[one.row].in_readme]
    systems = {"/".join(one.name.split("/")[:2]) for one in hidden if one.has_own_labels}
    assert {"small_compact/compact+step_6+class_weights", "small/plain"} <= systems
    report, readme = render_systems(list_systems(TABLE, CONDITIONS, shown)), render_overview(TABLE, CONDITIONS, shown)
    for system in systems:
        assert f" (`{system}`) |" in report
        assert f" (`{system}`) |" not in readme


def test_own_answers_are_compared_beside_those_with_transitions(shown: Shown) -> None:
    names = ("modules_full/window_twice/EmoryNLP", "modules_full/window+speaker/EmoryNLP")
    told = call_script(reproduce.main, "--compare", *names).stdout.splitlines()
    (first,), (second,) = map(shown.records.of, names)
    filtered = second.score("EmoryNLP") - first.score("EmoryNLP")
    own = second.without["EmoryNLP"].score(WEIGHTED_F1) - first.without["EmoryNLP"].score(WEIGHTED_F1)
    assert told[0].startswith(f"EmoryNLP: {names[1]} is {filtered:+.2f} points from {names[0]}")
    assert told[3].startswith(f"EmoryNLP, without transitions: {names[1]} is {own:+.2f} points from {names[0]}")


def test_what_transitions_give_is_told_of_test(shown: Shown) -> None:
    name = "small_compact/compact+step_6/meld"
    *_, row = render_transitions([CONDITIONS[name]], shown).splitlines()
    condition, dataset, seeds, points, mean, interval = row.strip("| ").split(" | ")
    assert (condition, dataset, seeds) == ("small_compact/compact+step_6", "meld", "42, 43, 44")
    apart = [run.score("meld") - run.without["meld"].score(WEIGHTED_F1) for run in shown.records.of(name)]
    assert points == ", ".join(f"{one:+.2f}" for one in apart)
    assert float(mean) == pytest.approx(sum(apart) / 3, abs=0.01)
    low, high = map(float, interval.split(" to "))
    assert low < float(mean) < high
    on_valid = replace(CONDITIONS[name], settings={"score_on": "valid"})
    assert render_transitions([on_valid], shown) == ""
