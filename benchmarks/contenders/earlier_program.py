"""The engine of an earlier commit in a program that finds that commit's code and no other; earlier.py starts it.

Lines of JSON: first what to build, answered by true; then numbers of optimizer steps, each answered by what an Outcome
holds and the peak memory. The program ends when its stdin does, in the middle of whatever it computes.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any

from drawn import draw_b


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    asked: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=listen, args=(asked,), daemon=True).start()
    run = build(**json.loads(asked.get()))
    from benchmarks.worker import _forget_peak, _give_back_memory, _peak_memory

    _forget_peak()
    tell(answers, True)
    while True:
        outcome = asdict(run(json.loads(asked.get())))
        _give_back_memory()
        tell(answers, outcome | {"peak_memory": _peak_memory()})


def listen(asked: "SimpleQueue[str]") -> None:
    """Reads beside the work, so that the end of stdin is noticed at once."""
    for line in sys.stdin:
        asked.put(line)
    os._exit(1)


def tell(answers, answer: Any) -> None:
    """One line, at once."""
    print(json.dumps(answer), file=answers, flush=True)


def build(
    base: str, rows: list, precision: str, device: str, options: dict[str, Any], seed: int
) -> Callable[[int], Any]:
    """The benchmark's contender of that commit, with today's rows and today's B."""
    import torch
    from benchmarks.contender import Setting
    from data_utils.batching import EncodedRow

    from benchmarks import engine_loop
    from benchmarks.worker import usable_cores
    from benchmarks.workload import Workload

    torch.set_num_threads(usable_cores())
    add_lora = engine_loop.add_lora
    engine_loop.add_lora = lambda *arguments: draw_b(add_lora(*arguments), seed)
    encoded = [
        EncodedRow(name, task, tuple(prompt), tuple(target), weight, 0) for name, task, prompt, target, weight in rows
    ]
    return engine_loop.build_engine(Setting(base, Workload(tuple(encoded)), precision, device, options))


if __name__ == "__main__":
    main()
