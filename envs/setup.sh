#!/usr/bin/env bash
# Makes the project's Python environment and prints the path of its python; the scripts call it:
#
#     python=$(bash envs/setup.sh)        # some minutes the first time, silent and instant afterwards
#     bash envs/setup.sh --interpreter    # any Python that will do for the standard library; nothing is made
#
#   ERC_PYTHON=/path/to/python    use this environment instead of .venv; it must hold envs/requirements.txt
#   ERC_TORCH=cpu|cuda            which build of torch .venv gets; unset: cuda where nvidia-smi finds a GPU.
#                                 For login nodes and container builds, which see no GPU.
#
# Progress goes to stderr. Exit code 2 with one line when it cannot be done. An interrupted set-up is made
# afresh by the next call, and of two calls at once one waits for the other.
set -euo pipefail

envs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${envs%/*}/.venv
python=$venv/bin/python
stamp=$venv/erc-stamp # "unfinished", or what the environment was made from and its build of torch
log=$venv/setup.log
uv_version=0.13.9
# The first of these that is Python 3.11 or newer and can make an environment.
candidates=(python3.11 python3.12 python3.13 python3)
too_old='import sys; sys.exit(sys.version_info < (3, 11))'

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

say() { printf 'setup: %s\n' "$*" >&2; }

digest() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# The environment that ERC_PYTHON names: trusted with other versions, refused with something missing.
check_given_python() {
    local given
    given=$(command -v "$ERC_PYTHON") || fail "ERC_PYTHON=$ERC_PYTHON: there is no such program"
    [[ $given == /* ]] || given=$PWD/$given
    "$given" - "$envs/requirements.txt" <<'PYTHON' || exit 2
import sys
from importlib.metadata import PackageNotFoundError, version

if sys.version_info < (3, 11):
    sys.exit(f"error: ERC_PYTHON is Python {sys.version.split()[0]}: choose Python 3.11 or newer")
lines = [line.split("#")[0].strip() for line in open(sys.argv[1], encoding="utf-8")]
missing, other = [], []
for name, wanted in (line.split("==") for line in lines if line):
    try:
        found = version(name).split("+")[0]
    except PackageNotFoundError:
        missing.append(name)
    else:
        if found != wanted:
            other.append(f"{name} {found} (pinned: {wanted})")
if missing:
    sys.exit(f"error: ERC_PYTHON lacks {', '.join(missing)}: install envs/requirements.txt there")
if other:
    print(f"setup: ERC_PYTHON has {', '.join(other)}; scores may differ", file=sys.stderr)
PYTHON
    printf '%s\n' "$given"
}

is_ready() {
    local state
    [[ -x $python && -f $stamp ]] || return 1
    state=$(<"$stamp")
    [[ $state == "$wanted ${ERC_TORCH:-${state##* }}" ]]
}

find_python() {
    local candidate
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer with its venv module among ${candidates[*]}: install one, or set ERC_PYTHON"
}

# The first Python 3.11 or newer among .venv's, ERC_PYTHON and the candidates.
find_interpreter() {
    local candidate
    for candidate in "$python" "${ERC_PYTHON:-}" "${candidates[@]}"; do
        if [[ $candidate ]] && "$candidate" -c "$too_old" 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer among ${candidates[*]}: install one, or set ERC_PYTHON"
}

choose_torch() {
    if [[ -n ${ERC_TORCH:-} ]]; then
        printf '%s\n' "$ERC_TORCH"
    elif [[ $(nvidia-smi -L 2>/dev/null || true) == GPU* ]]; then
        printf 'cuda\n'
    else
        printf 'cpu\n'
    fi
}

# An empty .venv with the word "unfinished" in it; the stamp outlives whatever a killed set-up left there.
make_venv() {
    local interpreter
    interpreter=$(find_python)
    if [[ ! -f $stamp && -n $(ls -A "$venv" 2>/dev/null) ]]; then
        fail "$venv was not made by envs/setup.sh: move it away, or use it with ERC_PYTHON=$python"
    fi
    if ! { mkdir -p "$venv" && printf 'unfinished\n' >"$stamp"; } 2>/dev/null; then
        fail "$venv cannot be written: check permissions and free space, or set ERC_PYTHON"
    fi
    find "$venv" -mindepth 1 -maxdepth 1 ! -name erc-stamp -exec rm -rf {} +
    "$interpreter" -m venv "$venv" >"$log" 2>&1 || stop_with_log "making $venv"
}

stop_with_log() {
    local reason
    reason=$(grep -i 'error' "$log" | tail -n 1 || true)
    if tail -n 20 "$log" | grep -qiE 'connection broken|failed to (fetch|connect)|resolution|timed out'; then
        reason="the package registry cannot be reached"
    fi
    fail "set-up stopped while $1: ${reason:-unknown reason} (all of it: $log)"
}

# Run inside envs/, as pip splits PIP_CONSTRAINT at blanks; it also reaches the build of deepspeed.
# deepspeed compiles its operators when they are first used, so its installation needs no compiler.
pip_install() {
    (cd "$envs" && DS_BUILD_OPS=0 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
        "$python" -m pip install --disable-pip-version-check --no-input "$@") >>"$log" 2>&1
}

# The CPU build, from the first of these that has it: the indexes pip is set up with, PyTorch's own (which uv
# knows by itself), and at last the registry's build for this machine, which may bring CUDA libraries along.
install_cpu_torch() {
    pip_install --retries 0 --timeout 15 "torch==$1+cpu" && return
    if pip_install "uv==$uv_version"; then
        "$python" -m uv pip install --python "$python" --torch-backend cpu \
            --constraint "$envs/constraints.txt" "torch==$1" >>"$log" 2>&1 && return
    fi
    say "the CPU build of torch is out of reach, taking the registry's build (up to several GB)"
    pip_install "torch==$1"
}

install_all() {
    local kind=$1 version
    version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$envs/requirements.txt")
    say "making $venv, once, in about three minutes: torch ($kind) ..."
    case $kind in
        cpu) install_cpu_torch "$version" || stop_with_log "installing torch" ;;
        cuda) pip_install "torch==$version" || stop_with_log "installing torch" ;;
    esac
    say "... and the libraries of envs/requirements.txt ..."
    pip_install -r requirements.txt || stop_with_log "installing envs/requirements.txt"
    printf '%s %s\n' "$wanted" "$kind" >"$stamp"
    say "... done"
}

case ${1-} in
    "") ;;
    --interpreter)
        find_interpreter
        exit
        ;;
    *) fail "$1: the one argument is --interpreter, or none" ;;
esac
case ${ERC_TORCH:-cpu} in
    cpu | cuda) ;;
    *) fail "ERC_TORCH=$ERC_TORCH: choose one of cpu cuda" ;;
esac
if [[ -n ${ERC_PYTHON:-} ]]; then
    check_given_python
    exit
fi

wanted=$(cat "$envs/requirements.txt" "$envs/constraints.txt" "$envs/setup.sh" | digest)
wanted=${wanted%% *}
if ! is_ready; then
    # The lock is on a file that is there anyway and ends with this process; systems without flock go without.
    exec 9<"$envs/requirements.txt"
    if command -v flock >/dev/null; then flock 9; fi
    if ! is_ready; then
        make_venv
        install_all "$(choose_torch)"
    fi
fi
printf '%s\n' "$python"
