"""The same corpus as folders of other tools, written by their own libraries where they have one."""

import shutil

import pandas as pd


def read_plain(corpus):
    return pd.read_csv(corpus / "metadata.csv", dtype=str, keep_default_na=False)


def write_audiofolder(corpus, folder, *, splits=False):
    """Write metadata.csv beside the files, or in folders train and test."""
    rows = read_plain(corpus)
    parts = {"": rows} if not splits else {"train": rows.iloc[::2], "test": rows.iloc[1::2]}
    for part, some in parts.items():
        (folder / part / "clips").mkdir(parents=True)
        for name in some["id"]:
            shutil.copy(corpus / "audio" / f"{name}.wav", folder / part / "clips")
        names = [f"clips/{name}.wav" for name in some["id"]]
        some.assign(file_name=names).to_csv(folder / part / "metadata.csv", index=False)
    return folder


def make_dataset(corpus):
    from datasets import Audio, Dataset

    rows = read_plain(corpus)
    columns = {name: rows[name].tolist() for name in rows}
    columns["audio"] = [str(corpus / "audio" / f"{name}.wav") for name in rows["id"]]
    return Dataset.from_dict(columns).cast_column("audio", Audio())


def write_dataset(corpus, folder):
    """Write two splits with save_to_disk, one of them in two shards; the audio lies inside."""
    from datasets import DatasetDict

    whole = make_dataset(corpus)
    parts = {"train": whole.select(range(5)), "test": whole.select(range(5, len(whole)))}
    DatasetDict(parts).save_to_disk(folder, num_shards={"train": 2, "test": 1})
    return folder


def write_parquet(corpus, folder):
    """Write shards as they lie in a repository of the hub."""
    from datasets.table import embed_table_storage

    whole = make_dataset(corpus).with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
    (folder / "data").mkdir(parents=True)
    for number in range(2):
        whole.shard(2, number, contiguous=True).to_parquet(folder / "data" / f"train-{number:05d}-of-00002.parquet")
    return folder


def write_audformat(corpus, folder, form="csv"):
    """Write a table of speakers and tasks, one of ratings, and a misc table of people."""
    import audformat

    rows = read_plain(corpus)
    people = rows.drop_duplicates("speaker").set_index("speaker")
    database = audformat.Database("corpus", source="synthesis", usage="research", languages=["eng"])
    database.misc_tables["people"] = audformat.MiscTable(pd.Index(people.index, dtype="string", name="speaker"))
    for name in ("age", "sex", "site"):
        database.misc_tables["people"][name] = audformat.Column()
        database.misc_tables["people"][name].set(people[name].to_numpy())
    database.schemes["speaker"] = audformat.Scheme("str", labels="people")
    index = audformat.filewise_index([f"audio/{name}.wav" for name in rows["id"]])
    ratings = [name for name in rows if name.rpartition("_r")[2].isdigit()]
    for table, columns in {"files": ["id", "speaker", "date", "task"], "ratings": ratings}.items():
        database[table] = audformat.Table(index)
        for name in columns:
            database[table][name] = audformat.Column(scheme_id="speaker" if name == "speaker" else None)
            database[table][name].set(rows[name].to_numpy())
    database.save(folder, storage_format=form)
    shutil.copytree(corpus / "audio", folder / "audio")
    return folder


def write_kaldi(corpus, folder):
    """Write a data folder with a file for each column; paths are relative to it."""
    rows = read_plain(corpus).sort_values("id")
    shutil.copytree(corpus / "audio", folder / "audio")
    write_lines(folder / "wav.scp", zip(rows["id"], "audio/" + rows["id"] + ".wav", strict=True))
    write_lines(folder / "utt2spk", zip(rows["id"], rows["speaker"], strict=True))
    people = rows.drop_duplicates("speaker")
    write_lines(folder / "spk2utt", rows.groupby("speaker")["id"].agg(" ".join).items())
    for name in ("age", "sex", "site"):
        write_lines(folder / f"spk2{name}", zip(people["speaker"], people[name], strict=True))
    for name in rows.columns.drop(["id", "speaker", "age", "sex", "site"]):
        write_lines(folder / name, zip(rows["id"], rows[name], strict=True))
    return folder


def write_lines(path, pairs):
    path.write_text("".join(f"{key} {value}\n" for key, value in pairs))


WRITERS = {
    "audiofolder": write_audiofolder,
    "datasets": write_dataset,
    "parquet": write_parquet,
    "audformat": write_audformat,
    "kaldi": write_kaldi,
}

NAMED = {"kaldi": "recording"}
"""What the column of ids is called, where it is not ``id``."""
