"""The recordings of a run by how far model and raters are apart, to be listened to."""

from pathlib import Path

import pandas as pd

from lalia.data.storage import local_file
from lalia.data.table import read_table
from lalia.errors import LaliaError, StorageError
from lalia.report.contents import Contents, read_contents

MOST_ROWS = 200


class Browser:
    """What the second tab of the app shows of a run.

    Args:
        folder: of the run.

    Raises:
        LaliaError: if the files of the run cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.contents: Contents = read_contents(folder)
        self.problem = ""
        self._paths: dict[str, str] = {}
        try:
            recordings = read_table(self.contents.settings.data, seed=self.contents.settings.seed).recordings
            self._paths = dict(zip(recordings["recording"], recordings["path"], strict=True))
        except LaliaError as error:
            self.problem = f"The recordings of the run cannot be found, so there is nothing to hear. {error}"
        rows = self.contents.disagreements(MOST_ROWS)
        self._recordings = list(rows.pop("recording"))
        self.rows: pd.DataFrame = rows.round({"answer": 2, "difference": 2})

    def path(self, row: int) -> Path | None:
        """Return the file of a row's recording, None where it is not there or there is no such row."""
        if not 0 <= row < len(self._recordings):
            return None
        try:
            path = local_file(self._paths.get(self._recordings[row], ""))
        except StorageError:
            return None
        return path if path.is_file() else None

    def scores(self, row: int) -> pd.DataFrame:
        """Return all traits of a row's recording: trait, rating and what the model says."""
        found = self.contents.predictions
        found = found[(found["recording"] == self._recordings[row]) & (found["part"] == self.contents.part)]
        scores: pd.DataFrame = found[["trait", "rating", "score", "level", "probability"]].round(2)
        return scores.reset_index(drop=True)
