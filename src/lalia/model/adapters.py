"""Small trainable parts added to a frozen encoder: LoRA and its kin through PEFT, soft prompts of our own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from lalia.errors import EncoderError, ModelError
from lalia.model.adapt import Adaptation, choose_depths, train_only
from lalia.model.adapter_layers import fold_adapters
from lalia.model.adapter_targets import attention_projections, feed_forward_outputs, match_targets
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.rank_allocation import RankAllocation
from lalia.model.soft_prompt import SoftPrompt


def adapt_lora(
    encoder: SpeechEncoder,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    dropout: float = 0.0,
    targets: Sequence[str] = (),
    blocks: Sequence[int] = (),
    last: int | float | None = None,
    rslora: bool = False,
    dora: bool = False,
) -> Adaptation:
    """Add low-rank updates to linear layers, and let nothing else in the encoder train.

    LoRA is Hu et al. 2021 (arXiv 2106.09685) as in PEFT: a layer's output gains ``alpha / rank`` times B A x, where B
    starts at zero, so that nothing changes before training.

    Args:
        encoder: changed in place.
        rank: of the updates.
        alpha: their scale.
        dropout: before A, in training.
        targets: linear layers of the blocks, by name, path within the block or glob; none takes the projections of
            attention: queries, keys, values and output.
        blocks: block numbers, from 1 or negative from the end; none takes all.
        last: the last n blocks, or as a float that fraction of them, instead of ``blocks``.
        rslora: scale by ``alpha / sqrt(rank)`` (Kalajdzievski 2023, arXiv 2312.03732).
        dora: learn the length of each row of the weights apart from its direction (Liu et al. 2024, arXiv 2402.09353).

    Raises:
        EncoderError: if the encoder has no such block or layer, or was given adapters or a prompt before.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "wavlm", "layers": 4, "width": 16, "heads": 2})
        >>> adaptation = adapt_lora(encoder, rank=2, targets=["q_proj"], last=1)
        >>> adaptation.first_changing_depth, adaptation.trainable
        (4, ('encoder.layers.3.attention.q_proj.lora_A.default.weight', \
'encoder.layers.3.attention.q_proj.lora_B.default.weight'))
    """
    modules = _find_modules(encoder, attention_projections, targets, blocks, last)
    settings = {"rank": rank, "alpha": alpha, "dropout": dropout, "rslora": rslora, "dora": dora}
    return _adapt(encoder, {"kind": "lora", **settings, "modules": modules})


def adapt_ia3(
    encoder: SpeechEncoder,
    *,
    targets: Sequence[str] = (),
    blocks: Sequence[int] = (),
    last: int | float | None = None,
) -> Adaptation:
    """Add a learned factor to each keys' and values' output and to what the feed-forward parts' second layers take in.

    IA3 is Liu et al. 2022 (arXiv 2205.05638) as in PEFT; the factors start at one, so that nothing changes before
    training.

    Args:
        encoder: changed in place.
        targets: other linear layers, as for ``adapt_lora``; the second layer of a feed-forward part has its input
            scaled, any other its output.
        blocks: block numbers, from 1 or negative from the end; none takes all.
        last: the last n blocks, or as a float that fraction of them, instead of ``blocks``.

    Raises:
        EncoderError: if the encoder has no such block or layer, or was given adapters or a prompt before.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 2, "width": 16, "heads": 2})
        >>> len(adapt_ia3(encoder).trainable)
        6
    """

    def keys_values_and_feed_forward(block: nn.Module) -> list[str]:
        return [*attention_projections(block, ["key", "value"]), *feed_forward_outputs(block)]

    modules = _find_modules(encoder, keys_values_and_feed_forward, targets, blocks, last)
    prefixes = {encoder.path_of(block): block for block in encoder.blocks}
    feed_forward = {f"{prefix}.{path}" for prefix, block in prefixes.items() for path in feed_forward_outputs(block)}
    scaled_inputs = [path for path in modules if path in feed_forward]
    return _adapt(encoder, {"kind": "ia3", "modules": modules, "scaled_inputs": scaled_inputs})


def adapt_adalora(
    encoder: SpeechEncoder,
    *,
    rank: int = 8,
    start_rank: int = 12,
    alpha: float = 16.0,
    dropout: float = 0.0,
    targets: Sequence[str] = (),
    blocks: Sequence[int] = (),
    last: int | float | None = None,
    warmup: float = 0.1,
    settle: float = 0.3,
    orthogonality: float = 0.5,
) -> Adaptation:
    """Add low-rank updates whose ranks fall in training where they matter least.

    AdaLoRA is Zhang et al. 2023 (arXiv 2303.10512) as in PEFT; see :mod:`lalia.model.rank_allocation`. The training
    loop asks ``encoder.ranks`` for its part.

    Args:
        encoder: changed in place.
        rank: the mean rank at the end.
        start_rank: of every update at the start, more than ``rank``.
        alpha: the scale of the updates, divided by ``start_rank``.
        dropout: of what the updates take in, in training.
        targets: as for ``adapt_lora``.
        blocks: block numbers, from 1 or negative from the end; none takes all.
        last: the last n blocks, or as a float that fraction of them, instead of ``blocks``.
        warmup: the share of optimiser steps before the ranks begin to fall.
        settle: the share of steps at the end in which they stay.
        orthogonality: the weight of the penalty that keeps the factors orthogonal.

    Raises:
        EncoderError: if ``start_rank`` is not more than ``rank``, the encoder has no such block or layer, or it was
            given adapters or a prompt before.
    """
    if start_rank <= rank:
        raise EncoderError(f"start_rank must be more than rank, to which it falls; got {start_rank} and {rank}.")
    modules = _find_modules(encoder, attention_projections, targets, blocks, last)
    settings: dict[str, Any] = {"rank": rank, "start_rank": start_rank, "alpha": alpha, "dropout": dropout}
    settings |= {"warmup": warmup, "settle": settle, "orthogonality": orthogonality}
    return _adapt(encoder, {"kind": "adalora", **settings, "modules": modules})


def adapt_soft_prompt(encoder: SpeechEncoder, *, length: int = 10, deep: bool = False) -> Adaptation:
    """Put learned vectors before the frames of depth 0, and let nothing else in the encoder train.

    All blocks attend to them; no depth that the encoder gives contains them, so they are never pooled.

    Args:
        encoder: changed in place.
        length: the number of vectors.
        deep: give each block new ones in place of what the block below made of the last.

    Raises:
        EncoderError: if the encoder has no blocks, its relative positions would count the vectors as time, or it was
            given adapters or a prompt before.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "hubert", "layers": 3, "width": 16, "heads": 2})
        >>> adapt_soft_prompt(encoder, length=4)
        Adaptation(kind='soft_prompt', first_changing_depth=1, trainable=('prompt.vectors.0',))
    """
    _refuse_second(encoder)
    if not encoder.takes_prompt:
        raise EncoderError(
            f"{encoder.source.name} takes no soft prompt: the relative positions of {encoder.family} would count its"
            " vectors as time. Choose another adaptation, such as lora."
        )
    return _adapt(encoder, {"kind": "soft_prompt", "length": length, "deep": deep})


def add_again(encoder: SpeechEncoder, added: Mapping[str, Any]) -> None:
    """Give a fresh encoder what another one's ``added`` describes, with new values and frozen.

    Args:
        encoder: of the same architecture, changed in place.
        added: nothing is added where it is empty.

    Raises:
        EncoderError: if the encoder lacks a layer that is named, or was given adapters or a prompt before.
    """
    if not added:
        return
    _refuse_second(encoder)
    there = {path for path, _ in encoder.model.named_modules()}
    missing = [path for path in added.get("modules", ()) if path not in there]
    if missing:
        raise EncoderError(f"{encoder.source.name} has no layer '{missing[0]}' for an adapter.")
    _add(encoder, added)
    train_only(encoder, str(added["kind"]), ())


def merge_adapters(encoder: SpeechEncoder) -> None:
    """Fold adapters into the weights: the same frames from Hugging Face's own modules and names, all frozen.

    Args:
        encoder: changed in place; left as it is where it has no adapters.

    Raises:
        ModelError: if it has a soft prompt, which is no change of weights.

    Example:
        >>> from lalia.model.encoders.load import load_encoder
        >>> encoder = load_encoder({"random": "wavlm", "layers": 1, "width": 16, "heads": 2})
        >>> names = list(encoder.model.state_dict())
        >>> _ = adapt_lora(encoder)
        >>> merge_adapters(encoder)
        >>> list(encoder.model.state_dict()) == names
        True
    """
    if encoder.prompt is not None:
        raise ModelError("A soft prompt cannot be folded into weights: save the rater as it is.")
    if not encoder.added:
        return
    train_only(encoder, "frozen", ())
    weights = {f"{path}.{name}" for path in fold_adapters(encoder) for name in ("weight", "bias")}
    encoder.changed |= weights & {path for path, _ in encoder.model.named_parameters()}


def _find_modules(
    encoder: SpeechEncoder,
    defaults: Callable[[nn.Module], Sequence[str]],
    targets: Sequence[str],
    blocks: Sequence[int],
    last: int | float | None,
) -> list[str]:
    _refuse_second(encoder)
    depths = choose_depths(encoder, last, blocks)
    if targets:
        return match_targets(encoder, depths, targets)
    chosen = [encoder.blocks[depth - 1] for depth in depths]
    found = {f"{encoder.path_of(block)}.{path}" for block in chosen for path in defaults(block)}
    if not found:
        raise EncoderError(
            f"The blocks of {encoder.source.name} have no linear layers under the names that lalia knows of attention."
            " Name them in targets."
        )
    return [path for path, _ in encoder.model.named_modules() if path in found]


def _refuse_second(encoder: SpeechEncoder) -> None:
    if encoder.added:
        raise EncoderError(
            f"{encoder.source.name} was given {encoder.added['kind']} before. Load the encoder anew, or fold adapters"
            " into its weights with merge_adapters."
        )
    if not encoder.n_blocks:
        raise EncoderError(f"{encoder.source.name} has no blocks to adapt. Choose adapt: frozen or full.")


def _adapt(encoder: SpeechEncoder, added: Mapping[str, Any]) -> Adaptation:
    return train_only(encoder, str(added["kind"]), _add(encoder, added))


def _add(encoder: SpeechEncoder, added: Mapping[str, Any]) -> list[str]:
    """Add adapters or a prompt to the modules and return the paths of what trains in them."""
    train_only(encoder, "frozen", ())
    if added["kind"] == "soft_prompt":
        n_sets = encoder.n_blocks if added["deep"] else 1
        encoder.prompt = SoftPrompt(added["length"], encoder.width, n_sets).to(encoder.device)
    else:
        _inject(encoder, added)
    encoder.added = dict(added)
    return [path for path, each in encoder.adaptable() if each.requires_grad]


def _inject(encoder: SpeechEncoder, added: Mapping[str, Any]) -> None:
    # late: it takes seconds
    from peft import AdaLoraConfig, AdaLoraModel, IA3Config, IA3Model, LoraConfig, LoraModel

    common = {"target_modules": list(added["modules"])}
    if added["kind"] != "ia3":
        common |= {"lora_alpha": added["alpha"], "lora_dropout": added["dropout"]}
    match added["kind"]:
        case "lora":
            config = LoraConfig(**common, r=added["rank"], use_rslora=added["rslora"], use_dora=added["dora"])
            LoraModel(encoder.model, config, "default")
        case "ia3":
            IA3Model(encoder.model, IA3Config(**common, feedforward_modules=list(added["scaled_inputs"])), "default")
        case "adalora":
            ranks = {"init_r": added["start_rank"], "target_r": added["rank"]}
            # the number of steps is known when training begins
            config = AdaLoraConfig(**common, **ranks, orth_reg_weight=added["orthogonality"], total_step=2)
            tuner = AdaLoraModel(encoder.model, config, "default")
            encoder.ranks = RankAllocation(tuner, warmup=added["warmup"], settle=added["settle"])
        case kind:
            raise EncoderError(f"Unknown adapters '{kind}': lalia knows lora, ia3, adalora and soft_prompt.")
    if hasattr(encoder.model, "peft_config"):
        # PEFT's note for transformers, whose own saving would then leave the weights out
        del encoder.model.peft_config
