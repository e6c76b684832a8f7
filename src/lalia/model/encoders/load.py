"""From a name, a folder or a small description to an encoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lalia.errors import EncoderError, suggest
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.encoders.encode import encode
from lalia.model.encoders.fine_tuned import read_fine_tuned
from lalia.model.encoders.from_config import build_from_architecture
from lalia.model.encoders.locate import find_checkpoint, find_folder
from lalia.model.encoders.pretrained import read_checkpoint
from lalia.model.encoders.random import make_random_encoder
from lalia.model.saved_rater import holds_rater

__all__ = ["build_from_architecture", "encode", "load_encoder"]

_RANDOM_KEYS = ("random", "layers", "width", "heads", "seed", "config")


def load_encoder(
    encoder: str | Path | Mapping[str, Any],
    *,
    revision: str | None = None,
    normalize: Literal["auto"] | bool = "auto",
    context: Literal["full", "clip"] = "full",
    download_dir: str | Path | None = None,
    keep_download: bool = True,
) -> SpeechEncoder:
    """Return a speech encoder in float32, frozen and in eval mode.

    Known by their parts are wav2vec 2.0 (XLS-R and MMS are), HuBERT, WavLM, UniSpeech, UniSpeech-SAT, data2vec-audio,
    wav2vec2-conformer, SEW, w2v-BERT 2.0, Whisper (its encoder: the decoder is never built), the Audio Spectrogram
    Transformer, Parakeet and LASR. Other audio models of transformers are read as a whole: their last hidden state,
    frozen or trained in full. Code that a checkpoint brings along is never run.

    Args:
        encoder: a Hugging Face id such as ``microsoft/wavlm-base-plus``, downloaded into Hugging Face's cache; a
            folder in the same layout; the folder of a saved rater or of a run, for the encoder that was fine-tuned
            there; or ``{"random": "wavlm", "layers": 2, "width": 64, "heads": 4, "seed": 0,
            "config": {...}}`` for a small one with random weights, ``"random:wavlm"`` with all defaults.
        revision: the branch, tag or commit of a Hugging Face id; None takes the default branch. The commit that it
            stands for is kept in ``source.revision``.
        normalize: whether waveforms get zero mean and unit variance before the stem; ``"auto"`` does as the encoder's
            preprocessor_config.json says, and does so for random encoders. Those on spectrograms ignore it.
        context: ``"full"`` gives Whisper the 30 s that it was trained on, silence behind a shorter clip included;
            ``"clip"`` only the clip, which is several times faster for short ones and gives other frames.
        download_dir: where an id is downloaded to, in the layout of Hugging Face's cache: a folder per id and commit,
            found again without a network. None is that cache itself.
        keep_download: False removes what this call had to download once it is loaded; what was there before, and any
            folder that is given, stays.

    Raises:
        EncoderError: if the encoder cannot be found, is of another family, or its weights cannot be read, are
            incomplete, or more than the encoder has a place for.
        RaterError: if the folder of a saved rater is damaged.

    Example:
        >>> encoder = load_encoder({"random": "wavlm", "layers": 2, "width": 16, "heads": 2})
        >>> encoder.family, encoder.n_blocks, encoder.width, encoder.rate_hz
        ('wavlm', 2, 16, 16000)
    """
    if isinstance(encoder, str) and encoder.startswith("random:"):
        encoder = {"random": encoder.removeprefix("random:")}
    if not isinstance(encoder, Mapping):
        folder = find_folder(encoder)
        if folder is not None and holds_rater(folder):
            if revision is not None:
                raise EncoderError(f"'{encoder}' is a saved rater: a revision goes with a Hugging Face id.")
            return read_fine_tuned(folder, normalize)
        place = find_checkpoint(encoder, revision, download_dir=download_dir, keep_download=keep_download)
        with place as checkpoint:
            return read_checkpoint(checkpoint, normalize, context)
    unknown = [key for key in encoder if key not in _RANDOM_KEYS]
    if unknown or "random" not in encoder:
        key = unknown[0] if unknown else next(iter(encoder), "")
        raise EncoderError(
            f"An encoder with random weights is described by {', '.join(_RANDOM_KEYS)}, of which random is needed;"
            f" got {', '.join(map(str, encoder)) or 'nothing'}.{suggest(key, _RANDOM_KEYS)}"
        )
    if revision is not None:
        raise EncoderError("An encoder with random weights has no revision.")
    sizes = {key: value for key, value in encoder.items() if key != "random"}
    return make_random_encoder(encoder["random"], **sizes, normalize=normalize is not False, context=context)
