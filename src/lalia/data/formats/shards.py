"""A shard of a data set: an Arrow or parquet file with rows, some of whose columns are text and one is audio."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lalia.data.readers import arrow_text
from lalia.errors import TableError, list_some, suggest

_UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)


@dataclass(frozen=True, eq=False)
class Shard:
    """The rows of a file, without their audio.

    Args:
        path: of the file.
        audio: its column of audio.
        texts: the columns that can be text.
        paths: what the column of audio says of files, empty where nothing.
        holds_bytes: whether the audio itself is there, shape (rows,).
    """

    path: Path
    audio: str
    texts: Mapping[str, list[str]]
    paths: Sequence[str]
    holds_bytes: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.paths)


@dataclass(frozen=True)
class _Columns:
    """Which columns of a shard are what."""

    audio: str
    texts: tuple[str, ...]
    names_of: Mapping[str, Sequence[str]]
    """Of columns that hold numbers of labels: the labels."""


def has_audio(path: Path) -> bool:
    """Return whether a parquet file has a column of audio."""
    try:
        return bool(_audio_columns(pq.read_schema(path)))
    except _UNREADABLE:
        return False


def read_shard(path: Path, where: str, wanted: str | None) -> Shard:
    """Read all of a shard but its audio.

    Args:
        path: of the file.
        where: it lies, for messages.
        wanted: the column of audio, where there are several.

    Raises:
        TableError: if it cannot be read or has no audio.
    """
    try:
        if path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            columns = _sort_columns(file.schema_arrow, where, wanted)
            table = file.read([*columns.texts, *_path_leaves(file.schema_arrow, columns.audio)])
            holds_bytes = _find_bytes_in_parquet(file, columns.audio, table.num_rows)
        else:
            table = _open_arrow(path)
            columns = _sort_columns(table.schema, where, wanted)
            holds_bytes = _find_bytes(table[columns.audio])
        texts = {name: _texts(table, name, columns) for name in columns.texts}
        return Shard(path, columns.audio, texts, _paths(table, columns.audio), holds_bytes)
    except _UNREADABLE as cause:
        raise TableError(f"{where} cannot be read as a shard of a data set: {cause}.") from cause


def _open_arrow(path: Path) -> Any:
    """Map a file of Arrow batches into memory and check that they are what they say, before anything follows them."""
    source = pa.memory_map(str(path))
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    table = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source).read_all()
    table.validate(full=True)
    return table


def _sort_columns(schema: Any, where: str, wanted: str | None) -> _Columns:
    features = _features(schema)
    audio = _audio_columns(schema)
    if wanted is not None and wanted in schema.names:
        audio = [wanted]
    if not audio:
        raise TableError(f"{where} has no column of audio.{suggest(wanted or 'audio', schema.names)}")
    if wanted is not None and wanted not in audio:
        raise TableError(f"{where}: data.columns.path: '{wanted}' is not a column.{suggest(wanted, schema.names)}")
    if len(audio) > 1:
        raise TableError(
            f"{where} has {len(audio)} columns of audio ({list_some(audio)}). Name one in data.columns.path."
        )
    names_of = {
        name: [str(each) for each in about["names"]]
        for name, about in features.items()
        if isinstance(about, dict) and about.get("_type") == "ClassLabel" and isinstance(about.get("names"), list)
    }
    texts = [field.name for field in schema if field.name not in audio and _is_plain(field.type)]
    return _Columns(audio[0], tuple(texts), names_of)


def _features(schema: Any) -> dict[str, Any]:
    """Return what the library says of columns beyond their type."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = said["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _audio_columns(schema: Any) -> list[str]:
    """Return the columns that the library calls audio; without its word those of bytes with a path."""
    features = _features(schema)
    said = [
        name for name in schema.names if isinstance(about := features.get(name), dict) and about.get("_type") == "Audio"
    ]
    return said or [
        field.name
        for field in schema
        if pa.types.is_struct(field.type)
        and {"bytes", "path"} == {field.type.field(number).name for number in range(field.type.num_fields)}
        and field.name not in features
    ]


def _is_plain(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _path_leaves(schema: Any, audio: str) -> list[str]:
    return [f"{audio}.path"] if pa.types.is_struct(schema.field(audio).type) else [audio]


def _paths(table: Any, audio: str) -> list[str]:
    column = table[audio]
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, "path")
    return [text or "" for text in column.to_pylist()]


def _texts(table: Any, name: str, columns: _Columns) -> list[str]:
    labels = columns.names_of.get(name)
    if labels is None:
        return [(text or "").strip() for text in arrow_text(table[name])]
    # datasets writes -1 where a label is not known
    return [labels[n] if n is not None and 0 <= n < len(labels) else "" for n in table[name].to_pylist()]


def _find_bytes(column: Any) -> NDArray[np.bool_]:
    if not pa.types.is_struct(column.type):
        return np.zeros(len(column), dtype=bool)
    held: NDArray[np.bool_] = pc.is_valid(pc.struct_field(column, "bytes")).to_numpy(zero_copy_only=False).astype(bool)
    return held


def _find_bytes_in_parquet(file: Any, audio: str, rows: int) -> NDArray[np.bool_]:
    """Return which rows hold audio.

    The counts in the file would tell sooner, but Arrow ends the process where what is said of a column is damaged.
    """
    if not pa.types.is_struct(file.schema_arrow.field(audio).type):
        return np.zeros(rows, dtype=bool)
    held = [_find_bytes(batch.column(0)) for batch in file.iter_batches(batch_size=64, columns=[f"{audio}.bytes"])]
    found = np.concatenate(held) if held else np.zeros(0, dtype=bool)
    if len(found) != rows:
        raise pa.ArrowInvalid(f"its columns have {rows} and {len(found)} rows")
    return found


def iterate_bytes(shard: Shard) -> Iterator[Any]:
    """Yield the audio of a shard as arrays of bytes, in the order of its rows.

    Raises:
        TableError: if it cannot be read.
    """
    try:
        if shard.path.suffix == ".parquet":
            for batch in pq.ParquetFile(shard.path).iter_batches(batch_size=64, columns=[f"{shard.audio}.bytes"]):
                yield pc.struct_field(batch.column(0), "bytes")
        else:
            for chunk in _open_arrow(shard.path)[shard.audio].chunks:
                yield pc.struct_field(chunk, "bytes")
    except _UNREADABLE as cause:
        raise TableError(f"The audio in {shard.path.name} cannot be read: {cause}.") from cause
