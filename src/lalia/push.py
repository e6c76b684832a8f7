"""Uploading a saved rater with its model card to Hugging Face's hub."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from lalia.errors import PushError
from lalia.model.saved_rater import CONFIG_FILE, WEIGHTS_FILE, find_rater, read_config, read_weights
from lalia.report.card import CARD_FILE, REPOSITORY, render_card
from lalia.report.contents import read_contents


def push_rater(run: str | Path, repository: str, *, private: bool = True) -> str:
    """Upload a rater to a repository of the hub, which is made where there is none.

    The token is the one of ``hf auth login`` or ``HF_TOKEN``.

    Args:
        run: the folder of a finished run, or of a saved rater.
        repository: its id, ``owner/name``, or ``name`` for one's own.
        private: whether only its owner sees it. A repository that exists stays as visible as it is.

    Returns:
        The address of the repository.

    Raises:
        RaterError: if there is no rater, or it is damaged.
        PushError: if there is no token, it may not write there, the hub cannot be reached, or the repository is public
            and ``private`` was asked for.
    """
    if get_token() is None:
        raise PushError("Nobody is logged in to Hugging Face. Run `hf auth login`, or set HF_TOKEN, then push again.")
    with tempfile.TemporaryDirectory(prefix="lalia-") as temporary:
        folder = stage_rater(run, Path(temporary) / "rater", repository)
        with _explained(repository):
            return _upload(folder, repository, private=private)


def stage_rater(run: str | Path, out: str | Path, repository: str = REPOSITORY) -> Path:
    """Write the folder that is pushed: ``config.json``, ``model.safetensors``, ``README.md``, nothing else.

    The card is the one beside the rater, else a new one; in its example, the repository takes the place of
    ``OWNER/NAME``.

    Args:
        run: the folder of a finished run, or of a saved rater.
        out: a folder that does not exist yet or is empty.
        repository: its id.

    Raises:
        RaterError: if there is no rater, or it is damaged.
        PushError: if the folder has something in it, or cannot be written.
    """
    found, out = find_rater(Path(run)), Path(out)
    config = read_config(found)
    read_weights(found, config)
    card = found / CARD_FILE
    text = card.read_text(encoding="utf-8") if card.is_file() else _make_card(found)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PushError(f"'{out}' is not an empty folder. Give --out another one.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            shutil.copyfile(found / name, out / name)
        (out / CARD_FILE).write_text(text.replace(REPOSITORY, repository), encoding="utf-8", newline="\n")
    except OSError as cause:
        raise PushError(f"Cannot write to '{out}': {cause.strerror or cause}. Give --out another folder.") from cause
    return out


def _upload(folder: Path, repository: str, *, private: bool) -> str:
    api = HfApi()
    place = api.create_repo(repository, private=private, exist_ok=True)
    if private and not api.model_info(place.repo_id).private:
        raise PushError(
            f"The repository '{place.repo_id}' exists and is public. Give --public to push there nevertheless, or"
            " another name."
        )
    api.upload_folder(repo_id=place.repo_id, folder_path=folder, commit_message="Upload a rater made with lalia")
    return str(place)


def _make_card(rater: Path) -> str:
    is_of_run = rater.name == "model" and (rater.parent / "manifest.json").is_file()
    return render_card(read_config(rater), read_contents(rater.parent) if is_of_run else None)


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Say in the user's words why a repository cannot be written to."""
    try:
        yield
    except HFValidationError as error:
        raise PushError(
            f"'{repository}' cannot be the id of a repository. Give owner/name, such as me/rater."
        ) from error
    except HfHubHTTPError as error:
        _explain_status(repository, error)
    except ValueError as error:
        # the hub has read the card's header and found it wrong
        raise PushError(f"Hugging Face refuses the model card. {error}") from error
    except OfflineModeIsEnabled as error:
        raise PushError("Offline mode is on (HF_HUB_OFFLINE): unset it to push, or give --dry-run.") from error
    except HTTPError as error:
        raise PushError(
            f"Hugging Face cannot be reached. Connect to the network, or give --dry-run. ({error})"
        ) from error


def _explain_status(repository: str, error: Any) -> NoReturn:
    status = error.response.status_code
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        reason = "Hugging Face does not accept the token. Log in again with `hf auth login`, or mend HF_TOKEN."
    elif status == 403:
        reason = f"The token may not write to '{repository}'. Use one with the right to write, or another owner."
    else:
        reason = f"Hugging Face answered {status}: {error.server_message or error}"
    raise PushError(reason) from error
