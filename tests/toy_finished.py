"""A finished run in its folder whose recordings are there: quick to make, because nothing was trained."""

import numpy as np
import pandas as pd
import soundfile

from lalia.build import build_rater
from lalia.config import load_config
from lalia.evaluation.predict import predict
from toy_rater import TRAITS, make_waveform
from toy_report import change_json, make_run

IDS = ("A1", "A2", "B1", "B2", "C1", "<b>C2</b>")


def make_finished_run(folder, **model):
    """Write recordings of about a second, a table and the folder of a run on them, all in the test part."""
    audio = folder / "audio"
    audio.mkdir(parents=True)
    rows = []
    for number, name in enumerate(IDS):
        path = f"r{number}.wav"
        soundfile.write(audio / path, make_waveform(0.9 + 0.1 * number, seed=number), 16_000)
        rows.append(
            {"id": name, "speaker": name.strip("</b>")[0], "file": path, **dict.fromkeys(TRAITS, 1 + number % 4)}
        )
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    data = {"metadata": str(folder / "metadata.csv"), "audio_dir": str(audio), "layout": "path", "traits": list(TRAITS)}
    data["columns"] = {"recording": "id", "speaker": "speaker", "path": "file"}
    encoder = {"random": "hubert", "layers": 2, "width": 16, "heads": 2}
    run = make_run(
        folder / "run",
        traits=TRAITS,
        parts=("test",),
        data=data,
        model={"encoder": encoder, "layers": "weighted", "pooling": {"kind": "attention", "hidden": 8}} | model,
        cache={"max_gb": 0},
    )
    change_json(run / "manifest.json", lambda manifest: manifest.update(finished=True))
    change_json(run / "metrics.json", _count_speakers)
    rater = build_rater(load_config(run / "config.yaml"), TRAITS)
    rater.save_pretrained(run / "model")
    paths = [str(audio / row["file"]) for row in rows]
    scores = predict(rater, pd.DataFrame({"recording": IDS, "path": paths}))
    ratings = np.repeat([row[TRAITS[0]] for row in rows], len(TRAITS))
    speakers = np.repeat([row["speaker"] for row in rows], len(TRAITS))
    scores.assign(speaker=speakers, part="test", rating=ratings).to_csv(run / "predictions.csv", index=False)
    return run


def _count_speakers(metrics):
    for unit in ("recording", "speaker"):
        for trait in metrics["test"][unit]["traits"].values():
            trait["counts"]["speakers"] = 3
