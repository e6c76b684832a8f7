"""The shape of the code: who may import whom, what the README shows, which names are public."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import lalia

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lalia"

# a file imports only from files and folders before it, or from its own folder
ORDER = [
    "telemetry",
    "errors",
    "versions",
    "scale",
    "limits",
    "signals",
    "safe_text",
    "files",
    "csv_files",
    "places",
    "strict_yaml",
    "settings",
    "inherited",
    "config",
    "processes",
    "progress",
    "data",
    "measures",
    "model",
    "build",
    "prepare",
    "training",
    "evaluation",
    "report",
    "run_folder",
    "run_lock",
    "run_mirror",
    "run_at_url",
    "resuming",
    "run_begin",
    "run",
    "inner_folds",
    "cross_validation",
    "terminal",
    "sweep",
    "run_explain",
    "app",
    "push",
    "run_compare",
    "run_probe",
    "run_embed",
    "run_audit",
    "starter",
    "shown",
    "cli",
]


def module_files() -> dict[str, Path]:
    names = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(path: Path, known: set[str], *, at_import_time: bool = False) -> set[str]:
    """Return the modules of lalia that a file imports, leaving out what only the type checker sees."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        or (at_import_time and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
        for inner in ast.walk(node)
        if inner is not node
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in found if name in known and name != "lalia"}


def layer(module: str) -> str:
    return module.split(".")[1]


def test_a_file_imports_only_from_what_stands_before_it():
    files = module_files()
    wrong = [
        f"{module} imports {imported}"
        for module, path in files.items()
        if module not in ("lalia", "lalia.__main__")
        for imported in imports_of(path, set(files))
        if layer(module) != layer(imported) and ORDER.index(layer(imported)) > ORDER.index(layer(module))
    ]
    assert not wrong


def test_every_file_has_its_place_in_the_order():
    assert {layer(module) for module in module_files() if module not in ("lalia", "lalia.__main__")} == set(ORDER)


def test_there_is_no_import_cycle():
    files = module_files()
    packages = {module for module, path in files.items() if path.name == "__init__.py"}
    graph = {module: imports_of(path, set(files)) - packages for module, path in files.items() if module != "lalia"}
    TopologicalSorter(graph).prepare()


def test_nothing_imports_the_command_line():
    files = module_files()
    assert not [
        module
        for module, path in files.items()
        if module != "lalia.__main__" and "lalia.cli" in imports_of(path, set(files))
    ]


def test_the_models_know_no_settings_and_no_tables():
    files = module_files()
    for module, path in files.items():
        if layer(f"{module}.") == "model":
            assert not imports_of(path, set(files)) & {"lalia.settings", "lalia.config", "lalia.data.table"}, module


def test_the_readme_shows_every_file_with_a_line():
    tree = re.search(r"```\nsrc/lalia/\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert tree, "the README has no file tree"
    folders: list[str] = []
    shown = set()
    for line in tree[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        name, _, description = line.strip().partition(" ")
        assert description.strip(), f"{name} has no description"
        folders = folders[:depth]
        if name.endswith("/"):
            folders.append(name)
        else:
            shown.add("".join(folders) + name)
    there = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.suffix in (".py", ".jinja", ".css", ".js", ".yaml") and path.name not in ("__init__.py", "__main__.py")
    }
    assert shown == there


def test_public_names_are_sorted_and_can_be_imported():
    assert lalia.__all__ == sorted(lalia.__all__)
    assert [getattr(lalia, name).__name__ for name in lalia.__all__] == lalia.__all__


def test_importing_lalia_or_its_command_line_loads_nothing_heavy():
    heavy = ("torch", "pandas", "numpy", "pydantic", "rich.progress")
    code = f"import sys, lalia, lalia.cli; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == "[]"
