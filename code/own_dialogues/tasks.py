"""Which input is answered into which file: named and checked before anything is computed."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from basics.errors import UserError, raise_together
from basics.files import behind_links, is_pipe_or_device, make_folder
from basics.locks import lock_beside

NAME = "{name}"  # in --output: the input's name without its suffix


@dataclass(frozen=True)
class FileTask:
    """What is read and what is written. output: None is stdout. encoding: of the input, None: as it is found."""

    source: Path
    input_format: str
    output: Path | None
    output_format: str
    encoding: str | None = None

    @property
    def part(self) -> Path:
        """Where the output grows until it is whole."""
        return _beside(self.output, "part")

    @property
    def state(self) -> Path:
        """How far `part` is, and what must be the same for it to go on; of a whole output until its run ends."""
        return _beside(self.output, "part.json")

    def is_whole(self, size: int) -> bool:
        """Whether the output has its name, and this many bytes."""
        return not self.part.exists() and self.output.is_file() and self.output.stat().st_size == size


def _beside(output: Path, ending: str) -> Path:
    return output.with_name(f"{output.name}.{ending}")


def name_output(output: Path | None, source: Path) -> Path | None:
    """The file that an input is answered into by an --output, which may hold `NAME`, and may name a link to it."""
    return output and behind_links(output.parent / output.name.replace(NAME, source.stem))


def find_naming_problems(sources: Sequence[Path], output: Path | None) -> Iterator[str]:
    """One line per reason why an --output cannot name a file for each input."""
    if output is None:
        return
    if NAME in str(output.parent):
        yield f"--output {output}: {NAME} may stand in the name of the file, not in that of a folder"
    elif len(sources) > 1 and NAME not in output.name:
        yield (
            f"--output {output}: of {len(sources)} inputs each needs a file of its own, allowed is a name that holds "
            f"{NAME}, which stands for the input's, as emotions/{NAME}.jsonl"
        )
    elif len(sources) > 1:
        yield from _find_shared_files(sources, output)


def _find_shared_files(sources: Sequence[Path], output: Path) -> Iterator[str]:
    """One line per input for which a file would be written that is also written for one before it."""
    writers = {}
    for source in sources:
        own = name_output(output, source)
        named = own, _beside(own, "part"), _beside(own, "part.json"), lock_beside(own)
        files = {os.path.realpath(file): file for file in named}  # one may be a link to another
        taken = next((file for file in files if file in writers), None)
        if taken:
            told = f"{files[taken]} would be written for {writers[taken]} and for {source}"
            yield f"--output {output}: {told}: rename an input"
        writers |= dict.fromkeys(files, str(source))


def check_outputs(tasks: Sequence[FileTask]) -> None:
    """Find out before anything is computed whether the outputs can be written.

    Raises:
        UserError: one is an input, a folder, a pipe or a device, or in a folder that cannot be written to.
    """
    if tasks[0].output is None:
        return
    sources = {_identity(task.source): task.source for task in tasks}
    raise_together([problem for task in tasks for problem in _find_output_problem(task, sources)])
    for folder, output in {one.output.parent: one.output for one in reversed(tasks)}.items():  # links may lead anywhere
        try:
            make_folder(folder)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise UserError(f"--output {output} cannot be written ({error.strerror})") from None


def _find_output_problem(task: FileTask, sources: Mapping[tuple[int, int], Path]) -> Iterator[str]:
    """At most one line. sources: the inputs by `_identity`."""
    if task.output.is_dir():
        yield f"--output {task.output} is a folder, allowed is a file"
        return
    if is_pipe_or_device(task.output):
        yield f"--output {task.output} is a pipe or a device, allowed is a file; without --output it is printed"
        return
    for written in (task.output, task.part, task.state):
        if written.exists() and _identity(written) in sources:
            source = sources[_identity(written)]
            yield f"--output {task.output} would replace the input {source}, allowed is another file"
            return


def _identity(path: Path) -> tuple[int, int]:
    """The same for all names of a file."""
    found = os.stat(path)
    return found.st_dev, found.st_ino
