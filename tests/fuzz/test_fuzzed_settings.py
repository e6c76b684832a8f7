"""Settings that are no settings: every one is refused with a ConfigError, in little time and memory."""

import contextlib
import os
import resource
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lalia.config import load_config
from lalia.errors import ConfigError
from lalia.settings import RunSettings

EXAMPLES = max(30, int(os.environ.get("LALIA_FUZZ", "0")) // 20)
FUZZED = settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == 30, database=None)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("settings") / "run.yaml"


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def load(place, text: str | bytes) -> None:
    """Read settings, which are right or refused in one line."""
    place.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load_config(place), RunSettings)
    except ConfigError as error:
        assert "\n" not in str(error)


BOMBS = {
    "a key with a line break": 'audio: {"\\n": 1}',
    "aliases": "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(20)),
    "merge keys": "a: &a {x: 1}\nb: {<<: *a}\n",
    "an alias of itself": "&a [*a]",
    "deep lists": "[" * 100_000,
    "deep mappings": "{a: " * 50_000,
    "deep indentation": "".join(" " * n + "a:\n" for n in range(2_000)),
    "10 MB of text": "name: " + "x" * 10_000_000,
    "10 MB of items": "name: [" + "1," * 5_000_000 + "1]",
    "3 MB of items": "name: [" + "1," * 1_500_000 + "1]",
    "a long number": "seed: " + "9" * 100_000,
    "a long hexadecimal number": "seed: 0x" + "f" * 100_000,
    "a number in base 60": "seed: 1" + ":59" * 20_000,
    "a date that is none": "name: 2001-99-99",
    "objects of Python": "name: !!python/object/apply:os.system ['exit 3']",
    "a tuple of Python": "name: !!python/tuple [1]",
    "a set": "name: !!set {a, b}",
    "bytes": "name: !!binary |\n  AAAA",
    "bytes that are none": "name: !!binary |\n  A",
    "an unknown type": "name: !unknown x",
    "a key that is a list": "? [a]\n: 1",
    "two documents": "a: 1\n---\nb: 2",
    "NUL": "name: \0",
    "not UTF-8": b"name: \xff\xfe\xfa",
    "nothing": "",
    "a list": "- a",
    "infinity": "train: {learning_rate: .inf}\ndata: {metadata: a.csv, traits: [b]}",
    "not a number": "train: {learning_rate: .nan}\ndata: {metadata: a.csv, traits: [b]}",
    "a huge number": "train: {epochs: 1e400}\ndata: {metadata: a.csv}",
    "a path of a user that is not there": "data: {metadata: ~nobody-here/a.csv}\nmodel: {encoder: ~nobody-here/x}",
    "a path with NUL": 'data: {metadata: "a\\0.csv"}\nruns: "\\0"',
    "a surrogate": 'name: "\\ud800"',
    "tags everywhere": "!!map {!!str a: !!null x}",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_settings_that_are_none_are_refused_in_little_time_and_memory(place, bomb):
    begun, before = time.process_time(), peak_bytes()
    load(place, BOMBS[bomb])
    assert time.process_time() - begun < 20
    assert peak_bytes() - before < 300e6


WORDS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates(), st.binary(max_size=5)
)
VALUES = st.recursive(
    WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
)
KNOWN = sorted(RunSettings.model_fields)


@FUZZED
@given(st.dictionaries(st.sampled_from(KNOWN), VALUES, max_size=4))
def test_settings_of_any_type_are_read_or_refused(place, values):
    load(place, yaml.safe_dump({"data": {"metadata": "a.csv"}, **values}, allow_unicode=True))


@FUZZED
@given(st.sampled_from(KNOWN), st.data())
def test_groups_of_settings_of_any_type_are_read_or_refused(place, group, data):
    model = RunSettings.model_fields[group].annotation
    fields = sorted(getattr(model, "model_fields", {"kind": None}))
    values = data.draw(st.dictionaries(st.sampled_from(fields), VALUES, max_size=3))
    load(place, yaml.safe_dump({"data": {"metadata": "a.csv"}, group: values}, allow_unicode=True))


@FUZZED
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_read_or_refused(place, text):
    load(place, text)


@FUZZED
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_override_is_read_or_refused(place, key, value):
    place.write_text("data: {metadata: a.csv}")
    with contextlib.suppress(ConfigError):
        load_config(place, [f"{key}={value}"])
