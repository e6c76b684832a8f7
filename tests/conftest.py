"""Tests run one to a core: each with one thread, without a network, and with a cache of their own."""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

# what is imported by other processes that have it on their path alone: it closes their network
collect_ignore = ["no_network"]

# the files that take longest begin first: one that began last would leave the other core idle
FIRST = ("test_demo.py", "test_several_processes.py", "test_run.py", "test_cli.py", "test_run_audit.py")


def pytest_collection_modifyitems(items):
    """Sort the tests by file, the longest ones first; within a file their order stays."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    # what another run kept would hide what is not computed, and nothing is left in the user's folder
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("user-cache"))


@pytest.fixture(scope="session")
def finished_corpus(tmp_path_factory):
    """The toy corpus of ``finished_run``: to be read, not changed."""
    from toy_run import write_toy_corpus

    return write_toy_corpus(tmp_path_factory.mktemp("finished") / "corpus")


@pytest.fixture(scope="session")
def finished_run(finished_corpus):
    """A finished quick run: to be read; who changes something takes a copy."""
    from lalia.run import train
    from toy_run import quick_settings

    return train(quick_settings(finished_corpus, finished_corpus.parent / "runs"))


@pytest.fixture(scope="session")
def run_of_all_traits(finished_corpus):
    """As ``finished_run``, with all six traits of the corpus."""
    from lalia.run import train
    from toy_run import ALL_TRAITS, quick_settings

    return train(quick_settings(finished_corpus, finished_corpus.parent / "runs-of-all", ALL_TRAITS))
