"""Source adapters, which map the files of a platform to tables of clicks and conversions."""

from features.registry import block
from pipelines.labels.sources.kuairand import KuaiRandSource
from pipelines.labels.sources.mac import MacSource
from pipelines.labels.sources.tables import ContextSource, Join, Source, SourceTables, TableSource, TablesSource

#: Built-in adapters by their name in a config.
ADAPTERS: dict[str, type[Source]] = {"tables": TablesSource, "kuairand": KuaiRandSource, "mac": MacSource}

#: Type of the `sources` block of a config, for any adapter.
SourceConfig = block(ADAPTERS, Source, "adapter", "source adapter")

__all__ = [
    "ADAPTERS",
    "ContextSource",
    "Join",
    "KuaiRandSource",
    "MacSource",
    "Source",
    "SourceConfig",
    "SourceTables",
    "TableSource",
    "TablesSource",
]
