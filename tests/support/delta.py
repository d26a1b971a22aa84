"""Delta tables as their protocol describes them, written without the package."""

import base64
import json
import os
import struct
import urllib.parse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_TYPES = {
    "int64": "long",
    "double": "double",
    "string": "string",
    "bool": "boolean",
    "timestamp[us, tz=UTC]": "timestamp",
}
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"


class DeltaTable:
    """A table in a folder, a commit at a time."""

    def __init__(self, folder, schema, partition_by=(), features=()):
        self.folder, self.parts, self.version, self.files = folder, list(partition_by), 0, 0
        (folder / "_delta_log").mkdir(parents=True)
        kinds = {f.name: _TYPES[str(f.type)] if str(f.type) in _TYPES else nested(f.type) for f in schema}
        fields = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in kinds.items()]
        protocol = {"minReaderVersion": 1, "minWriterVersion": 2}
        if features:
            protocol = {"minReaderVersion": 3, "minWriterVersion": 7}
            protocol |= {"readerFeatures": list(features), "writerFeatures": list(features)}
        meta = {"id": f"table-{folder.name}", "format": {"provider": "parquet", "options": {}}}
        meta |= {"schemaString": json.dumps({"type": "struct", "fields": fields}), "partitionColumns": self.parts}
        self.meta = meta | {"configuration": {}, "createdTime": 0}
        self._commit = [{"protocol": protocol}, {"metaData": self.meta}]

    def add(self, rows, **values):
        """Adds a file, in the partition of the given values; returns its relative path."""
        encoded = [f"{name}={urllib.parse.quote(str(value), safe='')}" for name, value in values.items()]
        path = "/".join([*encoded, f"part-{self.files:05d}.parquet"])
        self.files += 1
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, self.folder / path, row_group_size=250)
        self._add(path, values)
        return path

    def _add(self, path, values, **more):
        partition = {name: None if value is None else str(value) for name, value in values.items()}
        size = (self.folder / path).stat().st_size
        entry = {"path": urllib.parse.quote(path, safe="/="), "partitionValues": partition, "size": size}
        entry["stats"] = json.dumps({"numRecords": pq.read_metadata(self.folder / path).num_rows})
        self._commit.append({"add": entry | {"modificationTime": 0, "dataChange": True, **more}})

    def remove(self, path):
        """Removes a file, which stays in the folder."""
        self._commit.append(
            {"remove": {"path": urllib.parse.quote(path, safe="/="), "deletionTimestamp": 0, "dataChange": True}}
        )

    def delete(self, path, positions, **values):
        """Deletes rows of a file by a deletion vector."""
        self.remove(path)
        bits = np.asarray(sorted(positions), "<u2")
        bitmap = struct.pack("<IIHHI", 12346, 1, 0, bits.size - 1, 16) + bits.tobytes()
        data = struct.pack("<iqi", 1681511377, 1, 0) + bitmap
        data += b"\0" * (-len(data) % 4)
        text = base64.b85encode(data).decode().translate(str.maketrans(_B85, _Z85))
        vector = {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(data), "cardinality": bits.size}
        self._add(path, values, deletionVector=vector)

    def commit(self, moment=0):
        """Writes the log entry of a version, at a time in milliseconds since 1970; returns the version."""
        entries = [{"commitInfo": {"timestamp": moment, "operation": "WRITE"}}, *self._commit]
        path = self.folder / "_delta_log" / f"{self.version:020d}.json"
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        os.utime(path, (moment / 1000, moment / 1000))
        self._commit, self.version = [], self.version + 1
        return self.version - 1


def nested(kind):
    """The Delta type of a nested Arrow type."""
    if pa.types.is_struct(kind):
        fields = [{"name": f.name, "type": nested(f.type), "nullable": True, "metadata": {}} for f in kind]
        return {"type": "struct", "fields": fields}
    if pa.types.is_list(kind):
        return {"type": "array", "elementType": nested(kind.value_type), "containsNull": True}
    return _TYPES[str(kind)]
