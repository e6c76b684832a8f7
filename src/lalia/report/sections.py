"""What the sections of the page show, by the names that the templates know."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from lalia.report import checklist, result_tables, tables
from lalia.report.contents import Contents
from lalia.report.items import load_lists
from lalia.report.pictures import Picture
from lalia.report.sentences import say_asked, show_settings, summarise

MOST_DISAGREEMENTS = 50
# what an audit lists of single people and recordings, which the page only counts
_COUNTED = {
    "shared_speakers": "speakers in two parts",
    "duplicates": "recordings that are there twice",
    "like_voices": "pairs of speakers who sound alike",
}


def describe(contents: Contents, pictures: Mapping[str, list[Picture]]) -> dict[str, Any]:
    """Return what the page shows of a run, without its checklists and clips.

    Args:
        contents: of the run.
        pictures: of ``draw_pictures``.
    """
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
        "asked": say_asked(contents),
        "flow": flow,
        "dropped": [{**step, "reason": contents.hide_ids(step["reason"])} for step in flow["dropped"]],
        "excluded": _count_excluded(contents),
        "warnings": contents.warnings(),
        "sentences": summarise(contents),
        "units": [{"name": unit, "table": tables.build_headline(contents, unit)} for unit in tables.UNITS],
        "levels": tables.build_levels(contents),
        "sections": [_describe_trait(contents, number, trait) for number, trait in enumerate(contents.traits)],
        "disagreements": contents.disagreements(MOST_DISAGREEMENTS).to_dict("records"),
        "pictures": pictures,
        "over_folds": result_tables.build_over_folds(contents),
        "folds": result_tables.build_folds(contents),
        "chance": result_tables.build_chance(contents),
        "reliability": result_tables.build_reliability(contents),
        "tasks": result_tables.build_tasks(contents),
        "groups": result_tables.build_groups(contents),
        "confounds": result_tables.build_confounds(contents),
        "abstention": result_tables.build_abstention(contents),
        "compared": result_tables.build_compared(contents),
        "audit": _describe_audit(contents),
        "settings_text": show_settings(contents),
    }


def describe_checklist(rows: Sequence[checklist.Row]) -> dict[str, Any]:
    """Return what the page shows of the checklists."""
    lists = [
        {"name": one.name, "source": one.source, "rows": [row for row in rows if row.list == one.name]}
        for one in load_lists()
    ]
    return {"lists": lists, "statuses": checklist.STATUSES, "list_counts": checklist.count_statuses(rows)}


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
        "table": tables.build_trait(contents, trait),
        "thresholds": result_tables.build_thresholds(contents, trait),
    }


def _describe_audit(contents: Contents) -> dict[str, Any] | None:
    """Return what an audit of the data found, None without one; people and recordings are only counted."""
    audit = contents.audit
    if not audit:
        return None
    return {
        "findings": [
            {"check": one["check"].replace("_", " "), "sentence": contents.hide_ids(one["sentence"])}
            for one in audit.get("findings", [])
        ],
        "notes": [contents.hide_ids(note) for note in audit.get("notes", [])],
        "counts": {name: len(audit.get(key) or []) for key, name in _COUNTED.items()},
        "probes": result_tables.build_probes(contents),
        "curve": result_tables.build_learning_curve(contents),
    }


def _count_excluded(contents: Contents) -> list[dict[Hashable, Any]]:
    """Count the excluded ratings of each trait, value and reason."""
    excluded = pd.DataFrame(contents.manifest["flow"].get("excluded_ratings", []), columns=["trait", "value", "reason"])
    excluded["reason"] = excluded["reason"].map(contents.hide_ids)
    counted = excluded.astype(str).value_counts(sort=False).rename("count").reset_index()
    return counted.to_dict("records")
