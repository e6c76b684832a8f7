"""Write the figures of the README and of docs/sweeps.md: python docs/make_figures.py [--run RUN] [--sweep SWEEP].

Without either, the demo is trained and the README's are written.
"""

import argparse
import re
import tempfile
from pathlib import Path

from lalia.config import load_config
from lalia.data.synth import write_corpus
from lalia.files import write_text
from lalia.report.run_figures import draw_figures
from lalia.report.svg import write_svg
from lalia.run import train

FIGURES = {"result": "headline-recording-auc", "roc": "trait-2-breathy-roc"}
SWEEP_FIGURES = ("leaderboard", "effects")
FOLDER = Path(__file__).parent / "figures"


def main() -> None:
    """Write each figure under its name in the folder figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help="the folder of a finished run of the demo")
    parser.add_argument("--sweep", help="the folder of a finished sweep")
    given = parser.parse_args()
    if given.sweep:
        write_sweep_figures(Path(given.sweep))
    if given.run or not given.sweep:
        write_run_figures(given.run)


def write_run_figures(run: str | None) -> None:
    """Write figures of a run; None trains the demo first."""
    with tempfile.TemporaryDirectory() as folder:
        if run is None:
            corpus = Path(folder) / "corpus"
            write_corpus(corpus)
            run = str(train(load_config(corpus / "run.yaml", [f"runs={folder}"])))
        figures = draw_figures(run)
        for name, figure in FIGURES.items():
            write_svg(figures[figure], FOLDER / f"{name}.svg")


def write_sweep_figures(sweep: Path) -> None:
    """Write the figures that stand in a sweep's report, as files of their own."""
    page = (sweep / "report.html").read_text(encoding="utf-8")
    for name, svg in zip(SWEEP_FIGURES, re.findall("<figure><svg(.*?</svg>)", page, flags=re.DOTALL), strict=True):
        spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        write_text(FOLDER / f"sweep-{name}.svg", f"<svg {spaces}{svg}\n")


if __name__ == "__main__":
    main()
