"""A corpus whose every field would like to be more than text, with names planted that tell where a field went."""

import shutil

import pandas as pd
import yaml

from toy_run import write_toy_corpus

# what a spreadsheet, a page, a template, a terminal, a shell and a reader of lines would each obey
TRAPS = (
    '=HYPERLINK("http://evil.example/";"x")',
    "@SUM(1)*cmd|'/C calc'!A0",
    "-2+3;=1+1",
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "\x1b]0;owned\x07\x1b[31m\x9b2J",
    "a\nError: forged\r",
    "[bold red]x[/] [link=http://evil.example/]y[/link]",
    "\u202egnp.exe",
    '"; DROP TABLE x; --',
    "+1\t=2",
    "$x_1$ \\input{a} 'quoted' \\x1b",
)
# what is planted in a field; each stands nowhere else
CANARIES = {
    "id": "MRN-4711",
    "speaker": "Jane-Canary",
    "date": "1931-02-03",
    "task": "Canary-Task",
    "site": "Canary-Clinic",
    "rater": "Dr-Canary",
    "trait": "canary_hoarse",
    "comment": "Canary-Comment",
    "file": "canary-file",
    "stranger": "canary-stranger",
    "excluded": "MRN-0815",
    "unreadable": "MRN-2342",
    "folder": "home-of-canary",
}


def write_hostile_corpus(folder):
    """Write a corpus into ``folder`` whose run.yaml trains in seconds; return the place of run.yaml."""
    corpus = write_toy_corpus(folder / CANARIES["folder"], speakers=10)
    given = pd.read_csv(corpus / "metadata.csv", dtype=str, keep_default_na=False)
    speakers = {name: number for number, name in enumerate(given["speaker"].unique())}
    rows = []
    for number, row in enumerate(given.to_dict("records")):
        trap, place = TRAPS[number % len(TRAPS)], speakers[row["speaker"]]
        path = f"{CANARIES['file']} {number} {TRAPS[number % len(TRAPS)].replace('/', '').replace(chr(92), '')}.wav"
        shutil.move(corpus / "audio" / f"{row['id']}.wav", corpus / "audio" / path)
        table = {
            "id": f"{trap} {CANARIES['id']} {number}",
            "speaker": f"{TRAPS[place % len(TRAPS)]} {CANARIES['speaker']} {place}",
            "date": CANARIES["date"],
            "task": f"{TRAPS[3]} {CANARIES['task']} {number % 2}",
            "site": f"{TRAPS[0]} {CANARIES['site']} {place % 2}",
            "comment": f"{trap} {CANARIES['comment']}",
            "path": path,
        }
        # the names of columns are as hostile as their cells
        for rater in (1, 2, 3):
            table[f"=breathy {TRAPS[3]} {CANARIES['trait']}_r{CANARIES['rater']} {rater}"] = row[f"breathy_r{rater}"]
            table[f"slow_rate_r{CANARIES['rater']} {rater}"] = row[f"slow_rate_r{rater}"]
        rows.append(table)
    rows.append(rows[0] | {"id": f"=1 {CANARIES['excluded']}", "path": "excluded.wav"})
    rows.append(rows[1] | {"id": f"{TRAPS[5]} {CANARIES['unreadable']}", "path": "unreadable\x1b[2J.wav"})
    shutil.copyfile(corpus / "audio" / rows[0]["path"], corpus / "audio" / "excluded.wav")
    (corpus / "audio" / rows[-1]["path"]).write_bytes(b"no audio")
    (corpus / "audio" / f"{CANARIES['stranger']} \x1b[2J.wav").write_bytes(b"of no row")
    pd.DataFrame(rows).to_csv(corpus / "metadata.csv", index=False)
    settings = yaml.safe_load((corpus / "run.yaml").read_text())
    settings["data"] |= {
        "layout": "path",
        "columns": settings["data"]["columns"] | {"path": "path"},
        "covariates": ["site"],
        "traits": [f"=breathy {TRAPS[3]} {CANARIES['trait']}", "slow_rate"],
        "exclude": [f"=1 {CANARIES['excluded']}"],
        "unreadable": "drop",
    }
    settings |= {"name": "toy", "split": {"kind": "random", "train": 0.4, "validation": 0.3, "test": 0.3}}
    settings["model"]["encoder"] = {
        **{"random": "whisper", "layers": 1, "width": 16, "heads": 2},
        "config": {"max_source_positions": 200},
    }
    settings["train"] |= {"epochs": 2, "batch_seconds": 20, "trackers": ["tensorboard", "mlflow"]}
    settings["model"] |= {"adapt": {"kind": "frozen"}, "rater_heads": 1.0}
    settings["audit"] = {"min_speakers": 2}
    (corpus / "run.yaml").write_text(yaml.safe_dump(settings))
    return corpus / "run.yaml"
