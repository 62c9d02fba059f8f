"""Whether a knob's value can work here, by the disk, the tables of bases and datasets, and the other knobs."""

import shutil
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bases.find import find_incomplete, read_source
from bases.table import ADAPTER_CONFIG, BASES, ENCODERS
from data_utils.corpora.places import DESCRIPTION_FILE, NOT_UNIFIED, find_corpus, list_own, pickle_of
from data_utils.draws import DEFAULT_SEED
from data_utils.labels import DATASETS as CORPORA
from data_utils.labels import UNIFIED
from data_utils.prompts import COMPACT, PAPER
from knobs import kinds
from knobs.knob import NOTHING, Knob
from knobs.readers import ALL_PARAMETERS, LORA, MIXED, WINDOW, ZERO_SHOT

Values = Mapping[str, str | None]
# What a folder with a model in the transformers format, or an adapter in PEFT's, holds.
MODEL_FILES = ("config.json", ADAPTER_CONFIG)
# Kind of rows -> the knob and the value that split an experiment into runs, each starting from the model before it.
STAGES = {WINDOW: ("speaker_task", "True"), MIXED: ("mode", "sequence")}
# Kind of rows -> the knobs that are of training, with the value that leaves it out.
OF_TRAINING: Mapping[str, Mapping[str, str | None]] = {
    WINDOW: {"speaker_task": "None", "emotion_prediction": "False"},
    MIXED: {
        "mode": "mixed",
        "mix": "total",
        "train_on": None,
        "without_shared_scenes": "False",
        "data_percent": "1",
    },
}


@dataclass(frozen=True)
class Place:
    """The folder that a script was called from, and the repository; both absolute."""

    caller: Path
    repository: Path

    def of_caller(self, path: str) -> Path:
        """A path as the caller means it."""
        return self.caller / path

    def corpora(self, elsewhere: str | None) -> list[Path]:
        """The folders that corpora lie in: `ERC_ORIGINAL_DATA`, where it is set, and the repository's."""
        own = self.repository / "original_data"
        return list(dict.fromkeys([self.of_caller(elsewhere), own] if elsewhere else [own]))


def check_value(knob: Knob, value: str, values: Values, rows: str, place: Place) -> Iterator[str]:
    """Why a value is not allowed, in words; nothing where it is. rows: kind of rows."""
    kind = knob.kind
    if kind is kinds.DATASET and knob.name == "dataset" and rows == MIXED:
        if value != UNIFIED.name:
            yield "mixed rows are of several datasets; set datasets, joined by commas"
    elif value == NOTHING == knob.default:
        return
    elif kind.choices and not kind.fits(value):
        yield kind.meaning
    elif kind in (kinds.DATASET, kinds.DATASETS):
        for name in value.split(","):
            yield from _check_dataset(name, values, place, mixed=kind is kinds.DATASETS)
    elif kind in _CHECKS:
        yield from _CHECKS[kind](value, values, place)
    elif not kind.fits(value):
        yield kind.meaning


def find_conflicts(values: Values, rows: str) -> Iterator[tuple[str, str]]:
    """(knob, why its value does not go with those of other knobs)."""
    if values.get("Experiments_setting") == ZERO_SHOT:
        for name, without in OF_TRAINING.get(rows, {}).items():
            if values[name] != without:
                yield name, f"Experiments_setting={ZERO_SHOT} trains nothing; choose lora or all_parameters"
    if rows == WINDOW and values["emotion_prediction"] == "True" and values["historical_window"] == "0":
        yield (
            "historical_window",
            "emotion_prediction=True asks for what follows the history; show one utterance or more",
        )
    is_shown = rows == WINDOW and values["domain_base"] == "True"
    if is_shown and values["domain_balance"] == "False" and values["retrieval_seed"] != str(DEFAULT_SEED):
        yield "retrieval_seed", "only domain_balance=True reads it"
    if is_shown and values["prompt"] == COMPACT:
        yield "prompt", f"domain_base=True shows demonstrations, which {COMPACT} has no place for; choose {PAPER}"
    if values.get("decode") == "transitions":
        yield from _find_transition_conflicts(values, rows)
    if rows == MIXED:
        yield from _find_mix_conflicts(values)


def _find_transition_conflicts(values: Values, rows: str) -> Iterator[tuple[str, str]]:
    if rows == MIXED:
        yield "decode", "labels of several datasets follow each other in several ways; choose score or generate"
    elif values.get("Experiments_setting") == ZERO_SHOT:
        yield "decode", f"transitions are counted on train, which {ZERO_SHOT} leaves alone; choose score or generate"


def _find_mix_conflicts(values: Values) -> Iterator[tuple[str, str]]:
    mix, trained = values["mix"], values["train_on"]
    sets = (values["datasets"] or "").split(",")
    if values["mode"] == "sequence" and mix != "total":
        yield "mix", "mode=sequence draws of each set in turn; leave mix away"
    if mix == "single" and trained not in sets:
        yield "train_on", f"mix=single trains on one of {' '.join(sets)}"
    if mix != "single" and trained:
        yield "train_on", "only mix=single reads it"


def is_own_folder(value: str, place: Place, table: Container[str] = BASES) -> bool:
    """Whether a base or an encoder is named by its folder; a name of the table never is, even if a folder has it."""
    return value not in table and bool(value) and place.of_caller(value).is_dir()


def _check_base(value: str, values: Values, place: Place) -> Iterator[str]:
    yield from _check_model(value, place, BASES, ("config.json",), "transformers model")


def _check_encoder(value: str, values: Values, place: Place) -> Iterator[str]:
    yield from _check_model(value, place, ENCODERS, ("modules.json", "config.json"), "sentence encoder")


def _check_model(value: str, place: Place, table: Collection[str], signs: Sequence[str], what: str) -> Iterator[str]:
    """Why a base or encoder is not allowed. signs: files by which a folder is known; fetched ones have the first."""
    fetched = value and (place.repository / "LLM_bases" / value / signs[0]).is_file()
    if is_own_folder(value, place, table):
        folder = place.of_caller(value)
        if any((folder / name).is_file() for name in signs):
            yield from _find_incomplete(folder, place)
        else:
            yield f"this folder holds no {signs[0]}, so no {what}"
    elif fetched and value not in table:
        yield from _find_incomplete(place.repository / "LLM_bases" / value, place)
    elif not fetched and value not in table and not kinds.HUB_ID.fullmatch(value):
        yield f"choose one of {' '.join(table)}, a folder with a {what}, or a hub id (owner/name)"


def _find_incomplete(folder: Path, place: Place) -> Iterator[str]:
    """What is missing in a folder of weights; nothing for one that was fetched, as fetching it again completes it."""
    is_fetched = folder.resolve().parent == place.repository / "LLM_bases" and read_source(folder).get("hub_id")
    if not is_fetched and (problem := find_incomplete(folder)):
        yield problem


def _check_dataset(value: str, values: Values, place: Place, mixed: bool) -> Iterator[str]:
    elsewhere = values.get("ERC_ORIGINAL_DATA")
    places = place.corpora(elsewhere)
    if value not in CORPORA:
        yield from _check_own(value, places, mixed)
        return
    pickle = pickle_of(value, places[0])
    if value == "sample" or pickle.is_file():
        return
    advice = "see original_data/README.md"
    published = CORPORA[value].published
    if published and published.cosmic_path:
        advice = f"python original_data/fetch.py {value}{f' --original_data {elsewhere}' if elsewhere else ''} gets it"
    yield f"there is no {pickle}: {advice}, or set ERC_ORIGINAL_DATA"


def _maps_no_labels(corpus: Path) -> bool:
    """Whether a corpus certainly has no unified labels; its YAML is not parsed, as that takes a library."""
    description = corpus / DESCRIPTION_FILE
    try:
        return not description.is_file() or b"unified" not in description.read_bytes()
    except OSError:  # whoever reads the corpus tells of it
        return False


def _check_own(value: str, places: Sequence[Path], mixed: bool) -> Iterator[str]:
    found = [corpus for one in places if (corpus := find_corpus(value, one))]
    if found:
        if mixed and _maps_no_labels(found[0]):
            yield f"{value} {NOT_UNIFIED}"
        return
    known = " ".join(dict.fromkeys([*CORPORA, *(name for one in places for name in list_own(one))]))
    yield (
        f"there is no such dataset; choose one of {known}, or make a corpus of your own known: "
        "python code/data_process.py --corpus FOLDER"
    )


def _check_checkpoint(value: str, values: Values, place: Place) -> Iterator[str]:
    folder = place.of_caller(value)
    if values["DRY_RUN"] == "1" and value.startswith("checkpoint/") and not folder.exists():
        return  # a dry run may name a checkpoint that another run has yet to make
    if not value or not folder.is_dir():
        yield "there is no such folder"
    elif not holds_model(folder):
        yield f"this folder holds no {' or '.join(MODEL_FILES)}, so no model and no adapter"
    elif values["Experiments_setting"] == ALL_PARAMETERS and (folder / ADAPTER_CONFIG).is_file():
        yield f"this folder holds an adapter, which Experiments_setting={ALL_PARAMETERS} cannot train; choose {LORA}"
    elif values["Experiments_setting"] == LORA and not (folder / ADAPTER_CONFIG).is_file():
        for name, stages in STAGES.values():
            if values[name] == stages:  # the second one would start from adapters of another base than it is told
                told = f"{name}={stages} would put adapters on this whole model, which is then their base"
                yield f"{told}: MODEL_NAME={value}"


def _check_program(value: str, values: Values, place: Place) -> Iterator[str]:
    if not shutil.which(str(place.of_caller(value)) if "/" in value else value):
        yield kinds.PROGRAM.meaning


def _check_file(value: str, values: Values, place: Place) -> Iterator[str]:
    if not value or not place.of_caller(value).is_file():
        yield kinds.FILE.meaning


def _check_folder(value: str, values: Values, place: Place) -> Iterator[str]:
    if not value or not place.of_caller(value).is_dir():
        yield kinds.FOLDER.meaning


_CHECKS: Mapping[kinds.Kind, Callable[[str, Values, Place], Iterator[str]]] = {
    kinds.BASE: _check_base,
    kinds.ENCODER: _check_encoder,
    kinds.CHECKPOINT: _check_checkpoint,
    kinds.PROGRAM: _check_program,
    kinds.FILE: _check_file,
    kinds.FOLDER: _check_folder,
}


def holds_model(folder: str | Path) -> bool:
    """Whether a folder holds an adapter in the PEFT format, or a model in the transformers format."""
    return any((Path(folder) / name).is_file() for name in MODEL_FILES)
