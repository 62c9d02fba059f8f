"""Numbers that must be right whatever the case: scores, probabilities, log p in any company, the same seed's bytes."""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue_files.turns import SpokenTurn
from engine.batching import EncodedRow, RowEncoder
from engine.packing import packer_for
from number_cases import Case, compare, compare_majority, draw_case
from own_dialogues.recognizer import _shares
from own_dialogues.writing import PROBABILITY_DIGITS, TurnEmotion, as_record
from scoring.label_scoring import DecodeSettings, predict_labels
from scoring.metrics import Prediction
from scoring.transitions import Follower, TransitionFilter, Transitions
from tiny_models import LABELS, PAD, character_tokenizer, small_examples, tiny_model
from tiny_runs import Place

# Of itself: log p of a whole label is some -50 here, and processors sum in different orders.
LOG_P_WITHIN = 1e-6
SHARES_WITHIN = 1e-5
TURN = SpokenTurn(0, "1", 0, "Ann", 0, "Hi.")
# In bf16 two labels tie whose log p lie nearer than this part of them: what eight bits of each product sum up to.
TIE = 2e-2


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    """`number_cases.py` does so 10,000 times."""
    draws = random.Random(f"tests/{seed}")
    for _ in range(20):
        case = draw_case(draws)
        assert compare(case)[0] > 5
        compare_majority(case)


@pytest.mark.parametrize(
    "case",
    [
        Case(("neutral", "joy"), "neutral", ("neutral",), (None,)),
        Case(("neutral", "joy"), "neutral", ("neutral",), ("neutral",)),
        Case(("neutral", "joy", "rage"), "neutral", ("joy", "joy"), ("rage", "rage")),
        Case(("Neutral", "joy"), "Neutral", ("joy",), ("Neutral",)),
        Case(("calm", "joy", "neutrally"), "calm", ("joy", "calm", "neutrally"), ("calm", "joy", None)),
        Case(("joy",), "", ("joy",), ("joy",)),
    ],
)
def test_scores_of_hardly_anything(case: Case) -> None:
    compare(case)


log_ps = st.lists(st.floats(-1e4, 0, width=32), min_size=1, max_size=12)


@settings(deadline=None, max_examples=100)
@given(log_ps)
def test_shares_of_labels_add_up_to_one(log_p: list[float]) -> None:
    scores = {f"label {place}": value for place, value in enumerate(log_p)}
    shares = _shares(TURN, scores, None)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-12) and min(shares.values()) >= 0
    best = max(shares, key=shares.__getitem__)
    assert max(scores.values()) - scores[best] < 1e-15  # nearer ones have one share, and the first is taken
    written = as_record(TurnEmotion(TURN, best, shares[best], shares))["probabilities"]
    assert abs(sum(written.values()) - 1) <= len(log_p) * 10**-PROBABILITY_DIGITS / 2 + 1e-12


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(-1e4, 0, width=32), min_size=3, max_size=3), min_size=1, max_size=8), st.data())
def test_shares_after_transitions_add_up_to_one(turns: list[list[float]], data: st.DataObject) -> None:
    counts = st.tuples(*[st.tuples(*[st.integers(0, 10**6)] * 3)] * 3)
    weights = st.sampled_from((0.0, 0.5, 2.0))
    chosen = data.draw(st.sampled_from((0.25, 1.0, 16.0))), data.draw(weights), data.draw(weights)
    labels = ("calm", "glad", "mad")
    found = TransitionFilter(Transitions(labels, data.draw(counts), data.draw(counts)), *chosen)
    follower = Follower(found)
    for place, log_p in enumerate(turns):
        scores = dict(zip(labels, log_p, strict=True))
        shares = _shares(SpokenTurn(0, "1", place, "Ann", place % 2, "Hi."), scores, follower)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
        assert all(math.isfinite(share) and share >= 0 for share in shares.values())


class Scorer:
    """One model asked about the same rows in whatever company. packing: `tree` or `rows`."""

    def __init__(self, kind: str, packing: str, dtype: torch.dtype) -> None:
        self.model = tiny_model(kind).to(dtype)
        self.packer = packer_for(self.model, packing, PAD)
        self.encoder = RowEncoder(character_tokenizer(), 1024)
        self.rows = self.encoder.encode(small_examples(window=4, count=3, turns=4), LABELS)

    def score(self, rows: Sequence[EncodedRow], budget: int) -> dict[str, Prediction]:
        decode = DecodeSettings(self.packer, token_budget=budget)
        found = predict_labels(self.model, self.encoder, rows, LABELS, decode)
        assert [one.id for one in found] == [row.id for row in rows]
        return {one.id: one for one in found}

    def companies(self) -> list[dict[str, Prediction]]:
        """All together, in other orders and portions, each by itself, beside doubles of other rows."""
        shuffled = random.Random(1).sample(self.rows, len(self.rows))
        doubled = [replace(row, id=f"other/{place}/0") for place, row in enumerate(shuffled[:5])]
        apart = {name: one for row in self.rows for name, one in self.score([row], 2048).items()}
        beside = self.score([*doubled, *self.rows], 2048)
        return [
            self.score(self.rows, 100_000),
            self.score(self.rows[::-1], 700),
            self.score(shuffled, 300),
            apart,
            {row.id: beside[row.id] for row in self.rows},
        ]


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("kind", "packing"), [("llama", "tree"), ("llama", "rows"), ("gemma3", "tree"), ("bloom", "tree")]
)
def test_log_p_of_a_row_is_the_same_in_any_company(kind: str, packing: str) -> None:
    together, *others = Scorer(kind, packing, torch.float32).companies()
    assert len({tuple(row.scores.values()) for row in together.values()}) > 1
    for other in others:
        assert other.keys() == together.keys()
        for name, row in other.items():
            assert row.scores == pytest.approx(together[name].scores, rel=LOG_P_WITHIN, abs=0)
            assert shares_of(row) == pytest.approx(shares_of(together[name]), rel=0, abs=SHARES_WITHIN)
            assert row.label == together[name].label


def shares_of(row: Prediction) -> dict[str, float]:
    return _shares(TURN, row.scores, None)


def gap(row: Prediction) -> float:
    """How far the second label lies behind the first, as a part of log p."""
    second, first = sorted(row.scores.values())[-2:]
    return (first - second) / (1 + abs(first))


@pytest.mark.numeric
@pytest.mark.parametrize("packing", ["tree", "rows"])
def test_in_bf16_only_ties_change_their_label(packing: str) -> None:
    together, *others = Scorer("llama", packing, torch.bfloat16).companies()
    for other in others:
        changed = {name: gap(row) for name, row in other.items() if row.label != together[name].label}
        assert {name: by for name, by in changed.items() if by > TIE} == {}
        assert len(changed) <= len(together) / 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("seeds"))


def bytes_of(place: Place, run: str) -> dict[str, bytes]:
    """Weights, answers and the log without what a clock says."""
    log = [json.loads(line) for line in place.path(run, "log.jsonl").read_text().splitlines()]
    steps = json.dumps([{name: value for name, value in line.items() if name != "seconds"} for line in log])
    weights = {path.name: path.read_bytes() for path in sorted(place.model(run).glob("*.safetensors"))}
    return weights | {"answers": place.predictions(run), "log": steps.encode()}


def test_the_same_seed_gives_the_same_bytes(place: Place) -> None:
    """With dropout and another order of rows each epoch."""
    flags = {"num_train_epochs": 2, "lora_dropout": 0.2}
    for run, seed in (("one", 7), ("again", 7), ("other", 8)):
        place.finish(run, seed=seed, **flags)
    one, again, other = (bytes_of(place, run) for run in ("one", "again", "other"))
    assert one == again and len(one) == 3
    assert not any(one[name] == other[name] for name in one)


def test_the_same_state_of_the_filter_is_left_by_the_same_turns(tmp_path: Path) -> None:
    """A follower that is saved as JSON and taken up again believes the same to the last bit."""
    draws = np.random.default_rng(0)
    found = TransitionFilter(Transitions(("a", "b", "c"), ((3, 1, 0),) * 3, ((0, 5, 2),) * 3), 2.0, 0.5, 1.0)
    whole, parted = Follower(found), Follower(found)
    for turn in range(20):
        scores = dict(zip("abc", draws.normal(scale=9, size=3).tolist(), strict=True))
        assert whole.follow(0, turn % 3, scores) == parted.follow(0, turn % 3, scores)
        taken_up = Follower(found)
        taken_up.restore(json.loads(json.dumps(parted.state)))
        parted = taken_up
