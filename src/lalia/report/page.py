"""The report: one HTML file that shows a run, without network, script or model."""

from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lalia.files import write_text
from lalia.report import checklist, pictures, tables
from lalia.report.contents import Contents, read_contents
from lalia.report.explained import describe_explained
from lalia.report.items import load_lists
from lalia.settings import HeadSettings, RandomEncoder

_ADAPTATIONS = {
    "frozen": "the encoder stays as it was; only what stands on it was trained",
    "partial": "some blocks of the encoder were trained",
    "full": "the whole encoder was trained",
}


def write_report(run_folder: str | Path) -> Path:
    """Write ``report.html`` and ``checklist.csv`` into the folder of a run, from the files in it alone.

    A ``checklist-answers.yaml`` to fill in is written too where there is none.

    Args:
        run_folder: with config.yaml, manifest.json, metrics.json, history.csv and predictions.csv.

    Returns:
        The path of the report. The same files give the same bytes.

    Raises:
        RunError: if a file is missing or cannot be read, or answers are to items that there are not.
        ConfigError: if config.yaml does not hold the settings of a run.
    """
    folder = Path(run_folder)
    contents = read_contents(folder)
    templates = Environment(
        loader=PackageLoader("lalia.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["number"] = tables.format_number
    templates.filters["breakable"] = _allow_breaks
    rows = checklist.write_checklist(folder, contents)
    explained = {"explained": describe_explained(folder, contents)}
    shown = _describe(contents) | _describe_checklist(rows) | explained
    page = templates.get_template("report.html.jinja").render(shown)
    path = folder / "report.html"
    write_text(path, page)
    return path


def _describe(contents: Contents) -> dict[str, Any]:
    """Return what the template shows, by name."""
    manifest = contents.manifest
    flow = manifest["flow"]
    rows = contents.predictions[contents.predictions["part"] == contents.part]
    rated = rows[rows["rating"].notna()]
    return {
        "manifest": manifest,
        "begun": f"{datetime.fromisoformat(manifest['created']).astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "settings": contents.settings,
        "part": contents.part,
        "traits": contents.traits,
        "is_binary": contents.is_binary,
        "n_recordings": rated["recording"].nunique(),
        "n_speakers": rated["speaker"].nunique(),
        "asked": _say_asked(contents),
        "flow": flow,
        "dropped": [{**step, "reason": contents.hide_ids(step["reason"])} for step in flow["dropped"]],
        "excluded": _count_excluded(contents),
        "warnings": contents.warnings(),
        "sentences": _summarise(contents),
        "units": [
            {
                "name": unit,
                "table": tables.build_headline(contents, unit),
                "pictures": pictures.draw_headline(contents, unit),
            }
            for unit in tables.UNITS
        ],
        "levels": tables.build_levels(contents),
        "training": pictures.draw_training(contents),
        "sections": [_describe_trait(contents, number, trait) for number, trait in enumerate(contents.traits)],
        "disagreements": contents.disagreements().to_dict("records"),
        "layer_mix": pictures.draw_layer_mix(contents),
        "settings_text": _show_settings(contents),
    }


def _describe_trait(contents: Contents, number: int, trait: str) -> dict[str, Any]:
    rated = contents.rated(trait)
    threshold = contents.manifest.get("thresholds", {}).get(trait) or {"value": None, "reason": "none was stored"}
    return {
        "name": trait,
        "anchor": f"trait-{number}",
        "n_rated": len(rated),
        "n_speakers": rated["speaker"].nunique(),
        "n_present": int(contents.is_present(trait).sum()),
        "threshold": threshold,
        "pictures": pictures.draw_trait(contents, number, trait),
        "table": tables.build_trait(contents, trait),
    }


def _describe_checklist(rows: Sequence[checklist.Row]) -> dict[str, Any]:
    lists = [
        {"name": one.name, "source": one.source, "rows": [row for row in rows if row.list == one.name]}
        for one in load_lists()
    ]
    return {"lists": lists, "statuses": checklist.STATUSES, "list_counts": checklist.count_statuses(rows)}


def _say_asked(contents: Contents) -> list[tuple[str, str]]:
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


def _summarise(contents: Contents) -> list[str]:
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


def _count_excluded(contents: Contents) -> list[dict[Hashable, Any]]:
    """Count the excluded ratings of each trait, value and reason."""
    excluded = pd.DataFrame(contents.manifest["flow"].get("excluded_ratings", []), columns=["trait", "value", "reason"])
    excluded["reason"] = excluded["reason"].map(contents.hide_ids)
    counted = excluded.astype(str).value_counts(sort=False).rename("count").reset_index()
    return counted.to_dict("records")


def _show_settings(contents: Contents) -> str:
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


def _allow_breaks(name: str) -> Markup:
    """Escape a name and let its lines break after an underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def _last_part(place: str) -> str:
    """Return the last part of an absolute path, anything else as it is: a folder may bear a person's name."""
    return Path(place).name if Path(place).is_absolute() else place
