"""Where a training runs: `--strategy`, and what differs by it."""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence

from features.errors import MalTfError
from features.keras2 import keras, tf
from mal_tf.training import optimizers
from mal_tf.training.config import TrainingConfig
from mal_tf.training.replicas import Part

#: Keras trains on one device, on all of this machine's, on several machines in step, on workers that share the
#: parameters of servers, each at its own pace, or on the TPUs of this machine.
STRATEGIES = ("default", "mirrored", "multi_worker", "parameter_server", "tpu")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A strategy, and this process's part in it.

    Attributes:
        name: of `STRATEGIES`.
        strategy: TensorFlow's.
        chief: whether this process does all that is not training, and all the writing.
        workers: of `parameter_server`: how many train.
    """

    name: str = "default"
    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    chief: bool = True
    workers: int = 1

    @property
    def in_step(self) -> bool:
        """Whether other processes take the same steps at the same time: all must save at the same step."""
        return self.name == "multi_worker"

    def afresh(self) -> "Cluster":
        """The cluster for one more training: a TPU holds the tables of one network until it is initialised anew."""
        if not isinstance(self.strategy, tf.distribute.TPUStrategy):
            return self
        return dataclasses.replace(self, strategy=_tpu_strategy(self.strategy.cluster_resolver))

    def spread(self, read: Callable[[Part], tf.data.Dataset], part: Part) -> tf.data.Dataset:
        """The input of this process: every process reads all batches, and makes tensors of its replicas' shares alone.

        So a batch is the same clicks under every strategy, in the same order, however many files there are, and all
        replicas have as many steps.

        Args:
            read: makes the batches of a part (`mal_tf.training.dataset.batches`).
            part: what all processes read together.
        """
        if self.name not in ("mirrored", "multi_worker", "tpu"):
            return read(part)
        fill = self.name == "tpu"

        def of_process(context: tf.distribute.InputContext) -> tf.data.Dataset:
            own = context.num_replicas_in_sync // context.num_input_pipelines
            first = own * context.input_pipeline_id
            shares, count = range(first, first + own), context.num_replicas_in_sync
            return read(dataclasses.replace(part, shares=shares, count=count, fill=fill))

        # TPUEmbedding takes its rows from the host.
        options = tf.distribute.InputOptions(experimental_fetch_to_device=False) if fill else None
        return self.strategy.distribute_datasets_from_function(of_process, options)

    def fit(
        self, trainer: keras.Model, dataset: tf.data.Dataset, steps: int, callbacks: Sequence[keras.callbacks.Callback]
    ) -> None:
        """Trains over the dataset.

        Args:
            trainer: compiled, in the strategy's scope.
            dataset: see `spread`.
            steps: batches in it.
            callbacks: called after each step; with parameter servers, after a round of them.
        """
        if self.name == "parameter_server":
            _fit_in_rounds(self, trainer, dataset, steps, callbacks)
        else:
            known = None if self.name == "default" else steps
            trainer.fit(dataset, steps_per_epoch=known, epochs=1, verbose=0, callbacks=list(callbacks))


ALONE = Cluster()


def connect(name: str, config: TrainingConfig) -> Cluster:
    """Takes this process's part; to be called before TensorFlow does anything else.

    Workers and servers of `parameter_server` stay in here until they are ended from outside.

    Args:
        name: of `STRATEGIES`. `multi_worker` and `parameter_server` read the environment's `TF_CONFIG`.
        config: of the trainings to come.

    Raises:
        MalTfError: unknown name, a config that can't be trained there, no such cluster in `TF_CONFIG`, or no TPU.
    """
    if name not in STRATEGIES:
        raise MalTfError(f"--strategy {name}: unknown; there are: {', '.join(STRATEGIES)}")
    for key, allowed in _ALLOWED.get(name, {}).items():
        if (found := getattr(config, key)) not in allowed:
            raise MalTfError(
                f"--strategy {name}: expected training.{key} to be {' or '.join(map(str, allowed))}, found {found}; change "
                "it, or train with another strategy (docs/distributed.md)"
            )
    if name == "default":
        return Cluster()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return Cluster(name, tf.distribute.MirroredStrategy([device.name for device in devices]))
    if name == "tpu":
        return _on_tpu()
    jobs, job, number = _tf_config(name)
    if name == "multi_worker":
        chief = job == "chief" or ("chief" not in jobs and (job, number) == ("worker", 0))
        return Cluster(name, tf.distribute.MultiWorkerMirroredStrategy(), chief)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if job != "chief":
        tf.distribute.Server(resolver.cluster_spec(), job_name=job, task_index=number, protocol="grpc").join()
    return Cluster(name, tf.distribute.ParameterServerStrategy(resolver), workers=len(jobs["worker"]))


#: What some strategies ask of a training, by key. Parameter servers: Keras scales no losses there, and calls nobody after each
#: step. A TPU moves its tables by itself, as soon as it has a gradient, with its own optimisers, and compiles everything in any
#: case.
_ALLOWED: dict[str, dict[str, tuple]] = {
    "parameter_server": {"precision": ("float32", "bfloat16"), "averaging": (None,)},
    "tpu": {
        "precision": ("float32", "bfloat16"),
        "embedding_optimizer": optimizers.ON_TPU,
        "gradients": ("sum",),
        "xla": (False,),
        "averaging": (None,),
    },
}


def _on_tpu() -> Cluster:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver("local")
        tf.config.experimental_connect_to_cluster(resolver)
        strategy = _tpu_strategy(resolver)
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise MalTfError(
            "--strategy tpu: expected TPUs in this machine, found none that TensorFlow can use; run it on a TPU VM with "
            "TensorFlow's build for TPUs (docs/distributed.md), or train with another strategy: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if strategy.extended.num_hosts > 1:
        raise MalTfError(
            f"--strategy tpu: expected the TPUs of one host, found a slice of {strategy.extended.num_hosts}; train on a TPU VM "
            "of one host"
        )
    return Cluster("tpu", strategy)


def _tpu_strategy(resolver: tf.distribute.cluster_resolver.TPUClusterResolver) -> tf.distribute.Strategy:
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def _tf_config(strategy: str) -> tuple[dict, str, int]:
    """Jobs of the cluster; this process's job and number."""
    text = os.environ.get("TF_CONFIG", "")
    needed = {"multi_worker": {"worker"}, "parameter_server": {"chief", "worker", "ps"}}[strategy]
    example = '{"cluster": {"worker": ["host:port", …], …}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        jobs, job, number = config["cluster"], config["task"]["type"], int(config["task"]["index"])
        fits = needed <= set(jobs) and 0 <= number < len(jobs[job])
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise MalTfError(
            f"--strategy {strategy}: expected TF_CONFIG such as {example} with the jobs {', '.join(sorted(needed))}; found "
            f"{text or 'none'}"
        )
    return jobs, job, number


#: Batches that workers are handed between two calls of the callbacks, each.
_ROUND = 64


def _fit_in_rounds(
    cluster: Cluster,
    trainer: keras.Model,
    dataset: tf.data.Dataset,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Hands batches to whichever worker is free, in order; at the end of a round all are done.

    Each batch is used at least once: if a worker dies, TensorFlow has another do its step, which may have been done in part.
    """
    coordinator = tf.distribute.coordinator.ClusterCoordinator(cluster.strategy)
    in_round = _ROUND * cluster.workers

    @tf.function(input_signature=[dataset.element_spec])
    def step(batch):
        cluster.strategy.run(trainer.train_step, args=(batch,))

    for callback in callbacks:
        callback.on_train_begin()
    for number, batch in enumerate(dataset, 1):
        coordinator.schedule(step, args=(batch,))
        if number % in_round == 0 or number == steps:
            coordinator.join()
            means = {mean.name: float(mean.result()) for mean in trainer.metrics}
            for callback in callbacks:
                callback.on_train_batch_end(number - 1, means)
    for callback in callbacks:
        callback.on_train_end()
