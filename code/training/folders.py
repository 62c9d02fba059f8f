"""The folders that a run writes to: checked and locked before anything is computed, so that nothing foreign is lost."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from basics.errors import UserError, raise_together
from basics.files import find_repository, make_folder
from basics.locks import alone_at, alone_in, lock_beside, remove_abandoned
from knobs.checks import holds_model
from scoring.prediction_files import PREDICTIONS_FILE, VALID_FILE
from training.arguments import NOTHING, Arguments
from training.log import LOG_FILE

if TYPE_CHECKING:  # it takes torch, which reading results does not need
    from engine.distributed import World

RESULTS_FILE = "results.json"
LEARNING_CURVE, CONFUSION_MATRIX = "learning_curve.png", "confusion_matrix.png"
WRITTEN_LAST = (RESULTS_FILE, PREDICTIONS_FILE, LEARNING_CURVE, CONFUSION_MATRIX)


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


@contextmanager
def claimed_folders(arguments: Arguments, world: "World") -> Iterator[None]:
    """Checks that results and model can be written, and removes what an earlier run has written at its end.

    Inside, both folders are locked against other runs. All processes of a run must enter it together.

    Raises:
        UserError: a folder cannot be written to, or another run writes to it.
    """
    with ExitStack() as held:
        world.from_first(lambda: _claim(arguments, held))
        yield


def forget_claim(arguments: Arguments) -> None:
    """Removes the lock file of a run that was killed after it had written its results."""
    if arguments[2].do_train:
        remove_abandoned(_lock_of_model(arguments))


def refuse_removed(arguments: Arguments) -> None:
    """UserError when the log or the model of this run has been removed meanwhile; results.json is removed then, too."""
    training = arguments[2]
    log, model = Path(training.output_dir) / LOG_FILE, Path(training.model_dir)
    if gone := [str(path) for path in (log, model) if not path.exists()]:
        (log.parent / RESULTS_FILE).unlink(missing_ok=True)
        raise UserError(f"{', '.join(gone)} was removed while this run was writing it: start it again")


def _claim(arguments: Arguments, held: ExitStack) -> None:
    _, _, training = arguments
    output = Path(training.output_dir)
    places = {"--output_dir": output}
    if training.do_train:
        places["--model_dir"] = Path(training.model_dir).resolve().parent
    problems = []
    for name, folder in places.items():
        try:
            make_folder(folder)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            problems.append(f"{name}: {folder} cannot be written to ({error.strerror})")
    raise_together(problems)
    held.enter_context(alone_in(output, f"--output_dir {training.output_dir}"))
    if training.do_train:
        held.enter_context(alone_at(_lock_of_model(arguments), f"--model_dir {training.model_dir}"))
    # Results of an earlier run must not stand beside the files of an unfinished one, or of one that scores nothing.
    for name in WRITTEN_LAST:
        (output / name).unlink(missing_ok=True)
    if not (training.do_train and training.resume and training.select_on == "valid" and _has_state(output)):
        (output / VALID_FILE).unlink(missing_ok=True)


def _has_state(output: Path) -> bool:
    from training.checkpoints import STATE_FILE  # takes torch

    return (output / STATE_FILE).is_file()


def _lock_of_model(arguments: Arguments) -> Path:
    return lock_beside(Path(arguments[2].model_dir).resolve())
