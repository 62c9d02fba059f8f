"""The beginning of a file, by which its form is recognised."""

from collections.abc import Callable
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from dialogue_files.readers import layouts, services
from dialogue_files.readers.encodings import as_utf8
from dialogue_files.readers.json_stream import Outline, outline_of, stream_json, stream_json_lines
from dialogue_files.turns import LineError, read_lines


class Head:
    """The beginning of a file, by which its form is recognised; what cannot be read is empty."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path, self.encoding = path, encoding

    @classmethod
    def of_text(cls, text: str) -> "Head":
        """The head of a text that is in no file."""
        head = cls(Path())
        head.lines = [line for line in text.split("\n")[: layouts.HEAD_LINES] if line.strip()]
        return head

    @cached_property
    def lines(self) -> list[str]:
        """The first lines that are not blank, without their ends."""
        return self._read(self._first_lines, [], guesses=True)

    @cached_property
    def outline(self) -> Outline:
        """The outline of a JSON file."""
        return self._read(lambda stream: outline_of(stream_json(stream)), Outline(), guesses=False)

    @property
    def is_service(self) -> bool:
        """Whether a JSON file is a transcript by a service of `services.SERVICES`."""
        return self._read(lambda stream: services.is_service(stream_json(stream)), False, guesses=False)

    @cached_property
    def outline_of_lines(self) -> Outline:
        """The outline of the first lines of a JSON Lines file."""
        return self._read(lambda stream: outline_of(stream_json_lines(stream)), Outline(), guesses=False)

    @staticmethod
    def _first_lines(stream: BinaryIO) -> list[str]:
        lines = (line.rstrip("\r\n") for _, line in islice(read_lines(stream), layouts.HEAD_LINES))
        return [line for line in lines if line.strip()]

    def _read(self, read: Callable, otherwise: object, guesses: bool) -> object:
        try:
            if not self.path.is_file():  # a pipe can be read only once
                return otherwise
            with open(self.path, "rb") as stream:
                return read(as_utf8(stream, guesses, self.encoding)[0])
        except (OSError, LineError):
            return otherwise
