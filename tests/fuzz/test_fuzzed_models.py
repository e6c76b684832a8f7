"""Configs of encoders and raters with one value changed: used, or refused with a ModelError."""

import json
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lalia.errors import ModelError
from lalia.model.encoders.encode import encode
from lalia.model.encoders.load import load_encoder
from lalia.model.rater import SpeechRater
from toy_rater import TRANSFORMER, make_rater, make_waveform

EXAMPLES = max(30, int(os.environ.get("LALIA_FUZZ", "0")) // 20)
FUZZED = settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == 30, database=None)
# of what such values do to torch's and transformers' own modules
pytestmark = pytest.mark.filterwarnings("ignore")
WAVEFORM = make_waveform(0.5)
VALUES = st.sampled_from(
    [None, [], {}, 0, 1, -1, 1.5, 3, float("nan"), "", "x", True, ["a"], {"a": 1}, 2**40, -(2**63), "../x", [10**9] * 3]
)


@pytest.fixture(scope="module")
def rater(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rater") / "model"
    make_rater(transformer=TRANSFORMER).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from transformers import WavLMConfig, WavLMModel

    folder = tmp_path_factory.mktemp("encoder")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    stem = {"conv_dim": (8, 8), "conv_stride": (10, 16), "conv_kernel": (10, 16), "num_conv_pos_embeddings": 4}
    torch.manual_seed(0)
    config = WavLMConfig(**sizes, **stem, num_conv_pos_embedding_groups=2, num_feat_extract_layers=2)
    WavLMModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16_000, "do_normalize": True}))
    return folder


def places(value, place=()):
    """Yield where something stands in nested JSON."""
    if place:
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*place, key))


def use_changed(path, data, use):
    """Change one value of a JSON file and use what the file describes."""
    text = path.read_text()
    values = json.loads(text)
    *outer, key = data.draw(st.sampled_from(list(places(values))))
    holder = values
    for each in outer:
        holder = holder[each]
    if data.draw(st.integers(0, 9)):
        holder[key] = data.draw(VALUES)
    else:
        del holder[key]
    path.write_text(json.dumps(values))
    try:
        use()
    except ModelError as error:
        assert str(error)
    finally:
        path.write_text(text)


@FUZZED
@given(data=st.data())
def test_a_rater_with_another_value_in_its_config_rates_or_is_refused(rater, data):
    use_changed(rater / "config.json", data, lambda: SpeechRater.from_pretrained(rater).score([WAVEFORM]))


@FUZZED
@given(data=st.data(), name=st.sampled_from(["config.json", "preprocessor_config.json"]))
def test_an_encoder_with_another_value_in_its_config_encodes_or_is_refused(encoder, data, name):
    use_changed(encoder / name, data, lambda: encode(load_encoder(encoder), [WAVEFORM]))
