"""What several test files share."""

import gc
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("commute", deadline=None, derandomize=True)  # how fast a machine is, is not tested here
settings.load_profile("commute")

SHARED_MODELS = Path(__file__).parents[2] / "shared" / "models"


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tests run in two processes on two cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of networks trained by other people; without it tests skip, except where CI promises it."""
    if not SHARED_MODELS.is_dir():
        reason = f"the shared networks are not at {SHARED_MODELS}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED_MODELS


@pytest.fixture(scope="module")
def importable():
    """Other processes import test files, as they would a user's modules, from where they are."""
    root = str(Path(__file__).parents[1])
    sys.path.insert(0, root)
    yield
    sys.path.remove(root)


@pytest.fixture(scope="module")
def pool(importable):
    """Two processes of one thread each."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(importable):
    """A Dask cluster of two processes of one thread each."""
    distributed = pytest.importorskip("distributed")
    options = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "processes": True,
        "dashboard_address": "127.0.0.1:0",
        "host": "127.0.0.1",
    }
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with distributed.LocalCluster(**options, silence_logs=logging.CRITICAL, memory_limit=0) as made:
        yield made
    gc.collect()


@pytest.fixture
def client(cluster):
    """A client of the cluster, once both workers are there."""
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster, set_as_default=False, timeout=30) as made:
        made.wait_for_workers(2, timeout=60)
        yield made
