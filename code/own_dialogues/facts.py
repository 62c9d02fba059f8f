"""What is to be said of a checkpoint beside its answers: what it learned from, how it scored, what it cannot do."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from basics.files import find_repository, shown_path
from basics.json_files import parse_json
from basics.words import counted
from data_utils.labels import DATASETS
from data_utils.row_files import RECOGNITION
from own_dialogues.shipped import name_of
from results.files import SELECTIONS
from training.arguments import NOTHING
from training.decoding import SCORE, TRANSITIONS_FILE
from training.erc_config import ELSEWHERE_FILE, ERC_CONFIG_FILE, ErcConfig, read_erc_config
from training.folders import RESULTS_FILE
from training.rows.trained_texts import read_trained_texts

RARELY_RIGHT = 30.0  # percent of F1 below which a label is named as one that is rarely right


@dataclass(frozen=True)
class Score:
    """What results.json says of a checkpoint. In percent; per_label: F1, in prompt order. rows: utterances scored.

    selection: how the epoch was chosen, in the words of `SELECTIONS`. more: of which answers.
    """

    weighted_f1: float
    split: str
    rows: int
    selection: str
    per_label: Mapping[str, float]
    more: str = ""


@dataclass(frozen=True)
class Facts:
    """A checkpoint by the name that `--checkpoint` takes, and its folder. base: what it was trained over.

    utterances: that it was trained on, where it began with an untrained base. texts: different ones, in all.
    score: on its own dataset. None: unknown.
    is_filtered: whether its answers are, by which label followed which (`TransitionFilter`).
    elsewhere: dataset, its own too -> weighted F1 in unified labels, as `score_elsewhere.py` wrote beside it.
    """

    name: str
    place: str
    base: str
    config: ErcConfig
    utterances: int | None = None
    texts: int | None = None
    score: Score | None = None
    is_filtered: bool = False
    elsewhere: Mapping[str, float] = field(default_factory=dict)

    @property
    def corpus(self) -> str:
        """'meld (scenes of the series Friends)'."""
        known = DATASETS.get(self.config.dataset)
        return f"{self.config.dataset} ({known.about})" if known else self.config.dataset

    @property
    def learned_from(self) -> str:
        """'9,989 utterances of meld (...)', as far as it is known."""
        if self.utterances is not None:
            return f"{counted(self.utterances, 'utterance')} of {self.corpus}"
        return f"{counted(self.texts, 'different utterance')} of {self.corpus}" if self.texts else self.corpus

    @property
    def scored(self) -> str:
        """'weighted F1 63.06 on test (2,610 utterances)'."""
        if self.score is None:
            return "no score lies beside it"
        score = self.score
        told = f"weighted F1 {score.weighted_f1:.2f}{score.more} on {score.split} ({counted(score.rows, 'utterance')})"
        return told if score.selection == SELECTIONS["valid"] else f"{told}, {score.selection}"

    @property
    def line(self) -> str:
        """All of it that one line holds."""
        place = "" if self.place == self.name else f" ({self.place})"
        return f"checkpoint {self.name}{place}: {self.base}, trained on {self.learned_from}; {self.scored}"

    def limits(self) -> tuple[str, ...]:
        """What whoever reads its answers should know, a sentence each."""
        language = "English" if self.config.dataset in DATASETS else "the language of that corpus"
        said = [f"The model, {self.base}, has learned from {self.learned_from}."]
        said += [f"{self.scored[0].upper()}{self.scored[1:]}.", self._other_talk()]
        if rare := [f"{label} {f1:.0f}" for label, f1 in self._per_label().items() if f1 < RARELY_RIGHT]:
            said += [f"Rarely right: {', '.join(rare)} (F1 on {self.score.split})."]
        said += [f"It reads {language}, and no sound. One of its labels is always chosen; none says 'something else'."]
        return (*said, f"{self._window()}, never by later ones.")

    def _per_label(self) -> Mapping[str, float]:
        return self.score.per_label if self.score else {}

    def _other_talk(self) -> str:
        other = [f"{f1:.0f} on {name}" for name, f1 in self.elsewhere.items() if name != self.config.dataset]
        if not other:
            return "How well it judges other talk has not been measured."
        return f"Other talk, weighted F1 in labels that all corpora share: {', '.join(other)}."

    def _window(self) -> str:
        turns = self.config.historical_window + self.config.window_step - 1
        shown = "alone" if self.config.kind == "plain" else f"and the {counted(turns, 'turn')} before it at most"
        felt = ", then by what was felt in all turns before" if self.is_filtered else ""
        return f"A turn is judged by itself {shown}{felt}"


def find_facts(folder: str | Path, decode: str | None = None) -> Facts:
    """What the files of a checkpoint say of it.

    decode: how it is asked, `transitions` or `score`; None: as in training.

    Raises:
        UserError: it cannot be predicted with, see `read_erc_config`; its trained_texts.txt cannot be read.
    """
    folder = Path(folder)
    config, texts = read_erc_config(folder), read_trained_texts(folder)
    results = _find_results(folder, config)
    known = Facts(
        name_of(folder),
        shown_path(str(folder)),
        Path(config.base).name,
        config,
        texts=texts and len(texts),
        is_filtered=decode != SCORE and (folder / TRANSITIONS_FILE).is_file(),
        elsewhere=_scored_elsewhere(folder),
    )
    if results is None:
        return known
    score = _score_without(results) if decode == SCORE else _score(results)
    utterances = results["training_rows"].get(RECOGNITION) if _has_begun_anew(results, config) else None
    return replace(known, utterances=utterances, score=score)


def _has_begun_anew(results: Mapping[str, Any], config: ErcConfig) -> bool:
    """Whether the rows of the run are all that it has learned from: those of a checkpoint before it are not counted."""
    start = results["arguments"].get("checkpoint_dir", NOTHING)
    return start == NOTHING and not (find_repository() / config.base / ERC_CONFIG_FILE).is_file()


def _find_results(folder: Path, config: ErcConfig) -> Mapping[str, Any] | None:
    """The results of a checkpoint on its own dataset, beside it or where its run wrote them; None: there are none."""
    found = _read_results(folder) or _results_of_run(folder)
    return found if found and found["arguments"].get("dataset") == config.dataset else None


def _results_of_run(folder: Path) -> Mapping[str, Any] | None:
    told = shown_path(str(folder.resolve()))
    run = _read_results(find_repository() / "experiments" / Path(told).relative_to(*Path(told).parts[:1]))
    return run if run and shown_path(str(run["arguments"].get("model_dir"))) == told else None


def _read_results(folder: Path) -> Mapping[str, Any] | None:
    """results.json as far as it is needed here; None: it is not there, or tells no score."""
    try:
        content = parse_json((folder / RESULTS_FILE).read_bytes())
        content["arguments"].items(), content["training_rows"].items(), _score(content), _score_without(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return content


def _scored_elsewhere(folder: Path) -> Mapping[str, float]:
    """What its file tells; {} where there is none, or it is not of this form."""
    try:
        content = parse_json((folder / ELSEWHERE_FILE).read_bytes())
        return {str(one["dataset"]): float(one["weighted_f1"]) for one in content}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _score(results: Mapping[str, Any]) -> Score:
    per_label = {label: float(results["per_label"][label]["f1"]) for label in results["labels"]}
    numbers = float(results["weighted_f1"]), str(results["split"]), int(results["rows"])
    return Score(*numbers, str(results["selection"]), per_label)


def _score_without(results: Mapping[str, Any]) -> Score:
    """That of the model's own answers, of which no score of a label is kept, where transitions made others of them."""
    own, score = results.get("without_transitions"), _score(results)
    if not own:
        return score
    return replace(score, weighted_f1=float(own["weighted_f1"]), per_label={}, more=" without transitions")
