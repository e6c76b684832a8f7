import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from lalia.errors import VersionError
from lalia.versions import check_versions


@pytest.mark.parametrize(
    ("torch", "transformers"), [("2.10.0", "5.5.0"), ("2.13.0+cpu", "5.23.0"), ("3.0rc1", "6.0.dev0")]
)
def test_new_enough_libraries_are_accepted(torch, transformers):
    check_versions({"torch": torch, "transformers": transformers}.__getitem__)


@pytest.mark.parametrize(("torch", "transformers"), [("2.9.1+cu128", "4.57.1"), ("1.13", "5.4.9")])
def test_libraries_that_are_too_old_are_named_with_what_to_do(torch, transformers):
    with pytest.raises(VersionError) as caught:
        check_versions({"torch": torch, "transformers": transformers}.__getitem__)
    assert str(caught.value) == (
        f"torch is {torch}, it has to be 2.10 or newer; transformers is {transformers}, it has to be 5.5 or newer: "
        "older ones are not safe. Install them: pip install -U 'torch>=2.10' 'transformers>=5.5'"
    )


def test_libraries_that_are_missing_are_named():
    def find(package):
        raise PackageNotFoundError(package)

    with pytest.raises(VersionError, match=r"torch is not installed, it has to be 2.10 or newer; transformers is not"):
        check_versions(find)


def test_old_libraries_stop_lalia_before_any_model_is_touched():
    code = (
        "import importlib.metadata as metadata\n"
        "found = metadata.version\n"
        "metadata.version = lambda name: '2.6.0' if name == 'torch' else found(name)\n"
        "import sys, lalia\n"
        "try:\n    lalia.load_encoder\n"
        "except lalia.LaliaError as error:\n    print(error)\n"
        "print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.startswith("torch is 2.6.0, it has to be 2.10 or newer")
    assert shown.stdout.endswith("False\n")
