"""Write the figures of the README: python docs/make_figures.py [RUN]. Without a run, the demo is trained."""

import sys
import tempfile
from pathlib import Path

from lalia.config import load_config
from lalia.data.synth import write_corpus
from lalia.report.run_figures import draw_figures
from lalia.report.svg import write_svg
from lalia.run import train

FIGURES = {"result": "headline-recording-auc", "roc": "trait-2-breathy-roc"}
FOLDER = Path(__file__).parent / "figures"


def main(run: str | None = None) -> None:
    """Write each figure of a run under its name in this folder."""
    with tempfile.TemporaryDirectory() as folder:
        if run is None:
            corpus = Path(folder) / "corpus"
            write_corpus(corpus)
            run = str(train(load_config(corpus / "run.yaml", [f"runs={folder}"])))
        figures = draw_figures(run)
        for name, figure in FIGURES.items():
            write_svg(figures[figure], FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main(*sys.argv[1:])
