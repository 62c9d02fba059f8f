"""Demonstrations: for an utterance, the training utterances that are most like it, with their labels.

Source: arXiv 2309.11911, section 3.2. The paper's domain base holds training utterances without speakers, its
labels balanced (how is not stated; here every label keeps as many as the rarest has, drawn with a seed). An
utterance never demonstrates itself nor another turn of its own dialogue.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

import numpy as np

from basics.errors import UserError
from data_utils.dialogues import Dialogue

PAPER, ALL = "paper", "all"
LAST, ROLE = "last", "role"


class Embed(Protocol):
    """A sentence encoder. identity: what decides its vectors."""

    identity: str

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, width) float32, every row of length 1."""


@dataclass(frozen=True)
class RetrievalSettings:
    """What decides which demonstrations a row holds.

    encoder: name of the sentence encoder. count: demonstrations of a row (k).
    pairing: paper = training rows see demonstrations of their own label only, as in the paper; all = of any
        label. Rows of valid and test always see any label: their own is not known.
    position: last = after the question, as in the paper; role = after the role sentence, as in its scripts.
    balance: every label keeps as many entries as the rarest has. exclude_identical: no demonstration has the
    text of the utterance. seed: of the draw.
    """

    encoder: str
    count: int = 1
    pairing: str = ALL
    position: str = LAST
    balance: bool = True
    exclude_identical: bool = False
    seed: int = 42

    @property
    def folder_suffix(self) -> str:
        """How a folder of rows with these demonstrations is told from others: what differs from the default."""
        parts = ["demonstrations", self.pairing]
        parts += [f"top_{self.count}"] if self.count != 1 else []
        parts += [self.position] if self.position != LAST else []
        parts += [] if self.balance else ["unbalanced"]
        parts += ["distinct"] if self.exclude_identical else []
        parts += [f"seed_{self.seed}"] if self.seed != 42 else []
        return "_".join([*parts, re.sub(r"[^\w.-]", "-", PurePath(self.encoder).name)])


@dataclass(frozen=True)
class Entry:
    """An utterance of the domain base, or one that looks for demonstrations there.

    dialogue: its split and dialogue, of which it is shown no other utterance.
    """

    id: str
    dialogue: str
    text: str
    label: str | None


@dataclass(frozen=True)
class Match:
    """A demonstration of one query. similarity: cosine, -1 to 1."""

    entry: Entry
    similarity: float


def entries_of(dataset: str, split: str, dialogues: Iterable[Dialogue]) -> list[Entry]:
    """Every utterance of a split, in file order, its speaker removed."""
    return [
        Entry(f"{dataset}/{dialogue.dialogue_id}/{turn}", f"{split}/{dialogue.dialogue_id}", one.text, one.label)
        for dialogue in dialogues
        for turn, one in enumerate(dialogue.utterances)
    ]


def balance_labels(entries: Sequence[Entry], labels: Sequence[str], seed: int) -> list[Entry]:
    """As many entries of each label as the rarest has, in their order; UserError when a label has none."""
    by_label: dict[str | None, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        by_label[entry.label].append(index)
    empty = [label for label in labels if not by_label[label]]
    if empty:
        raise UserError(
            f"no training utterance has the label {', '.join(empty)}, so a balanced base would be empty: "
            "use --domain_balance False"
        )
    least = min(len(by_label[label]) for label in labels)
    draw = random.Random(f"domain base/{seed}")
    kept = [index for label in labels for index in draw.sample(by_label[label], least)]
    return [entries[index] for index in sorted(kept)]


class DemonstrationIndex:
    """The domain base, embedded once; exact search by cosine."""

    def __init__(self, entries: Sequence[Entry], embed: Embed) -> None:
        self.entries, self.embed = list(entries), embed
        self.vectors = embed([entry.text for entry in self.entries])
        self.by_label: dict[str | None, np.ndarray] = {
            label: np.flatnonzero([entry.label == label for entry in self.entries])
            for label in {entry.label for entry in self.entries}
        }

    def search(
        self, queries: Sequence[Entry], count: int, own_label: bool = False, exclude_identical: bool = False
    ) -> list[tuple[Match, ...]]:
        """The `count` nearest entries of each query, nearest first; equally near ones in the base's order.

        own_label: only entries of the query's label.

        Raises:
            UserError: for some query, fewer than `count` entries are allowed.
        """
        found: list[tuple[Match, ...]] = [()] * len(queries)
        vectors = self.embed([query.text for query in queries])
        groups: dict[str | None, list[int]] = defaultdict(list)
        for place, query in enumerate(queries):
            groups[query.label if own_label else None].append(place)
        for label, places in groups.items():
            pool = self.by_label.get(label, np.empty(0, int)) if own_label else np.arange(len(self.entries))
            asked = [queries[place] for place in places]
            matches = self._search_pool(asked, vectors[places], pool, count, exclude_identical)
            for place, match in zip(places, matches, strict=True):
                found[place] = match
        return found

    def _search_pool(
        self, queries: Sequence[Entry], vectors: np.ndarray, pool: np.ndarray, count: int, exclude_identical: bool
    ) -> list[tuple[Match, ...]]:
        """Looks at ever more neighbours until each query has enough that it may be shown."""
        found: dict[int, tuple[Match, ...]] = {}
        waiting = np.arange(len(queries))
        depth = count + max(Counter(self.entries[index].dialogue for index in pool).values(), default=0)
        while len(waiting):
            near, similar = nearest(vectors[waiting], self.vectors[pool], min(depth, len(pool)))
            for query, columns, similarities in zip(waiting, near, similar, strict=True):
                matches = self._allowed(queries[query], pool[columns], similarities, exclude_identical)
                if len(matches) >= count:
                    found[query] = tuple(matches[:count])
                elif depth >= len(pool):
                    raise UserError(_too_few(queries[query], len(matches), count))
            waiting = np.array([query for query in waiting if query not in found], int)
            depth *= 4
        return [found[query] for query in range(len(queries))]

    def _allowed(
        self, query: Entry, candidates: np.ndarray, similarities: np.ndarray, exclude_identical: bool
    ) -> list[Match]:
        own_text = fold_text(query.text) if exclude_identical else None
        return [
            Match(self.entries[index], round(float(similarity), 4))
            for index, similarity in zip(candidates, similarities, strict=True)
            if self.entries[index].dialogue != query.dialogue and fold_text(self.entries[index].text) != own_text
        ]


def nearest(queries: np.ndarray, base: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(indices, similarities), each (queries, count): the largest inner products, largest first, exact.

    queries (queries, width), base (entries, width), float32. Block by block: the whole score matrix is never
    held. Equal products come in the base's order.
    """
    import faiss

    similarities, indices = faiss.knn(queries, base, count, metric=faiss.METRIC_INNER_PRODUCT)
    order = np.lexsort((indices, -similarities.round(6)), axis=-1)
    return np.take_along_axis(indices, order, 1), np.take_along_axis(similarities, order, 1)


def fold_text(text: str) -> str:
    """A text without what the method's figures leave aside when texts are compared: case and outer blanks."""
    return text.strip().lower()


def _too_few(query: Entry, allowed: int, count: int) -> str:
    return (
        f"utterance {query.id} (label {query.label}): {allowed} training utterances may demonstrate it, {count} are "
        "asked for; ask for fewer (--demonstrations), or use --domain_balance False, --pairing all or "
        "--exclude_identical False"
    )


Found = dict[str, tuple[Match, ...]]  # row id -> demonstrations


def find_demonstrations(
    dataset: str,
    labels: Sequence[str],
    dialogues: Mapping[str, Sequence[Dialogue]],
    settings: RetrievalSettings,
    embed: Embed,
) -> tuple[dict[str, Found], dict[str, dict[str, float]]]:
    """(split -> row id -> demonstrations, all of them from train; split -> `describe_matches`).

    Raises:
        UserError: a label of a balanced base is empty, or a row has too few demonstrations to choose from.
    """
    entries = {split: entries_of(dataset, split, of_split) for split, of_split in dialogues.items()}
    base = balance_labels(entries["train"], labels, settings.seed) if settings.balance else entries["train"]
    index = DemonstrationIndex(base, embed)
    found: dict[str, Found] = {}
    for split, queries in entries.items():
        own_label = settings.pairing == PAPER and split == "train"
        matches = index.search(queries, settings.count, own_label, settings.exclude_identical)
        assert all(match.entry.dialogue.startswith("train/") for row in matches for match in row)
        found[split] = {query.id: row for query, row in zip(queries, matches, strict=True)}
    described = {
        split: describe_matches({query.id: query for query in queries}, found[split])
        for split, queries in entries.items()
    }
    return found, described


def describe_matches(queries: Mapping[str, Entry], found: Mapping[str, Sequence[Match]]) -> dict[str, float]:
    """What the nearest matches give away, as shares of all queries (id -> query, id -> matches).

    label_agreement: its label is the gold one. identical_text: it has the query's text.
    """
    pairs = [(query, found[name][0]) for name, query in queries.items()]
    quantities = {
        "label_agreement": [match.entry.label == query.label for query, match in pairs],
        "identical_text": [fold_text(match.entry.text) == fold_text(query.text) for query, match in pairs],
        "mean_similarity": [match.similarity for _, match in pairs],
    }
    return {name: round(float(np.mean(values)), 4) for name, values in quantities.items() if values}
