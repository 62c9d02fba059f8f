"""Several datasets as one, in the unified labels of the feeling wheel: mixed, or one after the other.

Source: arXiv 2309.11911, section 4 (unified label mapping, data scaling): Total = merge the sets, then draw the
fraction; Ratio = draw the fraction of each set, then merge; Single = one set alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from basics.errors import UserError
from data_utils.corpora.places import NOT_UNIFIED
from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import Dialogue, count_split, find_original_data, find_sources, load_dialogues
from data_utils.draws import ALL_OF_TRAIN, DEFAULT_SEED, Draw, Row, draw_rows
from data_utils.examples import DEFAULT_STEP, DEFAULT_WINDOW, PlannedRow, render_window
from data_utils.labels import DATASETS, SPLITS, UNIFIED, DatasetSpec
from data_utils.prompts import PAPER
from data_utils.row_files import RECOGNITION
from data_utils.row_folders import Content, build_folder, describe_origin, describe_texts
from data_utils.scenes import without_shared
from data_utils.texts import digest_texts

MIXED, SEQUENCE = "mixed", "sequence"
TOTAL, RATIO, SINGLE = "total", "ratio", "single"

Splits = Mapping[str, Sequence[Dialogue]]


@dataclass(frozen=True)
class MixSettings:
    """What decides the rows of a folder in unified labels.

    datasets: those whose valid and test are scored, and that are mixed. mix: how train is drawn from them.
    trained: `single` only: the one set that train comes from. draw: of the training utterances.
    without_shared_scenes: train is drawn from the dialogues that share no scene (`scenes`) with valid or test of any
        of the sets.
    historical_window, window_step, prompt: as of `RowSettings`.
    """

    datasets: tuple[str, ...]
    mix: str = TOTAL
    trained: str | None = None
    draw: Draw = ALL_OF_TRAIN
    without_shared_scenes: bool = False
    historical_window: int = DEFAULT_WINDOW
    clean_text: bool = False
    check_counts: bool = True
    dataset: str = UNIFIED.name
    window_step: int = DEFAULT_STEP
    prompt: str = PAPER

    @property
    def folder_name(self) -> str:
        """Name of the folder below `data/unified`."""
        drawn = "+".join(self.datasets) if self.trained is None else f"{self.trained}_of_{'+'.join(self.datasets)}"
        parts = [self.mix, drawn]
        parts += ["without_shared_scenes"] if self.without_shared_scenes else []
        parts += [f"{self.draw.fraction!r}"] if not self.draw.is_whole else []
        parts += [f"window_{self.historical_window}"] if self.historical_window != DEFAULT_WINDOW else []
        parts += [f"step_{self.window_step}"] if self.window_step != DEFAULT_STEP else []
        parts += [self.prompt] if self.prompt != PAPER else []
        parts += ["clean"] if self.clean_text else []
        parts += [f"seed_{self.draw.seed}"] if self.draw.seed != DEFAULT_SEED else []
        return "_".join(parts)


def one_after_the_other(settings: MixSettings) -> list[MixSettings]:
    """The folders of `--mode sequence`: each set's training rows alone, in the sets' order, scored on all."""
    return [replace(settings, mix=SINGLE, trained=name) for name in settings.datasets]


def specs_of_mix(datasets: Sequence[str], original_data: Path | None = None) -> dict[str, DatasetSpec]:
    """Dataset -> its description; each corpus of one's own numbers its speakers after those of the one before it.

    Raises:
        UserError: a dataset is not known, or has no unified labels.
    """
    specs, own = {}, 0
    for name in datasets:
        spec = find_dataset(name, original_data)
        if not spec.unified:
            raise UserError(f"{name} {NOT_UNIFIED}")
        if name not in DATASETS:
            spec, own = replace(spec, speaker_offset=spec.speaker_offset + own), own + spec.speakers
        specs[name] = spec
    return specs


def unify(spec: DatasetSpec, dialogue: Dialogue) -> Dialogue:
    """The dialogue with unified labels, and with `speaker_offset` added to the numbers of its speakers."""
    labels, offset = spec.unified_labels, spec.speaker_offset
    utterances = (
        replace(one, speaker=one.speaker + offset, label=one.label and labels[one.label]) for one in dialogue.utterances
    )
    return replace(dialogue, utterances=tuple(utterances))


def unified_rows(
    spec: DatasetSpec, dialogues: Splits, window: int, step: int = DEFAULT_STEP, form: str = PAPER
) -> dict[str, list[PlannedRow]]:
    """Split -> rows of the main task, each asking for one of the unified labels; see `render_window`."""

    def prompt(dialogue: Dialogue, turn: int) -> str:
        return render_window(dialogue.utterances, window, UNIFIED.labels, step, form, turn)

    return {
        split: [
            PlannedRow(spec.name, RECOGNITION, dialogue, turn, prompt)
            for dialogue in (unify(spec, one) for one in dialogues[split])
            for turn, _ in dialogue.labelled
        ]
        for split in SPLITS
    }


def leave_out_shared(
    dialogues: Mapping[str, Splits], trained: Sequence[str]
) -> tuple[dict[str, Splits], dict[str, dict[str, int]]]:
    """Takes dialogues out of train that share a scene with valid or test of any of the datasets.

    trained: the datasets that train comes from. Returns (dataset -> splits, dataset -> {"dialogues", "utterances"}:
    how many of its train were left out).

    Raises:
        UserError: no training dialogue of a dataset is left.
    """
    scored = [one for of_set in dialogues.values() for split in ("valid", "test") for one in of_set[split]]
    kept, left_out = dict(dialogues), {}
    for name in trained:
        whole = dialogues[name]["train"]
        train = without_shared(whole, scored)
        if not train:
            raise UserError(f"--without_shared_scenes True leaves no training dialogue of {name}; leave it away")
        kept[name] = {**dialogues[name], "train": train}
        gone = count_split(whole, ()).utterances - count_split(train, ()).utterances
        left_out[name] = {"dialogues": len(whole) - len(train), "utterances": gone}
    return kept, left_out


def mix_training_rows(by_dataset: Mapping[str, Sequence[Row]], settings: MixSettings) -> list[Row]:
    """The training rows that `settings` asks for, set by set, each in its order.

    Raises:
        UserError: the fraction leaves a set without a row.
    """
    drawn = by_dataset if settings.mix != SINGLE else {settings.trained: by_dataset[settings.trained]}
    if settings.mix == TOTAL:
        merged = [row for rows in drawn.values() for row in rows]
        chosen = draw_rows(merged, settings.draw)
    else:
        chosen = [row for name, rows in drawn.items() for row in _draw_of(rows, settings.draw)]
    left = {row.id.split("/", 1)[0] for row in chosen}
    empty = [name for name in drawn if name not in left]
    if empty:
        told = f"--data_percent {settings.draw.fraction}: {settings.mix} mix leaves no training row of"
        raise UserError(f"{told} {', '.join(empty)}; choose a larger share")
    return chosen


def _draw_of(rows: Sequence[Row], draw: Draw) -> Sequence[Row]:
    return draw_rows(rows, draw) if round(len(rows) * draw.fraction) else ()


def prepare_mixed_folder(
    settings: MixSettings, original_data: Path | None, data: Path, load: Callable[..., Splits] = load_dialogues
) -> Path:
    """Return the absolute folder `<data>/unified/<name>`; see `row_folders.prepare_folder`.

    Raises:
        UserError: bad input, or a fraction that leaves a set without a training row.
    """
    places = {name: original_data or find_original_data(name) for name in settings.datasets}
    sources = [source for name, place in places.items() for source in find_sources(name, place)]
    specs = specs_of_mix(settings.datasets, original_data)
    origin = describe_origin(settings, UNIFIED.labels, sources, specs)

    def make() -> Content:
        dialogues = {
            name: load(name, place, clean_text=settings.clean_text, check_counts=settings.check_counts)
            for name, place in places.items()
        }
        described = {}
        if settings.without_shared_scenes:
            trained = settings.datasets if settings.trained is None else (settings.trained,)
            dialogues, described["left_out"] = leave_out_shared(dialogues, trained)
        shown = settings.historical_window, settings.window_step, settings.prompt
        rows = {name: unified_rows(specs[name], of_set, *shown) for name, of_set in dialogues.items()}
        train = mix_training_rows({name: of_set["train"] for name, of_set in rows.items()}, settings)
        scored = {split: [row for of_set in rows.values() for row in of_set[split]] for split in ("valid", "test")}
        mixed = {"train": train, **scored}
        digests = {
            split: {row: text for name in dialogues for row, text in digest_texts(name, dialogues[name][split]).items()}
            for split in SPLITS
        }
        return Content(mixed, describe_texts(mixed, digests) | described)

    return build_folder(Path(data).absolute() / UNIFIED.name / settings.folder_name, origin, make)
