"""Progress bars with the time left, on a terminal and in a log file alike."""

import sys

from tqdm import tqdm

LOG_FILE_INTERVAL_SECONDS = 30.0


def progress_bar(total: int, description: str, unit: str, done: int = 0, silent: bool = False) -> tqdm:
    """A bar on stderr that begins at `done`; in a log file it prints a line now and then, not ten a second."""
    interval = 0.2 if sys.stderr.isatty() else LOG_FILE_INTERVAL_SECONDS
    return tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=unit,
        mininterval=interval,
        maxinterval=max(interval, 10.0),
        file=sys.stderr,
        disable=silent,
        dynamic_ncols=True,
    )
