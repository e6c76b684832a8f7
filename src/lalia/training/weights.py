"""What of a rater training can change: copied for the best epoch and for checkpoints, and put back."""

from collections.abc import Mapping

from torch import Tensor

from lalia.errors import TrainingError, list_some
from lalia.model.rater import SpeechRater


class ChangingWeights:
    """The parameters of a rater that train, and its buffers.

    Args:
        rater: adapted already; what has ``requires_grad`` now trains, also while gradual unfreezing holds it back.
    """

    def __init__(self, rater: SpeechRater) -> None:
        frozen = {name for name, each in rater.named_parameters() if not each.requires_grad}
        state = rater.state_dict(keep_vars=True)
        self._rater = rater
        self._changing = {name: value for name, value in state.items() if name not in frozen}

    def copy(self) -> dict[str, Tensor]:
        """Return them as they are now, in main memory, by name."""
        return {name: value.detach().cpu().clone() for name, value in self._changing.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Give the rater the weights that a copy holds.

        Raises:
            TrainingError: if they are not of this rater.
        """
        expected = {name: value.shape for name, value in self._changing.items()}
        found = {name: value.shape for name, value in weights.items()}
        differing = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
        if differing:
            raise TrainingError(
                f"The checkpoint is of another model: {list_some(differing)} differ. Train again with --overwrite."
            )
        self._rater.load_state_dict(weights, strict=False)
