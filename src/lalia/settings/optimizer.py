"""Settings of the optimiser: torch's, a variant for each, with torch's defaults."""

from typing import Annotated, Literal, Union

from pydantic import Field, model_validator

from lalia.settings.base import NotNegative, Number, OpenFraction, Positive, Settings, read_kind

Betas = tuple[OpenFraction, OpenFraction]


class _AdamLike(Settings):
    betas: Betas = (0.9, 0.999)
    """How much of the averages of the gradient and of its square stays from step to step."""
    eps: Positive = 1e-8
    """Added to the root of the average square."""


class AdamWOptimizer(_AdamLike):
    """Adam whose weight decay is apart from the gradient."""

    kind: Literal["adamw"] = "adamw"
    amsgrad: bool = False
    """Whether the largest average square so far is used."""


class AdamOptimizer(_AdamLike):
    """Adam."""

    kind: Literal["adam"] = "adam"
    amsgrad: bool = False
    """Whether the largest average square so far is used."""


class NAdamOptimizer(_AdamLike):
    """Adam with Nesterov's momentum."""

    kind: Literal["nadam"] = "nadam"
    momentum_decay: NotNegative = 0.004
    """How fast the momentum nears its final value."""
    decoupled_weight_decay: bool = False
    """Whether the decay is apart from the gradient, as AdamW's."""


class RAdamOptimizer(_AdamLike):
    """Adam that corrects its own first steps."""

    kind: Literal["radam"] = "radam"
    decoupled_weight_decay: bool = False
    """Whether the decay is apart from the gradient, as AdamW's."""


class AdamaxOptimizer(_AdamLike):
    """Adam with the largest gradient in place of the average square."""

    kind: Literal["adamax"] = "adamax"


class AdagradOptimizer(Settings):
    """Rates that fall with the sum of the squared gradients."""

    kind: Literal["adagrad"] = "adagrad"
    lr_decay: NotNegative = 0.0
    """The rates are divided by 1 plus this times the steps done."""
    initial_accumulator_value: NotNegative = 0.0
    """What the sum begins with."""
    eps: Positive = 1e-10
    """Added to the root of the sum."""


class AdadeltaOptimizer(Settings):
    """Steps in units of the steps so far; made for a learning rate of 1."""

    kind: Literal["adadelta"] = "adadelta"
    rho: OpenFraction = 0.9
    """How much of the averages stays from step to step."""
    eps: Positive = 1e-6
    """Added to the averages."""


class RMSpropOptimizer(Settings):
    """Gradients divided by the root of their average square."""

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: OpenFraction = 0.99
    """How much of the average stays from step to step."""
    eps: Positive = 1e-8
    """Added to the root of the average square."""
    momentum: OpenFraction = 0.0
    """How much of a step goes into the next one."""
    centered: bool = False
    """Whether the average gradient is taken out of the average square."""


class SGDOptimizer(Settings):
    """Gradient descent."""

    kind: Literal["sgd"] = "sgd"
    momentum: OpenFraction = 0.0
    """How much of a step goes into the next one."""
    dampening: OpenFraction = 0.0
    """How much less of the gradient goes into the momentum."""
    nesterov: bool = False
    """Whether the gradient is taken as if the momentum's step were done; with momentum and no dampening alone."""

    @model_validator(mode="after")
    def _check(self) -> "SGDOptimizer":
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov needs momentum, and no dampening")
        return self


class AdafactorOptimizer(Settings):
    """Adam without momentum that keeps a sum per row and column only: little memory."""

    kind: Literal["adafactor"] = "adafactor"
    beta2_decay: Annotated[Number, Field(le=0.0)] = -0.8
    """The power of the step by which the average square forgets less and less."""
    d: Annotated[Number, Field(ge=1.0)] = 1.0
    """The largest root mean square of a step before the rate."""


OptimizerSettings = Annotated[
    Union[  # noqa: UP007
        AdamWOptimizer,
        AdamOptimizer,
        NAdamOptimizer,
        RAdamOptimizer,
        AdamaxOptimizer,
        AdagradOptimizer,
        AdadeltaOptimizer,
        RMSpropOptimizer,
        SGDOptimizer,
        AdafactorOptimizer,
    ],
    Field(discriminator="kind"),
    read_kind("adamw"),
]
