"""Sources: from the files a platform has to batches of the click and conversion tables."""

from typing import Annotated

import pydantic

from pipelines.labels.sources.kuairand import KuaiRandSource
from pipelines.labels.sources.mac import MacSource
from pipelines.labels.sources.tables import Join, SourceTables, TableSource, TablesSource

#: The `sources` block of a config; a new adapter is one module and one name here.
SourceConfig = Annotated[TablesSource | KuaiRandSource | MacSource, pydantic.Field(discriminator="adapter")]

__all__ = ["Join", "KuaiRandSource", "MacSource", "SourceConfig", "SourceTables", "TableSource", "TablesSource"]
