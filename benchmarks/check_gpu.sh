#!/usr/bin/env bash
# On a CUDA GPU, in one command: speed, a whole run, memory against the plan, and QLoRA with real weights. About an hour on
# one card; each part leaves its numbers even when a later one fails. README.md here has what was measured so far.
#
#     python original_data/fetch.py meld && bash benchmarks/check_gpu.sh
#     QLORA_BASE=LLaMA2 bash benchmarks/check_gpu.sh      # the base for 4 bits; Qwen2.5-0.5B unless said otherwise
#
# Please report what it prints, with the card's name, in an issue of the repository.
# shellcheck disable=SC2317,SC2329  # parts call functions by name
set -euo pipefail
case $* in
    "") ;;
    -h | --help) sed -nE '/^(# shellcheck|[^#])/q; 2,$ s/^# ?//p' "$0" && exit ;;
    *) echo "error: $*: check_gpu.sh takes no arguments, only the variable QLORA_BASE before it; --help explains" >&2 && exit 2 ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$(bash envs/setup.sh)
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "error: no CUDA device: benchmarks/run.sh measures a CPU" >&2
    exit 2
}
qlora_base=${QLORA_BASE:-Qwen2.5-0.5B}
failed=0

part() {
    printf '\n== %s\n' "$1"
    "${@:2}" || { printf 'FAILED: %s\n' "$1"; failed=1; }
}

# keep NAME FOLDER BASE WAY: what a run came to, beside what plan.py says of it, into results/gpu_runs.json.
keep() { PYTHONPATH=$PWD/code:$PWD "$python" -m benchmarks.gpu.keep "$1" "$2/results.json" "$3" "$4"; }

qlora() {
    "$python" -m pip install --quiet bitsandbytes
    quantize=nf4 data_percent=0.05 num_train_epochs=1 dataset=meld MODEL_NAME=$qlora_base NPROC=1 \
        bash code/train_and_inference_Uni.sh --output_dir experiments/check_gpu/qlora --model_dir checkpoint/check_gpu/qlora
}

part "speed of a step and of scoring" bash benchmarks/run_gpu.sh
part "MELD in full with SmolLM2-135M" env dataset=meld NPROC=1 bash code/train_and_inference_Uni.sh \
    --output_dir experiments/check_gpu/meld --model_dir checkpoint/check_gpu/meld
part "its memory against the plan" keep "MELD, SmolLM2-135M, LoRA" experiments/check_gpu/meld SmolLM2-135M LoRA
part "QLoRA of $qlora_base on a twentieth of MELD" qlora
part "its memory against the plan" keep "a twentieth of MELD, $qlora_base, QLoRA" experiments/check_gpu/qlora \
    "$qlora_base" QLoRA
exit "$failed"
