"""Reports are made from scores alone, and what is committed is what they make."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from basics.errors import UserError
from basics.markdown import BEGIN, END, render_table, replace_section
from data_utils.dialogues import Dialogue, Utterance
from experiment_utils.breakdowns import break_down, describe_split
from experiment_utils.conditions import list_conditions, read_table
from experiment_utils.records import SCORES_FILE, Scores, read_scores, write_scores
from experiment_utils.report_figures import draw_all, draw_panel, plan_figures
from experiment_utils.report_page import browse_runs, write_page
from experiment_utils.report_tables import describe_group, describe_p, render_readme, render_report
from experiment_utils.reports import EXPERIMENTS, README
from scoring.metrics import Prediction

LABELS = ("neutral", "joyful", "sad")
TABLE = read_table()
CONDITIONS = list_conditions(TABLE)


def utterances(*turns: tuple[int, str, str]) -> tuple[Utterance, ...]:
    return tuple(Utterance(*turn) for turn in turns)


TRAIN = Dialogue("t", utterances((0, "Hello.", "neutral")))
TEST = Dialogue(
    "d",
    utterances(
        (0, " hello. ", "neutral"),
        (1, "What is it that you want from me?", "sad"),
        (0, "Nothing.", "joyful"),
        (1, "<script>alert(1)</script>", "sad"),
    ),
)
SAID = ("neutral", "sad", "sad", None)
PREDICTIONS = [
    Prediction(f"meld/d/{turn}", "emotion_recognition", of.label, said)
    for turn, (of, said) in enumerate(zip(TEST.utterances, SAID, strict=True))
]


def make_run(condition: str, seed: int, score: float, **changes: object) -> dict:
    """A record; of several datasets, each scores a point less than the one before, on test and on valid."""
    facts = describe_split("meld", {"train": (TRAIN,), "test": (TEST,)})
    of_set = {
        "metric": "weighted_f1",
        "rows": 4,
        "labels": list(LABELS),
        "f1_per_label": dict.fromkeys(LABELS, 50.0),
        "confusion": [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]],
        "breakdowns": break_down(PREDICTIONS, facts, LABELS, "weighted_f1"),
    }
    datasets = CONDITIONS[condition].datasets
    scores = {name: score - number for number, name in enumerate(datasets)}
    common = {"command": "bash it", "commit": "abcdef0123", "valid": 40.0, "minutes": 3.0}
    return {
        "condition": condition,
        "seed": seed,
        "scores": {name: of_set | {"score": one, "interval": [one - 2, one + 2]} for name, one in scores.items()},
        "valid_of": {name: 40.0 - number for number, name in enumerate(datasets)},
        **common,
        **changes,
    }


def test_answers_to_each_question() -> None:
    facts = describe_split("meld", {"train": (TRAIN,), "test": (TEST,)})
    found = break_down(PREDICTIONS, facts, LABELS, "weighted_f1")
    assert {question: {key: of["rows"] for key, of in answers.items()} for question, answers in found.items()} == {
        "turn position": {"0": 1, "1-2": 2, "3-5": 1},
        "emotion of the same speaker": {"first turn": 2, "shifts": 1, "stays": 1},
        "words": {"0-3": 3, "8-15": 1},
        "text": {"also in train": 1, "not in train": 3},
    }
    assert found["emotion of the same speaker"]["first turn"]["score"] == 100.0
    assert found["turn position"]["3-5"]["score"] == 0.0


def test_iemocaps_recordings_are_told_apart() -> None:
    splits = {"train": (TRAIN,), "test": (replace(TEST, dialogue_id="Ses05F_script01_1"), TEST)}
    facts = describe_split("iemocap", splits)
    said = [
        replace(one, id=f"iemocap/{name}/{turn}")
        for name in ("Ses05F_script01_1", "d")
        for turn, one in enumerate(PREDICTIONS[: 3 if name == "d" else 4])
    ]
    found = break_down(said, facts, LABELS, "weighted_f1")["recording"]
    assert {answer: of["rows"] for answer, of in found.items()} == {"scripted": 4, "improvised": 3}


def test_texts_seen_are_what_a_run_says() -> None:
    facts = describe_split("meld", {"train": (TRAIN,), "test": (TEST,)}, seen=["meld/d/2", "meld/d/3"])
    assert [name for name, of in facts.items() if of.seen] == ["meld/d/2", "meld/d/3"]


def test_newer_runs_take_the_place_of_older_ones(tmp_path: Path) -> None:
    older = Scores((make_run("small/window/meld", 43, 50.0), make_run("small/window/meld", 42, 51.0)))
    both = older.merge(Scores((make_run("small/window/meld", 43, 60.0),)))
    write_scores(both, tmp_path / SCORES_FILE)
    again = read_scores(tmp_path / SCORES_FILE)
    assert [(run["seed"], run["scores"]["meld"]["score"]) for run in again.of("small/window/meld")] == [
        (42, 51.0),
        (43, 60.0),
    ]
    answers = again.runs[0]["scores"]["meld"]["breakdowns"]["turn position"]
    assert list(answers) == ["0", "1-2", "3-5"], "answers have lost their order"
    assert list(again.runs[0]["scores"]["meld"]["f1_per_label"]) == list(LABELS)
    assert read_scores(tmp_path / "none.json") == Scores()
    changed = both.runs[0] | {"command": "dataset=meld seed=42 bash code/train_and_inference_Uni.sh"}
    kept = Scores((changed, both.runs[1]), averages=({"condition": "small/window/meld", "seeds": [42, 43]},))
    assert kept.current(CONDITIONS) == Scores((changed,)), "settings that have changed are other conditions"
    (tmp_path / SCORES_FILE).write_text('{"runs": []}')
    with pytest.raises(UserError, match="cannot be read"):
        read_scores(tmp_path / SCORES_FILE)


def test_a_report_holds_every_published_number() -> None:
    report = render_report(TABLE, CONDITIONS, Scores(), {})
    sections = dict(zip(TABLE.groups, report.split("\n## ")[1:], strict=False))
    for name, condition in CONDITIONS.items():
        section = sections[name.split("/")[0]]
        assert condition.title in section and condition.note in section
        for dataset, score in condition.paper.items():
            assert f"| {condition.row} | {dataset} | {score:.2f} | not run |" in section
    assert "| EmotionIC (attention) | 69.50 | 66.40 | 40.01 |" in report and "| 68.91 | 58.86 | - |" in report


def test_scores_beside_the_paper() -> None:
    runs = [make_run("plain/LLaMA2/meld", seed, score) for seed, score in ((42, 64.0), (43, 66.0))]
    average = {"condition": "plain/LLaMA2/meld", "dataset": "meld", "seeds": [42, 43], "interval": [63.5, 66.25]}
    baselines = ({"dataset": "meld", "scores": {"majority": 31.27, "embedding": 55.5}},)
    all_runs = (*runs, make_run("scaling_total/1", 42, 68.5))
    report = render_report(TABLE, CONDITIONS, Scores(all_runs, averages=(average,), baselines=baselines), {})
    assert (
        "| LLaMA2 | meld | 65.84 | **65.00** ± 1.41 (2 seeds; 63.50 to 66.25) | -0.84 (beyond ±0.5) | 55.50 "
        "| 40.00, 40.00 | 3.0, 3.0 | `bash it` | abcdef0 |" in report
    )
    assert "| dataset | majority | embedding |" in report and "| meld | 31.27 | 55.50 |" in report
    assert "| 1 | iemocap | 68.99 | **68.50** (one seed; 66.50 to 70.50) | -0.49 (within ±0.5) | - | 40.00 |" in report
    assert "| 1 | meld | 68.07 | **67.50** (one seed; 65.50 to 69.50) | -0.57 (beyond ±0.5) | - | 39.00 |" in report
    assert report.index("LoRA + Backbone") < report.index("unified labels, Total") < report.index("zero-shot")
    readme = render_readme(CONDITIONS, Scores(tuple(runs)))
    assert "LoRA + Backbone" in readme and "zero-shot" not in readme and ", 1 have been run here" in readme


def test_commits_and_minutes_that_differ_are_listed_seed_by_seed() -> None:
    runs = [make_run("plain/LLaMA2/meld", seed, 65.0) for seed in (42, 43, 44)]
    runs[1] |= {"commit": "1234567890+changes", "minutes": None}
    report = render_report(TABLE, CONDITIONS, Scores(tuple(runs)), {})
    assert "| 3.0, 3.0 | `bash it` | abcdef0, 1234567+, abcdef0 |" in report


def test_what_covers_other_seeds_than_the_runs_is_forgotten() -> None:
    names = ("small/plain/meld", "small/window/meld")
    runs = tuple(make_run(name, seed, 60.0) for name in names for seed in (42, 43))
    compared = {"first": names[0], "second": names[1], "dataset": "meld", "p_mcnemar": {"42": 0.5, "43": 0.5}}
    average = {"condition": names[0], "dataset": "meld", "seeds": [42, 43], "interval": [59.0, 61.0]}
    whole = Scores(runs, (compared,), (average,))
    assert whole.merge(Scores()) == whole
    more = whole.merge(Scores((make_run(names[0], 44, 60.0),)))
    assert more.comparisons == (compared,) and more.averages == (), "the other condition has no seed 44"
    assert whole.merge(Scores((make_run(names[0], 44, 60.0), make_run(names[1], 44, 60.0)))).comparisons == ()


def test_a_group_that_ran_says_what_was_copied_and_found() -> None:
    copying = {"copying": {"answered": 70.0, "gold": 20.5, "rows": 4}}
    name = "modules/window+retrieval_own_label/meld"
    found = replace(CONDITIONS[name], finding=("It copies.", "Not by chance."))
    scores = Scores((make_run(name, 42, 40.0) | copying, make_run(name, 43, 41.0) | copying))
    parts = describe_group([found], scores)
    assert parts[0].endswith("| window+retrieval_own_label | meld | 70.00, 70.00 | 20.50, 20.50 |")
    assert parts[1:] == ["- It copies.\n- Not by chance."]
    assert describe_group([found], Scores()) == []


def test_no_p_value_is_called_zero() -> None:
    assert [describe_p(p) for p in (1.0, 0.0104, 0.001, 0.000999, 1e-12)] == [
        "1.000",
        "0.010",
        "0.001",
        "< 0.001",
        "< 0.001",
    ]


def test_a_bar_in_a_cell_stays_in_it() -> None:
    assert render_table(("a",), [["x|y"]]).splitlines()[-1] == r"| x\|y |"


def test_the_readme_is_left_alone_around_its_section() -> None:
    assert replace_section(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\nnew\n{END} b"
    with pytest.raises(UserError, match="no section"):
        replace_section(f"a {BEGIN} b", "new")


def test_figures_are_drawn_from_scores(tmp_path: Path) -> None:
    runs = [make_run(f"scaling_total/{row}", seed, 60.0 + seed) for row in ("1", "0.5") for seed in (1, 2)]
    ours = [make_run(f"small/{row}/meld", 42, 60.0) for row in ("window", "plain")]
    others = [make_run(name, 42, 60.0) for name in ("window/5/meld", "alpha/0.1/meld")]
    names = draw_all(tmp_path, CONDITIONS, Scores((*runs, *ours, *others)))
    assert names == {
        "window": ["window.png"],
        "alpha": ["alpha.png"],
        "scaling_total": ["data_scaling.png"],
        "small": ["breakdowns_small_meld.png", "labels_small_meld.png", "confusion_small_window_meld.png"],
    }
    assert sorted(name for of in names.values() for name in of) == sorted(path.name for path in tmp_path.iterdir())
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert draw_all(tmp_path, CONDITIONS, Scores()) == {}


def test_a_point_of_a_curve_shows_how_sure_it_is() -> None:
    scores = Scores(tuple(make_run(f"scaling_total/{row}", 42, score) for row, score in (("1", 60.0), ("0.5", 50.0))))
    members = [CONDITIONS["scaling_total/1"], CONDITIONS["scaling_total/0.5"]]
    axes = Figure().subplots()
    draw_panel(axes, members, scores, "iemocap")
    assert axes.get_legend_handles_labels()[1] == [
        "unified labels, Total Mix, LLaMA2 (paper)",
        "unified labels, Total Mix (ours)",
    ]
    (drawn,) = axes.containers
    assert [tuple(point) for point in drawn.lines[0].get_xydata()] == [(0.5, 50.0), (1.0, 60.0)]
    assert [tuple(bar[:, 1]) for bar in drawn.lines[2][0].get_segments()] == [(48.0, 52.0), (58.0, 62.0)]


def test_the_page_holds_all_and_runs_nothing_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_bytes(b"\x89PNG")
    browsed = [browse_runs("meld", (TEST,), {"window": PREDICTIONS})]
    write_page(tmp_path / "index.html", "# Title\n\n| a |\n|---|\n| b |\n\n![a](figures/a.png)\n", tmp_path, browsed)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<h1>Title</h1>" in page and "<td>b</td>" in page
    assert 'src="data:image/png;base64,iVBORw=="' in page and "figures/a.png" not in page and "{{" not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1)
    (only,) = json.loads(data)
    assert [turn["said"] for turn in only["dialogues"][0]["turns"]] == [[said] for said in SAID]
    assert only["dialogues"][0]["turns"][3]["text"] == "<script>alert(1)</script>"
    assert page.count("</script>") == 2, "the data ended its element"


def test_committed_report_and_readme_are_what_the_scores_make() -> None:
    scores = read_scores(EXPERIMENTS / SCORES_FILE)
    assert scores.runs, "no scores are committed"
    report = (EXPERIMENTS / "REPORT.md").read_text(encoding="utf-8")
    figures = plan_figures(CONDITIONS, scores)
    assert render_report(TABLE, CONDITIONS, scores, figures) == report
    names = {name for drawings in figures.values() for name in drawings}
    assert names == {path.name for path in (EXPERIMENTS / "figures").glob("*.png")}
    assert scores.current(CONDITIONS) == scores, "scores of conditions that are no more"
    readme = README.read_text(encoding="utf-8")
    assert replace_section(readme, render_readme(CONDITIONS, scores)) == readme
