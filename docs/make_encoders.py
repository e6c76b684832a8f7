"""Write docs/encoders.md from the results of the tests of all families: python docs/make_encoders.py."""

import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

FILES = ("tests/reference/test_families.py", "tests/model/test_encoders.py", "tests/model/test_adaptations.py")
ALONE = "test_a_clip_alone_has_hugging_faces_hidden_states_at_every_depth"
BATCH = "test_clips_in_a_padded_batch_have_the_hidden_states_of_each_alone"
INVARIANT = "test_frames_do_not_depend_on_batch_neighbours_or_padding"
CLIP = "test_whisper_on_the_clip_is_hugging_faces_encoder_with_as_many_positions"

HEAD = """# Encoders

Any encoder of the families below loads from a Hugging Face id, from a folder in the hub's layout, or small and with
random weights from its architecture's name (`random:wavlm`). Where the blocks are is read off the module tree; a family
has a class of its own only where it differs from its kin:

| family | checkpoints, for example | what its class does |
|---|---|---|
| wav2vec2, hubert, wavlm, unispeech, unispeech-sat, data2vec-audio | `facebook/wav2vec2-xls-r-300m`, `facebook/mms-300m`, `facebook/hubert-base-ls960`, `microsoft/wavlm-base-plus`, `microsoft/unispeech-sat-base-plus`, `facebook/data2vec-audio-base` | convolves clip by clip where the stem normalises over time, so that padding tells nothing; zeros padding before every positional convolution; WavLM's attention calls its projections, so that adapters act |
| wav2vec2-conformer | `facebook/wav2vec2-conformer-rel-pos-large` | zeros padding before the convolution of every block |
| sew | `asapp/sew-tiny-100k` | depths have the squeezed frames, the encoder's own output the upsampled ones |
| wav2vec2-bert | `facebook/w2v-bert-2.0` | mel frames by `SeamlessM4TFeatureExtractor`, whatever the checkpoint's automatic choice |
| whisper | `openai/whisper-tiny` to `large-v3` | the encoder alone, decoder never in memory; `context: full` (30 s, silence included, as trained) or `clip` |
| audio-spectrogram-transformer | `MIT/ast-finetuned-audioset-10-10-0.4593` | frames are patches behind two special tokens; up to 10.26 s in a window |
| parakeet_encoder, lasr_encoder | `nvidia/parakeet-ctc-0.6b`, `google/medasr` | FastConformer and Conformer on their own mel frames |
| any other audio model that `AutoModel` loads | Moonshine, SEW-D, speech_to_text, SeamlessM4T's speech encoder, Qwen2-Audio's encoder | read as a whole: its last hidden state, frozen or trained in full; blocks, adapters, prompts and a mix of depths are refused |

Never run: code that a checkpoint brings along. Left out: LayerDrop, SpecAugment, and the strided adapter behind some
checkpoints, so that every depth has every frame. Depth 0 is the stem's output, depth L the last block's, as in Hugging
Face's `hidden_states`; `layers: last` is Hugging Face's `last_hidden_state`.

## What the tests found

Written by `make docs` from the results of the tests of all families, on small encoders with random weights.

- **equal**: largest difference from Hugging Face's own forward, over all depths, in parts of the largest value where that
  is above 1; for a clip alone, and for each clip of a padded batch against that clip alone.
- **invariant**: largest difference between a clip's frames alone and beside a longer one.
- **smallest**: the shortest waveform that gives a frame; shorter ones are refused by name.
"""


class Results:
    """Collects what the tests found, by test and parameter."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.differences: dict[str, dict[str, float]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note the outcome of a phase of a test; a fixture that skips does so in its set-up."""
        match = re.search(r"::(\w+)\[(.*)\]$", report.nodeid)
        if match is None or (report.when != "call" and report.passed):
            return
        self.outcomes[match[1]][match[2]].append(report.outcome)
        for key, value in report.user_properties:
            if key == "difference":
                self.differences[match[1]][match[2]] = float(value)


def show_encoders(results: Results) -> list[str]:
    """Return the table of all ways in which families differ."""
    from toy_encoders import ENCODERS, make_encoder

    lines = ["\n| encoder | equal, alone | equal, in a batch | invariant | smallest |", "|---|---|---|---|---|"]
    for name in ENCODERS:
        shortest = make_encoder(name).min_samples
        cells = [shown(results, test, name) for test in (ALONE, BATCH, INVARIANT)]
        if cells[0] == "-":
            # the reference of Whisper on the clip is cut to each length
            passed = all(each == ["passed"] for each in results.outcomes[CLIP].values())
            cells[:2] = ["< 1e-05"] * 2 if passed and results.outcomes[CLIP] else ["failed"] * 2
        lines.append(f"| {name} | {' | '.join(cells)} | {shortest} samples, {shortest / 16:.0f} ms |")
    return lines


def shown(results: Results, test: str, name: str) -> str:
    """Return a test's largest difference, or that it failed, or that there is none."""
    outcomes = results.outcomes[test].get(name)
    if outcomes is None:
        return "-"
    return f"{results.differences[test][name]:.0e}" if outcomes == ["passed"] else "failed"


def show_adaptations(results: Results) -> list[str]:
    """Return the table of families and adaptations."""
    from adaptation_check import ADAPTATIONS
    from toy_encoders import FAMILIES, make_encoder

    of_case: dict[str, list[str]] = defaultdict(list)
    for cases in results.outcomes.values():
        for case, outcomes in cases.items():
            of_case[case] += outcomes
    lines = [f"\n| family | {' | '.join(ADAPTATIONS)} |", f"|---|{'---|' * len(ADAPTATIONS)}"]
    for family in FAMILIES:
        cells = []
        for name, adapt in ADAPTATIONS.items():
            outcomes = of_case[f"{family}-{name}"]
            if "failed" in outcomes or not outcomes:
                cells.append("failed" if outcomes else "not tested")
            elif "passed" not in outcomes:
                cells.append("refused")
            else:
                encoder = make_encoder(family)
                adapt(encoder)
                cached = encoder.first_changing_depth - 1
                cells.append("nothing" if cached < 0 else "all" if cached == encoder.n_blocks else f"{cached}")
        lines.append(f"| {family} | {' | '.join(cells)} |")
    return lines


ADAPTATIONS_HEAD = """
## What each adaptation trains

A cell is filled where the tests of that family and adaptation pass: exactly the declared parameters train, each is in
the optimiser once, gets a gradient and moves within ten steps; everything else is bit-identical; adapters change no
score before training; the rater comes back from disk with the same scores, whole and onto a fresh encoder. It holds the
highest depth, of 3 blocks, that no training step can change: what a cache may keep. *all*: the encoder does not change;
*nothing*: the stem changes too; *refused*: with an error that says why. Here partial trains the last block, DoRA the last
two, LoRA, IA3 and AdaLoRA all of them.
"""


def render() -> str:
    """Run the tests and return the whole page."""
    results = Results()
    code = pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *(str(ROOT / file) for file in FILES)], [results])
    if code != 0:
        raise SystemExit("docs/encoders.md is left as it is: tests failed.")
    return "\n".join([HEAD.rstrip(), *show_encoders(results), ADAPTATIONS_HEAD.rstrip(), *show_adaptations(results), ""])


if __name__ == "__main__":
    (ROOT / "docs" / "encoders.md").write_text(render(), encoding="utf-8")
