"""What a run leaves on disk: the best model, and the state from which it can go on. Never half-written."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bases.table import ADAPTER_CONFIG
from basics.errors import UserError, disk_named
from basics.files import make_folder, open_atomically, put_in_place, sync_tree, write_atomically
from basics.locks import alone_in
from training.arguments import why_unread

STATE_FILE = "resume.pt"


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder; when the block ends without an error, it is written to disk and replaces `folder`.

    Where `folder` is a link, the folder that it leads to is replaced.

    Raises:
        UserError: another program is replacing it.
    """
    named, folder = folder, folder.resolve()
    new, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    make_folder(new)
    with alone_in(new, str(named)):
        if old.exists() and not folder.exists():
            os.replace(old, folder)  # an earlier program was killed between its two steps
        shutil.rmtree(old, ignore_errors=True)
        _empty(new)
        try:
            yield new
            sync_tree(new)
            put_in_place(new, folder, old)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        finally:
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)


def _empty(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder holds an adapter in the PEFT format."""
    return (Path(folder) / ADAPTER_CONFIG).exists()


def save_model(
    model,
    tokenizer,
    folder: Path,
    base: str,
    texts: Callable[[Path], Mapping[str, str]],
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Writes adapter or model and tokenizer in the PEFT or transformers format, and further files.

    base: recorded as the adapter's base. texts: folder with the weights in it -> {name: content} of further files.
    weights: the state dict to write, where the model does not hold all of its weights (`gather_weights`).
    """
    with disk_named(folder), replaced_folder(folder) as new:
        if hasattr(model, "peft_config"):
            model.peft_config["default"].base_model_name_or_path = base
            # False: the check whether embeddings were resized asks the hub for the base's configuration.
            model.save_pretrained(new, save_embedding_layers=False, state_dict=weights)
        else:
            model.save_pretrained(new, state_dict=weights)
        tokenizer.save_pretrained(new)
        for name, content in texts(new).items():
            write_atomically(new / name, content)


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes the training state beside the results, whole or not at all."""
    path = folder / STATE_FILE
    with disk_named(path), open_atomically(path) as stream:
        torch.save(state, stream)


# Flags that may differ between a run and its resumption: they do not change what is learned but for rounding, or, as
# paths, name something that is compared by its content.
FREE_ON_RESUME = frozenset(
    {"stop_on_copying", "output_dir", "model_dir", "resume", "save_steps", "do_eval", "eval_batch_size"}
    | {"processes", "local_rank", "gradient_accumulation_steps", "token_budget", "gradient_checkpointing"}
    | {"compile_layers", "tree_attention", "cuda_graphs"}
    | {"deepspeed_config", "offload_optimizer", "data_dir", "model_name_or_path", "checkpoint_dir", "report_to"}
)


def load_state(folder: Path, fingerprint: dict[str, Any]) -> dict[str, Any] | None:
    """The training state to go on from, None when there is none.

    Raises:
        UserError: the state belongs to a run with other arguments or data; the differences are named. Or it is
            damaged, or not laid out as this version does it.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    with readable_state(folder):
        # mmap: every process of a run loads it, and the state of all parameters is large.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        there = dict(state["fingerprint"].items())
    if changed := find_changes(there, fingerprint):
        raise UserError(f"cannot resume {path}: {'; '.join(changed)}; use the same settings, or --resume False")
    return state


def find_changes(there: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> list[str]:
    """One line per difference between two runs, by their fingerprints; flags without effect are left out.

    there: of the earlier run; those of earlier versions hold flags that are free now.
    """
    unread = why_unread(fingerprint).keys() if "lora" in fingerprint else ()
    return [
        f"{name} was {there.get(name)!r}, is {fingerprint.get(name)!r}"
        for name in sorted({*there, *fingerprint}.difference(unread, FREE_ON_RESUME))
        if there.get(name) != fingerprint.get(name)
    ]


@contextmanager
def readable_state(folder: Path) -> Iterator[None]:
    """Inside, whatever fails in reading a state becomes a UserError, but for lack of memory and OSErrors of a file."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    # Damaged bytes can raise nearly anything, and so can a state of another layout.
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"{folder / STATE_FILE} is damaged or of another version of this program ({reason}): begin anew with "
            "--resume False"
        ) from error


def discard_state(folder: Path) -> None:
    """Removes the training state of an earlier run, so that none can resume from it."""
    (folder / STATE_FILE).unlink(missing_ok=True)
