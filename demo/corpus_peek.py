"""What is in a corpus, counted: for original_data/peek_of_dataset.ipynb, and for whoever asks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise

from basics.words import counted
from data_utils.dialogues import Dialogue, count_split
from data_utils.labels import DatasetSpec
from data_utils.texts import fold_text
from scoring.metrics import baseline_majority, name_metric

Splits = Mapping[str, Sequence[Dialogue]]


def tell_sizes(splits: Splits) -> str:
    """A line for each split: how many dialogues and utterances it has."""
    return "\n".join(
        f"{name}: {counted(len(dialogues), 'dialogue')}, "
        + counted(sum(len(one.utterances) for one in dialogues), "utterance")
        for name, dialogues in splits.items()
    )


def count_lengths(splits: Splits) -> dict[str, dict[str, Counter[int]]]:
    """What is counted -> split -> its value -> how often: turns and speakers of a dialogue, words of an utterance."""
    measures = {
        "turns of a dialogue": lambda dialogue: [len(dialogue.utterances)],
        "speakers of a dialogue": lambda dialogue: [len({one.speaker for one in dialogue.utterances})],
        "words of an utterance": lambda dialogue: [len(one.text.split()) for one in dialogue.utterances],
    }
    return {
        quantity: {name: Counter(chain.from_iterable(map(measure, of_split))) for name, of_split in splits.items()}
        for quantity, measure in measures.items()
    }


def count_labels(splits: Splits, labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Split -> label -> utterances, in prompt order."""
    counts = {name: count_split(dialogues, labels) for name, dialogues in splits.items()}
    return {name: dict(zip(labels, of_split.per_label, strict=True)) for name, of_split in counts.items()}


def share_transitions(
    dialogues: Sequence[Dialogue], labels: Sequence[str], same_speaker: bool = False
) -> list[list[float]]:
    """[from][to]: of the turns that follow one labelled `from`, the share labelled `to`; rows add up to 1, or are 0.

    same_speaker: from a speaker's turn to the next of the same speaker, whatever others say in between.
    """
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for dialogue in dialogues:
        for labels_said in _label_sequences(dialogue, same_speaker):
            counts.update(pairwise(labels_said))
    totals = {label: sum(counts[label, other] for other in labels) for label in labels}
    return [[counts[label, other] / max(1, totals[label]) for other in labels] for label in labels]


def _label_sequences(dialogue: Dialogue, same_speaker: bool) -> list[list[str | None]]:
    sequences: dict[int, list[str | None]] = {}
    for one in dialogue.utterances:
        sequences.setdefault(one.speaker if same_speaker else 0, []).append(one.label)
    return list(sequences.values())


def score_majority(splits: Splits, spec: DatasetSpec) -> str:
    """One sentence: what the commonest label of train would score on test as the answer to everything."""
    train, test = (
        [one.label for dialogue in splits[name] for _, one in dialogue.labelled] for name in ("train", "test")
    )
    found = baseline_majority(train, test, spec.labels, spec.metric)
    return f"Always answering '{found.label}' scores {found.result.score:.1f} {name_metric(spec.metric)} on test."


def share_labels_of_texts(
    dialogues: Sequence[Dialogue], labels: Sequence[str], count: int
) -> dict[str, dict[str, float]]:
    """The commonest utterances with a label, letter case and outer blanks aside -> label -> how often, as a share."""
    found: dict[str, Counter[str | None]] = {}
    for dialogue in dialogues:
        for _, one in dialogue.labelled:
            found.setdefault(fold_text(one.text), Counter())[one.label] += 1
    commonest = sorted(found.items(), key=lambda item: (-item[1].total(), item[0]))[:count]
    return {
        f"{text} ({counted(under.total(), 'time')})": {label: under[label] / under.total() for label in labels}
        for text, under in commonest
    }


def render_dialogue(dialogue: Dialogue, turns: int | None = None) -> str:
    """The first turns of a dialogue, None: all of them: number, speaker, label, text."""
    shown = dialogue.utterances[:turns]
    width = max(len(str(one.label)) for one in shown)
    lines = [f"{turn:3}  Speaker_{one.speaker}  {one.label!s:<{width}}  {one.text}" for turn, one in enumerate(shown)]
    return "\n".join([f"dialogue {dialogue.dialogue_id}", *lines])
