"""Demonstrations for one's own turns, from the training utterances of the checkpoint's dataset."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from basics.errors import UserError
from basics.files import find_repository, sha256_of_each
from data_utils.dialogues import find_original_data, find_sources, load_dialogues
from data_utils.draws import draw_rows
from data_utils.labels import UNIFIED
from data_utils.prompts import COMPACT
from data_utils.retrieval import (
    DemonstrationIndex,
    Embed,
    Entry,
    Match,
    RetrievalSettings,
    balance_labels,
    entries_of,
)
from own_dialogues.prompts import Question
from training.erc_config import ErcConfig

USUAL_ENCODER = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class DemonstrationSource:
    """Where demonstrations come from, as far as a user may choose.

    count: of each prompt; None: as many as in training; 0: none. original_data: folder of the pickles, None: the
    default one. encoder: None: the one of training. embed: takes the encoder's place.
    """

    count: int | None = None
    original_data: Path | None = None
    encoder: str | None = None
    embed: Embed | None = None


AS_TRAINED = DemonstrationSource()


@dataclass(frozen=True)
class Demonstrator:
    """Finds demonstrations as `settings` say."""

    index: DemonstrationIndex
    settings: RetrievalSettings

    def find(self, questions: Sequence[Question]) -> list[tuple[Match, ...]]:
        """The nearest training utterances of each question's turn, nearest first."""
        queries = [Entry("own utterance", "own", question.shown[-1].text, None) for question in questions]
        chosen = self.settings
        return self.index.search(queries, chosen.count, exclude_identical=chosen.exclude_identical)


def find_folder_of_pickles(config: ErcConfig, source: DemonstrationSource) -> Path | None:
    """The folder of the corpus that a checkpoint's demonstrations come from; None: its prompts have none.

    Raises:
        UserError: no corpus has the checkpoint's labels, or its prompts have no place for demonstrations.
    """
    if source.count == 0 or (source.count is None and config.retrieval is None):
        return None
    if config.prompt == COMPACT:
        raise UserError(f"--demonstrations: a checkpoint of {COMPACT} prompts has no place for them; leave it away")
    if config.dataset == UNIFIED.name:
        raise UserError(f"demonstrations: a checkpoint of {config.dataset} has no training set of its own labels")
    return source.original_data or find_original_data(config.dataset)


def identify_demonstrations(config: ErcConfig, source: DemonstrationSource) -> list[int | str | None]:
    """What changes with the demonstrations that a user's choices lead to; the corpus by its content."""
    folder = find_folder_of_pickles(config, source)
    files = find_sources(config.dataset, folder) if folder else []
    return [source.count, source.encoder, sha256_of_each(files) or None]


def open_demonstrator(config: ErcConfig, source: DemonstrationSource) -> Demonstrator | None:
    """What finds the demonstrations of a checkpoint's prompts; None: they have none.

    Raises:
        UserError: the training utterances or the encoder are not there, or the checkpoint's labels are not theirs.
    """
    folder = find_folder_of_pickles(config, source)
    if folder is None:
        return None
    from bases.encoder import SentenceEncoder

    settings = config.retrieval or RetrievalSettings(USUAL_ENCODER)
    settings = replace(settings, count=source.count or settings.count, encoder=source.encoder or settings.encoder)
    dialogues = load_dialogues(config.dataset, folder, clean_text=config.clean_text, check_counts=False)
    if config.retrieval is None:
        print("warning: this checkpoint was trained on prompts without demonstrations", file=sys.stderr)
    if not (source.encoder or source.embed):
        refuse_unasked_download(settings.encoder)
    entries = draw_rows(entries_of(config.dataset, "train", dialogues["train"]), config.draw)
    if other := sorted({entry.label for entry in entries} - {*config.labels}):
        told = f"train of {config.dataset} has the labels {', '.join(other)} now, and the checkpoint has not"
        raise UserError(f"--demonstrations: {told}, allowed are its own, {', '.join(config.labels)}; 0 shows none")
    base = balance_labels(entries, config.labels, settings.seed) if settings.balance else entries
    embed = source.embed or SentenceEncoder(settings.encoder, find_repository() / "data" / ".embeddings")
    if not source.encoder:
        warn_of_other_encoder(config, embed)
    index = DemonstrationIndex(base, embed)
    if not source.embed:
        embed.cache = None  # what is asked about next is asked once
    return Demonstrator(index, settings)


def warn_of_other_encoder(config: ErcConfig, embed: Embed) -> None:
    """Says that another encoder than that of training finds the demonstrations, if it is called alike."""
    known, here = config.encoder, embed.identity
    if known and known != here and "/" not in known + here:  # one that a hub has is known by its name alone
        told = f"the encoder {config.retrieval.encoder} has other files here than in training"
        print(f"warning: {told}, so it may find other demonstrations", file=sys.stderr)


def refuse_unasked_download(encoder: str) -> None:
    """UserError when the encoder that a checkpoint names, not its user, would have to be downloaded from a hub."""
    from bases.encoder import resolve_encoder

    if not Path(resolve_encoder(encoder)).is_dir():
        told = f"the checkpoint's demonstrations were found by the encoder {encoder}, which is not here"
        raise UserError(f"{told}: `--encoder {encoder}` downloads it, --demonstrations 0 does without")
