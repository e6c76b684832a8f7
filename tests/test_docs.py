"""Documentation that a command writes is as the command would write it now."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_of_settings_is_true():
    render = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["render"]
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == render()
