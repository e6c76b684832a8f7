"""A small rater of two traits on a random encoder, and toy recordings for it."""

import numpy as np
import torch

from lalia.data.audio import Preprocessing
from lalia.model.encoders.load import load_encoder
from lalia.model.heads import build_head
from lalia.model.inputs import Windows
from lalia.model.layer_mix import build_layer_mix
from lalia.model.pooling import build_pooling
from lalia.model.rater import SpeechRater
from lalia.scale import Scale

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
TRAITS = ("breathy", "slow_rate")
TRANSFORMER = {"layers": 1, "heads": 2, "hidden": 8, "dropout": 0.1}
# which of the two traits share hidden layers
SHARINGS = [{"shared": True}, {"shared": False}, {"groups": {"voice": [0], "articulation": [1]}}]


def make_encoder(family="wavlm", **config):
    return load_encoder({"random": family, "layers": 2, "width": 16, "heads": 2, "config": config})


def make_rater(
    *,
    encoder=None,
    layers="last",
    pooling="mean",
    kind="ordinal",
    method="cumulative",
    window_seconds=1.5,
    rate_hz=16_000,
    traits=TRAITS,
    thresholds=None,
    shared=True,
    groups=None,
    transformer=None,
):
    torch.manual_seed(1)
    encoder = encoder or make_encoder()
    kind_of_pooling = {"kind": pooling} if isinstance(pooling, str) else pooling
    mix = build_layer_mix(layers, n_blocks=encoder.n_blocks, width=encoder.width)
    pool = build_pooling(**{"hidden": 8, **kind_of_pooling}, width=mix.out_width)
    head = build_head(
        kind,
        method=method,
        width=pool.out_width,
        frame_width=pool.width,
        n_traits=2,
        scale=SCALE,
        hidden=(8,),
        dropout=0.1,
        shared=shared,
        groups=groups or {},
        transformer=transformer,
    )
    return SpeechRater(
        encoder,
        layers=layers,
        pooling=pool,
        head=head,
        traits=traits,
        scale=SCALE,
        preprocessing=Preprocessing(rate_hz, trim_db=None, window_seconds=window_seconds, hop_seconds=window_seconds),
        thresholds=thresholds,
    )


def make_waveform(seconds, seed=0):
    """A tone in noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    tone = np.sin(2 * np.pi * random.uniform(100, 400) * time)
    return (0.3 * tone + 0.1 * random.normal(size=len(time))).astype(np.float32)


def make_batch(waveforms, preprocessing):
    """All windows of all recordings in one padded batch, as the data set makes them."""
    windows = [
        (recording, torch.from_numpy(waveform[start:end]))
        for recording, waveform in enumerate(waveforms)
        for start, end in preprocessing.window_bounds(len(waveform))
    ]
    padded = torch.nn.utils.rnn.pad_sequence([window for _, window in windows], batch_first=True)
    n_samples = torch.tensor([len(window) for _, window in windows])
    return Windows(padded, n_samples, torch.tensor([recording for recording, _ in windows]))
