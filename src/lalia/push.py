"""Sharing a rater: its folder with its card, as files or as a repository of Hugging Face's hub."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)

from lalia.errors import RunError
from lalia.files import replacing_folder, write_text
from lalia.model.saved_rater import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    RaterConfig,
    config_text,
    find_rater,
    read_config,
    read_weights,
)
from lalia.report.card import CARD_FILE, REPOSITORY, describe_rater


def push(run: str | Path, repository: str, *, private: bool = True) -> str:
    """Upload a rater with its card to a repository of Hugging Face's hub, which is made where there is none.

    Of the run nothing else goes: no ids, no paths, no audio, no predictions. The token is that of
    ``huggingface_hub``: ``HF_TOKEN``, or what ``hf auth login`` stored.

    Args:
        run: the folder of a run, or of the rater itself.
        repository: its id, such as ``my-lab/hoarseness``.
        private: whether a new repository is private. One that exists stays as it is, and a public one is not pushed
            to unless False is given.

    Returns:
        The address of the repository.

    Raises:
        RaterError: if there is no rater.
        RunError: if there is no token, it may not write, the id is none, the repository is public unasked, the hub
            refuses the card or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_shared(run, Path(temporary) / "rater", repository)
        try:
            api = HfApi()
            created = api.create_repo(repository, private=private, exist_ok=True)
            if private and not api.model_info(created.repo_id).private:
                raise RunError(f"'{created.repo_id}' exists and is public. Give --public to push there, or another id.")
            api.upload_folder(repo_id=created.repo_id, folder_path=folder, commit_message="Upload a rater of lalia")
        except LocalTokenNotFoundError as cause:
            raise RunError("No token of Hugging Face is known. Set HF_TOKEN, or log in with: hf auth login") from cause
        except HFValidationError as cause:
            raise RunError(f"'{repository}' is no id of a repository, such as my-lab/hoarseness. {cause}") from cause
        except OfflineModeIsEnabled as cause:
            raise RunError("The hub cannot be reached: HF_HUB_OFFLINE is set. Unset it, or give --dry-run.") from cause
        except HfHubHTTPError as cause:
            raise RunError(_explain(repository, cause)) from cause
        except ValueError as cause:
            # the hub reads the header of the card before it takes any file
            raise RunError(f"The hub refuses the model card. {cause}") from cause
        except RunError:
            raise
        except (HTTPError, OSError) as cause:
            raise RunError(f"The hub cannot be reached: {cause}. Try again, or give --dry-run.") from cause
    return str(created)


def write_shared(run: str | Path, out: str | Path, repository: str = REPOSITORY) -> Path:
    """Write the folder that ``push`` would upload: config.json, model.safetensors, README.md.

    The card is the one beside the rater, with all that its makers filled in, or else a new one. What it says of
    ``OWNER/NAME`` is said of the repository. People who rated and have heads in the rater become numbers, and the name
    of an encoder's local folder goes. The rater's own folder stays as it is.

    Args:
        run: the folder of a run, or of the rater itself.
        out: a new folder, or an empty one.
        repository: its id.

    Raises:
        RaterError: if there is no rater, or it is damaged.
        RunError: if ``out`` holds something already, or cannot be written; or the rater was saved without an encoder
            that others could load.
    """
    found, out = find_rater(Path(run)), Path(out)
    config = read_config(found)
    read_weights(found, config)
    if not config.holds_encoder and config.encoder.revision is None:
        raise RunError(
            f"The rater in '{found}' was saved without its encoder, and nobody else has that one. Train it with"
            " model.save_encoder: true to share it."
        )
    card = found / CARD_FILE
    text = card.read_text(encoding="utf-8") if card.is_file() else describe_rater(found)
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise RunError(f"'{out}' exists already. Give the name of a new folder.")
        with replacing_folder(out) as temporary:
            write_text(temporary / CONFIG_FILE, config_text(without_names(config)))
            shutil.copyfile(found / WEIGHTS_FILE, temporary / WEIGHTS_FILE)
            write_text(temporary / CARD_FILE, text.replace(REPOSITORY, repository))
    except RunError:
        raise
    except OSError as cause:
        raise RunError(f"Cannot write to '{out}': {cause.strerror or cause}. Give another folder.") from cause
    return out


def without_names(config: RaterConfig) -> RaterConfig:
    """Return a rater's config with a number in the place of each person that rated, and no name of a local folder."""
    numbered = tuple(f"rater {number}" for number in range(1, len(config.raters) + 1))
    encoder = config.encoder
    if encoder.revision is None and not encoder.name.startswith("random:"):
        encoder = replace(encoder, name="a local folder")
    return config.model_copy(update={"raters": numbered, "encoder": encoder})


def _explain(repository: str, error: HfHubHTTPError) -> str:
    status = error.response.status_code
    if status == 401:
        return "Hugging Face does not know this token, or none was given. Set HF_TOKEN, or log in with: hf auth login"
    if status == 403:
        return f"This token may not write to '{repository}'. Make one with the right to write, or name another id."
    return f"The hub refused '{repository}' (status {status}): {error.server_message or error}"
