"""A Pusher for TFX that pushes versions atomically, with the next version number."""

import json
import pathlib

from google.protobuf import json_format
from tfx import v1 as tfx
from tfx.components.pusher import executor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.proto import pusher_pb2

from pipelines.retrain import serving
from pipelines.retrain.tfx.artifacts import local


class Executor(executor.Executor):
    """Pushes atomically, as `mal-tf retrain` does; TFX's own executor copies files one by one into the served directory."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Push a blessed model, with the lineage that the Trainer wrote.

        Args:
            input_dict: artifacts `model`, `model_blessing` and `infra_blessing`.
            output_dict: artifact `pushed_model`, which records whether the model was pushed and as which version.
            exec_properties: `push_destination`, a directory of the file system.

        Raises:
            MalTfError: see `serving.push`.
        """
        (pushed,) = output_dict["pushed_model"]
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = json_format.Parse(exec_properties["push_destination"], pusher_pb2.PushDestination())
        directory = destination.filesystem.base_directory
        model = pathlib.Path(local(self.GetModelPath(input_dict)))
        lineage = json.loads((model / serving.LINEAGE).read_text())
        number = serving.push(str(model), directory, lineage)
        self._MarkPushed(pushed, pushed_destination=f"{directory}/{number}", pushed_version=str(number))


class Pusher(tfx.components.Pusher):
    """TFX's Pusher component with the executor above."""

    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
