"""The folders that a run writes to, looked at before anything is computed: nothing foreign is replaced."""

import hashlib
import json
import tempfile
from pathlib import Path

from bases.find import read_source
from basics.errors import UserError, raise_together
from basics.files import find_repository
from results.files import RESULTS_FILE
from training.arguments import NOTHING, Arguments, holds_model
from training.erc_config import ERC_CONFIG_FILE

# File of a checkpoint -> its key for the base; an adapter's own file comes first.
BASE_RECORDS = {"adapter_config.json": "base_model_name_or_path", ERC_CONFIG_FILE: "base"}


def find_folder_problems(arguments: Arguments) -> list[str]:
    """One line per way in which saving the best model would replace something else."""
    model, _, training = arguments
    best, output = Path(training.model_dir).resolve(), Path(training.output_dir).resolve()
    if not training.do_train:
        return []
    problems = []
    others = {"--output_dir": output, "the current folder": Path.cwd(), "the repository": find_repository()}
    if model.checkpoint_dir != NOTHING:
        others["--checkpoint_dir"] = Path(model.checkpoint_dir).resolve()
    for name, other in others.items():
        if best == other or best in other.parents:
            problems.append(f"--model_dir {training.model_dir} would replace {name}: give a folder of its own")
    if best.is_dir() and any(best.iterdir()) and not holds_model(best):
        problems.append(f"--model_dir {training.model_dir} holds something else than a model: it is not replaced")
    return problems


def claim_folders(arguments: Arguments) -> None:
    """Makes sure that the results and the model can be written, and forgets the results of an earlier run.

    Raises:
        UserError: a folder cannot be written to.
    """
    _, _, training = arguments
    places = {"--output_dir": Path(training.output_dir)}
    if training.do_train:
        places["--model_dir"] = Path(training.model_dir).resolve().parent
    problems = []
    for name, folder in places.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            problems.append(f"{name}: {folder} cannot be written to ({error.strerror})")
    raise_together(problems)
    # What an earlier run found does not stand beside results that are not finished.
    (Path(training.output_dir) / RESULTS_FILE).unlink(missing_ok=True)


def shown_path(value: str) -> str:
    """A path inside the repository as seen from it: what users pass on should not name their machine."""
    return value.replace(f"{find_repository()}/", "")


def public_name(base: str) -> str:
    """How others can find a base: its hub id where SOURCE.json knows it, else its path in the repository."""
    return read_source(Path(base)).get("hub_id") or shown_path(base)


def refuse_other_base(checkpoint: str, base: str) -> None:
    """UserError when a checkpoint, adapter or whole model, says that it comes from another base.

    base: its public name. A model that records no base, as one from elsewhere, is taken as it is.
    """
    trained_on = _recorded_base(Path(checkpoint))
    if trained_on and not _may_be_same(trained_on, base):
        raise UserError(
            f"--checkpoint_dir {checkpoint} was trained on {trained_on}, but --model_name_or_path is {base}: "
            "name the base that it was trained on"
        )


def _recorded_base(checkpoint: Path) -> str | None:
    """What a checkpoint says of its base, None where it says nothing."""
    for name, key in BASE_RECORDS.items():
        path = checkpoint / name
        if path.is_file():
            try:
                return json.loads(path.read_bytes()).get(key)
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


def identify_base(base: str) -> str:
    """A name that changes with the weights: a digest of what SOURCE.json says of the files, else of their sizes.

    A hub id that is not in a folder is its own name.
    """
    folder = Path(base)
    if not folder.is_dir():
        return base
    known = read_source(folder).get("files", {})
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    marks = [f"{name}:{known.get(name, {}).get('sha256') or path.stat().st_size}" for name, path in files.items()]
    return f"{folder.name}-{hashlib.sha256(' '.join(marks).encode()).hexdigest()[:16]}"
