"""erc_config.json beside saved weights: all that a prompt and a score must have in common with those of training."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bases.find import known_sha256, sha256_of_weights
from bases.table import ADAPTER_CONFIG, PRECISIONS, QUANTIZATIONS
from basics.errors import UserError
from basics.files import find_repository, sha256_of_text
from basics.json_files import parse_json
from data_utils.draws import ALL_OF_TRAIN, Draw, is_draw, read_draw
from data_utils.examples import DEFAULT_STEP
from data_utils.labels import DATASETS, OWN_MAX_LENGTH, ROW_SETS
from data_utils.prompts import FORMS, PAPER, TEMPLATE_DIGESTS, TEMPLATE_SHA256
from data_utils.retrieval import RetrievalSettings
from data_utils.row_sets import RowSets
from engine.chat_frame import ChatFrame
from training.arguments import Arguments, DataArguments
from training.decoding import TRANSITIONS_FILE

ERC_CONFIG_FILE = "erc_config.json"
# 2 added quantize, precision, frame_sha256, base_sha256 and weights_sha256, 3 added files_sha256: older files do not
# tell them. 3 also added draw: before, demonstrations were of all of train. 4 added window_step and prompt, which were
# 1 and `paper` before. `encoder` was added without a new number, and is not known where it is missing.
VERSION = 4
# Kinds of rows that ask for the emotion of a turn of a dialogue.
EMOTION_KINDS = ("window", "predict", "plain")
# File of a checkpoint -> its key for the base; an adapter's own file comes first.
BASE_RECORDS = {ADAPTER_CONFIG: "base_model_name_or_path", ERC_CONFIG_FILE: "base"}
# Files that decide an answer beside the weights, by the ends of their names: configurations and tokenizers.
DECISIVE_ENDINGS = (".json", ".jinja", ".model", ".spm", ".tiktoken", "vocab.txt", "merges.txt")
INDECISIVE = (ERC_CONFIG_FILE, "results.json", "generation_config.json")
ELSEWHERE_FILE = "elsewhere.json"  # which score_elsewhere.py may lay beside a checkpoint
CONFIGURATIONS = (ADAPTER_CONFIG, "config.json", TRANSITIONS_FILE)
TOKENIZER_CONFIG = "tokenizer_config.json"


@dataclass(frozen=True)
class ErcConfig:
    """How a checkpoint was trained, as far as its prompts and scores depend on it.

    labels: in prompt order. kind: of its rows, see `RowSettings`. base: public name of the base. speakers: how many
    speaker numbers its prompts can have had. speaker_offset: the first one. retrieval: of the demonstrations in its
    prompts, None: there were none. draw: the part of train that it learned from, demonstrations included.
    historical_window, window_step: of the history in its prompts, see `window_start`. prompt: one of `FORMS`.

    The following are None where they are not known, or there is no such thing. quantize: storage of its base.
    precision: of training. frame_sha256: of its chat frame. base_sha256: of the weights that it was trained from.
    weights_sha256: of its own weights. files_sha256: see `decisive_files`. encoder: `SentenceEncoder.identity` of the
    encoder that found demonstrations.
    """

    dataset: str
    labels: tuple[str, ...]
    kind: str
    historical_window: int
    max_length: int
    base: str
    clean_text: bool = False
    chat_template: bool = False
    calibrate: bool = False
    speakers: int = 9
    speaker_offset: int = 0
    retrieval: RetrievalSettings | None = None
    draw: Draw = ALL_OF_TRAIN
    template_sha256: str = TEMPLATE_SHA256
    quantize: str | None = None
    precision: str | None = None
    frame_sha256: str | None = None
    base_sha256: str | None = None
    weights_sha256: str | None = None
    files_sha256: Mapping[str, str] | None = None
    window_step: int = DEFAULT_STEP
    prompt: str = PAPER
    encoder: str | None = None

    def render(self) -> str:
        """The file's content."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"


def erc_config_of(arguments: Arguments, base: str, row_sets: RowSets) -> ErcConfig:
    """The `ErcConfig` of the checkpoint that a run saves, from its flags and rows. base: public name."""
    model, data, training = arguments
    rows, retrieval = row_sets.row_settings, row_sets.row_settings.get("retrieval")
    # Mixed rows number the speakers of each dataset from its own offset. Dialogues that are predicted later get the
    # numbers of the dataset that was trained on, or of the first of several.
    met = rows.get("trained") or rows.get("datasets", [data.dataset])[0]
    numbered_as = DATASETS.get(met) or row_sets.own[met]
    return ErcConfig(
        dataset=data.dataset,
        labels=row_sets.labels,
        kind=rows.get("kind", "window"),
        historical_window=rows.get("historical_window", 0),
        max_length=longest(data),
        base=base,
        clean_text=rows.get("clean_text", False),
        chat_template=data.chat_template,
        calibrate=training.calibrate,
        speakers=numbered_as.speakers,
        speaker_offset=numbered_as.speaker_offset if "datasets" in rows else 0,
        retrieval=RetrievalSettings(**retrieval) if retrieval else None,
        draw=read_draw(rows),
        encoder=row_sets.encoder,
        quantize=model.quantize,
        window_step=rows.get("window_step", DEFAULT_STEP),
        prompt=rows.get("prompt", PAPER),
        template_sha256=TEMPLATE_DIGESTS[rows.get("prompt", PAPER)],
    )


def longest(data: DataArguments) -> int:
    """--max_length in tokens; where that is 0, the dataset's own."""
    return data.max_length or (ROW_SETS[data.dataset].max_length if data.dataset in ROW_SETS else OWN_MAX_LENGTH)


def read_erc_config(folder: Path) -> ErcConfig:
    """What erc_config.json of a checkpoint says.

    Raises:
        UserError: there is none, it cannot be read, or the checkpoint was not trained to name emotions.
    """
    config = find_erc_config(folder)
    if config is None:
        raise UserError(
            f"{folder} is no checkpoint to predict with: {ERC_CONFIG_FILE} cannot be read, it is not there; training "
            "writes it beside the weights since this program can predict, so train anew or name another folder"
        )
    if config.kind not in EMOTION_KINDS:
        allowed = ", ".join(EMOTION_KINDS)
        raise UserError(f"{folder} was trained on {config.kind} rows, allowed are checkpoints of {allowed} rows")
    return config


def find_erc_config(folder: str | Path) -> ErcConfig | None:
    """What erc_config.json says of a checkpoint, whatever rows it was trained on; None: there is no such file.

    Raises:
        UserError: the file cannot be read, or was written by a newer program.
    """
    path = Path(folder) / ERC_CONFIG_FILE
    if not path.exists():
        return None
    try:
        content = parse_json(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}), allowed is the file that training wrote") from None
    wrong = [key for key, is_right in _KEYS.items() if not is_right(content.get(key))] if _is_object(content) else _KEYS
    if wrong:
        raise UserError(f"{path}: {', '.join(wrong)} missing or of the wrong kind, allowed is what training wrote")
    if content["version"] > VERSION:
        raise UserError(f"{path}: version {content['version']}, this program reads 1 to {VERSION}: use a newer one")
    known = {name: content[name] for name in ErcConfig.__dataclass_fields__ if content.get(name) is not None}
    retrieval = RetrievalSettings(**content["retrieval"]) if content.get("retrieval") else None
    draw = Draw(**content["draw"]) if content.get("draw") else ALL_OF_TRAIN
    return ErcConfig(**known | {"labels": tuple(content["labels"]), "retrieval": retrieval, "draw": draw})


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_labels(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(label, str) and label for label in value)


def _is_retrieval(value: Any) -> bool:
    fields = set(RetrievalSettings.__dataclass_fields__)
    return value is None or (_is_object(value) and "encoder" in value and set(value) <= fields)


def _are_digests(value: Any) -> bool:
    return value is None or (_is_object(value) and all(isinstance(digest, str) for digest in value.values()))


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# Key -> whether its value is of the right kind.
_KEYS: Mapping[str, Callable[[Any], bool]] = {
    "version": lambda value: _is_number(value) and value > 0,
    "dataset": lambda value: isinstance(value, str),
    "labels": _are_labels,
    "kind": lambda value: isinstance(value, str),
    "historical_window": _is_number,
    "max_length": _is_number,
    "base": lambda value: isinstance(value, str),
    "clean_text": _is_flag,
    "chat_template": _is_flag,
    "calibrate": _is_flag,
    "speakers": _is_number,
    "speaker_offset": _is_number,
    "retrieval": _is_retrieval,
    "draw": lambda value: value is None or is_draw(value),
    "template_sha256": lambda value: isinstance(value, str),
    "quantize": lambda value: value in (None, *QUANTIZATIONS),
    "precision": lambda value: value in (None, "auto", *PRECISIONS),
    "files_sha256": _are_digests,
    "prompt": lambda value: value in (None, *FORMS),
    "window_step": lambda value: value is None or (_is_number(value) and value > 0),
} | dict.fromkeys(
    ("frame_sha256", "base_sha256", "weights_sha256", "encoder"), lambda value: value is None or isinstance(value, str)
)


def decisive_files(folder: str | Path) -> dict[str, str]:
    """File name -> SHA-256 of each file of a checkpoint that decides an answer beside the weights.

    In an adapter's configuration the path of its base does not count, as the base may move.
    """
    paths = [path for path in sorted(Path(folder).glob("[!.]*")) if path.name.endswith(DECISIVE_ENDINGS)]
    return {path.name: _digest(path) for path in paths if path.is_file() and path.name not in INDECISIVE}


def identify_checkpoint(folder: str | Path) -> str:
    """A SHA-256 of the weights and `decisive_files` of a checkpoint: of all that decides its answers."""
    return sha256_of_text(json.dumps([sha256_of_weights(folder), decisive_files(folder)]))


def _digest(path: Path) -> str:
    if path.name == ADAPTER_CONFIG:
        with suppress(ValueError, TypeError):  # a file that is not JSON is compared byte by byte
            content = parse_json(path.read_bytes()) | {"base_model_name_or_path": None}
            return sha256_of_text(json.dumps(content, sort_keys=True))
    return known_sha256(path)


def refuse_changed_files(folder: str | Path, config: ErcConfig | None) -> None:
    """UserError when weights or other files of a checkpoint are not those that its erc_config.json records.

    The tokenizer may be missing as a whole: that of the base, from which training had it, is then used.
    """
    if config and config.weights_sha256 and sha256_of_weights(folder) != config.weights_sha256:
        raise UserError(f"{folder}: its weights are not those that {ERC_CONFIG_FILE} beside them tells of; train anew")
    if config is None or config.files_sha256 is None:
        return
    told, there = config.files_sha256, decisive_files(folder)
    compared = {*told, *there} - {ELSEWHERE_FILE} if TOKENIZER_CONFIG in there else {*CONFIGURATIONS}
    if changed := sorted(name for name in compared if told.get(name) != there.get(name)):
        raise UserError(
            f"{folder}: {', '.join(changed)} not as {ERC_CONFIG_FILE} beside it tells; put back what training wrote, "
            "or train anew"
        )


def refuse_other_frame(folder: str | Path, config: ErcConfig | None, frame: ChatFrame | None) -> None:
    """UserError when a checkpoint would be asked in another chat frame than the one that it was trained in."""
    if frame and config and config.frame_sha256 and config.frame_sha256 != frame.sha256:
        raise UserError(
            f"{folder} was trained in another chat frame than the chat template of its base gives now: "
            "use the tokenizer of its training, or train anew"
        )
    if frame and config and config.chat_template and not config.frame_sha256:
        told = (
            f"{ERC_CONFIG_FILE} does not tell the chat frame of its training, in which the date of that day may stand"
        )
        print(f"warning: {folder}: {told}", file=sys.stderr)


def warn_of_other_rows(folder: str | Path, config: ErcConfig, asked: ErcConfig) -> None:
    """Warns on stderr where rows to be scored differ from those of training. asked: `erc_config_of` those rows."""
    names = ("dataset", "labels", "kind", "historical_window", "window_step", "prompt", "clean_text", "retrieval")
    names += ("draw", "template_sha256")
    pairs = [(name, _as_rows_go(config, name), _as_rows_go(asked, name)) for name in names]
    told = [f"{name} {learned}, these {there}" for name, learned, there in pairs if learned != there]
    if told:
        print(f"warning: {folder} was trained on other rows than these: {'; '.join(told)}", file=sys.stderr)


def _as_rows_go(config: ErcConfig, name: str) -> Any:
    """A value, without the parts that do not change scored prompts.

    These are: rows of the prediction task, the encoder's path, and the draw where there are no demonstrations.
    """
    value = getattr(config, name)
    if name == "draw":
        return value if config.retrieval else ALL_OF_TRAIN
    if name == "kind":
        return "window" if value == "predict" else value
    return replace(value, encoder="") if isinstance(value, RetrievalSettings) else value


def sits_on_other_weights(config: ErcConfig | None, base: str) -> bool:
    """Whether an adapter was trained over other weights than those in the folder of its base; False: not known."""
    there = sha256_of_weights(base) if config and config.base_sha256 else None
    return there is not None and there != config.base_sha256


def refuse_other_base(checkpoint: str, base: str) -> None:
    """UserError when a checkpoint, adapter or whole model, records another base than `base` (a public name).

    A model from elsewhere, which records no base, is accepted.
    """
    trained_on = _recorded_base(Path(checkpoint))
    if trained_on and not _may_be_same(trained_on, base):
        raise UserError(
            f"--checkpoint_dir {checkpoint} was trained on {trained_on}, but --model_name_or_path is {base}: "
            "name the base that it was trained on"
        )


def _recorded_base(checkpoint: Path) -> str | None:
    """The base that a checkpoint records; None where it records none."""
    for name, key in BASE_RECORDS.items():
        path = checkpoint / name
        if path.is_file():
            try:
                base = parse_json(path.read_bytes()).get(key)
                if not isinstance(base, str | None):
                    raise ValueError(f"{key} is no text")
                return base
            except (ValueError, AttributeError) as error:
                raise UserError(f"{path}: not readable ({error}), allowed is the file that training wrote") from None
    return None


def _may_be_same(one: str, other: str) -> bool:
    """Two hub ids are the same base only when they are equal; a folder may have moved, so its own name decides."""
    if _is_hub_id(one) and _is_hub_id(other):
        return one == other
    return Path(one).name == Path(other).name


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith(("/", ".")) and not (find_repository() / name).is_dir()
