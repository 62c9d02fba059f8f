"""Checks that committed counts follow from committed answers and the pickles: `python code/reproduce.py --check`."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from basics.errors import UserError
from data_utils.corpora.places import find_corpus
from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import count_labels, find_original_data, find_pickle
from data_utils.labels import DATASETS
from data_utils.row_files import RECOGNITION
from experiment_utils.breakdowns import Breakdowns, break_down
from experiment_utils.dialogue_counts import Counts
from experiment_utils.evidence import (
    ANSWERS,
    TEXT_SEEN,
    Answer,
    answers_file,
    gold_labels,
    read_answers,
    read_corpus,
    split_facts,
    valid_answers_file,
)
from experiment_utils.records import Record, Records
from scoring.metrics import Prediction
from training.decoding import SCORE

Rows = Mapping[str, tuple[str, Answer]]  # row id -> (gold label, answer)
ROUNDING = 1e-6  # percent


def missing_corpora(records: Records) -> list[str]:
    """The datasets that have committed answers, but whose dialogues are not on this machine, sorted."""
    named = sorted({dataset for run in records.runs for dataset in run.counts})
    return [dataset for dataset in named if not _is_here(dataset)]


def _is_here(dataset: str) -> bool:
    if dataset not in DATASETS:
        return find_corpus(dataset) is not None
    try:
        find_pickle(dataset, find_original_data(dataset))
    except UserError:
        return False
    return True


def check_answers(records: Records, unread: Collection[str] = ()) -> Iterator[str]:
    """A line for each committed number of a run that does not follow from its answers and the pickles.

    unread: datasets that are left out. Not checked, as answers do not tell them: the chosen epoch, its score on valid
    where those answers were not kept, weights of transitions, results with evidence, and the rate of copying.
    """
    named = (answers_file, valid_answers_file)
    known = {file(records.folder, run, dataset) for run in records.runs for dataset in run.counts for file in named}
    for path in sorted(set((records.folder / ANSWERS).glob("**/*.csv.gz")) - known):
        yield f"{path.relative_to(records.folder)}: answers of a run that has no record"
    for run in records.runs:
        for dataset in run.counts.keys() - unread:
            rows = join_gold(answers_file(records.folder, run, dataset), dataset, run.split, run.labels)
            differing = [*_differing(run, dataset, rows, records.breakdowns(run, dataset))]
            valid = valid_answers_file(records.folder, run, dataset)
            if valid.is_file() and not _chose(run, dataset, join_gold(valid, dataset, "valid", run.labels)):
                differing.append("score on valid")
            for what in differing:
                yield f"{run.condition}, {dataset}, seed {run.seed}: the answers make other {what} than are committed"


def _differing(run: Record, dataset: str, rows: Rows, where: Breakdowns) -> Iterator[str]:
    if not _is_same(recount(rows, run.labels), run.counts[dataset]):
        yield "counts"
    if not _makes_places(rows, where, run, dataset):
        yield "counts by place"
    if run.decode == SCORE and any(said.log_p and said.label not in said.most_probable for _, said in rows.values()):
        yield "log p"
    if dataset in run.without and not _makes_without(rows, run, dataset):
        yield "counts without transitions"
    if run.split == "valid" and len(run.counts) == 1 and run.valid is not None:
        own = run.without.get(dataset, run.counts[dataset])
        if abs(run.valid - own.score(run.metric(dataset))) > ROUNDING:
            yield "score on valid"


def _chose(run: Record, dataset: str, rows: Rows) -> bool:
    """Whether answers on valid have the score that the record says the chosen epoch had."""
    return abs(recount(rows, run.labels).score(run.metric(dataset)) - run.valid_of.get(dataset, 0.0)) <= ROUNDING


def join_gold(path: Path, dataset: str, split: str, labels: Sequence[str]) -> Rows:
    """The answers of a file with gold labels; UserError where they are not of the split's utterances."""
    gold, said = gold_labels(dataset, split, labels), read_answers(path)
    if set(gold) != set(said):
        raise UserError(f"{path} is not of the {len(gold)} utterances of {dataset}'s {split}")
    return {name: (label, said[name]) for name, label in gold.items()}


def recount(rows: Rows, labels: Sequence[str]) -> Counts:
    """The counts that answers make."""
    return _count(((name, of, said.label) for name, (of, said) in rows.items()), labels)


def _count(rows: Iterable[tuple[str, str, str | None]], labels: Sequence[str]) -> Counts:
    """From (row id, gold label, answer)."""
    return Counts.of(((name.rpartition("/")[0], label, said, 1) for name, label, said in rows), labels)


def _is_same(first: Counts, second: Counts) -> bool:
    return first.is_paired_with(second) and bool((first.table == second.table).all())


def _makes_places(rows: Rows, where: Breakdowns, run: Record, dataset: str) -> bool:
    """Whether the committed breakdowns follow from the answers.

    Which texts were trained on is known only for runs on the whole train of the dataset. For other runs, the counts of
    that question must add up to the total, dialogue by dialogue.
    """
    predictions = [Prediction(name, "", label, said.label) for name, (label, said) in rows.items()]
    known, seen = _knows_train(run, dataset), where.get(TEXT_SEEN)
    made = break_down(predictions, split_facts(dataset, run.split, None if known else ()), run.labels)
    if known:
        return _are_like(where, made)
    if seen and not _is_same(Counts.sum_of(seen.values()), run.counts[dataset]):
        return False
    # Without: the run does not know them, or was not trained.
    others = {name: parts for name, parts in made.items() if name != TEXT_SEEN}
    return _are_like(where, others | ({TEXT_SEEN: seen} if seen else {}))


def _are_like(found: Breakdowns, expected: Breakdowns) -> bool:
    return found.keys() == expected.keys() and all(
        parts.keys() == found[question].keys() and all(_is_same(found[question][of], parts[of]) for of in parts)
        for question, parts in expected.items()
    )


def _knows_train(run: Record, dataset: str) -> bool:
    """Whether a run was trained on all utterances of the dataset's train and nothing else, also in earlier stages."""
    if run.is_baseline:
        return True
    if "checkpoint_dir=" in run.command:
        return False
    utterances = count_labels(read_corpus(dataset)["train"]).total()
    return run.labels == find_dataset(dataset).labels and run.training_rows == {RECOGNITION: utterances}


def _makes_without(rows: Rows, run: Record, dataset: str) -> bool:
    """Whether counts without transitions follow from log p, which are rounded: of equal labels any may be right."""
    likely = {name: said.most_probable for name, (_, said) in rows.items()}
    if not all(likely.values()):
        return False
    found = _count(((name, label, likely[name][0]) for name, (label, _) in rows.items()), run.labels)
    committed, tied = run.without[dataset], sum(len(labels) > 1 for labels in likely.values())
    return found.is_paired_with(committed) and int(abs(found.table - committed.table).sum()) <= 2 * tied
