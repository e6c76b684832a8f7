"""What the first section of the page says: what was asked, and what came out, in sentences; and the settings."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from lalia.places import is_url, name_of
from lalia.report import tables
from lalia.report.contents import Contents
from lalia.settings import HeadSettings, RandomEncoder

_ADAPTATIONS = {
    "frozen": "the encoder stays as it was; only what stands on it was trained",
    "partial": "some blocks of the encoder were trained",
    "full": "the whole encoder was trained",
}


def say_asked(contents: Contents) -> list[tuple[str, str]]:
    """Return the terms of the first section and what they were."""
    settings, manifest = contents.settings, contents.manifest
    model, scale = settings.model, contents.scale
    adaptation = manifest["adaptation"]
    trained, parameters = adaptation["trainable_parameters"], adaptation["parameters"]
    asked = [
        ("Encoder", _say_encoder(contents)),
        ("Adaptation", f"{_ADAPTATIONS.get(adaptation['kind'], adaptation['kind'])} ({adaptation['kind']})"),
        ("Trained", f"{trained:,} of {parameters:,} parameters ({trained / max(parameters, 1):.1%})"),
        (
            "On the encoder",
            f"{_say_layers(model.layers)}, {model.pooling.kind.replace('_', ' ')} pooling over time,"
            f" {_say_head(model.head)}",
        ),
        ("Traits", ", ".join(contents.traits)),
        ("Rating scale", f"{', '.join(contents.level_names)}; a trait counts as present from {scale.present_from:g}"),
    ]
    if settings.data.raters is not None:
        asked.append(("Several raters", f"the rating of a recording is their {settings.data.combine}"))
    if settings.data.tasks:
        asked.append(("Speech tasks", ", ".join(settings.data.tasks)))
    if manifest.get("best_epoch") is not None:
        kept = f"at most {settings.train.epochs} epochs; the one kept is epoch {manifest['best_epoch']}"
        asked.append(("Training", kept + (f"; {manifest['stopped']}" if manifest.get("stopped") else "")))
    return asked


def _say_layers(layers: int | str | Sequence[int]) -> str:
    match layers:
        case "last":
            return "its last depth"
        case "weighted":
            return "a learned mix of all its depths"
        case str():
            return f"its last {layers.removeprefix('last-')} depths side by side"
        case int():
            return f"its depth {layers}" if layers >= 0 else f"its depth {layers} (counted from the end)"
    return f"its depths {', '.join(map(str, layers))} side by side"


def _say_head(head: HeadSettings) -> str:
    if head.groups:
        groups = [f"{name} ({', '.join(traits)})" for name, traits in head.groups.items()]
        shared = f" whose traits share layers in the groups {', '.join(groups)}"
    else:
        shared = "" if head.shared else " with layers of its own for each trait"
    before = "a small transformer before the pooling, " if head.transformer else ""
    return f"{before}a head of kind {head.kind}{shared}"


def _say_encoder(contents: Contents) -> str:
    encoder, asked = contents.manifest["encoder"], contents.settings.model.encoder
    if isinstance(asked, RandomEncoder):
        return f"a small {asked.random} ({asked.layers} blocks of width {asked.width}) that began with random weights"
    revision = f", revision {encoder['revision']}" if encoder.get("revision") else ""
    has_trained = encoder.get("is_fine_tuned") or contents.settings.model.start_from
    before = ", fine-tuned in an earlier run" if has_trained else ""
    return f"{_last_part(encoder['name'])}{revision}{before}"


def summarise(contents: Contents) -> list[str]:
    """Return the result of the recordings in one sentence per metric."""
    sentences = []
    for name in ("auc", "spearman"):
        found = {}
        for source in ("model", "duration", "raters"):
            known = source in contents.sources
            metric = contents.metrics_of(source, "recording", None).get(name) if known else None
            if metric is not None and metric["value"] is not None:
                found[source] = metric
        if "model" in found:
            between = tables.format_interval(found["model"])
            said = f"{tables.name_metric(name)} {tables.format_number(found['model']['value'])}"
            said += f" (interval {between})" if between else ""
            if "duration" in found:
                said += f"; the duration alone reaches {tables.format_number(found['duration']['value'])}"
            if "raters" in found:
                said += f"; between raters it is {tables.format_number(found['raters']['value'])}"
            sentences.append(f"{said}.")
    return sentences


def show_settings(contents: Contents) -> str:
    """Return the settings as YAML, without the places of files and, unless asked for, the ids of recordings."""
    values = contents.settings.model_dump(mode="json")
    values.pop("runs")
    data, split, model = values["data"], values["split"], values["model"]
    data.pop("audio_dir")
    data["metadata"] = _last_part(data["metadata"])
    data["exclude"] = [contents.name(recording) for recording in data["exclude"]]
    if "path" in split:
        split["path"] = _last_part(split["path"])
    for key in ("encoder", "download_dir"):
        if isinstance(model[key], str):
            model[key] = _last_part(model[key])
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _last_part(place: str) -> str:
    """Return the last part of an absolute path, anything else as it is: a folder may bear a person's name."""
    return name_of(place) if is_url(place) or Path(place).is_absolute() else place
