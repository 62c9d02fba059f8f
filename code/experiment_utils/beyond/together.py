"""What the seeds of a run answer together: the mean of their log p of each label, with evidence of train and without.

Training with another seed makes another model of the same recipe. Their mean is steadier than each, and costs as many
times what one costs, in training and in every answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from basics.errors import UserError
from basics.markdown import render_table
from data_utils.retrieval import Embed
from experiment_utils.beyond.beside import SCORED, DatasetEvidence, comparable_runs
from experiment_utils.conditions import EXPERIMENTS
from experiment_utils.dialogue_counts import Counts
from experiment_utils.evidence import answers_file, valid_answers_file
from experiment_utils.records import Record, Records
from experiment_utils.significance import Paired, permutation_p, score_interval
from scoring.beside import KINDS
from scoring.metrics import Prediction, short_names
from scoring.transitions import decode_without

FEWEST = 2


@dataclass(frozen=True)
class Together:
    """Answers of a model's seeds to one split, of each by itself and of all together.

    own, joint: without and with evidence of the kind, each (counts of each seed, counts of all together); filtered:
    those of all together with evidence and transitions.
    """

    kind: str
    name: str
    dataset: str
    split: str
    metric: str
    seeds: Sequence[int]
    own: tuple[Sequence[Counts], Counts]
    joint: tuple[Sequence[Counts], Counts]
    filtered: Counts


def mean_answers(runs: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    """Answers of several models to the same utterances, with log p of each label -> those by the mean of log p.

    Models that were rounded or decoded otherwise count as what their log p says; each row's probabilities sum to 1.
    """
    return [_mean(rows) for rows in zip(*runs, strict=True)]


def _mean(rows: Sequence[Prediction]) -> Prediction:
    labels = list(rows[0].scores)
    mean = np.mean([[row.scores[label] for label in labels] for row in rows], axis=0)
    mean -= np.logaddexp.reduce(mean)
    return replace(rows[0], label=labels[int(mean.argmax())], scores=dict(zip(labels, mean.tolist(), strict=True)))


def compare_together(dataset: str, kind: str, embed: Embed) -> Iterator[Together]:
    """Every model with two seeds or more whose answers on valid and test are committed, on either split."""
    of = DatasetEvidence(dataset, kind, embed)
    runs: dict[str, list[Record]] = {}
    for run in comparable_runs(Records.read(EXPERIMENTS), of.spec):
        if valid_answers_file(EXPERIMENTS, run, dataset).is_file():
            runs.setdefault(run.condition.removesuffix(f"/{dataset}"), []).append(run)
    for name, seeds in runs.items():
        if len(seeds) >= FEWEST:
            yield from _compare(name, seeds, of)


def _compare(name: str, runs: Sequence[Record], of: DatasetEvidence) -> Iterator[Together]:
    dataset, labels = of.spec.name, of.spec.labels
    files = {"valid": valid_answers_file, "test": answers_file}
    given = {split: [of.read(split, files[split](EXPERIMENTS, run, dataset)) for run in runs] for split in SCORED}
    own = {split: [decode_without(rows) for rows in given[split]] for split in SCORED}
    all_own = {split: mean_answers(rows) for split, rows in own.items()}
    all_joint = {split: of.splits[split].joined(rows) for split, rows in all_own.items()}
    filtered = of.filtered(all_joint)
    # Log p is committed rounded: what it cannot tell apart, the answers that were given can.
    each = {
        "valid": [Counts.of_predictions(rows, labels) for rows in given["valid"]],
        "test": [run.own_counts(dataset) for run in runs],
    }
    for split in SCORED:
        joint = [Counts.of_predictions(of.splits[split].joined(rows), labels) for rows in own[split]]
        whole = [Counts.of_predictions(rows[split], labels) for rows in (all_own, all_joint, filtered)]
        sides = (each[split], whole[0]), (joint, whole[1])
        yield Together(of.kind, name, dataset, split, of.spec.metric, [run.seed for run in runs], *sides, whole[2])


def render_together(compared: Sequence[Together]) -> str:
    """A line for each model and split; points: what all together have over the mean of each, p of `permutation_p`.

    Raises:
        UserError: there is none.
    """
    if not compared:
        raise UserError(f"--together: no model here has {FEWEST} seeds whose answers on valid are committed")
    told, scores = f"with {KINDS[compared[0].kind].called}", short_names(one.metric for one in compared)
    header = ["answers of", "dataset", "seeds", "split", f"each ({scores})", "together", "points", "p"]
    header += [f"each, {told}", f"together, {told}", "its 95% interval", f"points, {told}", f"p, {told}"]
    header.append("with transitions too")
    return render_table(header, [_row(one) for one in compared], numbers=True)


def _row(one: Together) -> list[str]:
    interval = score_interval([one.joint[1]], one.metric)
    own, joint = (_cells(*side, one.metric) for side in (one.own, one.joint))
    named = [one.name, one.dataset, ", ".join(map(str, one.seeds)), one.split]
    between = f"{interval.low:.2f} to {interval.high:.2f}"
    return [*named, *own, *joint[:2], between, *joint[2:], f"{one.filtered.score(one.metric):.2f}"]


def _cells(each: Sequence[Counts], together: Counts, metric: str) -> list[str]:
    paired = Paired([(one, together) for one in each], metric)
    mean = sum(one.score(metric) for one in each) / len(each)
    return [f"{mean:.2f}", f"{together.score(metric):.2f}", f"{paired.mean:+.2f}", f"{permutation_p([paired]):.4f}"]
