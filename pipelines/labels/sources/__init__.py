"""Sources: from the files a platform has to batches of the click and conversion tables."""

from features.registry import block
from pipelines.labels.sources.kuairand import KuaiRandSource
from pipelines.labels.sources.mac import MacSource
from pipelines.labels.sources.tables import Join, Source, SourceTables, TableSource, TablesSource

#: The adapters that come with mal-tf, by what a config calls them. Adding one is a module and a line here.
ADAPTERS: dict[str, type[Source]] = {"tables": TablesSource, "kuairand": KuaiRandSource, "mac": MacSource}

#: The `sources` block of a config, of any adapter.
SourceConfig = block(ADAPTERS, Source, "adapter", "source adapter")

__all__ = [
    "ADAPTERS",
    "Join",
    "KuaiRandSource",
    "MacSource",
    "Source",
    "SourceConfig",
    "SourceTables",
    "TableSource",
    "TablesSource",
]
