#!/usr/bin/env bash
# Measures the same on a CUDA GPU, in under 8 minutes: SmolLM2-135M and a 7B LLaMA of random weights.
#
#     bash benchmarks/run_gpu.sh
#     BENCHMARK_PYTHON=python3 bash benchmarks/run_gpu.sh     # with the Python that is there as it is
#
# Needs data/meld/window, or MELD's pickle to make it from, and of LLM_bases/SmolLM2-135M at least configuration
# and tokenizer: without weights it runs on random ones. TRL, which prepare.sh puts into benchmarks/.packages
# where it lacks, is left out where that fails. Makes results/gpu.json, and README.md from it. --help says what else it
# takes.
set -euo pipefail

# shellcheck source=benchmarks/prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh" benchmarks.gpu.arguments run_gpu "$@"
exec "$python" -m benchmarks.gpu.measure "$@"
