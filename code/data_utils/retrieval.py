"""Demonstrations: for an utterance, the training utterances that are most like it, with their labels.

Source: arXiv 2309.11911, section 3.2. The paper's domain base holds training utterances without speakers, its
labels balanced (how is not stated; here every label keeps as many as the rarest has, drawn with a seed). An
utterance never demonstrates itself nor another turn of its own dialogue.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Protocol

import numpy as np

from basics.errors import UserError
from data_utils.dialogues import Dialogue, row_id
from data_utils.draws import DEFAULT_SEED
from data_utils.texts import fold_text

PAPER, ALL = "paper", "all"
LAST = "last"
FIRST_LOOK = 12  # texts that the first search asks for beyond `count`
TOLERANCE = 1e-5  # beyond what the rounding of float32 does to a product of unit vectors
BLOCK_NUMBERS = 2**23  # held at once while products are summed


class Embed(Protocol):
    """A sentence encoder. identity: equal for encoders that give equal vectors."""

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
    seed: int = DEFAULT_SEED

    @property
    def folder_suffix(self) -> str:
        """The part of a folder's name that tells these settings: the encoder, and what differs from the default."""
        parts = ["demonstrations", self.pairing]
        parts += [f"top_{self.count}"] if self.count != 1 else []
        parts += [self.position] if self.position != LAST else []
        parts += [] if self.balance else ["unbalanced"]
        parts += ["distinct"] if self.exclude_identical else []
        parts += [f"seed_{self.seed}"] if self.seed != DEFAULT_SEED else []
        return "_".join([*parts, re.sub(r"[^\w.-]", "-", PurePath(self.encoder).name)])


@dataclass(frozen=True)
class Entry:
    """An utterance of the domain base, or one that demonstrations are looked for.

    dialogue: `<split>/<dialogue>`; an utterance is never shown others of the same one.
    """

    id: str
    dialogue: str
    text: str
    label: str | None


@dataclass(frozen=True)
class Match:
    """A demonstration that was found for an utterance. similarity: cosine, -1 to 1."""

    entry: Entry
    similarity: float


def entries_of(dataset: str, split: str, dialogues: Iterable[Dialogue]) -> list[Entry]:
    """Every utterance of a split with a label, in file order, its speaker removed."""
    return [
        Entry(row_id(dataset, dialogue.dialogue_id, turn), f"{split}/{dialogue.dialogue_id}", one.text, one.label)
        for dialogue in dialogues
        for turn, one in dialogue.labelled
    ]


def balance_labels(entries: Sequence[Entry], labels: Sequence[str], seed: int) -> list[Entry]:
    """Draws as many entries of each label as the rarest label has; they stay in order. UserError: a label has none."""
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
    """The domain base, each distinct text of it embedded once; exact search by cosine.

    What is found for a query does not depend on the other queries of a call: texts are searched, not entries, and
    entries of the same text, or of equally near texts, come in the order of the base.
    """

    def __init__(self, entries: Sequence[Entry], embed: Embed) -> None:
        self.entries, self.embed = list(entries), embed
        self.vectors = _embed_texts([entry.text for entry in self.entries], embed)
        self._pools: dict[str | None, _Pool] = {}

    def search(
        self, queries: Sequence[Entry], count: int, own_label: bool = False, exclude_identical: bool = False
    ) -> list[tuple[Match, ...]]:
        """For each query the `count` nearest entries, nearest first; equally near ones in the base's order.

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
            asked = [queries[place] for place in places]
            matches = self._search_pool(asked, vectors[places], self._pool_of(label), count, exclude_identical)
            for place, match in zip(places, matches, strict=True):
                found[place] = match
        return found

    def _pool_of(self, label: str | None) -> "_Pool":
        """The entries of a label, None: all of them."""
        if label not in self._pools:
            places = [place for place, entry in enumerate(self.entries) if label in (None, entry.label)]
            self._pools[label] = _Pool.of(self.entries, places, self.vectors)
        return self._pools[label]

    def _search_pool(
        self, queries: Sequence[Entry], vectors: np.ndarray, pool: "_Pool", count: int, exclude_identical: bool
    ) -> list[tuple[Match, ...]]:
        """Looks at ever more texts until each query has enough entries nearer than the furthest text looked at."""
        found: dict[int, tuple[Match, ...]] = {}
        waiting = np.arange(len(queries))
        depth = count + FIRST_LOOK
        while len(waiting):
            is_whole = depth >= len(pool.places)
            near, similar = nearest(vectors[waiting], pool.vectors, min(depth, len(pool.places)))
            for query, texts, similarities in zip(waiting, near, similar, strict=True):
                matches = self._allowed(queries[query], pool, texts, similarities, exclude_identical)[:count]
                if len(matches) == count and (is_whole or matches[-1].similarity > similarities[-1] + TOLERANCE):
                    found[query] = tuple(replace(match, similarity=round(match.similarity, 4)) for match in matches)
                elif is_whole:
                    raise UserError(_too_few(queries[query], len(matches), count))
            waiting = np.array([query for query in waiting if query not in found], int)
            depth *= 4
        return [found[query] for query in range(len(queries))]

    def _allowed(
        self, query: Entry, pool: "_Pool", texts: np.ndarray, similarities: np.ndarray, exclude_identical: bool
    ) -> list[Match]:
        """The entries of the texts that may be shown, nearest first, then in the base's order."""
        own_text = fold_text(query.text) if exclude_identical else None
        allowed = [
            (-float(similarity), place)
            for text, similarity in zip(texts, similarities, strict=True)
            for place in pool.places[text]
            if self.entries[place].dialogue != query.dialogue and fold_text(self.entries[place].text) != own_text
        ]
        return [Match(self.entries[place], -distance) for distance, place in sorted(allowed)]


@dataclass(frozen=True)
class _Pool:
    """Distinct texts. places: of each, the places of its entries in the base, ascending. vectors: (texts, width)."""

    places: tuple[tuple[int, ...], ...]
    vectors: np.ndarray

    @staticmethod
    def of(entries: Sequence[Entry], places: Iterable[int], vectors: np.ndarray) -> "_Pool":
        """vectors: (entries, width)."""
        by_text: dict[str, list[int]] = defaultdict(list)
        for place in places:
            by_text[entries[place].text].append(place)
        firsts = [of_text[0] for of_text in by_text.values()]
        return _Pool(tuple(map(tuple, by_text.values())), vectors[np.array(firsts, int)])


def _embed_texts(texts: Sequence[str], embed: Embed) -> np.ndarray:
    """(texts, width), the same vector for texts that the encoder cannot tell apart.

    An encoder without capital letters gives texts of other case one vector but for the rounding of its sums, which
    would decide between them.
    """
    vectors = embed(texts).copy()
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        other = first.setdefault(fold_text(text), place)
        if other != place and np.abs(vectors[place] - vectors[other]).max() < TOLERANCE:
            vectors[place] = vectors[other]
    return vectors


def nearest(queries: np.ndarray, base: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(indices, similarities), each (queries, count): the largest inner products, largest first, to 6 decimals.

    queries (queries, width), base (entries, width), float32. Block by block: the whole score matrix is never
    held. Equal products come in the base's order; of those that equal the smallest one returned, any may be left out.
    """
    import faiss

    _, indices = faiss.knn(queries, base, count, metric=faiss.METRIC_INNER_PRODUCT)
    # What faiss returns depends in its last digits on how many are asked at once; these products do not.
    similarities = np.empty(indices.shape)
    rows = max(1, BLOCK_NUMBERS // max(1, count * base.shape[1]))
    for start in range(0, len(queries), rows):
        block = slice(start, start + rows)
        # Products without a name are gone before those of the next block come.
        sums = (queries[block, None, :].astype(np.float64) * base[indices[block]]).sum(axis=-1)
        similarities[block] = sums.round(6)
    order = np.lexsort((indices, -similarities))
    return np.take_along_axis(indices, order, 1), np.take_along_axis(similarities, order, 1)


def _too_few(query: Entry, allowed: int, count: int) -> str:
    return (
        f"utterance {query.id} (label {query.label}): {allowed} training utterances may demonstrate it, {count} are "
        "asked for; ask for fewer (--demonstrations), or use --domain_balance False, --pairing all or "
        "--exclude_identical False"
    )


Found = dict[str, tuple[Match, ...]]  # row id -> demonstrations


def find_demonstrations(
    labels: Sequence[str], entries: Mapping[str, Sequence[Entry]], settings: RetrievalSettings, embed: Embed
) -> tuple[dict[str, Found], dict[str, dict[str, float]]]:
    """(split -> row id -> demonstrations, split -> what `describe_matches` says of them).

    entries: split -> its utterances. Only those of train, which are the ones trained on, become demonstrations.

    Raises:
        UserError: a label of a balanced base is empty, or a row has too few demonstrations to choose from.
    """
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
    """How like the queries the nearest match of each is. queries: id -> query. found: id -> its matches, nearest first.

    label_agreement, identical_text: share of queries with the label, the text, of that match. mean_similarity: cosine.
    """
    pairs = [(query, found[name][0]) for name, query in queries.items()]
    quantities = {
        "label_agreement": [match.entry.label == query.label for query, match in pairs],
        "identical_text": [fold_text(match.entry.text) == fold_text(query.text) for query, match in pairs],
        "mean_similarity": [match.similarity for _, match in pairs],
    }
    return {name: round(float(np.mean(values)), 4) for name, values in quantities.items() if values}
