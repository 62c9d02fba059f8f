"""The folders that a run writes to, looked at before anything is computed: nothing foreign is replaced."""

import hashlib
import json
import tempfile
from pathlib import Path

from data_utils.errors import UserError, raise_together
from data_utils.files import find_repository
from model_utils.arguments import NOTHING, Arguments, holds_model
from model_utils.base_folder import read_source
from model_utils.reporting import RESULTS_FILE


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


def refuse_other_base(adapter: str, base: str) -> None:
    """UserError when an adapter was trained on a base of another name; `base`: its public name."""
    config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
    trained_on = config.get("base_model_name_or_path")
    if trained_on and Path(trained_on).name != Path(base).name:
        raise UserError(
            f"--checkpoint_dir {adapter} is an adapter of {trained_on}, but --model_name_or_path is {base}: "
            "name the base that it was trained on"
        )


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
