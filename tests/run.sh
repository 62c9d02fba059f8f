#!/usr/bin/env bash
# Set-up, lint and tests, from any folder; takes pytest's arguments, with paths as seen from the repository:
#
#     bash tests/run.sh
#     bash tests/run.sh tests/scripts/test_pipeline.py -k plain
set -euo pipefail
# A relative path starts in the caller's folder.
[[ -z ${ERC_ORIGINAL_DATA:-} ]] || ERC_ORIGINAL_DATA=$(cd "$ERC_ORIGINAL_DATA" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$(bash envs/setup.sh)
if [[ -z ${ERC_ORIGINAL_DATA:-} && -d ../shared/original_data ]]; then
    ERC_ORIGINAL_DATA=$(cd ../shared/original_data && pwd)
    export ERC_ORIGINAL_DATA
fi
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
unset PYTHONDONTWRITEBYTECODE # as images set it: each of hundreds of processes would compile the program anew

"$python" -m ruff check .
"$python" -m ruff format --check .
# One test more at once than there are cores, up to eight: many wait for processes and pages.
workers=$("$python" -c 'import os; print(min(8, os.cpu_count() + 1))')
distribute=(-n "$workers" --dist loadscope --no-loadscope-reorder)
exec "$python" -m pytest "${distribute[@]}" "$@" # exits with 5 where there is no test
