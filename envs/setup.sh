#!/usr/bin/env bash
# Makes the project's Python environment and prints the path of its python; the scripts call it:
#
#     python=$(bash envs/setup.sh)        # some minutes the first time, silent and instant afterwards
#     bash envs/setup.sh --interpreter    # any Python that will do for the standard library; nothing is made
#
#   ERC_PYTHON=/path/to/python    use this environment instead of .venv; it must hold envs/train.txt
#   ERC_TORCH=cpu|cuda            which build of torch .venv gets; unset: cuda where nvidia-smi finds a GPU.
#                                 For login nodes and container builds, which see no GPU.
#
# An environment is a folder of .venvs/, named after what it is made from; .venv is a link to the newest. A new one is
# made beside the old one, which runs in progress go on with, and the link turns to it when it is whole. An interrupted
# set-up leaves the link as it was and is made afresh by the next call; of two calls at once one waits for the other.
# Progress goes to stderr. Exit code 2 with one line when it cannot be done.
set -euo pipefail

envs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${envs%/*}
link=$root/.venv
made_from=(predict.txt train.txt develop.txt constraints.txt setup.sh)
uv_version=0.13.9
# The first of these that is Python 3.11 or newer and can make an environment.
candidates=(python3.11 python3.12 python3.13 python3.14 python3)
too_old='import sys; sys.exit(sys.version_info < (3, 11))'

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

say() { printf 'setup: %s\n' "$*" >&2; }

digest() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# Of what an environment is made from, in a folder: one word.
digest_of() {
    (cd "$1" && cat "${made_from[@]}" | digest | cut -d ' ' -f 1)
}

# The environment that ERC_PYTHON names: trusted with other versions, refused with something missing.
check_given_python() {
    local given
    given=$(command -v "$ERC_PYTHON") || fail "ERC_PYTHON=$ERC_PYTHON: there is no such program"
    [[ $given == /* ]] || given=$PWD/$given
    "$given" - "$envs" <<'PYTHON' || exit 2
import sys
from importlib.metadata import PackageNotFoundError, version

if sys.version_info < (3, 11):
    sys.exit(f"error: ERC_PYTHON is Python {sys.version.split()[0]}: choose Python 3.11 or newer")

def lines_of(name):
    lines = open(f"{sys.argv[1]}/{name}", encoding="utf-8")
    stripped = (line.split("#")[0].strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("-")]


pins = dict(line.split("==") for line in lines_of("constraints.txt"))
missing, other = [], []
for name in lines_of("predict.txt") + lines_of("train.txt"):
    wanted = pins[name]
    try:
        found = version(name).split("+")[0]
    except PackageNotFoundError:
        missing.append(name)
    else:
        if found != wanted:
            other.append(f"{name} {found} (pinned: {wanted})")
if missing:
    sys.exit(f"error: ERC_PYTHON lacks {', '.join(missing)}: install envs/train.txt there")
if other:
    print(f"setup: ERC_PYTHON has {', '.join(other)}; scores may differ", file=sys.stderr)
PYTHON
    printf '%s\n' "$given"
}

# Whether .venvs/$1 was made to its end; its stamp says from what, and with which build of torch.
is_whole() {
    local folder=$root/.venvs/$1
    [[ -x $folder/bin/python && -f $folder/erc-stamp && $(<"$folder/erc-stamp") == "$wanted ${1##*-}" ]]
}

# What .venv leads to, if it is what is asked for.
find_ready() {
    local name
    name=$(basename "$(readlink "$link" 2>/dev/null || true)")
    [[ $name == "${wanted:0:12}-${ERC_TORCH:-${name##*-}}" ]] && is_whole "$name" && printf '%s\n' "$name"
}

find_python() {
    local candidate
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer with its venv module among ${candidates[*]}: install one (on Debian and Ubuntu:" \
        "apt install python3-venv), or set ERC_PYTHON"
}

# Refuses, before anything is fetched, a Python for which the lock's torch is not published.
check_platform() {
    "$1" - <<'PYTHON' || exit 2
import os
import platform
import sys
import sysconfig

system, machine = platform.system(), platform.machine()
release = platform.mac_ver()[0]
try:
    glibc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):  # another C library, or no Linux
    glibc = ""
if system == "Darwin":
    has, works = f"macOS {release}", machine == "arm64" and int(release.split(".")[0]) >= 14
elif system != "Linux":
    has, works = system, False
elif "musl" in (sysconfig.get_config_var("SOABI") or "") or not glibc:
    has, works = "a Linux with the C library musl, such as Alpine,", False
else:
    has, works = glibc, machine in ("x86_64", "aarch64") and tuple(map(int, glibc.split()[1].split("."))) >= (2, 28)
if not works:
    sys.exit(
        f"error: there is no torch for {has} on {machine}: use a Linux with glibc 2.28 or newer, such as Debian or "
        "Ubuntu, on x86_64 or aarch64, or macOS 14 or newer on an Apple processor; or the container of envs/Dockerfile"
    )
PYTHON
}

# The first Python 3.11 or newer among ERC_PYTHON, .venv's and the candidates: what will run, where there is one.
find_interpreter() {
    local candidate
    for candidate in "${ERC_PYTHON:-}" "$link/bin/python" "${candidates[@]}"; do
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

# UserErrors before minutes of work: .venv is somebody else's, or nothing can be written here.
check_place() {
    local target
    target=$(readlink "$link" 2>/dev/null || true)
    if [[ -n $(ls -A "$link/" 2>/dev/null) && ! -f $link/erc-stamp ]] || [[ -n $target && $target != .venvs/* ]]; then
        fail "$link was not made by envs/setup.sh: move it away, or use it with ERC_PYTHON=$link/bin/python"
    fi
    { mkdir -p "$venv" && printf 'unfinished\n' >"$venv/erc-stamp"; } 2>/dev/null || refuse_place "$root/.venvs"
}

refuse_place() { fail "$1 cannot be written: check permissions and free space, or set ERC_PYTHON"; }

# An empty environment in $venv, instead of what killed set-ups have left; the stamp says that it is not whole.
make_venv() {
    local folder stamp
    for folder in "$root"/.venvs/*; do
        [[ $folder != "$venv" && ${folder##*/} =~ ^[0-9a-f]{12}-(cpu|cuda)$ ]] || continue
        stamp=$(cat "$folder/erc-stamp" 2>/dev/null || true)
        if [[ -z $stamp || $stamp == unfinished ]]; then rm -rf "$folder"; fi
    done
    find "$venv" -mindepth 1 -maxdepth 1 ! -name erc-stamp -exec rm -rf {} +
    # Whoever changes the files while pip reads them changes the next environment, not this one.
    { mkdir "$made" && (cd "$envs" && cp "${made_from[@]}" "$made"); } 2>/dev/null || refuse_place "$venv"
    [[ $(digest_of "$made") == "$wanted" ]] || fail "the files of $envs have changed since this call: call again"
    { "$interpreter" -m venv "$venv" >"$log" 2>&1; } 2>/dev/null || stop_with_log "making $venv"
}

# .venv leads to the new environment from one moment to the next; the one before stays for what runs in it.
turn_link() {
    local before
    before=$(readlink "$link" 2>/dev/null || true)
    if [[ -d $link && -z $before ]]; then # made by an earlier version of this script
        before=.venvs/before-$(date +%Y%m%d-%H%M%S)
        mv "$link" "$root/$before" 2>/dev/null || refuse_place "$link"
    fi
    ln -sfn ".venvs/$1" "$link.new" 2>/dev/null || refuse_place "$link"
    # Python, because mv would move the new link into the folder that the old one leads to.
    "$root/.venvs/$1/bin/python" -c 'import os, sys; os.replace(*sys.argv[1:])' "$link.new" "$link" 2>/dev/null ||
        refuse_place "$link"
    if [[ -n $before && $before != ".venvs/$1" && -d $root/$before ]]; then
        say "$before, the environment before, stays for runs in progress: remove it when there are none"
    fi
}

# The lock is on a folder that is there anyway and ends with this process (a file of it may be replaced meanwhile, by
# git, and two would hold locks on two files of one name). Python takes it, as macOS has no flock program.
wait_for_others() {
    local interpreter reason
    interpreter=$(find_interpreter)
    exec 9<"$envs"
    if reason=$(take_lock LOCK_NB); then return; fi
    [[ $reason == busy ]] || fail "$envs cannot be locked ($reason): set ERC_PYTHON to an environment of your own"
    say "another set-up is at work, waiting for it ..."
    reason=$(take_lock LOCK_EX) || fail "$envs cannot be locked ($reason): set ERC_PYTHON to an environment of your own"
}

# Prints why not, "busy" where another set-up has it.
take_lock() {
    "$interpreter" - "$1" <<'PYTHON'
import fcntl
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while it waits
try:
    fcntl.flock(9, fcntl.LOCK_EX | getattr(fcntl, sys.argv[1]))
except BlockingIOError:
    sys.exit(print("busy") or 1)
except OSError as error:
    sys.exit(print(error.strerror) or 1)
PYTHON
}

stop_with_log() {
    local reason
    reason=$(grep -i 'error' "$log" 2>/dev/null | tail -n 1 || true)
    if tail -n 20 "$log" 2>/dev/null | grep -qiE 'connection broken|failed to (fetch|connect)|resolution|timed out'; then
        reason="the package registry cannot be reached"
    fi
    fail "set-up stopped while $1: ${reason:-unknown reason} (all of it: $log)"
}

# Run beside the copies, as pip splits PIP_CONSTRAINT at blanks; it also reaches the build of deepspeed.
# deepspeed compiles its operators when they are first used, so its installation needs no compiler.
pip_install() {
    {
        (cd "$made" && DS_BUILD_OPS=0 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
            "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@") >>"$log" 2>&1
    } 2>/dev/null
}

# The CPU build, from the first of these that has it: the indexes pip is set up with, PyTorch's own (which uv
# knows by itself), and at last the registry's build for this machine, which may bring CUDA libraries along.
install_cpu_torch() {
    pip_install --retries 0 --timeout 15 "torch==$1+cpu" && return
    if pip_install "uv==$uv_version"; then
        "$venv/bin/python" -m uv pip install --python "$venv/bin/python" --torch-backend cpu \
            --constraint "$made/constraints.txt" "torch==$1" >>"$log" 2>&1 && return
    fi
    say "the CPU build of torch is out of reach, taking the registry's build (up to several GB)"
    pip_install "torch==$1"
}

install_all() {
    local kind=$1 version
    version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$made/constraints.txt")
    say "making $venv, once, in about three minutes: torch ($kind) ..."
    case $kind in
        cpu) install_cpu_torch "$version" || stop_with_log "installing torch" ;;
        cuda) pip_install "torch==$version" || stop_with_log "installing torch" ;;
    esac
    say "... and the libraries of envs/develop.txt ..."
    pip_install -r develop.txt || stop_with_log "installing envs/develop.txt"
    { printf '%s %s\n' "$wanted" "$kind" >"$venv/erc-stamp"; } 2>/dev/null || refuse_place "$venv"
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

wanted=$(digest_of "$envs")
if ! name=$(find_ready); then
    wait_for_others
    if ! name=$(find_ready); then
        kind=$(choose_torch)
        name=${wanted:0:12}-$kind
        venv=$root/.venvs/$name
        log=$venv/setup.log made=$venv/made_from
        if ! is_whole "$name"; then
            interpreter=$(find_python)
            check_platform "$interpreter"
            check_place
            make_venv
            install_all "$kind"
        fi
        turn_link "$name"
    fi
fi
# Not by way of the link: what has been started stays in its environment.
printf '%s\n' "$root/.venvs/$name/bin/python"
