import hypothesis
import pytest

import mal_tf  # noqa: F401 - selects Keras 2 before any test imports TensorFlow
from tests.support.project import Project

# How long an example takes says more about the machine's load than about the code.
hypothesis.settings.register_profile("mal_tf", deadline=None)
hypothesis.settings.load_profile("mal_tf")


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)
