"""Fine-tuning with transformers' Trainer, as a practised user would write it: the side that lalia is measured against.

Waveforms are decoded and Whisper's spectrograms computed beforehand; both are free on this side.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    Wav2Vec2FeatureExtractor,
    WavLMForSequenceClassification,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

from benchmarks.corpus import N_LEVELS, Corpus
from benchmarks.timing import Seconds, now
from lalia.data.voice import RATE_HZ

BATCH_SIZE = 8

Item = dict[str, Any]


class _Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seconds: list[Seconds] = []

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        self._begun = now()

    def on_epoch_end(self, *_: object, **__: object) -> None:
        self.seconds.append(now() - self._begun)


class Epochs:
    """A Trainer that runs an epoch whenever it is asked to.

    Args:
        model: takes what ``collate`` gives, frozen already.
        items: the recordings.
        collate: from items to a batch.
        scratch: a folder that the Trainer wants to have.
    """

    def __init__(self, model: nn.Module, items: Sequence[Item], collate: Any, scratch: Path) -> None:
        arguments = TrainingArguments(
            output_dir=str(scratch),
            per_device_train_batch_size=BATCH_SIZE,
            num_train_epochs=1,
            learning_rate=1e-4,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            use_cpu=True,
        )
        self._clock = _Clock()
        self._trainer = Trainer(
            model=model, args=arguments, train_dataset=items, data_collator=collate, callbacks=[self._clock]
        )
        self._trainer.remove_callback(PrinterCallback)

    def run(self) -> Seconds:
        """Train one epoch and return what it took, without starting up."""
        self._trainer.train()
        return self._clock.seconds[-1]


def wavlm_epochs(
    folder: Path, corpus: Corpus, scratch: Path, *, train: str, weighted: bool = False, lora: Sequence[str] = ()
) -> Epochs:
    """Fine-tune ``WavLMForSequenceClassification``.

    Args:
        folder: of the checkpoint.
        corpus: what it is trained on.
        scratch: for the Trainer.
        train: of the encoder's blocks: none, last, half, all, or lora.
        weighted: whether all depths are pooled in a weighted sum.
        lora: with ``train="lora"`` the linear layers that get adapters.
    """
    model = WavLMForSequenceClassification.from_pretrained(folder, num_labels=N_LEVELS, use_weighted_layer_sum=weighted)
    # both: the first alone would have the waveforms' gradient computed in training
    model.freeze_base_model()
    model.freeze_feature_encoder()
    blocks = model.wavlm.encoder.layers
    for block in blocks[len(blocks) - {"last": 1, "half": len(blocks) // 2, "all": len(blocks)}.get(train, 0) :]:
        block.requires_grad_(True)
    tuned = _with_lora(model, lora) if train == "lora" else model
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def collate(items: list[Item]) -> Item:
        waveforms = [item["waveform"] for item in items]
        batch = extractor(
            waveforms, sampling_rate=RATE_HZ, padding=True, return_attention_mask=True, return_tensors="pt"
        )
        return {**batch, "labels": torch.tensor([item["level"] for item in items])}

    items = [
        {"waveform": waveform, "level": level} for waveform, level in zip(corpus.waveforms, corpus.levels, strict=True)
    ]
    return Epochs(tuned, items, collate, scratch)


def whisper_epochs(folder: Path, corpus: Corpus, scratch: Path, *, lora: Sequence[str]) -> Epochs:
    """Fine-tune ``WhisperForAudioClassification`` by LoRA on these linear layers of its encoder."""
    model = _with_lora(WhisperForAudioClassification.from_pretrained(folder, num_labels=N_LEVELS), lora)
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    features = [extractor(waveform, sampling_rate=RATE_HZ).input_features[0] for waveform in corpus.waveforms]

    def collate(items: list[Item]) -> Item:
        return {
            "input_features": torch.from_numpy(np.stack([item["features"] for item in items])),
            "labels": torch.tensor([item["level"] for item in items]),
        }

    items = [{"features": each, "level": level} for each, level in zip(features, corpus.levels, strict=True)]
    return Epochs(model, items, collate, scratch)


def _with_lora(model: nn.Module, targets: Sequence[str]) -> nn.Module:
    adapters = LoraConfig(r=8, lora_alpha=16, target_modules=list(targets), modules_to_save=["projector", "classifier"])
    adapted: nn.Module = get_peft_model(model, adapters)
    return adapted
