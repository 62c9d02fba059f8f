#!/usr/bin/env bash
# Where the time of a training step goes on a CUDA GPU, in about five minutes: Python, launches, kernels; each way of attention
# held to the dense mask and timed; passes launched, compiled and replayed.
#
#     bash benchmarks/profile_gpu.sh
#     bash benchmarks/profile_gpu.sh --parts ways segments_replayed     # some parts alone
#     BENCHMARK_PYTHON=python3 bash benchmarks/profile_gpu.sh           # with the Python that is there
#
# Needs what run_gpu.sh needs. Makes results/gpu_profile.json, and README.md from it.
set -euo pipefail

# shellcheck source=benchmarks/prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh" benchmarks.gpu.arguments profile_gpu "$@"
exec "$python" -m benchmarks.gpu.profile "$@"
