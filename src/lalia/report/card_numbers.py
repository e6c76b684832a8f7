"""The numbers of a model card as Markdown: results, people, groups of speakers, confounds; a gap where one lacks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from lalia.report.facts.data import FEW_SPEAKERS

GAP: Final = "*to be filled in*"
_METRICS = ("auc", "balanced_accuracy", "spearman", "mae", "qwk")
_GROUP_METRICS = ("auc", "balanced_accuracy", "spearman", "mae")

Tree = Mapping[str, Any]


def find_part(metrics: Tree) -> str | None:
    """Return the part that the card is about: test, or else validation."""
    return next((name for name in ("test", "validation") if name in metrics), None)


def show_results(traits: Iterable[str], metrics: Tree) -> list[str]:
    """Return the table of results: a row per trait and their means, with 95 % intervals."""
    part = find_part(metrics)
    if part is None:
        return [GAP]
    branch = metrics[part]["recording"]
    rows = [(plain(trait), branch["traits"].get(trait, {})) for trait in traits]
    rows.append(("mean of the traits", branch["macro"]))
    if "speaker" in metrics[part]:
        rows.append(("mean of the traits, by speaker", metrics[part]["speaker"]["macro"]))
    flattering = " These recordings also chose the best epoch and the thresholds: the numbers flatter."
    return [
        f"On the {part} part, by recording, with 95 % intervals over speakers."
        f"{flattering if part == 'validation' else ''} A dash: undefined or not measured.",
        "",
        *_table(["trait", *_METRICS], [[name, *(_cell(found.get(one)) for one in _METRICS)] for name, found in rows]),
    ]


def show_raters(n_raters: int, data: Tree, metrics: Tree) -> list[str]:
    """Return who rated, and how well they agree.

    Args:
        n_raters: those who have heads in the rater; 0 where that is not known.
        data: the settings of the data, empty where they are not known.
        metrics: of the run.
    """
    combined = GAP
    if data:
        several = f"several, combined by their {plain(data.get('combine', GAP))}"
        combined = "one per recording and trait" if data.get("raters") is None else several
    part = find_part(metrics)
    people = metrics[part].get("raters") if part else None
    agreement = GAP
    if people:
        macro = people["recording"]["macro"]
        found = [f"{_title(one)} {_cell(macro.get(one))}" for one in ("spearman", "qwk", "mae")]
        agreement = f"each against the median of the others, {part} part, mean of the traits: {', '.join(found)}"
    return [
        f"- Ratings: {combined}",
        f"- Number of raters: {n_raters or GAP}",
        f"- Agreement: {agreement}",
        f"- Who they are, their training, what they knew of the speakers: {GAP}",
    ]


def show_groups(groups: Sequence[Tree], metrics: Tree) -> list[str]:
    """Return the performance in each group of speakers, as an audit of the run has it; hidden ones are counted."""
    part = find_part(metrics)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in groups:
        if row["part"] == part:
            here = found.setdefault((plain(row["attribute"]), plain(row["group"])), {"reason": row.get("reason")})
            if row.get("trait") == "macro":
                here |= {row["metric"]: row, "speakers": row["speakers"]}
    if not found:
        return [f"By age, sex, site, task and severity: {GAP}"]
    rows = []
    hidden: Counter[tuple[str, str]] = Counter()
    for (attribute, group), row in found.items():
        if "speakers" in row:
            rows.append([attribute, group, f"{row['speakers']:g}", *(_cell(row.get(one)) for one in _GROUP_METRICS)])
        else:
            hidden[attribute, plain(row["reason"] or "not shown")] += 1
    # the name of a small group, of a site say, may point at its people
    for (attribute, reason), count in hidden.items():
        named = "1 group" if count == 1 else f"{count} groups"
        rows.append([attribute, named, reason, *("" for _ in _GROUP_METRICS)])
    return [
        f"On the {part} part, mean of the traits; groups differ by chance too, most where they are small.",
        "",
        *_table(["by", "group", "speakers", *_GROUP_METRICS], rows),
    ]


def show_confounds(metrics: Tree, findings: Sequence[Tree]) -> list[str]:
    """Return what is reached without hearing speech, and what an audit found to predict the traits."""
    part = find_part(metrics)
    baselines = metrics[part].get("baselines", {}) if part else {}
    lines = []
    if baselines:
        rows = [
            [plain(name), *(_cell(tree["recording"]["macro"].get(one)) for one in _METRICS)]
            for name, tree in baselines.items()
        ]
        lines = ["What knows nothing but this reaches, on the same recordings, mean of the traits:", ""]
        lines += [*_table(["known", *_METRICS], rows), ""]
    told = [plain(found["sentence"]) for found in findings if found.get("check") == "confounds"]
    lines += [f"- {' '.join(sentence.split())}" for sentence in told]
    return [
        *lines,
        *([] if told else [f"- Age, sex, site, device, noise and level as predictors of the traits: {GAP}"]),
    ]


def show_limits(metrics: Tree) -> list[str]:
    """Return what the numbers cannot say."""
    part = find_part(metrics)
    counts = metrics[part]["recording"]["traits"].values() if part else []
    speakers = max((found["counts"]["speakers"] for found in counts if "counts" in found), default=None)
    few = (
        f", fewer than {FEW_SPEAKERS}: their intervals are too narrow"
        if (speakers or FEW_SPEAKERS) < FEW_SPEAKERS
        else ""
    )
    return [
        f"- The numbers rest on {GAP if speakers is None else speakers} speakers{few}; one split, one training.",
        *([] if part == "test" else ["- There is no test part: no number is of speakers whom nothing was fitted to."]),
        "- No external validation is known to lalia. Scores hold for recordings like those above; other rooms, devices,"
        " languages and tasks were not tried.",
        "- A number without its interval, or better than these on the same speakers, should not be believed.",
        f"- Known failures: {GAP}",
    ]


def plain(text: object) -> str:
    """Return a name that means nothing in Markdown or HTML."""
    return "".join(letter if letter.isalnum() or letter in " ._-/:,+" else " " for letter in str(text))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [[_title(head) for head in heads], ["---"] * len(heads), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _title(name: str) -> str:
    return name.replace("_", " ")


def _cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    if metric.get("low") is None:
        return f"{metric['value']:.2f}"
    return f"{metric['value']:.2f} ({metric['low']:.2f} to {metric['high']:.2f})"
