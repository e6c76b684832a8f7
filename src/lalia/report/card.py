"""The model card of a saved rater, in Hugging Face's format; what is not known stands there as a gap."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lalia.files import write_text
from lalia.model.saved_rater import RaterConfig, find_rater, read_config

CARD_FILE = "README.md"
GAP = "*to be filled in*"
# stands in a card until it is pushed to a repository
REPOSITORY = "OWNER/NAME"

_METRICS = ("auc", "balanced_accuracy", "spearman", "mae", "qwk")


def write_card(folder: str | Path) -> Path:
    """Write the card of a rater into its folder, in place of one that is there.

    Args:
        folder: of a run, or of the rater itself.

    Raises:
        RaterError: if there is no rater.
    """
    found = find_rater(Path(folder))
    write_text(found / CARD_FILE, describe_rater(found))
    return found / CARD_FILE


def describe_rater(folder: Path) -> str:
    """Return the card of the rater in a folder, from the files of its run too where it lies in one.

    Raises:
        RaterError: if there is no rater.
    """
    run = folder.parent
    return render_card(read_config(folder), _read(run / "manifest.json"), _read(run / "metrics.json"))


def render_card(config: RaterConfig, manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return the card as Markdown: no ids, no paths, no recordings.

    Args:
        config: of the rater.
        manifest: of its run, empty where it is not known.
        metrics: of its run, likewise.
    """
    return "\n".join(
        [
            "---",
            yaml.safe_dump(_header(config), sort_keys=False, allow_unicode=True).rstrip(),
            # a comment: Hugging Face knows no word for a licence that is not chosen yet
            "# license: to be filled in, such as apache-2.0; mind that of the encoder and what the speakers agreed to",
            "---",
            "",
            f"# {' '.join(_plain(manifest.get('name', 'Speech rater')).split())}",
            "",
            f"Rates {len(config.traits)} perceptual traits of speech with lalia. Not a medical device.",
            *_section("Intended use", _intended_use(config)),
            *_section("How to use", _usage()),
            *_section("Model", _model(config, manifest)),
            *_section("Data", _data(manifest)),
            *_section("Results", _results(config, metrics)),
            *_section("Limits", _limits()),
            *_section("Compute", _compute(manifest)),
            "",
        ]
    )


def _header(config: RaterConfig) -> dict[str, Any]:
    header: dict[str, Any] = {"library_name": "lalia", "pipeline_tag": "audio-classification"}
    header["tags"] = ["lalia", "speech", "clinical-speech", "perceptual-rating"]
    if config.encoder.revision is not None:
        header["base_model"] = config.encoder.name
    return header


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _intended_use(config: RaterConfig) -> list[str]:
    levels = ", ".join(f"{level:g}" for level in config.scale.levels)
    return [
        f"- Traits: {', '.join(map(_plain, config.traits))}",
        f"- Scale: {levels}; a trait counts as present from {config.scale.present_from:g} on",
        f"- Meant for: {GAP}",
        f"- Not meant for: diagnosis or treatment without an expert; {GAP}",
        f"- License: {GAP}",
        f"- Contact: {GAP}",
    ]


def _usage() -> list[str]:
    return [
        "```python",
        "from huggingface_hub import snapshot_download",
        "from lalia import SpeechRater",
        "",
        f'rater = SpeechRater.from_pretrained(snapshot_download("{REPOSITORY}"))',
        "scores = rater.score([waveform])     # 1-d arrays at rater.preprocessing.rate_hz",
        "```",
    ]


def _model(config: RaterConfig, manifest: Mapping[str, Any]) -> list[str]:
    source, adaptation = config.encoder, manifest.get("adaptation", {})
    # a folder may bear a person's name
    known = source.revision is not None or source.name.startswith("random:")
    name = _plain(source.name) if known else f"from a local folder, {GAP}"
    revision = f", revision {source.revision}" if source.revision else ""
    trained = adaptation.get("trainable_parameters")
    return [
        f"- Encoder: {name} ({source.family}{revision})",
        f"- Adaptation: {adaptation.get('kind', GAP)}"
        + ("" if trained is None else f", {trained:,} of {adaptation['parameters']:,} parameters trained"),
        f"- Depths: {config.layers}; pooling: {config.pooling['kind']}; head: {config.head['kind']}",
        f"- Recordings: {config.preprocessing.rate_hz} Hz, in windows of {config.preprocessing.window_seconds:g} s",
        f"- Weights: SHA-256 {config.weights_sha256}",
    ]


def _data(manifest: Mapping[str, Any]) -> list[str]:
    parts = manifest.get("flow", {}).get("parts", {})
    hashes = manifest.get("hashes", {})
    return [
        "| part | recordings | speakers |",
        "|---|---|---|",
        *(f"| {name} | {counts['recordings']} | {counts['speakers']} |" for name, counts in parts.items()),
        *([] if parts else [f"| {GAP} | {GAP} | {GAP} |"]),
        "",
        f"- Split: SHA-256 {hashes.get('split', GAP)}; no speaker is in two parts",
        f"- Speakers, languages, recording conditions, raters and their training: {GAP}",
        f"- Consent and licence of the recordings: {GAP}",
    ]


def _results(config: RaterConfig, metrics: Mapping[str, Any]) -> list[str]:
    part = next((name for name in ("test", "validation") if name in metrics), None)
    if part is None:
        return [GAP]
    traits = metrics[part]["recording"]["traits"]
    rows = [(_plain(trait), traits.get(trait, {})) for trait in config.traits]
    rows.append(("mean of the traits", metrics[part]["recording"]["macro"]))
    for name, baseline in metrics[part].get("baselines", {}).items():
        rows.append((f"{name} alone, mean", baseline["recording"]["macro"]))
    return [
        f"On the {part} part, by recording, with 95 % intervals over speakers:",
        "",
        f"| trait | {' | '.join(name.replace('_', ' ') for name in _METRICS)} |",
        f"|---|{'---|' * len(_METRICS)}",
        *(f"| {name} | {' | '.join(_cell(found.get(metric)) for metric in _METRICS)} |" for name, found in rows),
        "",
        f"- By age, sex, site and severity: {GAP}",
    ]


def _limits() -> list[str]:
    return [
        "- Scores hold for recordings like those above; other rooms, devices, languages and tasks were not tried.",
        "- A number without its interval, or better than these on the same speakers, should not be believed.",
        f"- Known failures: {GAP}",
    ]


def _compute(manifest: Mapping[str, Any]) -> list[str]:
    versions, machine = manifest.get("versions", {}), manifest.get("machine", {})
    shown = ", ".join(f"{name} {version}" for name, version in versions.items()) or GAP
    return [
        f"- Trained in {manifest.get('seconds', GAP)} s on {machine.get('cores', GAP)} cores"
        f" ({machine.get('processor', GAP)})",
        f"- lalia {manifest.get('lalia', GAP)}; {shown}",
        f"- Seed {manifest.get('seed', GAP)}",
        *_changes(manifest),
    ]


def _changes(manifest: Mapping[str, Any]) -> list[str]:
    """Say what was changed while the rater was trained; values only where they cannot be a path or an id."""
    said = []
    for change in manifest.get("changes", []):
        is_plain = change["what"].startswith(("train.", "versions.", "seed"))
        values = f" from {_plain(change['before'])} to {_plain(change['now'])}" if is_plain else ""
        said.append(f"- Changed in the middle of training: {_plain(change['what'])}{values}")
    return said


def _cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    if metric.get("low") is None:
        return f"{metric['value']:.2f}"
    return f"{metric['value']:.2f} ({metric['low']:.2f} to {metric['high']:.2f})"


def _plain(text: object) -> str:
    """Return a name that means nothing in Markdown or HTML."""
    return "".join(letter if letter.isalnum() or letter in " ._-/:,+" else " " for letter in str(text))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
