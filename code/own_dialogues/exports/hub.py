"""An exported folder, its model card with it -> a repository of the model hub."""

from pathlib import Path

from bases.find import offline_by
from basics.errors import UserError
from knobs.kinds import HUB_ID


def check_hub(repository: str) -> None:
    """UserError, before anything is exported, when a name is no repository's or nobody may be asked."""
    if not HUB_ID.fullmatch(repository):
        raise UserError(f"--push_to_hub {repository}: give the name of a repository, as somebody/some-name")
    if offline := offline_by():
        raise UserError(f"--push_to_hub {repository}: {offline} keeps the hub from being asked; unset it")


def push_to_hub(folder: Path, repository: str) -> str:
    """Uploads a folder as one commit; returns its address. A repository that is not there is made, and is private.

    Raises:
        UserError: the hub cannot be reached, or does not take it from this account; what was exported stays.
    """
    from huggingface_hub import HfApi

    try:
        hub = HfApi()
        hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload of code/export.py")
    except Exception as error:  # of many kinds: no account, no right to it, no network
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--push_to_hub {repository}: {reason}; {folder} is whole: `hf auth login`, then the same command again"
        ) from error
    return f"{hub.endpoint}/{repository}"
