"""Settings of a sweep: which runs are tried, in which order, and what they are judged by."""

from typing import Annotated, Any, Literal, Union

from pydantic import Field, model_validator

from lalia.settings.base import Count, NotNegative, Number, Positive, Settings, read_kind


class Between(Settings):
    """A range of numbers to draw from."""

    low: Number
    """The lowest value."""
    high: Number
    """The highest value."""
    log: bool = False
    """Whether the logarithm is drawn evenly, for values such as learning rates."""
    whole: bool = False
    """Whether only whole numbers are drawn."""

    @model_validator(mode="after")
    def _check(self) -> "Between":
        if not self.low < self.high:
            raise ValueError(f"low must be less than high, got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, got {self.low:g}")
        return self


class GridSearch(Settings):
    """Every combination of the values in ``grid``, and what ``trials`` lists."""

    kind: Literal["grid"] = "grid"


class RandomSearch(Settings):
    """Combinations drawn at random; one that was drawn before is drawn again."""

    kind: Literal["random"] = "random"
    trials: Count = 20
    """How many."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the drawing."""


class BayesianSearch(Settings):
    """Combinations that Optuna proposes, after what was found before (tree-structured Parzen estimators)."""

    kind: Literal["bayesian"] = "bayesian"
    trials: Count = 20
    """How many."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the proposals."""
    at_once: Count = 1
    """How many are proposed before the first of them is known; more keep more machines busy and are proposed worse."""


class RaySettings(Settings):
    """What a trial takes of a Ray cluster."""

    cpus: Positive = 1.0
    """Cores of a trial."""
    gpus: NotNegative = 0.0
    """GPUs of a trial, such as 0.25 for four trials on one."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a trial is begun again, from its last checkpoint, after its process or its machine was lost."""


class SweepSettings(Settings):
    """A base run, and what of it is varied."""

    base: str
    """The settings of the base run, a YAML file."""
    grid: dict[str, Between | tuple[Any, ...]] = Field(default_factory=dict)
    """Settings by their key path, and the values to try, such as ``{model.pooling.kind: [mean, max], seed: [1, 2]}``;
    a random or Bayesian search may also draw ``{low: 1.0e-5, high: 1.0e-2, log: true}``."""
    trials: tuple[dict[str, Any], ...] = ()
    """Trials one by one, each with its settings by key path; they come before those of the grid."""
    search: Annotated[
        Union[GridSearch, RandomSearch, BayesianSearch],  # noqa: UP007
        Field(discriminator="kind"),
        read_kind("grid"),
    ] = GridSearch()
    metric: Literal["auc", "average_precision", "spearman", "pearson", "mae", "qwk"] = "auc"
    """What settings are judged by: the mean over traits, by recording, on the validation part."""
    ray: RaySettings = RaySettings()

    @model_validator(mode="after")
    def _check(self) -> "SweepSettings":
        if not self.grid and not self.trials:
            raise ValueError("there is nothing to try: give grid or trials")
        ranges = [key for key, values in self.grid.items() if isinstance(values, Between)]
        if ranges and self.search.kind == "grid":
            raise ValueError(f"{ranges} are ranges: a grid needs a list of values, or search: random")
        if self.search.kind != "grid" and not self.grid:
            raise ValueError(f"search: {self.search.kind} needs a grid to draw from")
        keys = [*self.grid, *(key for trial in self.trials for key in trial)]
        wrong = sorted({key for key in keys if key.partition(".")[0] in ("runs", "name", "report", "cache")})
        if wrong:
            raise ValueError(f"{wrong} cannot be varied: they do not change what is computed")
        return self
