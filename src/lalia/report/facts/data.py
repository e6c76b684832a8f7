"""What a run knows of its data: who came in, what was dropped, the parts, the ratings."""

from lalia.report.contents import Contents
from lalia.report.facts.fact import Fact, FactOf, State, count_parts, count_speakers, has_part, has_test, join
from lalia.report.tables import format_interval, format_number, name_metric
from lalia.settings import ColumnSplit, FileSplit, FoldSplit, RandomSplit

FEW_SPEAKERS = 30
"""Below so many speakers, intervals that resample them are too narrow (docs/checklist.md has the simulation)."""
_MANIFEST, _CONFIG, _PREDICTIONS = "manifest.json", "config.yaml", "predictions.csv"


def flow(contents: Contents) -> Fact:
    """From the table to the parts, and how many have each trait."""
    found = contents.manifest["flow"]
    said = [
        f"in the table {found['recordings_in']} recordings of {found['speakers_in']} speakers",
        *_dropped(contents),
        f"kept {found['kept']['recordings']} of {found['kept']['speakers']}",
        count_parts(contents),
        f"with the trait: {_presence(contents)}",
    ]
    return Fact("; ".join(said), "known", f"{_MANIFEST}, {_PREDICTIONS}")


def eligibility(contents: Contents) -> Fact:
    """What was left out of the table, and which tasks were kept; who was asked to take part is not known."""
    dropped = _dropped(contents) or ["no recording was left out"]
    return Fact("; ".join([*dropped, _kept_tasks(contents)]), "part", f"{_MANIFEST}, {_CONFIG}")


def subsets(contents: Contents) -> Fact:
    """Which recordings the settings chose."""
    data = contents.settings.data
    limit = "no limit" if data.limit is None else f"about {data.limit} recordings (whole speakers, seeded)"
    return Fact(f"{_kept_tasks(contents)}; {limit}; left out by id: {len(data.exclude)}", "known", _CONFIG)


def missing(contents: Contents) -> Fact:
    """How missing ratings were handled, and how many there are."""
    reasons: dict[str, int] = {}
    for rating in contents.manifest["flow"].get("excluded_ratings", []):
        reason = contents.hide_ids(str(rating["reason"]))
        reasons[reason] = reasons.get(reason, 0) + 1
    rows = contents.predictions
    unrated = rows[rows["rating"].isna()].groupby("part").size()
    said = [
        "a missing rating is masked in loss and metrics, its recording counts for its other traits",
        f"ratings not taken as they stand: {join(f'{reason} ({n})' for reason, n in reasons.items()) or 'none'}",
        f"without a rating: {join(f'{part} {n}' for part, n in unrated.items()) or 'none'}",
        *_dropped(contents),
    ]
    return Fact("; ".join(said), "known", f"{_MANIFEST}, {_PREDICTIONS}")


def split(contents: Contents) -> Fact:
    """How the speakers were divided into parts."""
    said = f"{_division(contents)}: {count_parts(contents)}; SHA-256 {contents.manifest['hashes'].get('split', '?')}"
    if has_test(contents):
        return Fact(said, "known", f"{_MANIFEST}, {_CONFIG}, split.csv")
    return Fact(f"no part is held out as a test; {said}", "failed", f"{_MANIFEST}, {_CONFIG}, split.csv")


def disjoint(contents: Contents) -> Fact:
    """Whether a speaker is in two parts."""
    rows = contents.split
    if not len(rows):
        return Fact("split.csv is missing or empty: who is in which part cannot be checked", "absent", "split.csv")
    parts = rows.groupby("speaker")["part"].nunique()
    shared = int((parts > 1).sum())
    if shared:
        return Fact(f"{shared} of {len(parts)} speakers are in two parts", "failed", "split.csv")
    said = f"by speaker: none of {len(parts)} speakers is in two parts"
    return Fact(
        f"{said}; one person under two ids, or one sound under two names, is not seen here", "known", "split.csv"
    )


def parts_alike(contents: Contents) -> Fact:
    """Whether the parts can differ in how their data came about."""
    if isinstance(contents.settings.split, (RandomSplit, FoldSplit)):
        said = "all parts come from one table with the same rules, outcome and input; only their speakers differ"
        return Fact(f"{said}, assigned at random", "known", _CONFIG)
    return Fact("the parts are given, not drawn: how they differ is not known", "part", _CONFIG)


def sample_size(contents: Contents) -> Fact:
    """How many speakers the numbers rest on."""
    if not has_test(contents):
        return Fact("there is no test part, so no number rests on unheard speakers", "failed", _PREDICTIONS)
    speakers = count_speakers(contents, "test")
    said = f"{speakers} rated speakers in the test part; {_rarest(contents, 'test')}"
    if speakers < FEW_SPEAKERS:
        return Fact(f"{said}; fewer than {FEW_SPEAKERS}, too few for its intervals", "failed", _PREDICTIONS)
    return Fact(f"{said}; how the size was arrived at is not known", "part", _PREDICTIONS)


def training_size(contents: Contents) -> Fact:
    """How much the model learned from, beside how much of it trains."""
    trained = contents.manifest["adaptation"]["trainable_parameters"]
    if contents.folds:
        said = f"in each of {len(contents.folds)} folds the speakers of the others, less its validation part"
        return Fact(f"{said}, for {trained:,} trained parameters", "part", f"{_PREDICTIONS}, {_MANIFEST}")
    said = f"{count_speakers(contents, 'train')} rated speakers in the training part for {trained:,} trained parameters"
    state: State = "part" if has_part(contents, "train") else "failed"
    return Fact(f"{said}; {_rarest(contents, 'train')}", state, f"{_PREDICTIONS}, {_MANIFEST}")


def outcome(contents: Contents) -> Fact:
    """What was rated, on which scale."""
    data = contents.settings.data
    said = [
        f"perceptual ratings of {', '.join(contents.traits)}",
        f"levels {', '.join(contents.level_names)}, present from {contents.scale.present_from:g}",
        "one rating per recording and trait" if data.raters is None else f"several raters, combined by {data.combine}",
        "the same for all parts",
    ]
    return Fact("; ".join(said), "part", _CONFIG)


def heard(contents: Contents) -> Fact:
    """Whether the raters knew the input of the model, which is what they rate."""
    return Fact(
        "the raters judge the recording that the model hears; what else they knew is not known", "part", _CONFIG
    )


def time(contents: Contents) -> Fact:
    """The time between input and outcome."""
    return Fact("none: a rating is of the recording that the model hears", "known", _CONFIG)


def agreement(contents: Contents) -> Fact:
    """How well the raters agree."""
    shown = []
    for name in ("spearman", "qwk", "mae"):
        metric = contents.metrics_of("raters", "recording", None).get(name)
        if metric is not None and metric["value"] is not None:
            between = format_interval(metric)
            said = f"{name_metric(name)} {format_number(metric['value'])}"
            shown.append(f"{said} ({between})" if between else said)
    parts = [f"each rater against the median of the others, mean of the traits: {', '.join(shown)}"] if shown else []
    reliable = _reliability(contents)
    parts += [f"{name}: {', '.join(found)}" for name, found in reliable.items() if found]
    if not parts:
        return Fact("no agreement between raters could be measured in this part", "absent", "metrics.json")
    if not reliable["a rater with themselves"]:
        parts.append("of a rater with themselves: not measured")
    return Fact(f"{contents.part} part; {'; '.join(parts)}", "part", "metrics.json")


def _reliability(contents: Contents) -> dict[str, list[str]]:
    """Return what each coefficient of the raters' agreement is over the traits, between raters and with themselves."""
    tree = (contents.metrics.get(contents.part, {}).get("reliability") or {}).values()
    names = {
        "between raters": {"krippendorff_alpha": "Krippendorff's alpha", "icc_a1": "ICC(A,1)", "icc_ak": "ICC(A,k)"},
        "a rater with themselves": {"intra_rater_qwk": "quadratic kappa", "intra_rater_icc": "ICC(A,1)"},
    }
    found: dict[str, list[str]] = {}
    for what, titles in names.items():
        found[what] = []
        for name, title in titles.items():
            values = [of[name]["value"] for of in tree if name in of and of[name]["value"] is not None]
            if values:
                ends = " to ".join(dict.fromkeys(format_number(end) for end in (min(values), max(values))))
                found[what].append(f"{title} {ends} over the traits")
    return found


def ratings(contents: Contents) -> Fact:
    """How many recordings have each trait, by part."""
    return Fact(
        f"{count_parts(contents)}; with the trait: {_presence(contents)}", "known", f"{_MANIFEST}, {_PREDICTIONS}"
    )


def ratings_part(contents: Contents) -> Fact:
    """The same, where an item asks for more than a run knows."""
    said = f"{count_parts(contents)}; ratings per level are in the report"
    return Fact(f"{said}; demographic and clinical characteristics are not in the run", "part", _MANIFEST)


def _dropped(contents: Contents) -> list[str]:
    steps = contents.manifest["flow"].get("dropped", [])
    return [f"left out {len(step['recordings'])}: {contents.hide_ids(step['reason'])}" for step in steps]


def _kept_tasks(contents: Contents) -> str:
    tasks = contents.settings.data.tasks
    return f"tasks kept: {', '.join(tasks)}" if tasks else "all tasks were kept"


def _count_present(contents: Contents, part: str) -> dict[str, tuple[int, int]]:
    """Return of how many rated recordings of a part each trait is present, with how many there are."""
    rows = contents.predictions
    rows = rows[(rows["part"] == part) & rows["rating"].notna()]
    counts = (contents.scale.is_present(rows["rating"]) == 1, rows["trait"])
    present = {trait: int(counts[0][counts[1] == trait].sum()) for trait in contents.traits}
    return {trait: (n, int((rows["trait"] == trait).sum())) for trait, n in present.items()}


def _presence(contents: Contents) -> str:
    """Say how many of the rated recordings of each part have each trait."""
    said = []
    for part in contents.manifest["flow"]["parts"]:
        counts = [f"{trait} {n} of {rated}" for trait, (n, rated) in _count_present(contents, part).items() if rated]
        said += [f"{part}: {join(counts)}"] if counts else []
    return "; ".join(said) or "nobody is rated"


def _rarest(contents: Contents, part: str) -> str:
    """Say which trait has the fewest recordings with it, or without it."""
    counts = _count_present(contents, part)
    if not counts:
        return "nobody is rated"
    trait, (n, rated) = min(counts.items(), key=lambda one: min(one[1][0], one[1][1] - one[1][0]))
    return f"most one-sided trait: {trait}, present in {n} of {rated} recordings"


def _division(contents: Contents) -> str:
    match contents.settings.split:
        case RandomSplit():
            return f"speakers at random, stratified over the levels (seed {contents.settings.seed})"
        case FoldSplit(fold="all", folds=folds):
            return f"speakers in {folds} folds, each tested once (seed {contents.settings.seed})"
        case FoldSplit(fold=fold, folds=folds):
            return f"speakers in folds, fold {fold} of {folds} as the test part (seed {contents.settings.seed})"
        case ColumnSplit():
            return "as a column of the table says"
        case FileSplit():
            return "as a file says"


FACTS: dict[str, FactOf] = {
    one.__name__: one
    for one in (
        *(flow, eligibility, subsets, missing, split, disjoint, parts_alike, sample_size, training_size),
        *(outcome, heard, time, agreement, ratings, ratings_part),
    )
}
