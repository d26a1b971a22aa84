"""Histories for tests, and two spans as a runner would record them."""

from ml_metadata.proto import metadata_store_pb2 as proto

from pipelines.retrain.history import History, OpenRun
from pipelines.retrain.metadata import Store


def in_memory() -> History:
    return History(Store(proto.ConnectionConfig(fake_database=proto.FakeDatabaseConfig()), "memory"))


def record(run: OpenRun, day: str, blessed: str | None = None) -> None:
    """A span from labels to push; `blessed` is the day whose model it starts from and is judged against."""
    at = f"/root/spans/{day}"
    with run.stage("labels", ["/root/fits/may"]) as stage:
        stage.output("labels", f"{at}/labels", f"l{day}", fitted_by="/root/fits/may")
    with run.stage("train/mal", [f"{at}/labels", *([f"/root/spans/{blessed}/train/mal"] if blessed else [])]) as stage:
        stage.output("model", f"{at}/train/mal", f"m{day}", days=f"{day} (1 day)")
    with run.stage("export/mal", [f"{at}/train/mal", f"{at}/labels"]) as stage:
        stage.output("export", f"{at}/serving/mal/1", f"e{day}")
    other = [f"/root/spans/{blessed}/serving/mal/1"] if blessed else []
    with run.stage("judge", [f"{at}/labels", f"{at}/serving/mal/1", *other]) as stage:
        stage.output("judgement", f"{at}/judge", f"j{day}", auc=0.75)
    with run.stage("bless", [f"{at}/judge"]) as stage:
        stage.output("blessing", f"{at}/bless", f"b{day}", blessed=True)
    with run.stage("push", [f"{at}/bless", f"{at}/serving/mal/1"]) as stage:
        stage.output("served", f"/root/serving/{1 if blessed is None else 2}", f"s{day}")
    run.end("pushed", ["all gates passed"])
