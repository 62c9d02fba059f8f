"""Whether a file of weights is whole; the header of a safetensors file: tensors and shapes. Needs no torch."""

import zipfile
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.json_files import parse_json

LENGTH_BYTES = 8
METADATA = "__metadata__"
PICKLE = b"\x80"  # first byte of what torch.save wrote before version 1.6; since then it writes a zip archive


def read_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """(tensor -> what the header says of it, offset in bytes where the values begin).

    Raises:
        UserError: it is no such file, or not whole.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        try:
            if length > size - LENGTH_BYTES:
                raise ValueError(f"its header has {length:,} bytes, the file {size:,}")
            header = parse_json(stream.read(length))
            tensors = {name: told for name, told in header.items() if name != METADATA}
            if not all(_is_shape(told["shape"]) for told in tensors.values()):
                raise ValueError("a shape is none")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: no whole safetensors file ({error}); get it again") from None
    return tensors, LENGTH_BYTES + length


def refuse_cut(path: Path) -> None:
    """UserError: it is no file of weights, or ends before its values do; of a pickle (`PICKLE`) that is not seen."""
    if path.suffix == ".bin":
        with open(path, "rb") as stream:
            is_pickle = stream.read(1) == PICKLE
        if not is_pickle and not zipfile.is_zipfile(path):
            raise UserError(f"{path}: no whole file of PyTorch's weights ({path.stat().st_size:,} bytes); get it again")
        return
    tensors, values_at = read_header(path)
    offsets = (told.get("data_offsets") for told in tensors.values())
    ends = (end for both in offsets if _is_shape(both) for end in both)
    whole, there = values_at + max(ends, default=0), path.stat().st_size
    if there < whole:
        raise UserError(f"{path}: no whole safetensors file ({there:,} of {whole:,} bytes); get it again")


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)
