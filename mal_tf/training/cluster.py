"""Distribution strategies (`--strategy`): connecting to a cluster, and input and training under each strategy."""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence

from features.errors import MalTfError
from features.keras2 import keras, tf
from mal_tf.training import optimizers
from mal_tf.training.config import TrainingConfig
from mal_tf.training.replicas import Part

#: Training on one device, on all devices of this machine, on several machines in step, on workers that share the parameters
#: of servers without being in step, or on the TPUs of this machine.
STRATEGIES = ("default", "mirrored", "multi_worker", "parameter_server", "tpu")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A distribution strategy, and the role of this process in it.

    Attributes:
        name: name of the strategy, one of `STRATEGIES`.
        strategy: TensorFlow's strategy.
        chief: whether this process writes files and does everything other than training.
        workers: number of workers that train, for `parameter_server`.
    """

    name: str = "default"
    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    chief: bool = True
    workers: int = 1

    @property
    def in_step(self) -> bool:
        """Whether processes take the same steps at the same time, so that all must save at the same step."""
        return self.name == "multi_worker"

    def afresh(self) -> "Cluster":
        """The cluster for another training. A TPU is initialised anew, because it holds the tables of one network."""
        if not isinstance(self.strategy, tf.distribute.TPUStrategy):
            return self
        return dataclasses.replace(self, strategy=_tpu_strategy(self.strategy.cluster_resolver))

    def spread(self, read: Callable[[Part], tf.data.Dataset], part: Part) -> tf.data.Dataset:
        """Input of this process. Every process reads all batches, but parses only the shares of its own replicas.

        Batches therefore contain the same clicks in the same order under every strategy, however many files there are, and
        all replicas have the same number of steps.

        Args:
            read: function that returns the batches of a part (`mal_tf.training.dataset.batches`).
            part: part of the data that all processes read together.
        """
        if self.name not in ("mirrored", "multi_worker", "tpu"):
            return read(part)
        fill = self.name == "tpu"

        def read_shares(context: tf.distribute.InputContext) -> tf.data.Dataset:
            own = context.num_replicas_in_sync // context.num_input_pipelines
            first = own * context.input_pipeline_id
            shares, count = range(first, first + own), context.num_replicas_in_sync
            return read(dataclasses.replace(part, shares=shares, count=count, fill=fill))

        # TPUEmbedding reads its rows from the host.
        options = tf.distribute.InputOptions(experimental_fetch_to_device=False) if fill else None
        return self.strategy.distribute_datasets_from_function(read_shares, options)

    def fit(
        self, trainer: keras.Model, dataset: tf.data.Dataset, steps: int, callbacks: Sequence[keras.callbacks.Callback]
    ) -> None:
        """Trains over a dataset.

        Args:
            trainer: trainer that was compiled in the strategy's scope.
            dataset: result of `spread`.
            steps: number of batches in it.
            callbacks: called after each step, with parameter servers after each round of steps.
        """
        if self.name == "parameter_server":
            _fit_in_rounds(self, trainer, dataset, steps, callbacks)
        else:
            steps_per_epoch = None if self.name == "default" else steps
            trainer.fit(dataset, steps_per_epoch=steps_per_epoch, epochs=1, verbose=0, callbacks=list(callbacks))


ALONE = Cluster()


def connect(name: str, config: TrainingConfig) -> Cluster:
    """Connects this process to its cluster. Call this before any other use of TensorFlow.

    Workers and servers of `parameter_server` do not return; they run until they are terminated.

    Args:
        name: one of `STRATEGIES`. `multi_worker` and `parameter_server` read the environment variable `TF_CONFIG`.
        config: configuration of the trainings to run.

    Raises:
        MalTfError: the name is unknown, the strategy does not support the config, `TF_CONFIG` describes no such cluster, or
            there is no TPU.
    """
    if name not in STRATEGIES:
        raise MalTfError(f"--strategy {name}: expected one of: {', '.join(STRATEGIES)}")
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


#: Values of `TrainingConfig` that a strategy supports, by key. With parameter servers, Keras supports neither loss scaling nor
#: callbacks after each step. A TPU updates its tables with its own optimisers as soon as it has a gradient, and always compiles
#: everything.
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
    """Reads TF_CONFIG: the jobs of the cluster, and the job and task index of this process."""
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


#: Batches per worker between two calls of the callbacks.
_ROUND = 64


def _fit_in_rounds(
    cluster: Cluster,
    trainer: keras.Model,
    dataset: tf.data.Dataset,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Schedules batches in order on free workers, and waits for all of them at the end of each round.

    Each batch is used at least once. If a worker dies, TensorFlow repeats its step, which may have been partly done, on another.
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
