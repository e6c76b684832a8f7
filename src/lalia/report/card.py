"""The model card of a saved rater: README.md as Hugging Face shows it, without ids, paths or audio."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from lalia.files import write_text
from lalia.model.encoders.base import EncoderSource
from lalia.model.saved_rater import RaterConfig, find_rater, read_config
from lalia.report import tables
from lalia.report.contents import Contents, read_contents

CARD_FILE = "README.md"
# stands in the card until it is pushed to a repository
REPOSITORY = "OWNER/NAME"

_TAGS = ["lalia", "speech", "clinical-speech", "speech-assessment"]
_WHAT_COMES_OUT = {
    "binary": "The score is the probability that the trait is present.",
    "ordinal": "The score is the expected level, the level the highest one that is more likely reached than not.",
    "regression": "The score is a value on the scale that may lie beyond its ends, the level the nearest one.",
}


def write_card(run_folder: str | Path) -> Path:
    """Write the model card of a finished run into its ``model`` folder, from the files of the run alone.

    Returns:
        The path of the card. The same files give the same bytes.

    Raises:
        RunError: if a file of the run is missing or cannot be read.
        RaterError: if the saved rater is missing or cannot be read.
    """
    folder = Path(run_folder)
    path = find_rater(folder / "model") / CARD_FILE
    write_text(path, render_card(read_config(path.parent), read_contents(folder)))
    return path


def render_card(config: RaterConfig, contents: Contents | None = None) -> str:
    """Return a model card in Markdown with Hugging Face's YAML header; what is not known stands in it as a gap.

    Args:
        config: of the saved rater.
        contents: of the run that it comes from; without them, data, results and seed are gaps.
    """
    # Markdown, not HTML: names that could be read as either stand in code spans
    templates = Environment(
        loader=PackageLoader("lalia.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.globals |= {"gap": _gap, "number": tables.format_number}
    templates.filters["code"] = _code
    return templates.get_template("card.md.jinja").render(
        config=config,
        repository=REPOSITORY,
        header=_write_header(config.encoder),
        traits=config.traits,
        levels=[f"{level:g}" for level in config.scale.levels],
        present_from=f"{config.scale.present_from:g}",
        what_comes_out=_WHAT_COMES_OUT.get(config.head["kind"], ""),
        encoder=_say_encoder(config.encoder),
        layers={"last": "its last depth", "weighted": "a learned mix of all its depths"}.get(
            str(config.layers), f"its depth {config.layers}"
        ),
        **_describe_run(contents),
    )


def _describe_run(contents: Contents | None) -> dict[str, Any]:
    """Return what the template shows of a run, by name; nothing of it where there is none."""
    if contents is None:
        return dict.fromkeys(("manifest", "flow", "split_hash", "part", "results", "adaptation", "n_speakers"))
    manifest = contents.manifest
    units = ((unit, tables.build_headline(contents, unit)) for unit in tables.UNITS)
    rows = contents.predictions[contents.predictions["part"] == contents.part]
    return {
        "manifest": manifest,
        "flow": manifest["flow"],
        "split_hash": manifest["hashes"]["split"],
        "part": contents.part,
        "results": [(unit, table) for unit, table in units if table.groups],
        "adaptation": f"{manifest['adaptation']['kind']}, {manifest['adaptation']['trainable_parameters']:,} of"
        f" {manifest['adaptation']['parameters']:,} parameters trained",
        "n_speakers": rows["speaker"].nunique(),
    }


def _write_header(source: EncoderSource) -> str:
    header: dict[str, Any] = {"library_name": "lalia", "pipeline_tag": "audio-classification", "tags": _TAGS}
    if source.revision is not None:
        header |= {"base_model": source.name, "base_model_relation": "finetune"}
    text: str = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return text.rstrip()


def _say_encoder(source: EncoderSource) -> str:
    """Say where an encoder comes from; a folder stays unnamed, for it may bear a person's name."""
    later = ", fine-tuned" if source.is_fine_tuned else ""
    if source.revision is not None:
        return f"[{source.name}](https://huggingface.co/{source.name}), revision `{source.revision}`{later}"
    if source.name.startswith("random:"):
        return f"a {source.family} that began with random weights{later}"
    return f"a {source.family} from a local folder{later}. {_gap('where its weights come from')}"


def _gap(what: str) -> str:
    return f"**[to fill in: {what}]**"


def _code(name: str) -> str:
    """Return a name as a code span that is safe in a table."""
    plain = " ".join(name.split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`"
