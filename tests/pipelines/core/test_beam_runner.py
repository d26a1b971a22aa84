import pytest

from features.errors import BadInput, MalTfError
from pipelines.core import beam_runner


@pytest.mark.parametrize("kind", [MalTfError, BadInput])
@pytest.mark.parametrize("where", ["here", "in a process of a worker"])
def test_a_workers_error_for_people_keeps_its_kind_and_loses_its_step(kind, where):
    said = "clicks.csv can't be read: it is damaged"
    if where == "here":
        raised = kind(f"{said} [while running 'Labels/Read']")
    else:  # As Beam's local runner puts a worker's traceback.
        raised = RuntimeError(
            f"Traceback (most recent call last):\n  …\nfeatures.errors.{kind.__name__}: {said} [while running 'Read']"
        )

    class Failing:
        options = beam_runner.pipeline_options()

        def run(self):
            raise raised

    with pytest.raises(MalTfError) as found:
        beam_runner.run(Failing())
    assert (type(found.value), str(found.value)) == (kind, said)
