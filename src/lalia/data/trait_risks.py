"""Which distortions may falsify which traits: a rating was given to what the speaker did, not to what was added."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from lalia.data.augment import Augmentation

TRAIT_GROUPS: dict[str, tuple[str, ...]] = {
    "pitch": ("*pitch*", "voice tremor", "*tremor*", "flutter", "diplophon*", "intonation", "f0"),
    "loudness level": ("loud*", "volume", "quiet*", "soft", "weak*", "asthen*", "hypophon*"),
    "loudness variation": (
        "monoloud*",
        "loudness decay",
        "loudness variation*",
        "loudness variab*",
        "alternating loudness",
        "loudness alternating",
        "decay",
    ),
    "rate": (
        "rate",
        "rates",
        "slow*",
        "fast*",
        "rapid*",
        "rush*",
        "accelerat*",
        "tempo",
        "speed",
        "*lalia",
        "prolong*",
        "fluen*",
        "dysfluen*",
        "disfluen*",
        "amr",
        "smr",
        "ddk",
        "diadochokine*",
    ),
    "pauses": (
        "silence*",
        "pause*",
        "interval*",
        "prolonged intervals",
        "intervals prolonged",
        "hesitat*",
        "block*",
        "stoppage*",
        "voice stoppages",
        "short phrases",
        "phrases short",
        "short phrase",
        "fluen*",
        "dysfluen*",
        "disfluen*",
    ),
    "stress": ("stress*", "prosod*", "accent*", "emphasis", "scanning"),
    "voice quality": (
        "hoarse*",
        "harsh*",
        "breathy*",
        "breathiness",
        "rough*",
        "strain*",
        "strangl*",
        "creak*",
        "wet*",
        "asthen*",
        "grade",
        "*phonia",
        "*phonic",
        "voice quality",
        "voice stoppages",
        "overall severity",
        "voice",
    ),
    "respiration": ("*inspirat*", "*expirat*", "inhal*", "exhal*", "grunt*", "stridor", "breathing", "respirat*"),
    "resonance": ("*nasal*", "resonan*"),
    "nasal emission": ("nasal emission", "nasal air emission", "emission"),
    "articulation": (
        "imprecis*",
        "articulat*",
        "misarticulat*",
        "consonant*",
        "vowel*",
        "phoneme*",
        "distort*",
        "slur*",
        "breakdown*",
        "lisp*",
        "substitut*",
        "omission*",
        "addition*",
        "intelligib*",
        "pronunciation",
        "accuracy",
    ),
}
"""Groups of traits by the words in their names; ``*`` stands for any letters, several words for a phrase.

The terms are those of Darley, Aronson and Brown (1969), of GRBAS (Hirano 1981) and of CAPE-V (Kempster et al. 2009).
"""

RISKS: dict[str, dict[str, str]] = {
    "noise": {
        "voice quality": "noise between the harmonics is how breathy and hoarse voices are heard",
        "respiration": "it covers soft breaths",
        "nasal emission": "it sounds like air, and covers it",
    },
    "mix": {
        "voice quality": "the other voice has a quality of its own",
        "articulation": "the other voice's sounds are heard too",
        "pauses": "the other voice fills the pauses",
        "loudness variation": "the other voice fills the soft places",
        "respiration": "the other voice's breaths are heard too",
    },
    "gain": {"loudness level": "it is the level that is rated"},
    "clipping": {
        "voice quality": "it adds overtones that sound harsh",
        "loudness variation": "it takes the loudest peaks away",
    },
    "polarity": {},
    "shift": {},
    "time_mask": {
        "pauses": "it makes silences that the speaker did not make",
        "voice quality": "it sounds like a voice that stops",
        "articulation": "it takes sounds away",
    },
    "frequency_mask": {
        "voice quality": "it moves the balance of low and high frequencies, by which breathiness is heard",
        "resonance": "it may take a formant away",
        "articulation": "it may take the band of a consonant away",
        "nasal emission": "it may take the band of the escaping air away",
    },
    "reverberation": {
        "articulation": "it blurs one sound into the next",
        "pauses": "it fills the pauses",
        "voice quality": "it adds noise between the harmonics",
        "loudness variation": "it evens loud and soft out",
    },
    "telephone": {
        "articulation": "frication above 3,400 Hz is lost",
        "voice quality": "the noise of breathy voices above 3,400 Hz is lost",
        "resonance": "the nasal resonance below 300 Hz is lost",
        "nasal emission": "most of the noise of escaping air is lost",
        "respiration": "most of the noise of breaths is lost",
    },
    "codec": {
        "articulation": "it removes or smears frication",
        "voice quality": "it leaves out the noise between the harmonics first",
        "nasal emission": "it leaves soft noise out",
        "respiration": "it leaves soft noise out",
    },
    "speed": {
        "rate": "it is the rate that is rated",
        "pauses": "pauses become shorter or longer",
        "pitch": "pitch moves along, and so does the range in Hz",
        "stress": "durations and pitch, which mark stress, change",
        "resonance": "formants move along",
    },
    "pitch": {
        "pitch": "it is the pitch that is rated",
        "resonance": "formants move along",
        "voice quality": "resampled and overlapped periods lose or gain roughness",
    },
    "audiomentations": {},
    "spec_augment": {
        "pauses": "it hides pauses, and what it hides is no speech either",
        "rate": "it hides sounds and pauses, by which the rate is heard",
        "articulation": "it hides sounds",
    },
}
"""For each kind of distortion, and for frames that are hidden, the groups of traits that it may falsify, and why.

Of the transforms of audiomentations it is not known.
"""


def groups_of(trait: str) -> tuple[str, ...]:
    """Return the groups that a trait's name speaks of; longer phrases come first and use their words up.

    Example:
        >>> groups_of("excess_loudness_variation"), groups_of("loudness")
        (('loudness variation',), ('loudness level',))
        >>> groups_of("monopitchMonoloudness"), groups_of("bizarreness")
        (('pitch', 'loudness variation'), ())
    """
    words: list[str | None] = list(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", trait).lower()))
    found = set()
    lengths = sorted({len(term.split()) for terms in TRAIT_GROUPS.values() for term in terms}, reverse=True)
    for length in lengths:
        used: set[int] = set()
        for group, terms in TRAIT_GROUPS.items():
            for term in terms:
                parts = term.split()
                for start in range(len(words) - length + 1) if len(parts) == length else ():
                    if all(word and fnmatchcase(word, part) for word, part in zip(words[start:], parts, strict=False)):
                        found.add(group)
                        used |= set(range(start, start + length))
        words = [None if place in used else word for place, word in enumerate(words)]
    return tuple(group for group in TRAIT_GROUPS if group in found)


def warnings_for(augmentation: Augmentation | None, traits: Iterable[str]) -> list[str]:
    """Say which distortions of an augmentation may falsify which of the traits, and why; a sentence for each group.

    Example:
        >>> from lalia.data.augment import Step
        >>> warnings_for(Augmentation((Step("speed"),), seed=0), ["slow_rate", "breathy"])
        ["augment: speed may falsify 'slow_rate': it is the rate that is rated."]
    """
    if augmentation is None:
        return []
    known = {trait: groups_of(trait) for trait in traits}
    applied = [step for step in augmentation.steps if step.probability]
    hiding = [] if augmentation.spec_augment is None else ["spec_augment"]
    falsified = [
        f"augment: {kind} may falsify {_join(concerned)}: {reason}."
        for kind in dict.fromkeys([*(step.kind for step in applied), *hiding])
        for group, reason in RISKS[kind].items()
        if (concerned := [trait for trait, groups in known.items() if group in groups])
    ]
    transforms = dict.fromkeys(step.options["transform"] for step in applied if step.kind == "audiomentations")
    unknown = "augment: which traits audiomentations' {} may falsify is not known: check it yourself."
    return falsified + [unknown.format(transform) for transform in transforms]


def _join(traits: Sequence[str]) -> str:
    return ", ".join(f"'{trait}'" for trait in traits)
