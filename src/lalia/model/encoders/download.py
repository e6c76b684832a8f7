"""From a Hugging Face id to a folder: what is needed of a repository, from the cache or over the network."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from huggingface_hub import HfApi, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lalia.errors import EncoderError, suggest

# only to help with a misspelt name: any other id is as good
WELL_KNOWN = (
    "facebook/hubert-base-ls960",
    "facebook/hubert-large-ll60k",
    "facebook/hubert-xlarge-ll60k",
    "facebook/wav2vec2-base",
    "facebook/wav2vec2-base-960h",
    "facebook/wav2vec2-large",
    "facebook/wav2vec2-large-960h",
    "facebook/wav2vec2-large-lv60",
    "facebook/wav2vec2-large-robust",
    "facebook/wav2vec2-large-xlsr-53",
    "facebook/wav2vec2-xls-r-300m",
    "facebook/wav2vec2-xls-r-1b",
    "facebook/mms-300m",
    "microsoft/wavlm-base",
    "microsoft/wavlm-base-plus",
    "microsoft/wavlm-large",
    "openai/whisper-tiny",
    "openai/whisper-base",
    "openai/whisper-small",
    "openai/whisper-medium",
    "openai/whisper-large-v2",
    "openai/whisper-large-v3",
    "openai/whisper-large-v3-turbo",
    "utter-project/mHuBERT-147",
)

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin")
CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json", "adapter_config.json")


@contextmanager
def downloaded(
    name: str, revision: str | None, *, download_dir: str | Path | None = None, keep_download: bool = True
) -> Iterator[Path]:
    """Give the folder of an id's files; its name is the commit.

    Args:
        name: a Hugging Face id.
        revision: a branch, tag or commit; None for the default branch.
        download_dir: a folder in the layout of Hugging Face's cache, a folder per id and commit; None is that cache.
        keep_download: False fetches what is not there yet into a temporary folder (within ``download_dir``, or else
            within the system's) and removes that at the end. What was there before stays.

    Raises:
        EncoderError: if the id cannot be had: each cause has its own message.
    """
    cache = None if download_dir is None else Path(download_dir).expanduser()
    with _explained(name, revision):
        found = _fetch(name, revision, cache) if keep_download else _find_cached(name, revision, cache)
    if found is not None:
        yield found
        return
    with _explained(name, revision):
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix="lalia-", dir=cache, ignore_cleanup_errors=True)
    with temporary as folder:
        with _explained(name, revision):
            found = _fetch(name, revision, Path(folder))
        yield found


def list_repository(name: str, snapshot: Path) -> list[str]:
    """Return the names of all files of a repository, downloaded or not; only the downloaded where that is not known.

    Args:
        name: a Hugging Face id.
        snapshot: its folder in a cache, as ``downloaded`` gives it.
    """
    try:
        tree = get_cached_repo_tree(name, revision=snapshot.name, cache_dir=snapshot.parents[2])
    except (CachedRepoTreeNotFoundError, OSError):
        return sorted(file.name for file in snapshot.glob("*"))
    return sorted(file.path for file in tree)


def holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    """Return whether a folder has a file of one of these names."""
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def _fetch(name: str, revision: str | None, cache: Path | None) -> Path:
    folder = Path(snapshot_download(name, revision=revision, cache_dir=cache, allow_patterns=[*CONFIGS, *SAFETENSORS]))
    # some repositories have both: the pickled weights are fetched only where there is nothing else
    if not holds(folder, SAFETENSORS):
        folder = Path(
            snapshot_download(name, revision=folder.name, cache_dir=cache, allow_patterns=[*CONFIGS, *PICKLED])
        )
    return folder


def _find_cached(name: str, revision: str | None, cache: Path | None) -> Path | None:
    """Return what a cache holds of the commit that a revision is now, None where that is not all that is needed."""
    try:
        commit = HfApi().model_info(name, revision=revision).sha
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except (HTTPError, OSError):
        # without a network, the commit is the one that the cache knows
        commit = revision
    for weights in (SAFETENSORS, PICKLED):
        try:
            folder = Path(
                snapshot_download(
                    name,
                    revision=commit,
                    cache_dir=cache,
                    allow_patterns=[*CONFIGS, *weights],
                    local_files_only=True,
                )
            )
        except LocalEntryNotFoundError:
            continue
        if holds(folder, weights):
            return folder
    return None


@contextmanager
def _explained(name: str, revision: str | None) -> Iterator[None]:
    """Say in the user's words why an id cannot be had."""
    try:
        yield
    except GatedRepoError as error:
        raise EncoderError(
            f"The encoder '{name}' is gated: accept its terms at https://huggingface.co/{name}, then `hf auth login`."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        private = "" if isinstance(error, HFValidationError) else " If it is private, `hf auth login` first."
        raise EncoderError(
            f"Unknown encoder '{name}'.{suggest(name, WELL_KNOWN)} Give a Hugging Face id or a folder.{private}"
        ) from error
    except RevisionNotFoundError as error:
        raise EncoderError(
            f"The encoder '{name}' has no revision '{revision}'. Give a branch, tag or commit that"
            f" https://huggingface.co/{name}/commits/main lists, or leave model.revision out."
        ) from error
    except LocalEntryNotFoundError as error:
        _explain_unreachable(name, error)
    except (HTTPError, OSError) as error:
        raise EncoderError(f"The encoder '{name}' cannot be downloaded. {error}") from error


def _explain_unreachable(name: str, error: LocalEntryNotFoundError) -> NoReturn:
    cause = error.__cause__
    place = "only partly in the local cache" if isinstance(error, IncompleteSnapshotError) else "not in the local cache"
    near = "" if name in WELL_KNOWN else suggest(name, WELL_KNOWN)
    if isinstance(cause, HfHubHTTPError):
        why = f"Hugging Face answered {cause.response.status_code}"
        advice = "Try again later, or give a folder that holds the encoder."
    elif isinstance(cause, OfflineModeIsEnabled):
        why = "offline mode is on (HF_HUB_OFFLINE)"
        advice = "Unset HF_HUB_OFFLINE and connect to the network once, or give a folder that holds the encoder."
    else:
        why = "Hugging Face cannot be reached"
        advice = "Connect to the network once, or give a folder that holds the encoder."
    raise EncoderError(f"The encoder '{name}' is {place}, and {why}.{near} {advice}") from error
