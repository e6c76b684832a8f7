"""From an encoder's name to a folder with its config and weights, local or in Hugging Face's cache."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
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

_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin")
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")


class Checkpoint(NamedTuple):
    """A folder in the layout of Hugging Face.

    Args:
        folder: holds config.json and the weights.
        name: the Hugging Face id, or the folder's own name.
        revision: the commit of a Hugging Face id, None for a folder.
    """

    folder: Path
    name: str
    revision: str | None


def find_checkpoint(encoder: str | Path, revision: str | None = None) -> Checkpoint:
    """Return where an encoder's files lie, after downloading those that are needed and not yet in the cache.

    Args:
        encoder: a folder, or else a Hugging Face id.
        revision: the branch, tag or commit of an id.

    Raises:
        EncoderError: if there is no such folder or id, it cannot be reached, or it holds no config or no weights.
    """
    text = str(encoder)
    folder = Path(text).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise EncoderError(f"'{text}' is a folder: a revision goes with a Hugging Face id.")
        found = Checkpoint(folder, folder.resolve().name, None)
    elif isinstance(encoder, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text:
        raise EncoderError(f"There is no folder '{text}'. Give a Hugging Face id or a folder with config.json.")
    else:
        found = _download(text, revision)
    if not (found.folder / "config.json").is_file():
        raise EncoderError(f"'{text}' holds no config.json: it is not an encoder in the layout of Hugging Face.")
    if not _holds(found.folder, _SAFETENSORS + _PICKLED):
        raise EncoderError(f"'{text}' holds no weights: neither model.safetensors nor pytorch_model.bin.")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        EncoderError: if it is not one.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"'{path}' cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise EncoderError(f"'{path}' holds no JSON object.")
    return values


def _download(name: str, revision: str | None) -> Checkpoint:
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*_CONFIGS, *_SAFETENSORS]))
        # some repositories have both: the pickled weights are fetched only where there is nothing else
        if not _holds(folder, _SAFETENSORS):
            folder = Path(snapshot_download(name, revision=folder.name, allow_patterns=list(_PICKLED)))
    except GatedRepoError as error:
        raise EncoderError(
            f"The encoder '{name}' is gated: accept its terms at https://huggingface.co/{name}, then `hf auth login`."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise EncoderError(
            f"Unknown encoder '{name}'.{suggest(name, WELL_KNOWN)} Give a Hugging Face id or a folder."
        ) from error
    except RevisionNotFoundError as error:
        raise EncoderError(f"The encoder '{name}' has no revision '{revision}'.") from error
    except LocalEntryNotFoundError as error:
        near = "" if name in WELL_KNOWN else suggest(name, WELL_KNOWN)
        raise EncoderError(
            f"The encoder '{name}' is not in the local cache, and Hugging Face cannot be reached.{near} Connect to the"
            f" network once (and unset HF_HUB_OFFLINE), or give a folder that holds the encoder."
        ) from error
    except (HTTPError, OSError) as error:
        raise EncoderError(f"The encoder '{name}' cannot be downloaded. {error}") from error
    return Checkpoint(folder, name, folder.name)


def _holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)
