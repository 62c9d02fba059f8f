"""What a condition needs: kept for all of them, as the planner works it out, near to what runs took."""

import json
from dataclasses import replace
from statistics import median

import pytest

import reproduce
from commands import REPOSITORY, call_script
from experiment_utils.conditions import EXPERIMENTS, list_conditions, read_table
from experiment_utils.needs import CPU, DRAWN_ALONE, FEWER_TOKENS, Needs, estimate_all, read_needs

CONDITIONS = list_conditions(read_table())
NEEDS = read_needs(EXPERIMENTS)
SHOWN = ("small/window/meld", "modules/all_modules/meld", "plain/LLaMA2/meld", "scaling_single/0.5/meld")


def test_every_condition_has_its_needs() -> None:
    assert list(NEEDS) == list(CONDITIONS), "python code/reproduce.py --estimate writes them anew"
    assert all(of.memory_gib > 0 and of.minutes > 0 for of in NEEDS.values())
    line = next(line for line in call_script(reproduce.main, "--list").stdout.splitlines() if SHOWN[0] in line)
    assert line.endswith(
        f"; about {NEEDS[SHOWN[0]].memory_gib:g} GiB, {NEEDS[SHOWN[0]].minutes:g} minutes a run on two CPU cores"
    )


def test_they_stand_beside_the_commands() -> None:
    printed = call_script(reproduce.main, "--condition", SHOWN[0], "--dry-run").stdout.splitlines()
    needs = f"about {NEEDS[SHOWN[0]].memory_gib:g} GiB, {NEEDS[SHOWN[0]].minutes:g} minutes a run on two CPU cores"
    assert printed[0] == f"# {SHOWN[0]}, seed {CONDITIONS[SHOWN[0]].group.seeds[0]}: {needs}"
    assert printed[1].endswith("bash code/train_and_inference_Uni.sh")


def test_they_are_what_the_planner_says() -> None:
    found = estimate_all([CONDITIONS[name] for name in SHOWN])
    assert found == {name: NEEDS[name] for name in SHOWN}


def test_they_follow_the_settings() -> None:
    one = CONDITIONS["scaling_single/0.5/meld"]
    half = replace(one, name="half", settings=one.settings | {"data_percent": "0.25"})
    less = replace(one, name="less", settings=one.settings | {"num_train_epochs": "4"})
    zero = replace(one, name="zero", settings=one.settings | {"Experiments_setting": "zero_shot"})
    whole, *others = estimate_all([one, half, less, zero]).values()
    assert all(other.minutes < whole.minutes for other in others)
    assert others[2].memory_gib < whole.memory_gib == others[0].memory_gib


def test_what_prompts_and_the_order_of_rows_do_is_what_was_counted() -> None:
    results = REPOSITORY / "benchmarks" / "results"
    for dataset, forms in json.loads((results / "prompts.json").read_bytes())["datasets"].items():
        whole = next(one["distinct"] for one in forms if (one["prompt"], one["window_step"]) == ("paper", 1))
        for one in forms:
            if times := FEWER_TOKENS.get((one["prompt"], str(one["window_step"]))):
                assert times[dataset] == pytest.approx(whole / one["distinct"], abs=0.006)
    for dataset, kinds in json.loads((results / "trees.json").read_bytes())["sharing"].items():
        counted = [kinds[kind]["8"] / kinds[kind]["1"] for kind in ("window", "predict")]
        assert DRAWN_ALONE[dataset] == pytest.approx(counted, abs=0.006)


def test_prompts_and_the_order_of_rows_count() -> None:
    one = CONDITIONS["small/window/meld"]
    ways = ({"prompt": "compact", "window_step": "6"}, {"rows_per_dialogue": "1"}, {"emotion_prediction": "True"})
    ways += (ways[1] | ways[2],)
    others = [replace(one, name=str(number), settings=one.settings | more) for number, more in enumerate(ways)]
    usual, short, alone, predicting, both = (of.minutes for of in estimate_all([one, *others]).values())
    assert short == pytest.approx(usual / 2.58, rel=0.01)
    assert usual < min(alone, predicting) and max(alone, predicting) < both


def test_labels_and_scorings_take_their_time() -> None:
    one = CONDITIONS["recipe/ours/meld"]  # 157 steps of 8 rows
    settings = ({"loss": "labels"}, {"score_every": "200"}, {"score_every": "79"}, {"score_every": "157"})
    others = [replace(one, name=str(n), settings=one.settings | more) for n, more in enumerate(settings)]
    usual, labels, once, twice, exact = (of.minutes for of in estimate_all([one, *others]).values())
    assert usual == once == exact < labels < twice


def test_scorings_are_of_what_is_trained_in_the_split_that_chooses() -> None:
    """A single set makes fewer steps than all, every stage of a sequence scores all sets, and test is larger."""
    alone, whole = CONDITIONS["friends/meld_alone"], CONDITIONS["friends/mix"]
    ways = {
        "alone": alone,
        "alone, often": replace(alone, settings=alone.settings | {"score_every": "500"}),  # of 625 steps
        "mix": whole,
        "sequence": CONDITIONS["friends/meld_then_EmoryNLP"],
        "on test": replace(whole, settings=whole.settings | {"select_on": "test"}),
    }
    found = dict(zip(ways, estimate_all([replace(one, name=n) for n, one in ways.items()]).values(), strict=True))
    minutes = {name: needs.minutes for name, needs in found.items()}
    assert minutes["mix"] < min(minutes["sequence"], minutes["on test"])
    scoring = minutes["alone, often"] - minutes["alone"]  # of valid, once more
    last = minutes["on test"] - minutes["mix"] + scoring  # of test, once
    assert minutes["sequence"] - minutes["mix"] == pytest.approx(scoring + last, abs=0.4)


@pytest.mark.parametrize(("name", "minutes"), [("sample/window/sample", 2.2), ("modules/window/meld", 3.6)])
def test_they_are_near_what_runs_took(name: str, minutes: float) -> None:
    """Of experiments/LOG.md, the newest runs on two cores with bf16, which compiled and started too."""
    assert minutes / 1.3 < NEEDS[name].minutes < 1.1 * minutes


def test_two_cores_are_as_fast_as_the_benchmark_found() -> None:
    results = json.loads((REPOSITORY / "benchmarks/results/amd-epyc-avx-512-bf16/training.json").read_bytes())
    steps = results["workloads"]["window"]
    speed = steps["flops"] / median(steps["contenders"]["engine_bf16"]["seconds"]) / 1e12
    assert pytest.approx(speed, rel=0.1) == CPU.tflops


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        ({}, "whose time is not estimated"),
        ({0: 0.1}, "about 1 minute for all of their seeds, without 1 whose time is not estimated"),
        ({0: 10.0, 1: 4.0}, "about 42 minutes for all of their seeds"),
        ({0: 60.0, 1: 60.0}, "about 6 hours for all of their seeds"),
    ],
)
def test_time_is_told_as_far_as_it_is_estimated(minutes: dict[int, float], told: str) -> None:
    """No estimate is not 'about 0 hours'."""
    chosen = [one for one in CONDITIONS.values() if len(one.group.seeds) == 3][:2]
    needs = {chosen[place].name: Needs(1.0, value, "a machine") for place, value in minutes.items()}
    assert reproduce.tell_time(chosen, needs) == told
