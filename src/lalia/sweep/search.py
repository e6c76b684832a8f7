"""Which settings are tried next: a list, a grid, at random, or as Optuna proposes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lalia.config import combinations
from lalia.errors import ConfigError
from lalia.measures.metrics import METRICS
from lalia.settings.sweep import BayesianSearch, Between, RandomSearch, SweepSettings

Values = dict[str, Any]


class Search(Protocol):
    """Proposes trials, a batch at a time; the next batch may depend on what is told of the ones before."""

    def batches(self) -> Iterator[list[Values]]:
        """Yield settings by key path, each batch to be trained before the next is asked for."""
        ...

    def tell(self, values: Values, score: float) -> None:
        """Take note of what a trial of a batch reached, NaN where it failed, in the order of the batch."""
        ...


def open_search(settings: SweepSettings) -> Search:
    """Return the search of a sweep's settings.

    Raises:
        ConfigError: if Optuna is asked for and not installed, or a grid has more combinations than can be trained.
    """
    match settings.search:
        case RandomSearch():
            drawn = _draw(settings.grid, settings.search.trials, settings.search.seed)
            return _Known([*map(dict, settings.trials), *drawn])
        case BayesianSearch():
            return _Proposed(settings, settings.search)
        case _:
            grid = {key: values for key, values in settings.grid.items() if not isinstance(values, Between)}
            return _Known([*map(dict, settings.trials), *(combinations(grid) if grid else ())])


class _Known:
    """Trials that are known beforehand: one batch."""

    def __init__(self, trials: Sequence[Values]) -> None:
        self._trials = list({repr(sorted(values.items())): values for values in trials}.values())

    def batches(self) -> Iterator[list[Values]]:
        yield self._trials

    def tell(self, values: Values, score: float) -> None:
        """Nothing depends on it."""


def _draw(grid: Mapping[str, Between | tuple[Any, ...]], trials: int, seed: int) -> list[Values]:
    """Draw so many different combinations, or all where there are not as many."""
    random = np.random.default_rng(seed)
    most = float(np.prod([np.inf if isinstance(each, Between) else len(each) for each in grid.values()]))
    drawn: dict[str, Values] = {}
    # whole numbers of a range may run out, and then nothing new is drawn
    for _ in range(100 * trials):
        if len(drawn) >= min(trials, most):
            break
        values = {key: _draw_one(each, random) for key, each in grid.items()}
        drawn.setdefault(repr(values), values)
    return list(drawn.values())


def _draw_one(choices: Between | tuple[Any, ...], random: np.random.Generator) -> Any:
    if not isinstance(choices, Between):
        return choices[int(random.integers(len(choices)))]
    low, high = (np.log(choices.low), np.log(choices.high)) if choices.log else (choices.low, choices.high)
    value = float(random.uniform(low, high))
    value = float(np.exp(value)) if choices.log else value
    return round(value) if choices.whole else float(f"{value:.6g}")


class _Proposed:
    """Optuna's proposals. The same seed and the same scores give the same ones, so that a stopped sweep goes on."""

    def __init__(self, settings: SweepSettings, search: BayesianSearch) -> None:
        try:
            import optuna
        except ImportError as cause:
            raise ConfigError("search: bayesian needs Optuna: pip install 'lalia[ray]'") from cause
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("optuna").setLevel(logging.WARNING)
        better = next(metric.better for metric in METRICS if metric.name == settings.metric)
        self._optuna = optuna
        self._first = [dict(values) for values in settings.trials]
        self._grid, self._search = settings.grid, search
        self._study = optuna.create_study(
            direction="minimize" if better == "lower" else "maximize",
            sampler=optuna.samplers.TPESampler(seed=search.seed),
        )
        self._asked: list[tuple[Values, Any]] = []

    def batches(self) -> Iterator[list[Values]]:
        if self._first:
            yield self._first
        left = self._search.trials
        while left:
            self._asked = []
            for _ in range(min(self._search.at_once, left)):
                trial = self._study.ask()
                self._asked.append(({key: self._suggest(trial, key, each) for key, each in self._grid.items()}, trial))
            left -= len(self._asked)
            yield [values for values, _ in self._asked]

    def tell(self, values: Values, score: float) -> None:
        for place, (asked, trial) in enumerate(self._asked):
            if asked == values:
                failed = np.isnan(score)
                state = self._optuna.trial.TrialState.FAIL if failed else self._optuna.trial.TrialState.COMPLETE
                self._study.tell(trial, None if failed else score, state=state)
                del self._asked[place]
                return

    @staticmethod
    def _suggest(trial: Any, key: str, choices: Between | tuple[Any, ...]) -> Any:
        if isinstance(choices, Between):
            if choices.whole:
                return trial.suggest_int(key, int(choices.low), int(choices.high), log=choices.log)
            return float(f"{trial.suggest_float(key, choices.low, choices.high, log=choices.log):.6g}")
        # Optuna takes plain values only: a group of settings goes by its place
        return choices[trial.suggest_categorical(key, list(range(len(choices))))]
