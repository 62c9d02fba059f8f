#!/usr/bin/env bash
# Several datasets as one, in the unified labels of the feeling wheel (arXiv 2309.11911, unified labels and data
# scaling): trained on a mix of them, or on one after the other, scored on every set's own test split.
#
#   bash code/train_and_inference_Mixed.sh                # the sample corpus in unified labels: a few minutes
#   datasets=iemocap,meld,EmoryNLP bash code/train_and_inference_Mixed.sh              # hours on a CPU
#   datasets=meld,EmoryNLP mix=ratio data_percent=0.25 bash code/train_and_inference_Mixed.sh
#   datasets=meld,EmoryNLP mix=single train_on=meld bash code/train_and_inference_Mixed.sh
#   datasets=meld,EmoryNLP mode=sequence bash code/train_and_inference_Mixed.sh
#   datasets=meld,EmoryNLP without_shared_scenes=True bash code/train_and_inference_Mixed.sh   # both are of Friends
#
# The first run also sets up .venv and gets the base. Scores, figures and logs: experiments/; the best adapter or
# model: checkpoint/. Every setting can be set from the environment, as above; code/README.md has the table of them.
# shellcheck source=code/experiment.sh disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/experiment.sh"

# 1. Settings: checked before anything is installed, fetched or written.
settle mixed "$@"

# 2. Environment, base and rows: one folder for the mix, or with mode=sequence one for each set.
capture python bash envs/setup.sh
capture base "$python" LLM_bases/fetch.py "$MODEL_NAME"
capture rows "$python" code/data_process_mixed.py "${writer_flags[@]}"

# 3. Train, choose the epoch on valid, score test once.
prepare_training
if [[ $mode == sequence ]]; then
    split_rows
    IFS=, read -ra sets <<<"$datasets"
    for ((stage = 1; stage <= ${#sets[@]}; stage++)); do train_stage "$stage" "${#sets[@]}" "$@"; done
else
    train_and_score "$rows" "$result" "$result" "$@"
fi
