"""What keeps the libraries from telling others that they are used: read by each of them when it is imported."""

import os
from typing import Final

OFF: Final = {
    # of many tools, MLflow and huggingface_hub among them
    "DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # transformers would ask the hub to make safetensors of a checkpoint that has none
    "DISABLE_SAFETENSORS_CONVERSION": "true",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
"""The environment of this process and of those that it starts, whatever it was before."""


def switch_off() -> None:
    """Set it; what was imported before lalia may have read the environment as it was."""
    os.environ.update(OFF)
