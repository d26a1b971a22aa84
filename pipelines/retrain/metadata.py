"""Connects to a schedule's ML Metadata store, and turns its errors into `MalTfError`."""

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

#: Matches the database's own error in a message of ML Metadata, which quotes a record before and the query after it.
_CAUSE = re.compile(r"Error when executing query: (.+?) query:", re.DOTALL)


class MysqlConfig(Frozen):
    """A database on a MySQL server, which is created if it does not exist.

    Attributes:
        host: name or IP address of the server.
        port: port of the server.
        database: name of the database. No other schedule may use it, as a run takes every other unfinished run in it for a
            killed one.
        user: user with write access.
        password_env: environment variable that holds the password; by default no password is used.
    """

    host: str = pydantic.Field(min_length=1)
    port: int = pydantic.Field(3306, ge=1, le=65_535)
    database: str = pydantic.Field(pattern=r"^[A-Za-z0-9_]+$")
    user: str = pydantic.Field(min_length=1)
    password_env: str | None = None


class MetadataConfig(Frozen):
    """Where the history is stored.

    Attributes:
        sqlite: SQLite file, relative to the schedule's root, on a local disk, as SQLite's locks are not reliable elsewhere.
        mysql: a MySQL server to use instead.
    """

    sqlite: str = "metadata.sqlite"
    mysql: MysqlConfig | None = None

    @pydantic.model_validator(mode="after")
    def _one(self):
        if self.mysql and "sqlite" in self.model_fields_set:
            raise ValueError("sqlite and mysql exclude each other; take one out")
        return self


class Store:
    """An `ml_metadata.MetadataStore` whose methods raise `MalTfError`."""

    def __init__(self, connection: proto.ConnectionConfig, where: str):
        """Connect to a database.

        Args:
            connection: configuration of the connection.
            where: name of the database in error messages.
        """
        self._where = where
        with _store_errors(where):
            self._store = metadata_store.MetadataStore(connection)

    def __getattr__(self, name: str):
        method = getattr(self._store, name)

        @functools.wraps(method)
        def call(*args, **kwargs):
            with _store_errors(self._where):
                return method(*args, **kwargs)

        return call


def connect(config: MetadataConfig, root: str, create: bool) -> Store:
    """Connect to a schedule's store.

    Args:
        config: where the store is.
        root: the schedule's directory.
        create: whether to create an SQLite file that does not exist. A MySQL database is always created.

    Raises:
        MalTfError: the store can't be reached or is not ML Metadata's, or does not exist and `create` is not set.
    """
    if config.mysql:
        return Store(proto.ConnectionConfig(mysql=_mysql(config.mysql)), _url(config.mysql))
    path = files.resolve(config.sqlite, root)
    if not files.is_local(path):
        raise MalTfError(
            f"metadata.sqlite is {path}: expected a file on a local disk; set it to one, or use metadata.mysql"
        )
    mode = proto.SqliteMetadataSourceConfig.READWRITE  # Also for readers, which roll back what a killed writer left.
    if create:
        with _store_errors(path):
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    elif not pathlib.Path(path).exists():
        raise MalTfError(f"{path}: expected the history of earlier runs, found no such file: no span was run yet")
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
def _store_errors(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, errors.StatusError, RuntimeError) as error:  # Connecting raises RuntimeError.
        if isinstance(error, errors.AbortedError) or "ABORTED" in str(error):
            advice = "Other processes kept writing to it; run the same command again"
        else:
            advice = "Check that it is an ML Metadata database, that it is writable and that the disk is not full"
        cause = _CAUSE.search(str(error))
        message = cause[1] if cause else str(error).rstrip(".")
        raise MalTfError(f"{where} can't be used: {message}. {advice}") from error
