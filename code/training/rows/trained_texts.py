"""trained_texts.txt beside saved weights: digests of the texts that they were trained on, in all runs that led to them.

A text that is scored counts as seen if the weights were trained on it, whichever run, stage or dataset it was in.
"""

import re
from collections.abc import Collection
from pathlib import Path

from basics.errors import UserError
from data_utils.row_sets import RowSets
from data_utils.texts import DIGEST_CHARACTERS
from training.arguments import NOTHING, Arguments
from training.erc_config import ERC_CONFIG_FILE

TRAINED_TEXTS_FILE = "trained_texts.txt"
_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_CHARACTERS}}}")


def find_trained_texts(arguments: Arguments, base: str, row_sets: RowSets) -> frozenset[str] | None:
    """Digests of the texts that the scored weights of a run are trained on: its own, and those of its checkpoint.

    None: not known, as the checkpoint, or a base that was exported from one, does not tell. Other bases count as
    trained on none.

    Raises:
        UserError: the file of the checkpoint or the base cannot be read.
    """
    start = arguments[0].checkpoint_dir
    own = row_sets.trained_texts if arguments[2].do_train else frozenset()
    before = [_texts_of_base(base), frozenset() if start == NOTHING else read_trained_texts(start)]
    return None if None in before else own.union(*before)


def _texts_of_base(base: str) -> frozenset[str] | None:
    is_exported = (Path(base) / ERC_CONFIG_FILE).is_file()
    return read_trained_texts(base) or (None if is_exported else frozenset())


def render_trained_texts(digests: Collection[str]) -> str:
    """The file's content: a digest a line, see `texts.digest_text`."""
    return "".join(f"{digest}\n" for digest in sorted(digests))


def read_trained_texts(folder: str | Path) -> frozenset[str] | None:
    """Digests of the texts that the weights in a folder were trained on; None where the folder does not tell.

    Raises:
        UserError: the file is not one that training wrote.
    """
    path = Path(folder) / TRAINED_TEXTS_FILE
    if not path.is_file():
        return None
    lines = path.read_bytes().decode("ascii", errors="replace").splitlines()
    wrong = next((number for number, line in enumerate(lines, start=1) if not _DIGEST.fullmatch(line)), None)
    if wrong or not lines:
        told = f"{path} line {wrong or 1}: no digest of a text"
        raise UserError(f"{told}, allowed is the file that training wrote; without it, texts seen are unknown")
    return frozenset(lines)
