"""From an encoder's name to a folder with its config and weights, local or downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lalia.errors import EncoderError, list_some
from lalia.model.encoders.download import PICKLED, SAFETENSORS, downloaded, holds, list_repository
from lalia.model.untrusted import read_json_object

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
# how other programs and older checkpoints keep weights
_OTHER_WEIGHTS = (".h5", ".msgpack", ".pt", ".pth", ".ckpt", ".onnx", ".gguf", ".bin", ".safetensors")


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


@contextmanager
def find_checkpoint(
    encoder: str | Path,
    revision: str | None = None,
    *,
    download_dir: str | Path | None = None,
    keep_download: bool = True,
) -> Iterator[Checkpoint]:
    """Give the place of an encoder's files, after downloading those that are needed and not there yet.

    Args:
        encoder: a folder, or else a Hugging Face id.
        revision: the branch, tag or commit of an id.
        download_dir: where downloads go, in the layout of Hugging Face's cache; None is that cache.
        keep_download: whether what had to be downloaded stays after the block; a folder always does.

    Raises:
        EncoderError: if there is no such folder or id, it cannot be reached, or it holds no config or no weights.
    """
    folder = find_folder(encoder)
    if folder is None:
        name = str(encoder)
        with downloaded(name, revision, download_dir=download_dir, keep_download=keep_download) as snapshot:
            _check_files(name, snapshot, list_repository(name, snapshot))
            yield Checkpoint(snapshot, name, snapshot.name)
        return
    if revision is not None:
        raise EncoderError(f"'{encoder}' is a folder: a revision goes with a Hugging Face id.")
    _check_files(str(encoder), folder, sorted(file.name for file in folder.iterdir()))
    yield Checkpoint(folder, folder.resolve().name, None)


def find_folder(encoder: str | Path) -> Path | None:
    """Return the folder that an encoder's name is, None for what can only be a Hugging Face id.

    Raises:
        EncoderError: if it is written as a path, and there is no such folder.
    """
    text = str(encoder)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(encoder, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text:
        raise EncoderError(f"There is no folder '{text}'. Give a Hugging Face id or a folder with config.json.")
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        EncoderError: if it is not one.
    """
    try:
        return read_json_object(path)
    except (OSError, ValueError) as error:
        raise EncoderError(f"'{path}' cannot be read as JSON: {error}.") from error


def _check_files(name: str, folder: Path, files: list[str]) -> None:
    """Refuse what is not a whole encoder in the layout of Hugging Face, and say what it is instead."""
    if (folder / "adapter_config.json").is_file():
        raise EncoderError(
            f"'{name}' holds an adapter of peft (adapter_config.json), not a whole encoder. Merge it into its base"
            " model (merge_and_unload), save that, and give its folder."
        )
    has_config = (folder / "config.json").is_file()
    if has_config and holds(folder, SAFETENSORS + PICKLED):
        return
    other = [file for file in files if file.endswith(_OTHER_WEIGHTS)]
    tokenizer = [file for file in files if file in _TOKENIZER_FILES]
    if tokenizer and not other:
        raise EncoderError(
            f"'{name}' holds a tokenizer ({list_some(tokenizer)}) but no weights: it is not an encoder. Give the id or"
            " folder of the speech model itself."
        )
    if not has_config:
        raise EncoderError(f"'{name}' holds no config.json: it is not an encoder in the layout of Hugging Face.")
    found = f" It has {list_some(other)}, which lalia does not read." if other else ""
    raise EncoderError(f"'{name}' holds no weights: neither model.safetensors nor pytorch_model.bin.{found}")
