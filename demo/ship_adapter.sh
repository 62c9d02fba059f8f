#!/usr/bin/env bash
# Puts what a run has saved where shipped adapters lie, with its results and its scores on every corpus that is here:
#
#     bash demo/ship_adapter.sh CHECKPOINT RESULTS ADAPTER
#
# CHECKPOINT and RESULTS: folders of the run, below checkpoint/ and experiments/. ADAPTER: demo/adapters/NAME.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $# == 3 ]] || { echo "usage: bash demo/ship_adapter.sh CHECKPOINT RESULTS ADAPTER" >&2 && exit 2; }
checkpoint=$1 results=$2 adapter=$3

python=$(bash envs/setup.sh)
"$python" code/export.py --checkpoint_dir "$checkpoint" --output_dir "$adapter" --kind adapter
# The base brings its tokenizer.
rm -f "$adapter"/tokenizer* "$adapter"/chat_template.jinja
cp "$results/results.json" "$adapter"
cat >>"$adapter/README.md" <<'PAGE'

## Scores

In the unified labels of the paper's feeling wheel, to which those of every corpus are mapped (MELD's *surprise* becomes
*powerful*); with the filter of transitions where the adapter has one. Nothing was chosen by these numbers. *Always the
commonest label*: what one gets for saying the commonest label of that test set to every utterance. *Unseen text*: weighted
F1 on the utterances whose text the adapter was not trained on, and how many those are, case and outer blanks aside. MELD's
apostrophe is another character than EmoryNLP's: but for that 54 unseen texts of EmoryNLP are in MELD's train, and 75 of MELD
in EmoryNLP's. Asked 64 turns at a time, as `predict.py` asks: in bf16 a few answers are others than those of the run behind
[results.json](results.json), which asked all at once; its `weighted_f1` is the score that other pages name.

`bash demo/make_adapter.sh`, with its corpus as `dataset=...` before it, trains it anew, scores it and writes this page.

<!-- elsewhere: begin -->
<!-- elsewhere: end -->
PAGE
data=${ERC_ORIGINAL_DATA:-original_data}
datasets=sample
for name in meld EmoryNLP iemocap; do
    if [[ -f $data/$name/$name.pkl ]]; then datasets+=,$name; fi
done
"$python" code/score_elsewhere.py --checkpoint "./$adapter" --datasets "$datasets" \
    --json "$adapter/elsewhere.json" --output "$adapter/README.md" >&2
du -sh "$adapter" >&2
