"""Text in gzip: equal texts make equal bytes, and what is unpacked is no larger than it may be."""

import gzip
import zlib
from pathlib import Path

from basics.files import write_atomically

LARGEST = 64 << 20  # bytes, unpacked


def write_packed(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    write_atomically(path, gzip.compress(text.encode(), mtime=0))


def read_packed(path: Path) -> str:
    """The text in a file; OSError: it cannot be read, ValueError: it is damaged, or larger than `LARGEST`."""
    try:
        with gzip.open(path) as stream:
            content = stream.read(LARGEST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"no whole gzip file: {error}") from None
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    return content.decode()
