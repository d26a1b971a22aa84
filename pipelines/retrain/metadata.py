"""ML Metadata's store of one schedule: its config, the connection, and its errors as messages for people."""

import contextlib
import functools
import os
import pathlib
import re
from collections.abc import Iterator

import pydantic
from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as proto

from features.errors import MalTfError
from features.frozen import Frozen
from pipelines.core import files

#: What the database said, in a message of ML Metadata's that quotes the record before it and the query after it.
_CAUSE = re.compile(r"Error when executing query: (.+?) query:", re.DOTALL)


class MysqlConfig(Frozen):
    """A database on a MySQL server; it is made if it is not there.

    Attributes:
        host: name or IP address.
        port: of the server.
        database: of this schedule alone: a run takes every other unfinished run in it for one that was killed.
        user: who may write there.
        password_env: environment variable that holds the password; without one there is none.
    """

    host: str = pydantic.Field(min_length=1)
    port: int = pydantic.Field(3306, ge=1, le=65_535)
    database: str = pydantic.Field(pattern=r"^[A-Za-z0-9_]+$")
    user: str = pydantic.Field(min_length=1)
    password_env: str | None = None


class MetadataConfig(Frozen):
    """Where the history is kept.

    Attributes:
        sqlite: file, relative to the schedule's root; on a local disk, since SQLite's locks can't be relied on elsewhere.
        mysql: a server instead.
    """

    sqlite: str = "metadata.sqlite"
    mysql: MysqlConfig | None = None

    @pydantic.model_validator(mode="after")
    def _one(self):
        if self.mysql and "sqlite" in self.model_fields_set:
            raise ValueError("sqlite and mysql exclude each other; take one out")
        return self


class Store:
    """`ml_metadata.MetadataStore`, method by method, whose errors are `MalTfError`."""

    def __init__(self, connection: proto.ConnectionConfig, where: str):
        """Connects.

        Args:
            connection: to the database.
            where: what errors call it.
        """
        self._where = where
        with _said(where):
            self._store = metadata_store.MetadataStore(connection)

    def __getattr__(self, name: str):
        method = getattr(self._store, name)

        @functools.wraps(method)
        def call(*args, **kwargs):
            with _said(self._where):
                return method(*args, **kwargs)

        return call


def connect(config: MetadataConfig, root: str, create: bool) -> Store:
    """Connects to a schedule's store.

    Args:
        config: where it is.
        root: the schedule's directory.
        create: make it if it is not there; SQLite only, a MySQL database is always made.

    Raises:
        MalTfError: it can't be reached or is none, or there is none and `create` is not set.
    """
    if config.mysql:
        return Store(proto.ConnectionConfig(mysql=_mysql(config.mysql)), _url(config.mysql))
    path = files.resolve(config.sqlite, root)
    if not files.is_local(path):
        raise MalTfError(
            f"metadata.sqlite is {path}: expected a file on a local disk; set it to one, or use metadata.mysql"
        )
    mode = proto.SqliteMetadataSourceConfig.READWRITE  # Also for readers, who roll back what a killed writer left.
    if create:
        with _said(path):
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    elif not pathlib.Path(path).exists():
        raise MalTfError(f"{path}: expected the history of earlier runs, found no such file: nothing ran yet here")
    sqlite = proto.SqliteMetadataSourceConfig(filename_uri=path, connection_mode=mode)
    return Store(proto.ConnectionConfig(sqlite=sqlite), path)


def _mysql(config: MysqlConfig) -> proto.MySQLDatabaseConfig:
    connection = proto.MySQLDatabaseConfig(
        host=config.host, port=config.port, database=config.database, user=config.user
    )
    if config.password_env:
        if config.password_env not in os.environ:
            raise MalTfError(
                f"metadata.mysql.password_env: expected the password of {_url(config)} in the environment variable "
                f"{config.password_env}, found it not set"
            )
        connection.password = os.environ[config.password_env]
    return connection


def _url(config: MysqlConfig) -> str:
    return f"mysql://{config.user}@{config.host}:{config.port}/{config.database}"


@contextlib.contextmanager
def _said(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, errors.StatusError, RuntimeError) as error:  # RuntimeError is what connecting raises.
        if isinstance(error, errors.AbortedError) or "ABORTED" in str(error):
            advice = "Other processes wrote to it all the time; run the same command again"
        else:
            advice = "Check that it is ML Metadata's, that it may be written and that the disk is not full"
        cause = _CAUSE.search(str(error))
        told = cause[1] if cause else str(error).rstrip(".")
        raise MalTfError(f"{where} can't be used: {told}. {advice}") from error
