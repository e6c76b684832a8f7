"""Libraries that would tell others how they are used do not."""

import os
import subprocess
import sys

import pytest

from lalia.telemetry import OFF

# what each library itself says, once lalia has been imported
ASKED = {
    "huggingface_hub": "from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)",
    "transformers": "from transformers.utils.hub import http_user_agent; print('telemetry/off' in http_user_agent())",
    "gradio": "from gradio.analytics import analytics_enabled; print(not analytics_enabled())",
    "mlflow": "from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())",
    "ray": "from ray._common.usage import usage_lib; print(not usage_lib.usage_stats_enabled())",
}


@pytest.mark.parametrize(
    # gradio takes several seconds to import
    "library",
    [pytest.param(name, marks=pytest.mark.slow) if name == "gradio" else name for name in ASKED],
)
def test_telemetry_of_every_dependency_is_off(library):
    pytest.importorskip(library)
    asked_for = dict.fromkeys(OFF, "1") | {"DO_NOT_TRACK": "false", "HF_HUB_DISABLE_TELEMETRY": "0"}
    asked_for |= {"MLFLOW_DISABLE_TELEMETRY": "false", "GRADIO_ANALYTICS_ENABLED": "True"}
    code = f"import lalia; {ASKED[library]}"
    # some are quieter where they see that they are being tested
    here = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST") and key != "CI"}
    said = subprocess.run([sys.executable, "-c", code], env=here | asked_for, capture_output=True, text=True)
    assert said.stdout.splitlines()[-1:] == ["True"], said.stderr
