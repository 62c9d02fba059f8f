"""Keep what a whole run on a GPU came to: `python -m benchmarks.gpu.keep NAME RESULTS BASE WAY`.

Adds to results/gpu_runs.json and renders README.md. RESULTS: a results.json that main_new.py wrote. BASE: a name of the
table or a folder; WAY: one of plan.py's, as LoRA or QLoRA.
"""

import argparse
import json
from pathlib import Path

from basics.scripts import run_script
from benchmarks.gpu.runs import describe, render_gpu_runs
from benchmarks.report import RESULTS, write_pages, write_results

FILE = RESULTS / "gpu_runs.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep what a run on a GPU came to, beside its plan.")
    for name in ("name", "results", "base", "way"):
        parser.add_argument(name)
    parser.add_argument("--random_weights", action="store_true", help="its score says nothing and is left out")
    arguments = parser.parse_args()
    results = json.loads(Path(arguments.results).read_text(encoding="utf-8"))
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    kept[arguments.name] = describe(results, arguments.base, arguments.way)
    if arguments.random_weights:
        kept[arguments.name]["weighted_f1"] = None
    write_results(FILE, kept)
    write_pages(RESULTS)
    print("\n".join(render_gpu_runs({"gpu_runs": kept})))


if __name__ == "__main__":
    run_script(main)
