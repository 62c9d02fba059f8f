#!/usr/bin/env bash
# Trains an adapter that ships with the repository and puts it there, with its card and its scores:
#
#     bash demo/make_adapter.sh                      # of the sample corpus, into demo/adapter: some minutes on two cores
#     dataset=meld bash demo/make_adapter.sh         # into demo/adapters/meld: 45 minutes of one core, or one on a GPU
#
# It is small on purpose: rank 8 (override with lora_dim), bf16, and without a tokenizer, which the base brings. Corpora
# of people are learned as the condition shipped/compact+step_6+class_weights of experiments/conditions.yaml says, with
# the short prompt, and rare labels counting more.
# Every other knob of code/train_and_inference_Uni.sh works here, too. DRY_RUN=1 prints the commands of the training, and
# FLAG=0 checks the settings; neither puts anything anywhere.
set -euo pipefail
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then
    sed -nE '/^(# shellcheck|[^#])/q; 2,$ s/^# ?//p' "$0"
    exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export MODEL_NAME=SmolLM2-135M Experiments_setting=lora dataset=${dataset:-sample} precision=bf16 lora_dim=${lora_dim:-8}
export lora_alpha=${lora_alpha:-$lora_dim}
adapter=demo/adapter
if [[ $dataset != sample ]]; then
    export prompt=${prompt:-compact} window_step=${window_step:-6} decode=${decode:-transitions}
    export class_weights=${class_weights:-0.5}
    adapter=demo/adapters/$dataset
fi
for word in "$@"; do
    case ${word%%=*} in
        --output_dir | --model_dir | --do_train | --do_eval | --zero_shot)
            printf 'error: %s: what ships is trained and scored anew, in folders of its own; leave it out\n' "$word" >&2
            exit 2
            ;;
    esac
done
results=experiments/demo_$dataset
model=checkpoint/demo_$dataset
bash code/train_and_inference_Uni.sh --output_dir "$results" --model_dir "$model" "$@"
[[ ${DRY_RUN:-0} == 0 && ${FLAG:-1} == 1 ]] || exit 0
bash demo/ship_adapter.sh "$model" "$results" "$adapter"
