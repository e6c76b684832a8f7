"""The folder of a run: its name, which follows from settings and data, and its manifest."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lalia
from lalia.config import identity_json, load_config
from lalia.data.user_cache import user_cache
from lalia.errors import RunError
from lalia.files import write_json
from lalia.places import is_url
from lalia.report.answers import ANSWERS_FILE, read_answers
from lalia.settings import RunSettings

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "safetensors",
    "numpy",
    "pandas",
    "scikit-learn",
    "soundfile",
    "soxr",
)


def run_hash(settings: RunSettings, data_hash: str) -> str:
    """Return eight hexadecimal digits that change with the settings and the data, not with where they lie."""
    return hashlib.sha256(f"{identity_json(settings)}\n{data_hash}".encode()).hexdigest()[:8]


def run_path(settings: RunSettings, data_hash: str) -> Path:
    """Return where a run's folder is."""
    return runs_folder(settings.runs) / f"{settings.name}-{run_hash(settings, data_hash)}"


def runs_folder(runs: str) -> Path:
    """Return the folder of the run folders on this machine: of a URL one in the user's cache folder."""
    if not is_url(runs):
        return Path(runs)
    return user_cache("runs") / hashlib.sha256(runs.rstrip("/").encode()).hexdigest()[:16]


def open_run_folder(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Make a run's folder, or say why it cannot be used; what people answered to the checklists stays in it.

    Raises:
        RunError: if the run exists already and is neither resumed nor overwritten, the folder cannot be written, or
            answers in it cannot be read, which would stop the report at the end.
    """
    try:
        if overwrite and (path / "manifest.json").exists():
            _empty(path)
        if path.exists() and any(child.name != ANSWERS_FILE for child in path.iterdir()) and not resume:
            raise RunError(
                f"The run '{path}' exists already. Give --resume to go on, --overwrite to begin again, "
                "or change a setting such as the seed."
            )
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
        read_answers(path)
    except RunError:
        raise
    except OSError as cause:
        raise RunError(f"Cannot write to '{path}': {cause.strerror}. Set another folder in runs.") from cause
    if not os.access(path, os.W_OK):
        raise RunError(f"The folder '{path}' is read-only. Set another folder in runs.")


def _empty(folder: Path) -> None:
    """Delete what lalia has written into a run's folder, the manifest last: until then it is known for a run."""
    for child in sorted(folder.iterdir(), key=lambda child: child.name == "manifest.json"):
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child.name != ANSWERS_FILE:
            child.unlink()


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a run, ``{}`` where there is none yet."""
    try:
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as cause:
        raise RunError(f"'{path / 'manifest.json'}' is not valid JSON. Train again with --overwrite.") from cause
    return manifest


def read_run(path: str | Path) -> tuple[Path, RunSettings, dict[str, Any]]:
    """Read the settings and the manifest of a finished run.

    Raises:
        RunError: if the folder is not that of a run, or the run has not finished.
    """
    path = Path(path)
    if not (path / "config.yaml").is_file():
        raise RunError(f"'{path}' is not the folder of a run: it has no config.yaml.")
    manifest = read_manifest(path)
    if not manifest.get("finished"):
        raise RunError(f"The run '{path}' has not finished. Go on with: lalia train {path / 'config.yaml'} --resume")
    return path, load_config(path / "config.yaml"), manifest


def start_manifest(settings: RunSettings, hashes: dict[str, str]) -> dict[str, Any]:
    """Return what is known of a run before it trains: an id of its own, versions, hashes, seed, machine."""
    return {
        "lalia": lalia.__version__,
        "run": uuid.uuid4().hex,
        "name": settings.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": False,
        "seed": settings.seed,
        "hashes": hashes,
        "versions": package_versions(),
        "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


def package_versions() -> dict[str, str]:
    """Return the versions that a run is computed with."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"lalia": lalia.__version__, "python": platform.python_version(), **found}


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a run."""
    write_json(path / "manifest.json", manifest)
