"""Which distortion may falsify which trait: the table, its words, and the page that prints it."""

from pathlib import Path

import pytest

from lalia.data.augment import DISTORTIONS, Augmentation, Step
from lalia.data.spec_augment import SpecAugment
from lalia.data.trait_risks import RISKS, TRAIT_GROUPS, groups_of, warnings_for
from lalia.settings import AugmentSettings

PAGE = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text(encoding="utf-8")

# Darley, Aronson and Brown 1969; None where no distortion can be said to falsify it
DIMENSIONS = {
    "pitch level": "pitch",
    "pitch breaks": "pitch",
    "monopitch": "pitch",
    "voice tremor": "pitch",
    "monoloudness": "loudness variation",
    "excess loudness variation": "loudness variation",
    "loudness decay": "loudness variation",
    "alternating loudness": "loudness variation",
    "loudness (overall)": "loudness level",
    "harsh voice": "voice quality",
    "hoarse (wet) voice": "voice quality",
    "breathy voice (continuous)": "voice quality",
    "breathy voice (transient)": "voice quality",
    "strained-strangled voice": "voice quality",
    "voice stoppages": "pauses",
    "hypernasality": "resonance",
    "hyponasality": "resonance",
    "nasal emission": "nasal emission",
    "forced inspiration-expiration": "respiration",
    "audible inspiration": "respiration",
    "grunt at end of expiration": "respiration",
    "rate (overall)": "rate",
    "phrases short": "pauses",
    "increase of rate in segments": "rate",
    "increase of rate (overall)": "rate",
    "reduced stress": "stress",
    "variable rate": "rate",
    "intervals prolonged": "pauses",
    "inappropriate silences": "pauses",
    "short rushes of speech": "rate",
    "excess and equal stress": "stress",
    "imprecise consonants": "articulation",
    "phonemes prolonged": "rate",
    "phonemes repeated": "articulation",
    "irregular articulatory breakdown": "articulation",
    "vowels distorted": "articulation",
    "intelligibility (overall)": "articulation",
    "bizarreness (overall)": None,
}


@pytest.mark.parametrize("trait", DIMENSIONS)
def test_every_dimension_of_darley_aronson_and_brown_is_in_its_group(trait):
    expected = DIMENSIONS[trait]
    for name in (trait, trait.replace(" ", "_"), trait.upper()):
        assert (expected in groups_of(name)) if expected else not groups_of(name)


@pytest.mark.parametrize("trait", ["grade", "roughness", "breathiness", "asthenia", "strain", "overall_severity"])
def test_grbas_and_cape_v_are_voice_quality(trait):
    assert "voice quality" in groups_of(trait)


def test_a_word_within_another_is_not_the_word():
    assert not groups_of("accurately_operated_generator")


def test_every_kind_has_its_risks_and_every_reason_a_group():
    kinds = [each.model_fields["kind"].default for each in variants()]
    assert kinds == list(DISTORTIONS)
    assert [*kinds, "spec_augment"] == list(RISKS)
    assert {group for risks in RISKS.values() for group in risks} == set(TRAIT_GROUPS)


def test_a_warning_names_distortion_traits_and_reason_and_only_what_is_applied():
    chain = Augmentation((Step("speed", 0.1), Step("telephone", 0.0), Step("speed", 0.2), Step("gain")), seed=0)
    assert warnings_for(chain, ["slow_rate", "rapid_rate", "breathy", "loudness"]) == [
        "augment: speed may falsify 'slow_rate', 'rapid_rate': it is the rate that is rated.",
        "augment: gain may falsify 'loudness': it is the level that is rated.",
    ]
    hiding = Augmentation((), seed=0, spec_augment=SpecAugment(0.5, (0.0, 0.2), (0.0, 0.1)))
    assert warnings_for(hiding, ["slow_rate", "breathy"]) == [
        "augment: spec_augment may falsify 'slow_rate': it hides sounds and pauses, by which the rate is heard."
    ]
    catalogue = Augmentation((Step("audiomentations", 0.5, {"transform": "Reverse", "parameters": {}}),) * 2, seed=0)
    assert warnings_for(catalogue, ["slow_rate"]) == [
        "augment: which traits audiomentations' Reverse may falsify is not known: check it yourself."
    ]
    assert warnings_for(None, ["slow_rate"]) == warnings_for(chain, ["bizarreness"]) == []


# --- docs/augmentation.md ---------------------------------------------------------------------------------------------


def test_the_page_shows_the_risks_of_the_code():
    rows = rows_of(PAGE.split("## What each distortion may falsify")[1], width=3)
    shown = {}
    for kind, group, reason in rows:
        risks = shown.setdefault(kind.strip("`"), {})
        if group != "none":
            risks[group] = reason
    assert shown == RISKS


def test_the_page_shows_the_words_of_each_group():
    rows = rows_of(PAGE.split("| group | words |")[1], width=2)
    assert {group: tuple(word.strip("`") for word in words.split(", ")) for group, words in rows} == TRAIT_GROUPS


def test_the_page_lists_every_kind_with_its_settings():
    rows = rows_of(PAGE.split("## Epochs and views")[0], width=3)
    shown = {kind.strip("`"): [name.strip("`") for name in names.split(", ") if name] for kind, _, names in rows}
    own = {
        each.model_fields["kind"].default: [name for name in each.model_fields if name not in ("kind", "probability")]
        for each in variants()
    }
    assert shown == own


def variants():
    own = [kind for kind in DISTORTIONS if kind != "audiomentations"]
    given = [*own, {"kind": "audiomentations", "transform": "Clip"}]
    return [type(each) for each in AugmentSettings.model_validate({"apply": given}).apply]


def rows_of(text, width):
    """Return the cells of the rows of all tables of a width, without their heads."""
    tables = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in tables]
    wide = [cells for cells in rows if len(cells) == width]
    return [cells for cells in wide if not set(cells[0]) <= set("-") and cells[0] not in ("kind", "group")]
