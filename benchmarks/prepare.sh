# shellcheck shell=bash
# Sourced by run.sh, run_gpu.sh and profile_gpu.sh: environment, base and rows; sets `python` and goes to the
# repository. Its arguments are the module that knows what the script may be given, and what it was given.
#
#   BENCHMARK_PYTHON=/path/to/python    use this Python as it is, instead of .venv (see envs/setup.sh)
#   ERC_ORIGINAL_DATA=/path/to/pickles  as for the scripts of code/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null

# Wrong arguments are refused, and --help answered, before anything is installed.
interpreter=$(bash envs/setup.sh --interpreter)
told=$(PYTHONPATH=code:. "$interpreter" -m "$@")
[[ -z $told ]] || { printf '%s\n' "$told" && exit; }

base=SmolLM2-135M
packages=$PWD/benchmarks/.packages
requirements=benchmarks/requirements.txt

say() { printf '%s\n' "$*" >&2; }

# The rivals' libraries beside the environment, not in it: what the project needs stays what envs/constraints.txt says.
install_rivals() {
    "$python" -c 'import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, ("trl", "lm_eval"))))' && return
    cmp -s "$requirements" "$packages/requirements.txt" && return
    say "installing $requirements ..."
    rm -rf "$packages"
    if "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --target "$packages" -r "$requirements" >&2; then
        cp "$requirements" "$packages/requirements.txt"
    else
        say "... it cannot be installed: its contenders will be missing from the tables"
    fi
}

# Rows of a dataset; "predict" holds the prediction task too. Rows that are there stay as they are.
make_rows() {
    local dataset=$1 kind=$2 prediction=False
    if [[ -f data/$dataset/$kind/manifest.json ]]; then return; fi
    if [[ $kind == predict ]]; then prediction=True; fi
    "$python" code/data_process.py --dataset "$dataset" --emotion_prediction "$prediction" >/dev/null
}

python=${BENCHMARK_PYTHON:-$(bash envs/setup.sh)}
command -v "$python" >/dev/null || {
    say "error: BENCHMARK_PYTHON=$python: there is no such program"
    exit 2
}
# shellcheck source=envs/allocator.sh
source envs/allocator.sh # for all contenders alike
export PYTHONPATH=$PWD/code:$PWD${PYTHONPATH:+:$PYTHONPATH}
install_rivals
export PYTHONPATH=$PYTHONPATH:$packages
if [[ ! -f LLM_bases/$base/config.json ]]; then "$python" LLM_bases/fetch.py "$base" >/dev/null; fi
if [[ -z ${ERC_ORIGINAL_DATA:-} && -d ../shared/original_data ]]; then
    ERC_ORIGINAL_DATA=$(cd ../shared/original_data && pwd)
    export ERC_ORIGINAL_DATA
fi
make_rows meld window
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
