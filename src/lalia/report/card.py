"""The model card of a saved rater, in Hugging Face's format; what is not known stands there as a gap."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lalia.files import write_text
from lalia.model.saved_rater import RaterConfig, find_rater, read_config
from lalia.report.card_numbers import (
    GAP,
    plain,
    show_confounds,
    show_groups,
    show_limits,
    show_raters,
    show_results,
)
from lalia.report.contents import read_groups

__all__ = ["CARD_FILE", "GAP", "REPOSITORY", "describe_rater", "refresh_card", "render_card", "write_card"]

CARD_FILE = "README.md"
# stands in a card until it is pushed to a repository
REPOSITORY = "OWNER/NAME"

# tells a card that lalia may write anew from one that people have filled in
_MARK = re.compile(r"\n<!-- written by lalia, SHA-256 ([0-9a-f]{64}) -->\n\Z")


def write_card(folder: str | Path) -> Path:
    """Write the card of a rater into its folder, in place of one that is there.

    Args:
        folder: of a run, or of the rater itself.

    Raises:
        RaterError: if there is no rater.
    """
    found = find_rater(Path(folder))
    text = describe_rater(found)
    write_text(found / CARD_FILE, f"{text}\n<!-- written by lalia, SHA-256 {_digest(text)} -->\n")
    return found / CARD_FILE


def refresh_card(folder: str | Path) -> Path | None:
    """Write the card of a rater anew, with what has become known since, unless people have changed it.

    Args:
        folder: of a run, or of the rater itself.

    Returns:
        The path of the card, None where it stayed as it was.

    Raises:
        RaterError: if there is no rater.
    """
    card = find_rater(Path(folder)) / CARD_FILE
    if card.is_file():
        text = card.read_text(encoding="utf-8")
        mark = _MARK.search(text)
        if mark is None or mark[1] != _digest(text[: mark.start()]):
            return None
    return write_card(folder)


def describe_rater(folder: Path) -> str:
    """Return the card of the rater in a folder, from the files of its run too where it lies in one.

    Raises:
        RaterError: if there is no rater.
    """
    run = folder.parent
    config = run / "config.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    return render_card(
        read_config(folder),
        _read(run / "manifest.json"),
        _read(run / "metrics.json"),
        data=settings.get("data", {}),
        groups=read_groups(run),
        findings=_read(run / "audit" / "audit.json").get("findings", []),
    )


def render_card(
    config: RaterConfig,
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    data: Mapping[str, Any] | None = None,
    groups: Sequence[Mapping[str, Any]] = (),
    findings: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the card as Markdown: no ids, no paths, no recordings.

    Args:
        config: of the rater.
        manifest: of its run, empty where it is not known.
        metrics: of its run, likewise.
        data: the settings of its run's data, likewise.
        groups: performance by group, as an audit of the run wrote it.
        findings: of an audit, each with check and sentence.
    """
    return "\n".join(
        [
            "---",
            yaml.safe_dump(_header(config), sort_keys=False, allow_unicode=True).rstrip(),
            # a comment: Hugging Face knows no word for a licence that is not chosen yet
            "# license: to be filled in, such as apache-2.0; mind that of the encoder and what the speakers agreed to",
            "---",
            "",
            f"# {' '.join(plain(manifest.get('name', 'Speech rater')).split())}",
            "",
            f"Rates {len(config.traits)} perceptual traits of speech with lalia. Not a medical device.",
            *_section("Intended use", _intended_use(config)),
            *_section("How to use", _usage()),
            *_section("Model", _model(config, manifest)),
            *_section("Data", _data(manifest)),
            *_section("Raters", show_raters(len(config.raters), data or {}, metrics)),
            *_section("Results", show_results(config.traits, metrics)),
            *_section("Groups of speakers", show_groups(groups, metrics)),
            *_section("Confounds", show_confounds(metrics, findings)),
            *_section("Limits", show_limits(metrics)),
            *_section("Compute", _compute(manifest)),
            *_section("Licences", _licences()),
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
        f"- Traits: {', '.join(map(plain, config.traits))}",
        f"- Scale: {levels}; a trait counts as present from {config.scale.present_from:g} on",
        f"- Meant for: {GAP}",
        f"- Not meant for: diagnosis or treatment without an expert; {GAP}",
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
    name = plain(source.name) if known else f"from a local folder, {GAP}"
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
    flow, hashes = manifest.get("flow", {}), manifest.get("hashes", {})
    parts = flow.get("parts", {})
    dropped = sum(len(step["recordings"]) for step in flow.get("dropped", []))
    return [
        "| part | recordings | speakers |",
        "|---|---|---|",
        *(f"| {name} | {counts['recordings']} | {counts['speakers']} |" for name, counts in parts.items()),
        *([] if parts else [f"| {GAP} | {GAP} | {GAP} |"]),
        "",
        f"- In the table: {flow.get('recordings_in', GAP)} recordings of {flow.get('speakers_in', GAP)} speakers;"
        f" left out: {dropped if flow else GAP} recordings",
        f"- Split: SHA-256 {hashes.get('split', GAP)}; no speaker is in two parts",
        f"- Speakers, languages, tasks, recording conditions, dates: {GAP}",
    ]


def _licences() -> list[str]:
    return [
        f"- License: {GAP}",
        f"- License of the encoder: {GAP}",
        f"- Consent of the speakers and license of the recordings: {GAP}",
        "- lalia: Apache-2.0",
    ]


def _compute(manifest: Mapping[str, Any]) -> list[str]:
    versions, machine = manifest.get("versions", {}), manifest.get("machine", {})
    shown = ", ".join(f"{name} {version}" for name, version in versions.items()) or GAP
    return [
        f"- Seconds: {manifest.get('seconds', GAP)}, from the table to the report",
        f"- Processes: {manifest.get('processes', GAP)}",
        f"- Evaluations of the test part: {manifest.get('test_evaluations', GAP)}",
        f"- Machine: {machine.get('cores', GAP)} cores, {machine.get('processor', GAP)}, {machine.get('system', GAP)}",
        f"- Versions: lalia {manifest.get('lalia', GAP)}; {shown}",
        f"- Seed {manifest.get('seed', GAP)}",
        f"- Energy and accelerator: {GAP}",
        *_changes(manifest),
    ]


def _changes(manifest: Mapping[str, Any]) -> list[str]:
    """Say what was changed while the rater was trained; values only where they cannot be a path or an id."""
    said = []
    for change in manifest.get("changes", []):
        is_plain = change["what"].startswith(("train.", "versions.", "seed"))
        values = f" from {plain(change['before'])} to {plain(change['now'])}" if is_plain else ""
        said.append(f"- Changed in the middle of training: {plain(change['what'])}{values}")
    return said


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
