"""lalia: fine-tune speech foundation models to rate perceptual traits of clinical speech.

The public names load on first use, so that ``import lalia`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lalia.telemetry import switch_off

if TYPE_CHECKING:
    from lalia.build import build_rater
    from lalia.config import load_config
    from lalia.data.dataset import RecordingDataset
    from lalia.data.splits import split_speakers
    from lalia.data.table import read_table
    from lalia.errors import LaliaError
    from lalia.evaluation.evaluate import evaluate
    from lalia.evaluation.predict import predict
    from lalia.evaluation.probe import probe
    from lalia.model.encoders.load import encode, load_encoder
    from lalia.model.rater import SpeechRater
    from lalia.report.page import write_report
    from lalia.run_compare import compare
    from lalia.training.loop import fit

switch_off()

__version__ = "0.1.0.dev0"

_HOMES = {
    "LaliaError": "lalia.errors",
    "RecordingDataset": "lalia.data.dataset",
    "SpeechRater": "lalia.model.rater",
    "build_rater": "lalia.build",
    "compare": "lalia.run_compare",
    "encode": "lalia.model.encoders.load",
    "evaluate": "lalia.evaluation.evaluate",
    "fit": "lalia.training.loop",
    "load_config": "lalia.config",
    "load_encoder": "lalia.model.encoders.load",
    "predict": "lalia.evaluation.predict",
    "probe": "lalia.evaluation.probe",
    "read_table": "lalia.data.table",
    "split_speakers": "lalia.data.splits",
    "write_report": "lalia.report.page",
}

__all__ = [
    "LaliaError",
    "RecordingDataset",
    "SpeechRater",
    "build_rater",
    "compare",
    "encode",
    "evaluate",
    "fit",
    "load_config",
    "load_encoder",
    "predict",
    "probe",
    "read_table",
    "split_speakers",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lalia' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
