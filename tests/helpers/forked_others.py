"""Processes that start each other without importing everything anew; as a script, main_new.py with its flags.

A crew's other processes run the command of the first one. Here they are forks of it that do what it did from where its
imports end. How they are started for real: engine/processes/test_processes.py, test_a_run_of_three_ends_as_one_of_one.
"""

import atexit
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

MAIN = Path(__file__).resolve().parents[2] / "code" / "main_new.py"
OPEN_FILES = 4096  # more than a process of the tests has


def fork_others(again: Callable[[], object]) -> None:
    """From now on the others of a crew that this process starts are forks of it, which call `again` and end."""
    from engine import processes

    class Fork(subprocess.Popen):
        """Has its input, its output and its process group by the time that it would become another program."""

        def __init__(self, command: list[str], *, env: dict[str, str], **options: Any) -> None:
            super().__init__(command, preexec_fn=partial(become_another, again, env), **options)

    processes.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": Fork})


def become_another(again: Callable[[], object], environment: dict[str, str]) -> NoReturn:
    """In a fork: has what a new process would have, and ends as it would."""
    os.environ.update(environment)
    os.closerange(3, OPEN_FILES)  # one of them tells Popen that another program has begun
    atexit._clear()
    code = 1
    try:
        again()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(MAIN.parent))
    from commands import import_program

    import_program()  # before there are forks
    run = partial(runpy.run_path, str(MAIN), run_name="__main__")
    fork_others(run)
    run()
