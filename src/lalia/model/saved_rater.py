"""The folder of a saved rater: ``config.json`` and ``model.safetensors``, which together are all that a score needs."""

import hashlib
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lalia.data.audio import Preprocessing
from lalia.errors import RaterError, list_some
from lalia.files import json_text
from lalia.model.decisions import Abstention, Calibration
from lalia.model.encoders.base import EncoderSource
from lalia.model.untrusted import find_code, find_excess, find_not_finite, read_json_object
from lalia.scale import Scale

FORMAT: Final = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class RaterConfig(BaseModel):
    """What ``config.json`` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: Literal[1] = FORMAT
    """The version of this layout; it changes when an older lalia could no longer read the folder."""
    lalia: str
    """The version of lalia that saved it."""
    traits: tuple[str, ...]
    """The traits in the order of the head's outputs."""
    scale: Scale
    """The rating scale."""
    preprocessing: Preprocessing
    """From file to waveform."""
    layers: str | int | tuple[int, ...]
    """Which depths are pooled."""
    pooling: dict[str, Any]
    """The arguments of ``build_pooling``, without the width."""
    head: dict[str, Any]
    """The arguments of ``build_head``, without width, traits and scale."""
    rater_heads: dict[str, Any] | None = None
    """The arguments of ``build_head`` for the heads of raters; null for none."""
    raters: tuple[str, ...] = ()
    """The raters that have heads."""
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    """Per trait, the probability from which on it counts as present."""
    calibrations: dict[str, Annotated[Calibration, Field(discriminator="kind")]] = Field(default_factory=dict)
    """For traits that have one, what the head's probability of presence becomes."""
    abstentions: dict[str, Abstention] = Field(default_factory=dict)
    """For traits that have one, where nothing is decided."""
    encoder: EncoderSource
    """The architecture of the encoder and where it comes from."""
    adaptation: dict[str, Any] = Field(default_factory=dict)
    """The adapters or the prompt that the encoder was given, empty for none."""
    changed: tuple[str, ...] = ()
    """The encoder's own parameters that training may have changed, by their paths in Hugging Face's model."""
    holds_encoder: bool = True
    """Whether ``model.safetensors`` holds the encoder's unchanged weights too."""
    encoder_sha256: str | None = None
    """The hash of the encoder's unchanged weights."""
    trained_from: Annotated[int, Field(ge=0)] | None = None
    """The lowest depth of the encoder that was trained; one above the last depth if none was."""
    weights_sha256: str
    """The hash of all weights; ``model.safetensors`` carries it too, so that a mixed pair of files is noticed."""

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _without_limits(cls, value: object) -> object:
        # what may be opened is for those to say who open it, not for those who made the rater
        if isinstance(value, Mapping) and "limits" in value:
            raise ValueError("a rater sets no limits")
        return value

    @field_serializer("preprocessing")
    def _describe(self, value: Preprocessing) -> dict[str, Any]:
        return value.describe()


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named weights on the CPU, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)} ".encode())
        digest.update(weights[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_rater(folder: Path, config: RaterConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a rater's folder through a temporary one beside it.

    A new folder appears complete or not at all. In a folder that exists the two files are replaced one after the
    other and everything else is kept; a pair that a stop left mixed is refused when it is read.

    Args:
        folder: its parents are made.
        config: its ``weights_sha256`` is that of the weights.
        weights: on the CPU, contiguous.

    Raises:
        RaterError: if the folder cannot be written.
    """
    write_folder(folder, config, weights)


def write_folder(folder: Path, config: Any, weights: Mapping[str, Tensor]) -> None:
    """Write a config and weights as ``write_rater`` does; the config is a pydantic model with ``weights_sha256``."""
    # not tempfile.mkdtemp: its folders are closed to everybody else, and a rename would keep that
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        # one key alone: safetensors writes several in a random order, and equal raters should be equal files
        save_file(dict(weights), temporary / WEIGHTS_FILE, metadata={"sha256": config.weights_sha256})
        (temporary / CONFIG_FILE).write_text(config_text(config), encoding="utf-8")
        if folder.is_dir() and any(folder.iterdir()):
            for name in (WEIGHTS_FILE, CONFIG_FILE):
                (temporary / name).replace(folder / name)
        else:
            temporary.replace(folder)
    except (OSError, SafetensorError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise RaterError(f"Cannot save the rater in '{folder}': {reason}.") from cause
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def config_text(config: Any) -> str:
    """Return what ``config.json`` holds, as text; the config is a pydantic model."""
    return json_text(config.model_dump(mode="json"), sort_keys=True)


def holds_rater(folder: Path) -> bool:
    """Return whether a folder is that of a saved rater, or of a run with one, rather than a Hugging Face checkpoint."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return (folder / "model" / CONFIG_FILE).is_file()
    try:
        values = read_json_object(path)
    except (OSError, ValueError):
        return False
    return "format" in values and "model_type" not in values


def find_rater(folder: Path) -> Path:
    """Return the folder of the rater itself, given it or the folder of its run.

    Raises:
        RaterError: if there is no rater, or half of one.
    """
    found = folder if (folder / CONFIG_FILE).is_file() else folder / "model"
    if not (found / CONFIG_FILE).is_file():
        if (folder / "folds").is_dir():
            raise RaterError(
                f"'{folder}' holds a rater for each fold, not one. Give one of the runs in '{folder / 'folds'}', or"
                " rate with all of them: lalia predict"
            )
        raise RaterError(
            f"No rater in '{folder}': neither {CONFIG_FILE} nor model/{CONFIG_FILE} is there."
            " Give the folder of a finished run or its model folder."
        )
    if not (found / WEIGHTS_FILE).is_file():
        raise RaterError(f"The rater in '{found}' has no {WEIGHTS_FILE}. Copy the whole folder, or save it again.")
    return found


def read_config(folder: Path) -> RaterConfig:
    """Read and check ``config.json``.

    Raises:
        RaterError: if it is no JSON, of another format, or lacks, misnames or misuses a key; all problems are listed.
    """
    path = folder / CONFIG_FILE
    values = _read_object(path)
    if "format" not in values:
        raise RaterError(f"'{path}' does not describe a rater of lalia: it has no key 'format'.")
    if str(values["format"]).startswith("head-"):
        raise RaterError(f"'{folder}' holds a head alone, without an encoder. Give it as model.head_from.")
    if values["format"] != FORMAT:
        raise RaterError(
            f"'{path}' has format {values['format']!r}, saved by lalia {values.get('lalia')}; this lalia reads format"
            f" {FORMAT}. Install the lalia that saved it, or a newer one."
        )
    try:
        return RaterConfig.model_validate(values)
    except ValidationError as cause:
        problems = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in cause.errors()]
        raise RaterError(f"'{path}' cannot be used: {'; '.join(problems)}. Save the rater again.") from cause


def _read_object(path: Path) -> dict[str, Any]:
    """Read a config, in which nothing names code to import or is of a size that no model has."""
    try:
        values = read_json_object(path)
    except (OSError, ValueError) as cause:
        raise RaterError(f"Cannot read '{path}': {cause}. Save the rater again.") from cause
    code, excess = find_code(values), find_excess(values)
    if code is not None:
        raise RaterError(f"'{path}' brings its own code ({code}), which lalia does not run.")
    if excess is not None:
        raise RaterError(f"'{path}' is not that of a rater. {excess}.")
    return values


def read_weights(folder: Path, config: Any) -> dict[str, Tensor]:
    """Read ``model.safetensors`` onto the CPU.

    Raises:
        RaterError: if it is damaged, was not saved together with ``config.json``, or holds what is no finite number.
    """
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="pt") as file:
            sha256 = (file.metadata() or {}).get("sha256")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as cause:
        raise RaterError(f"Cannot read '{path}': {cause}. Copy the folder again, or save the rater again.") from cause
    if sha256 != config.weights_sha256:
        raise RaterError(f"{CONFIG_FILE} and {WEIGHTS_FILE} in '{folder}' are not of one rater. Save the rater again.")
    wrong = find_not_finite(weights)
    if wrong:
        raise RaterError(
            f"The weights in '{path}' hold NaN or infinity, so no score would be a number: {list_some(wrong)}. Copy"
            " the folder again, or save the rater again."
        )
    return weights


def check_weights(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse weights that are not those of the model that ``config.json`` describes.

    Raises:
        RaterError: if a weight is missing, not expected, or of another shape.
    """
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is not expected" for name in found if name not in expected]
    problems += [
        f"{name} has shape {tuple(found[name].shape)} instead of {tuple(weight.shape)}"
        for name, weight in expected.items()
        if name in found and found[name].shape != weight.shape
    ]
    if problems:
        raise RaterError(f"The weights in '{folder}' do not fit config.json: {list_some(problems)}.")
