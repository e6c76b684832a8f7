"""The commands of test_hostile_run.py in one process: a corpus, its run, and all that is made of it."""

import json
import sys
import traceback
from functools import partial
from pathlib import Path

import lalia.config
import lalia.data.synth
import lalia.run
import lalia.run_audit
from lalia.cli import main
from toy_run import QUICK


def call(*arguments):
    print(f"$ lalia {' '.join(map(ascii, arguments))}", flush=True)
    sys.argv = ["lalia", *map(str, arguments)]
    try:
        main()
    except SystemExit as left:
        return left.code
    except Exception:
        traceback.print_exc()
        return 1


def run_all(config, folder):
    load, write = lalia.config.load_config, lalia.data.synth.write_corpus
    # the demo as it is, but smaller
    lalia.config.load_config = lambda path, overrides=(): load(path, [*overrides, *QUICK])
    lalia.data.synth.write_corpus = partial(write, speakers=8, recordings_per_speaker=2)
    codes = {"demo": call("demo", "--out", folder / "demo")}
    lalia.config.load_config = load
    codes["check"] = call("check", config)
    codes["train"] = call("train", config, f"runs={folder / 'runs'}")
    (run,) = (folder / "runs").iterdir()
    codes["audit of the run"] = call("audit", run)
    codes["report"] = call("report", run)
    codes["push"] = call("push", run, "owner/name", "--dry-run", "--out", folder / "pushed")
    codes["audit"] = call("audit", config, "--out", folder / "audit")
    codes["predict"] = call("predict", run, *sorted((config.parent / "audio").iterdir()), "--out", folder / "rated.csv")
    codes["an error"] = call("train", config, f"runs={folder / 'runs'}", "split={kind: column, column: site}")
    return codes


if __name__ == "__main__":
    place = Path(sys.argv[2])
    (place / "codes.json").write_text(json.dumps(run_all(Path(sys.argv[1]), place)))
