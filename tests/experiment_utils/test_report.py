"""Reports are made from records alone, and what is committed is what they make."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from basics.errors import UserError
from data_utils.dialogues import Dialogue, Utterance
from experiment_utils import report_figures
from experiment_utils.breakdowns import break_down, describe_split, read_breakdowns, write_breakdowns
from experiment_utils.conditions import list_conditions, read_table
from experiment_utils.dialogue_counts import Counts
from experiment_utils.overview import BESIDE, OURS, OVERVIEW, list_systems, render_overview
from experiment_utils.records import Record, Records
from experiment_utils.report_answer import list_failed, render_answer
from experiment_utils.report_figures import FOREST, draw_all, draw_forest, draw_panel, look_of_rows, plan_figures
from experiment_utils.report_page import browse_runs, write_page
from experiment_utils.report_tables import Shown, describe_p, render_comparisons, render_copying, render_group
from experiment_utils.report_text import render_report
from scoring.beside import KINDS, PREFERRED
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


def make_run(condition: str, seed: int, right: int, **changes: object) -> Record:
    """Of ten dialogues of two utterances each, `right` are answered right; of each further dataset one fewer."""
    datasets = changes.pop("datasets", None) or CONDITIONS[condition].datasets
    counts = {}
    for number, dataset in enumerate(datasets):
        said = [(f"{dataset}/{d}", label, d < right - number) for d in range(10) for label in ("joyful", "sad")]
        answers = [(name, label, label if is_right else "neutral", 1) for name, label, is_right in said]
        counts[dataset] = Counts.of(answers, LABELS)
    fields = {
        "plan": "0",
        "command": "bash it",
        "split": "test",
        "decode": "score",
        "selection": "chosen on valid",
        "labels": LABELS,
        "date": "2026-01-01",
        "minutes": 3.0,
        "training_minutes": 2.0,
        "batch_size": 4,
        "training_rows": {"emotion_recognition": 5},
        "best_epoch": 1,
        "trainable_parameters": 5,
        "valid": 40.0,
        "valid_of": {name: 40.0 - number for number, name in enumerate(datasets)},
        "copying": None,
        "datasets": tuple(datasets),
        "device": "cpu",
        "processors": 2,
        "precision": "float32",
        "versions": {},
        "commit": "abcdef0123",
    }
    return Record(condition=condition, seed=seed, counts=counts, **(fields | changes))


def show(*runs: Record, folder: Path = Path()) -> Shown:
    return Shown(Records(folder, tuple(sorted(runs, key=lambda run: (run.condition, run.seed)))))


def make_baseline(name: str, valid: float, right: int) -> Record:
    return make_run(f"baselines/{name}/meld", 0, right, valid=valid, datasets=("meld",), selection=f"what {name} is")


def score_of(right: int) -> float:
    """Weighted F1 of `make_run`: both labels are never said in vain, so F1 is 2r / (1 + r)."""
    share = right / 10
    return 100 * 2 * share / (1 + share)


def test_answers_to_each_question(tmp_path: Path) -> None:
    facts = describe_split("meld", {"train": (TRAIN,), "test": (TEST,)})
    found = break_down(PREDICTIONS, facts, LABELS)
    assert {question: {key: of.rows for key, of in answers.items()} for question, answers in found.items()} == {
        "turn position": {"0": 1, "1-2": 2, "3-5": 1},
        "emotion of the same speaker": {"first turn": 2, "shifts": 1, "stays": 1},
        "words": {"0-3": 3, "8-15": 1},
        "text": {"also in train": 1, "not in train": 3},
    }
    assert found["emotion of the same speaker"]["first turn"].score("weighted_f1") == 100.0
    assert found["turn position"]["3-5"].score("weighted_f1") == 0.0
    write_breakdowns(tmp_path / "a.csv.gz", found)
    write_breakdowns(tmp_path / "b.csv.gz", found)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    again = read_breakdowns(tmp_path / "a.csv.gz", LABELS)
    assert [(name, list(of)) for name, of in again.items()] == [(name, list(of)) for name, of in found.items()]
    assert (again["words"]["0-3"].table == found["words"]["0-3"].table).all()
    (tmp_path / "a.csv.gz").write_bytes(b"x")
    with pytest.raises(UserError, match="cannot be read"):
        read_breakdowns(tmp_path / "a.csv.gz", LABELS)


def test_iemocaps_recordings_are_told_apart() -> None:
    splits = {"train": (TRAIN,), "test": (replace(TEST, dialogue_id="Ses05F_script01_1"), TEST)}
    facts = describe_split("iemocap", splits)
    said = [
        replace(one, id=f"iemocap/{name}/{turn}")
        for name in ("Ses05F_script01_1", "d")
        for turn, one in enumerate(PREDICTIONS[: 3 if name == "d" else 4])
    ]
    found = break_down(said, facts, LABELS)["recording"]
    assert {answer: of.rows for answer, of in found.items()} == {"scripted": 4, "improvised": 3}


def test_texts_seen_are_what_a_run_says() -> None:
    facts = describe_split("meld", {"train": (TRAIN,), "test": (TEST,)}, seen=["meld/d/2", "meld/d/3"])
    assert [name for name, of in facts.items() if of.seen] == ["meld/d/2", "meld/d/3"]


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    runs = [make_run("scaling_total/1", seed, 8) for seed in (10, 9)]
    for run in runs:
        run.write(tmp_path, {dataset: {} for dataset in run.counts})
    again = Records.read(tmp_path)
    assert list(again.runs) == runs[::-1], "seeds are numbers"
    assert list(again.runs[0].counts) == ["iemocap", "meld", "EmoryNLP"]
    assert again.runs[0].score("meld") == pytest.approx(score_of(7))
    assert Records.read(tmp_path / "none").runs == ()
    assert again.known(CONDITIONS) == again and again.known({}).runs == ()
    (tmp_path / "runs" / "scaling_total/1" / "seed_9.json").write_text("{}")
    with pytest.raises(UserError, match="seed_9.json or its counts cannot be read"):
        Records.read(tmp_path)


def test_scores_with_transitions_stand_beside_those_without(tmp_path: Path) -> None:
    run = make_run("small/window/meld", 42, 8, decode="transitions")
    run = replace(run, without=make_run("small/window/meld", 42, 5).counts)
    run.write(tmp_path, {"meld": {}})
    (again,) = Records.read(tmp_path).runs
    assert (again.score("meld"), again.without["meld"].score("weighted_f1")) == pytest.approx(
        (score_of(8), score_of(5))
    )
    table = render_group([CONDITIONS["small/window/meld"]], show(again))
    assert "| without transitions |" in table and f"| {score_of(5):.2f} |" in table and "| transitions |" in table


def test_a_report_says_what_has_not_been_run() -> None:
    report = render_report(TABLE, CONDITIONS, show(), {})
    for name, members in {one.name.split("/")[0]: one for one in CONDITIONS.values()}.items():
        assert f"| {members.group.title} |" in report and f"--condition {name}`" in report
    assert "| EmotionIC | attention | published | 69.50 | 66.40 | 40.01 |" in report
    assert "https://github.com/LIN-SHANG/InstructERC/issues/14" in report
    assert all(claim.source for claim in TABLE.claims)


def test_scores_beside_the_paper() -> None:
    runs = [make_run("plain/LLaMA2/meld", seed, right) for seed, right in ((42, 6), (43, 8))]
    emory = make_run("plain/LLaMA2/EmoryNLP", 42, 5)
    table = render_group(list(CONDITIONS.values()), show(*runs, emory))
    middle = (score_of(6) + score_of(8)) / 2
    assert re.search(
        rf"\| LLaMA2 \| meld \| 65.84 \| \*\*{middle:.2f}\*\* \(2 seeds; [0-9.]+ to [0-9.]+\) \| [0-9.]+ "
        rf"\| \+{middle - 65.84:.2f}, beyond the paper's spread \| 40.00, 40.00 \| score ",
        table,
    ), table
    assert f"| {score_of(5) - 38.21:+.2f} |" in table and "EmoryNLP†" in table, "no verdict on another release"
    assert "best baseline" not in table, "a column that says nothing is left out"


def test_the_baseline_that_valid_chose_is_the_best() -> None:
    baselines = [make_baseline("words", 50.0, 3), make_baseline("vectors", 45.0, 9)]
    bound = make_baseline("previous_label", 99.0, 10)
    shown = show(make_run("small/window/meld", 42, 8), *baselines, bound)
    table = render_group([CONDITIONS["small/window/meld"]], shown)
    assert f"| {score_of(3):.2f} |" in table
    compared = render_comparisons([CONDITIONS["small/window/meld"]], shown)
    points = score_of(8) - score_of(3)
    assert compared.splitlines()[-1] == f"| window | words | meld | {points:+.2f} | {points:+.2f} | - | - |"
    with_it = make_run("small/window/meld", 42, 8, beside={PREFERRED: make_run("small/window/meld", 42, 9).counts})
    compared = render_comparisons([CONDITIONS["small/window/meld"]], show(with_it, *baselines))
    points = f"{score_of(9) - score_of(3):+.2f}"
    assert compared.splitlines()[-1] == f"| window, with linear models | words | meld | {points} | {points} | - | - |"
    report = render_report(TABLE, CONDITIONS, shown, {})
    assert re.search(
        r"\| meld \| words \| 50.00 \| [^|]+ \| [0-9.]+ \| \*\*chosen on valid\*\* \| what words is \|", report
    )
    assert report.count("chosen on valid** |") == 1


def test_the_overview_shows_few_baselines_and_the_systems_that_it_is_told_to() -> None:
    runs = [make_baseline("words", 50.0, 3), make_baseline("vectors_history+transitions", 45.0, 9)]
    runs += [make_baseline("majority", 20.0, 9), make_baseline("previous_label", 99.0, 10)]
    page = render_overview(TABLE, CONDITIONS, show(*runs))
    shown = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")][2:]
    assert shown[-2:] == ["baseline: words", "baseline: vectors history+transitions"]
    assert f"| **{score_of(3):.2f} (" in page and "HiTrans" in page and "EmotionIC" not in page and "LEAK" not in page


@pytest.mark.parametrize("kind", KINDS)
def test_the_overview_has_the_scores_with_evidence_where_every_seed_has_one(kind: str, tmp_path: Path) -> None:
    own = [make_run("small/window/meld", seed, 4, minutes=minutes) for seed, minutes in ((42, 20.2), (43, None))]
    beside = {kind: make_run("small/window/meld", 42, 8).counts}
    first, both = [replace(own[0], beside=beside), own[1]], [replace(run, beside=beside) for run in own]
    (system,) = (one for one in list_systems(TABLE, CONDITIONS, show(*both)) if one.kind == OURS)
    assert system.others[BESIDE[kind]]["meld"].value == pytest.approx(score_of(8))
    more = f"; {score_of(8):.2f} with {KINDS[kind].called}" if kind == PREFERRED else ""
    assert system.scores["meld"].more == more
    assert system.meaning.endswith("decode=score, 2 seeds; minutes: meld 20 (2 cores)")
    assert f"with {KINDS[kind].called}" not in render_overview(TABLE, CONDITIONS, show(*first)).split("\n\n")[0]
    assert f"| {score_of(8):.2f} |" in render_group([CONDITIONS["small/window/meld"]], show(*both))
    draw_forest(tmp_path / FOREST, [system])
    draw_forest(tmp_path / "other.png", [replace(system, others={})])
    assert (tmp_path / FOREST).read_bytes() != (tmp_path / "other.png").read_bytes()


def test_from_three_seeds_on_a_difference_is_tested() -> None:
    names = ("small/window/meld", "small/plain/meld")
    runs = [make_run(name, seed, right) for name, right in zip(names, (10, 2), strict=True) for seed in (42, 43, 44)]
    conditions = [CONDITIONS[name] for name in names]
    line = render_comparisons(conditions, show(*runs)).splitlines()[-1]
    found = re.fullmatch(r"\| plain \| window \| meld \| -[^|]+ \| (\S+) \| (\S+) to (\S+) \| (0\.\d+) \|", line)
    mean, low, high, p = map(float, found.groups())
    assert low < mean < high < 0 and p < 0.05
    few = render_comparisons(conditions, show(*runs[:2], *runs[3:])).splitlines()[-1]
    assert few.endswith("| - | - |"), "two seeds in common"


def test_runs_of_another_precision_are_told() -> None:
    """Which `auto` is on another machine: the condition is the same, the score need not be."""
    names = ("small/window/meld", "small/plain/meld")
    runs = [make_run(name, seed, 4) for name in names for seed in (42, 43)]
    assert "PRECISION" not in render_comparisons([CONDITIONS[name] for name in names], show(*runs))
    runs[3] = replace(runs[3], precision="bfloat16", weights="hub")
    line = render_comparisons([CONDITIONS[name] for name in names], show(*runs)).splitlines()[-1]
    assert line.startswith("| plain | window; IN ANOTHER PRECISION: seed 43 | meld |")
    runs[1] = replace(runs[1], weights="wheel")
    line = render_comparisons([CONDITIONS[name] for name in names], show(*runs)).splitlines()[-1]
    assert "PRECISION: seed 43; FROM OTHER WEIGHTS OF THE BASE: seed 43 | meld |" in line
    window, plain = render_group([CONDITIONS[name] for name in names], show(*runs)).splitlines()[2:]
    assert "| float32 |" in window and "| float32, bfloat16 |" in plain


def test_commits_that_differ_and_answers_without_a_label_are_told() -> None:
    name = "plain/LLaMA2/meld"
    runs = [make_run(name, 42, 6), make_run(name, 43, 6, commit="1234567890+changes", minutes=None)]
    table = render_group([CONDITIONS[name]], show(*runs))
    assert table.endswith("| 3.0 | `bash it` | abcdef0, 1234567+ |")
    half = Counts.of([("d", "sad", None, 1), ("d", "sad", "sad", 1)], LABELS)
    generated = show(replace(runs[0], decode="generate", counts={"meld": half}))
    assert "| generate, 50.0% without a label |" in render_group([CONDITIONS[name]], generated)


def test_how_often_demonstrations_are_copied() -> None:
    name = "modules/window+retrieval_own_label/meld"
    copying = {"answered": 70.0, "gold": 20.5, "rows": 4}
    shown = show(make_run(name, 42, 4, copying=copying), make_run(name, 43, 4, copying=copying))
    table = render_copying([CONDITIONS[name]], shown)
    assert table.endswith("| window+retrieval_own_label | meld | 70.00, 70.00 | 20.50, 20.50 |")
    assert render_copying([CONDITIONS[name]], show()) == ""


def test_no_p_value_is_called_zero() -> None:
    assert [describe_p(p) for p in (1.0, 0.0104, 0.001, 0.000999, 1e-12)] == [
        "1.000",
        "0.010",
        "0.001",
        "< 0.001",
        "< 0.001",
    ]


def test_figures_are_drawn_from_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = describe_split("meld", {"train": (TRAIN,), "test": (TEST,)})
    where = {"meld": break_down(PREDICTIONS, facts, LABELS)}
    runs = [make_run(f"scaling_total/{row}", seed, 6 + seed) for row in ("1", "0.5") for seed in (1, 2)]
    runs += [make_run(f"small/{row}/meld", 42, right) for row, right in (("window", 8), ("plain", 5))]
    runs += [make_run("window/5/meld", 42, 6), make_run("tuning/ours/meld", 42, 6)]
    runs += [make_run(f"equal_steps/{row}/EmoryNLP", 42, 6) for row in ("1", "0.25")]
    for run in runs:
        run.write(tmp_path, {dataset: where["meld"] for dataset in run.counts})
    shown = Shown(Records.read(tmp_path))
    few = plan_figures(TABLE, CONDITIONS, shown)["small"]
    assert list(few) == [f"{kind}_small_meld.png" for kind in ("differences", "confusion")], "ten utterances: no bar"
    monkeypatch.setattr(report_figures, "FEWEST", 1)
    names = draw_all(tmp_path / "figures", TABLE, CONDITIONS, shown)
    assert names == {
        OVERVIEW: [FOREST],
        "scaling_total": ["data_scaling.png"],
        "small": [f"{kind}_small_meld.png" for kind in ("differences", "breakdowns", "labels", "confusion")],
        "equal_steps": ["equal_steps.png"],
    }, "a row or a point alone has nothing to be compared with"
    drawn = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert drawn == sorted(name for of in names.values() for name in of)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "figures").iterdir())
    assert draw_all(tmp_path / "none", TABLE, CONDITIONS, show()) == {}


def test_no_two_rows_look_alike_and_those_of_a_group_differ_in_colour_where_there_are_enough() -> None:
    conditions, looks = CONDITIONS, look_of_rows(CONDITIONS)
    assert len(set(looks.values())) == len(looks) >= 20
    assert {one.row for one in conditions.values()} - looks.keys() == {
        row for one in conditions.values() if (row := one.row).replace(".", "").isdecimal()
    }
    for group in ("sample", "small", "one_epoch", "modules", "tuning"):
        rows = {one.row for one in conditions.values() if one.name.startswith(f"{group}/")}
        assert len({looks[row].colour for row in rows}) == len(rows), group


def test_a_point_of_a_curve_shows_how_sure_it_is() -> None:
    shown = show(*(make_run(f"scaling_total/{row}", 42, right) for row, right in (("1", 8), ("0.25", 5))))
    members = [CONDITIONS[f"scaling_total/{row}"] for row in ("1", "0.5", "0.25")]
    axes = Figure().subplots()
    draw_panel(axes, members, shown, "iemocap")
    assert axes.get_legend_handles_labels()[1] == [
        "unified labels, Total Mix, LLaMA2 (paper)",
        "unified labels, Total Mix (ours)",
    ]
    (drawn,) = axes.containers
    points = drawn.lines[0].get_xydata()
    assert [x for x, y in points] == [0.25, 0.5, 1.0] and points[1][1] != points[1][1], "no line over what is missing"
    assert (points[0][1], points[2][1]) == pytest.approx((score_of(5), score_of(8)))
    low, high = drawn.lines[2][0].get_segments()[0][:, 1]
    assert low < score_of(5) < high
    assert axes.get_ylabel() == "weighted F1 (%)"
    own = make_run("scaling_total/1", 42, 8, metrics={"iemocap": "micro_f1_without_neutral"})
    draw_panel(axes, members, show(own), "iemocap")
    assert axes.get_ylabel() == "micro F1 without neutral (%)"


def test_the_page_holds_all_and_runs_nothing_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_bytes(b"\x89PNG")
    browsed = [browse_runs("meld", (TEST,), {"window": PREDICTIONS})]
    write_page(tmp_path / "index.html", "# Title\n\n| a |\n|---|\n| b |\n\n![a](figures/a.png)\n", tmp_path, browsed)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert ">Title</h1>" in page and "<td>b</td>" in page
    assert 'src="data:image/png;base64,iVBORw=="' in page and "figures/a.png" not in page and "{{" not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1)
    (only,) = json.loads(data)
    assert [turn["said"] for turn in only["dialogues"][0]["turns"]] == [[said] for said in SAID]
    assert only["dialogues"][0]["turns"][3]["text"] == "<script>alert(1)</script>"
    assert page.count("</script>") == 2, "the data ended its element"


def test_the_first_screen_answers_whether_it_worked() -> None:
    runs = [make_run("plain/LLaMA2/meld", seed, 5) for seed in (42, 43)] + [make_run("plain/LLaMA2/EmoryNLP", 42, 5)]
    runs += [
        make_run("small/window/meld", 42, 8),
        make_run("modules/plain/meld", 42, 8),
        make_baseline("words", 50.0, 3),
    ]
    lines = render_answer(CONDITIONS, show(*runs), "").splitlines()
    assert lines[0] == "# Did it work?" and lines[2].startswith("5 runs of 4 conditions finished; no runs failed")
    assert "2 numbers of the paper's tables can be compared" in lines[2]
    verdicts = {line.split(" | ")[0].strip("| "): line.split(" | ")[3:] for line in lines if line.startswith("| ")}
    ours = score_of(5)
    assert verdicts["plain/LLaMA2/meld"] == ["paper, 65.84 ± 0.5", f"{ours - 65.84:+.2f}", "above the paper |"]
    assert verdicts["plain/LLaMA2/EmoryNLP"][2] == "none: of another release of the data |"
    assert verdicts["small/window/meld"] == [
        f"baseline words, {score_of(3):.2f}",
        f"{score_of(8) - score_of(3):+.2f}",
        "above the best baseline; one seed, others may differ |",
    ]
    assert verdicts["modules/plain/meld"] == ["-", "-", "none: compared inside its group, below |"], "scored on valid"
    assert render_answer(CONDITIONS, show(), "").count("\n\n") == 1, "no table of nothing"


def test_a_run_that_failed_is_told_until_it_has_finished() -> None:
    line = "| 2026-01-0{} | abcdef0 | cpu, 2 cores | {}, seed 1 | {} | - | 1.0 |\n"
    failed = "failed with exit status 3"
    log = "# Log\n\n| date | commit | machine | condition | score | valid | minutes |\n|---|---|---|---|---|---|---|\n"
    runs = ((1, "a/b/meld", failed), (1, "a/c/meld", failed), (2, "a/c/meld", "meld 1.00"))
    log += "".join(line.format(*run) for run in runs)
    assert list(list_failed(log)) == ["a/b/meld, seed 1: failed with exit status 3, 2026-01-01"]
    page = render_answer(CONDITIONS, show(), log)
    assert "1 run failed and did not finish since" in page and "- a/b/meld, seed 1" in page
