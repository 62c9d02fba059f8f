#!/usr/bin/env bash
# Sets this checkout up on a system that has Debian's least and Python, as a user who can write nowhere else and has no
# home, and then asks the small base there without a network. Root starts it; debootstrap has to be installed:
#
#     bash tests/faults/fresh_system.sh bookworm /tmp/bookworm      # Debian 12, Python 3.11
#     bash tests/faults/fresh_system.sh sid /tmp/sid                # what Debian is working on
#
# The system stays in its folder and is used again, with the checkout of the first time. pip's variables (PIP_CERT,
# PIP_INDEX_URL) are handed on. What comes behind the two words is run in place of the prediction.
set -euo pipefail

if (($# < 2)); then
    echo "error: say the suite of Debian and a folder" >&2
    exit 2
fi
# Mounts go with this process.
[[ -n ${ERC_UNSHARED:-} ]] || ERC_UNSHARED=1 exec unshare --mount bash "$0" "$@"

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
suite=$1 system=$(realpath -m "$2")
shift 2
checkout=/srv/checkout user=65534
mapfile -t of_pip < <(env | grep '^PIP_' || true)

[[ -x $system/usr/bin/python3 ]] ||
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$system"
cp /etc/resolv.conf "$system/etc/resolv.conf"
cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/ca-certificates.crt"
mount -t proc proc "$system/proc"
mount --bind /dev "$system/dev"
chmod 755 "$system/tmp" "$system/var/tmp"
if [[ ! -d $system$checkout ]]; then
    git clone --quiet "file://$repository" "$system$checkout"
    cp -r "$repository/LLM_bases/SmolLM2-135M" "$system$checkout/LLM_bases/"
    chown -R "$user" "$system$checkout"
fi

# inside PROGRAM...: as that user, in the checkout; `enter`: what leads there.
enter=()
inside() {
    # shellcheck disable=SC2016
    "${enter[@]}" chroot --userspec="$user:$user" "$system" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/nonexistent LC_ALL=C \
        ERC_TORCH=cpu "${of_pip[@]}" bash -c 'umask 077; cd "$1"; shift; exec "$@"' bash "$checkout" "$@"
}

inside python3 --version
if inside touch /tmp/probe 2>/dev/null; then
    echo "error: something outside the checkout can be written" >&2
    exit 1
fi
python=$(inside bash envs/setup.sh)
# The rest needs no network: this namespace has not even a loopback that is up.
enter=(unshare --net)
(($#)) || set -- "$python" code/predict.py --input demo/dialogue.txt
inside "$@"
