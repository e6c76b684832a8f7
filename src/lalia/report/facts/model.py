"""What a run knows of its model: input, architecture, training, output."""

from lalia.report.contents import Contents
from lalia.report.facts.fact import Fact, FactOf, count_speakers, has_part, has_test, join, name_encoder
from lalia.report.tables import format_number
from lalia.settings import AttentionPooling, BinaryHead, FoldSplit, RandomEncoder, RegressionHead

_MANIFEST, _CONFIG = "manifest.json", "config.yaml"


def purpose(contents: Contents) -> Fact:
    """What the model is for, as far as its traits say."""
    return Fact(f"a model that rates {', '.join(contents.traits)} from recordings of speech", "part", _CONFIG)


def study_kind(contents: Contents) -> Fact:
    """Whether the run develops or evaluates."""
    tested = "and evaluation on a test part of the same data" if has_test(contents) else "without a test part"
    return Fact(f"development of a model {tested}", "part", "metrics.json")


def technology(contents: Contents) -> Fact:
    """The kind of model."""
    return Fact(f"deep learning: {architecture(contents).value}", "part", f"{_MANIFEST}, {_CONFIG}")


def preprocessing(contents: Contents) -> Fact:
    """From file to input."""
    audio = contents.settings.audio
    trimmed = "not trimmed" if audio.trim_db is None else f"silence at the ends cut {audio.trim_db:g} dB below the peak"
    said = [
        "one channel (the mean of several) at the encoder's rate",
        trimmed,
        f"normalisation {str(audio.normalize).lower()}",
        f"windows of {audio.window_seconds:g} s every {audio.hop_seconds:g} s",
        "each file decoded and checked",
        "the same for all recordings, whoever speaks",
        _say_augmentation(contents),
    ]
    return Fact("; ".join(said), "known", _CONFIG)


def preprocessing_part(contents: Contents) -> Fact:
    """The same, where an item also asks how the recordings were made."""
    said = preprocessing(contents).value
    return Fact(f"recordings of speech; {said}; how they were made is not known", "part", _CONFIG)


def transformation(contents: Contents) -> Fact:
    """How the input enters the model."""
    normalisation = str(contents.settings.audio.normalize).lower()
    said = f"samples, or features that the encoder makes of them, as continuous values (normalisation {normalisation})"
    return Fact(f"{said}; nothing is cut into classes, nothing else enters", "known", _CONFIG)


def predictors(contents: Contents) -> Fact:
    """What the model hears, and what it does not."""
    names = contents.settings.data.covariates
    apart = f"; {', '.join(names)} are kept apart from it" if names else ""
    return Fact(f"the recording alone, as it is there when the model is used{apart}", "known", _CONFIG)


def no_assessor(contents: Contents) -> Fact:
    """Whether people judge the input."""
    return Fact("none: no person measures or judges what enters the model", "known", _CONFIG)


def unaware(contents: Contents) -> Fact:
    """Whether the input knows the outcome."""
    said = "the input is computed from the waveform, without the ratings"
    return Fact(f"{said}; whether recordings were made alike whatever the severity is not known", "part", _CONFIG)


def architecture(contents: Contents) -> Fact:
    """Encoder, adaptation, pooling, head."""
    model, adaptation, encoder = contents.settings.model, contents.manifest["adaptation"], contents.manifest["encoder"]
    size = f" (blocks: {encoder['blocks']}, width: {encoder['width']})" if "blocks" in encoder else ""
    said = [
        f"{name_encoder(contents)}{size}",
        f"adaptation {adaptation['kind']}",
        f"{adaptation['trainable_parameters']:,} of {adaptation['parameters']:,} parameters trained",
        f"depths {model.layers}",
        f"pooling {model.pooling.kind}",
        f"head {model.head.kind}",
    ]
    return Fact("; ".join(said), "known", f"{_MANIFEST}, {_CONFIG}")


def initialisation(contents: Contents) -> Fact:
    """Where the weights began."""
    asked = contents.settings.model
    began = "random weights" if isinstance(asked.encoder, RandomEncoder) else "weights that it came with"
    if contents.manifest.get("started_from"):
        began = f"those of an earlier rater, SHA-256 {contents.manifest['started_from']['weights_sha256']}"
    said = f"encoder: {began} ({name_encoder(contents)}); new layers at random, seed {contents.manifest['seed']}"
    return Fact(said, "known", f"{_MANIFEST}, {_CONFIG}")


def training(contents: Contents) -> Fact:
    """Optimiser, rates, loss, epochs."""
    train, history = contents.settings.train, contents.history
    said = [
        f"{len(contents.folds)} trainings, one of each fold, of at most {train.epochs} epochs"
        if contents.folds
        else f"{len(history)} of at most {train.epochs} epochs",
        f"optimiser {train.optimizer.kind}",
        f"rates {train.learning_rate:g}, encoder {train.encoder_learning_rate:g}, adapters"
        f" {train.adapter_learning_rate:g}",
        f"schedule {train.schedule}, warm-up {train.warmup:g}",
        f"batches of {contents.manifest.get('batch_seconds') or train.batch_seconds:g} s, {train.accumulate} per step",
        f"weight decay {train.weight_decay:g}",
        _say_augmentation(contents),
    ]
    if len(history) and "train_loss" in history:
        said.append(f"training loss of the last epoch {format_number(float(history['train_loss'].iloc[-1]))}")
    return Fact("; ".join(said), "known", f"{_CONFIG}, history.csv")


def selection(contents: Contents) -> Fact:
    """Which epoch was kept, and why."""
    stopping = contents.settings.train.early_stopping
    metric = "loss" if stopping is None else stopping.metric
    if contents.folds:
        kept = ", ".join(str(fold["best_epoch"]) for fold in contents.folds)
        return Fact(f"epochs {kept} of the folds, each by the {metric} of its validation part", "known", _MANIFEST)
    kept = f"epoch {contents.manifest.get('best_epoch')}"
    if not has_part(contents, "validation"):
        return Fact(f"{kept} was kept, but no validation part chose it", "failed", _MANIFEST)
    stopped = f"; {contents.manifest['stopped']}" if contents.manifest.get("stopped") else ""
    return Fact(f"{kept}, by the {metric} of the validation part{stopped}", "known", f"{_MANIFEST}, history.csv")


def model_building(contents: Contents) -> Fact:
    """All of it; why this model, and what was tried before, people must say."""
    said = [one(contents).value for one in (architecture, training, selection)]
    return Fact("; ".join([*said, "what else was tried is not known"]), "part", f"{_MANIFEST}, {_CONFIG}, history.csv")


def overfitting(contents: Contents) -> Fact:
    """What was done against overfitting."""
    train, model = contents.settings.train, contents.settings.model
    if not has_part(contents, "validation") and not contents.folds:
        return Fact("there is no validation part that could show overfitting", "failed", _MANIFEST)
    patience = (
        "all epochs were trained" if train.early_stopping is None else f"patience {train.early_stopping.patience}"
    )
    rated = f"{count_speakers(contents, 'validation')} rated speakers of a validation part chose the epoch"
    said = [
        f"{'a validation part in each fold chose its epoch' if contents.folds else rated} ({patience})",
        f"weight decay {train.weight_decay:g}",
        f"dropout {model.head.dropout:g}",
        f"adaptation {model.adapt.kind}",
    ]
    return Fact("; ".join(said), "known", f"{_CONFIG}, predictions.csv")


def ensembling(contents: Contents) -> Fact:
    """Whether models were joined."""
    if "folds" in contents.manifest:
        said = f"new recordings get the mean of {len(contents.manifest['folds'])} models, one of each fold"
        return Fact(
            f"{said}; every test recording is scored by one that did not learn from its speaker", "known", _MANIFEST
        )
    return Fact("none: one model", "known", _CONFIG)


def resampling(contents: Contents) -> Fact:
    """Whether the evaluation resampled the data."""
    if isinstance(contents.settings.split, FoldSplit):
        folds, inner = contents.settings.split.folds, contents.settings.split.inner
        if contents.settings.split.fold == "all":
            nested = f", nested: settings and thresholds were chosen on {inner} inner folds" if inner else ""
            return Fact(
                f"cross-validation in {folds} folds of speakers, with all steps in each{nested}", "known", _CONFIG
            )
        return Fact(f"one of {folds} folds; each fold is a run of its own, with all steps", "part", _CONFIG)
    return Fact("none was used: one split", "known", _CONFIG)


def output(contents: Contents) -> Fact:
    """What the model says, and how it becomes a decision."""
    match contents.settings.model.head:
        case BinaryHead():
            said = "a probability of presence per trait"
        case RegressionHead():
            said = "a value on the scale and a probability of presence per trait"
        case _:
            said = "an expected level, a level and a probability of presence per trait"
    thresholds = []
    for trait, found in contents.manifest.get("thresholds", {}).items():
        reason = f" ({found['reason']})" if found.get("reason") else ""
        thresholds.append(f"{trait} {format_number(found['value'])}{reason}")
    where = "the inner folds" if getattr(contents.settings.split, "inner", None) else "the validation part"
    chosen = f"thresholds with the highest balanced accuracy on {where}"
    said = f"{said}; {chosen}: {join(thresholds, most=100) or 'none'}; {_say_abstention(contents)}"
    return Fact(said, "known", f"{_CONFIG}, {_MANIFEST}")


def _say_abstention(contents: Contents) -> str:
    """Say whether uncertain recordings are left to people, and how many of them are decided, how often wrongly."""
    asked = contents.settings.decisions.abstain
    if asked is None:
        return "every recording is decided"
    found = contents.metrics.get(contents.part, {}).get("abstention") or {}
    shown = []
    for trait, each in found.items():
        coverage, risk = (each.get(name, {}).get("value") for name in ("coverage", "risk"))
        if coverage is not None:
            wrong = "" if risk is None else f", {format_number(risk)} of them wrongly"
            shown.append(f"{trait} {format_number(coverage)} decided{wrong}")
    return f"uncertain recordings are left open ({asked.kind}): {join(shown) or 'how many is not known'}"


def imbalance(contents: Contents) -> Fact:
    """What was done against class imbalance."""
    loss, calibration = contents.settings.train.loss, contents.settings.decisions.calibration
    used = [f"weights by level ({loss.level_weights})"] if loss.level_weights != "none" else []
    used += [f"focal loss (gamma {loss.focal_gamma:g})"] if loss.focal_gamma else []
    if not used:
        return Fact("no method against class imbalance was used", "known", _CONFIG)
    if calibration is None:
        return Fact(f"{', '.join(used)}; probabilities were not recalibrated", "failed", _CONFIG)
    return Fact(f"{', '.join(used)}; recalibrated by {calibration} on the validation part", "known", _CONFIG)


def uncorrected(contents: Contents) -> Fact:
    """Whether the evaluation data were corrected for imbalance."""
    return Fact("nothing is weighted, drawn again or distorted outside of the training part", "known", _CONFIG)


def updating(contents: Contents) -> Fact:
    """Whether the model was changed after its evaluation."""
    decisions = contents.settings.decisions
    if decisions.calibration is None:
        return Fact("the model was not updated", "known", _CONFIG)
    return Fact(
        f"none after the test; before it, {decisions.calibration} calibration on the validation part", "known", _CONFIG
    )


def prediction(contents: Contents) -> Fact:
    """How scores were computed."""
    said = f"by the saved rater in lalia {contents.manifest['lalia']}, as lalia predict does for new recordings"
    return Fact(said, "known", "predictions.csv, manifest.json")


def weights(contents: Contents) -> Fact:
    """Where the whole model is."""
    whole = "all weights" if contents.settings.model.save_encoder else "the weights that training changed"
    return Fact(
        f"the run's folder model/ has {whole}, its settings and a card; restrictions are not known", "part", _CONFIG
    )


def software(contents: Contents) -> Fact:
    """Versions."""
    versions = {"lalia": contents.manifest["lalia"], **contents.manifest["versions"]}
    return Fact(", ".join(f"{name} {version}" for name, version in versions.items()), "known", _MANIFEST)


def code(contents: Contents) -> Fact:
    """What of the analysis can be had."""
    said = (
        f"lalia {contents.manifest['lalia']} (Apache-2.0) with the run's config.yaml; data and further code: not known"
    )
    return Fact(said, "part", f"{_MANIFEST}, {_CONFIG}")


def explanation(contents: Contents) -> Fact:
    """What of the model can be looked at."""
    said = []
    if isinstance(contents.settings.model.pooling, AttentionPooling):
        said.append("how much each frame counts (SpeechRater.attention)")
    if contents.manifest.get("layer_weights"):
        said.append("how much each depth counts (in the report)")
    return Fact(f"to be had: {', '.join(said) or 'nothing'}; none was validated", "part", _CONFIG)


def poor_input(contents: Contents) -> Fact:
    """What happens to bad recordings."""
    said = "what cannot be decoded or is too short for the encoder is refused; noise and other rooms are not judged"
    return Fact(said, "part", _CONFIG)


def _say_augmentation(contents: Contents) -> str:
    augment = contents.settings.augment
    kinds = [one.kind for one in augment.apply] + (["spec_augment"] if augment.spec_augment else [])
    return f"augmentation of the training part: {', '.join(kinds) or 'none'}"


FACTS: dict[str, FactOf] = {
    one.__name__: one
    for one in (
        *(purpose, study_kind, technology, preprocessing, preprocessing_part, transformation, predictors, no_assessor),
        *(unaware, architecture, initialisation, training, selection, model_building, overfitting, ensembling),
        *(resampling, output, imbalance, uncorrected, updating, prediction, weights, software, code, explanation),
        poor_input,
    )
}
