"""AdaLoRA's part in training: what keeps its factors orthogonal, and the ranks that fall from step to step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lalia.errors import ModelError

if TYPE_CHECKING:
    from peft import AdaLoraModel

_SENSITIVITY, _UNCERTAINTY, _KEPT = "sensitivity", "uncertainty", "kept"


class RankAllocation:
    """The work around each optimiser step that AdaLoRA needs (Zhang et al. 2023, arXiv 2303.10512), through PEFT.

    Each update is P diag(E) Q with P and Q near orthogonal. In the first steps all adapters have the rank that they
    started with; then the entries of E that matter least over all adapters are set to zero, until the mean rank is
    the one that was asked for; in the last steps the ranks stay.

    Args:
        tuner: PEFT's ``AdaLoraModel`` around the encoder's modules.
        warmup: the share of steps before the ranks begin to fall.
        settle: the share of steps at the end in which they stay.
    """

    def __init__(self, tuner: "AdaLoraModel", *, warmup: float, settle: float) -> None:
        self._tuner: Any = tuner
        self._warmup = warmup
        self._settle = settle
        self._is_counted = False

    @property
    def _config(self) -> Any:
        return self._tuner.peft_config["default"]

    def penalty(self) -> Tensor:
        """Return what is added to the loss of a step: how far the factors are from orthogonal.

        That is ``orthogonality`` times the mean of ||P'P - I|| and ||QQ' - I|| over all adapters, as in PEFT.
        """
        distances = []
        for name, factor in self._tuner.model.named_parameters():
            if factor.requires_grad and ("lora_A" in name or "lora_B" in name):
                square = factor @ factor.T if "lora_A" in name else factor.T @ factor
                distances.append(torch.linalg.norm(square - torch.eye(len(square), device=square.device)))
        penalty: Tensor = self._config.orth_reg_weight * torch.stack(distances).mean()
        return penalty

    def after_step(self, step: int, steps: int) -> None:
        """Update the importance of each rank and let the least important ones go.

        To be called after the optimiser's step, while the gradients are still there.

        Args:
            step: the step just taken, from 0.
            steps: all steps of the training.

        Raises:
            ModelError: if there are too few steps for the ranks to fall.
        """
        self._count(steps)
        self._tuner.update_and_allocate(step)

    def ranks(self) -> dict[str, int]:
        """Return how many entries of E are not zero, by the path of the adapted layer."""
        return {
            name.partition(".lora_E.")[0]: int((values != 0).sum())
            for name, values in self._tuner.model.named_parameters()
            if ".lora_E." in name
        }

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold, by name: the averages of importance and which entries are kept."""
        if not self._is_counted:
            return {}
        allocator = self._tuner.rankallocator
        held: dict[str, Mapping[str, Any]] = {
            _SENSITIVITY: allocator.exp_avg_ipt,
            _UNCERTAINTY: allocator.exp_avg_unc,
            _KEPT: self._config.rank_pattern or {},
        }
        return {f"{name}|{kind}": torch.as_tensor(each) for kind, of in held.items() for name, each in of.items()}

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Go on from a state that ``state`` gave in a training of as many steps."""
        if not state:
            return
        self._count(steps)
        kinds: dict[str, dict[str, Tensor]] = {_SENSITIVITY: {}, _UNCERTAINTY: {}, _KEPT: {}}
        devices = {name: values.device for name, values in self._tuner.model.named_parameters()}
        for key, value in state.items():
            name, _, kind = key.rpartition("|")
            kinds[kind][name] = value.to(devices[name])
        allocator = self._tuner.rankallocator
        allocator.exp_avg_ipt, allocator.exp_avg_unc = kinds[_SENSITIVITY], kinds[_UNCERTAINTY]
        # the next step computes it anew; PEFT only looks at the names here
        allocator.ipt = dict(kinds[_SENSITIVITY])
        self._config.rank_pattern = {name: value.tolist() for name, value in kinds[_KEPT].items()} or None

    def _count(self, steps: int) -> None:
        """Tell PEFT the number of steps, and let it count the ranks; adapters may have been taken out since."""
        if self._is_counted:
            return
        settle = max(1, round(self._settle * steps))
        warmup = min(round(self._warmup * steps), steps - settle - 1)
        if warmup < 0:
            raise ModelError(
                f"AdaLoRA needs at least 2 optimiser steps to find its ranks, and this training has {steps}. Train"
                " longer, or choose adapt: lora."
            )
        from peft.tuners.adalora.layer import RankAllocator

        self._config.total_step, self._config.tinit, self._config.tfinal = steps, warmup, settle
        self._tuner.rankallocator = RankAllocator(self._tuner.model, self._config, "default")
        self._is_counted = True
