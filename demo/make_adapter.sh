#!/usr/bin/env bash
# Trains the adapter that ships with the repository, on the sample corpus alone, and puts it into demo/adapter:
#
#     bash demo/make_adapter.sh         # some minutes on two CPU cores
#
# It is small on purpose: rank 8 (override with lora_dim), bf16, and without a tokenizer, which the base brings.
# Every other knob of code/train_and_inference_Uni.sh works here, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export MODEL_NAME=SmolLM2-135M Experiments_setting=lora dataset=sample precision=bf16 lora_dim=${lora_dim:-8}
export lora_alpha=${lora_alpha:-$lora_dim}
results=experiments/demo_adapter
model=checkpoint/demo_adapter
bash code/train_and_inference_Uni.sh --output_dir "$results" --model_dir "$model" "$@"
[[ ${DRY_RUN:-0} == 0 ]] || exit 0

python=$(bash envs/setup.sh)
"$python" code/export.py --checkpoint_dir "$model" --output_dir demo/adapter --kind adapter
shopt -s extglob
rm -f demo/adapter/!(adapter_config.json|adapter_model.safetensors|erc_config.json|README.md|trained_texts.txt)
cp "$results/results.json" demo/adapter
du -sh demo/adapter >&2
