"""What several test files share."""

import os
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
