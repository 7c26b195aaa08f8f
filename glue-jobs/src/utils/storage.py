"""Small files beside the data (headers, configuration, manifests), wherever Spark itself reads."""

import json
from typing import Any

from pyspark.sql import SparkSession


class Storage:
    """Hadoop's file systems through Spark's JVM.

    So the job needs no second client: s3:// is the same file system, with the same credentials,
    that Spark reads and writes data with, and a test may use file://.
    """

    def __init__(self, spark: SparkSession):
        # PySpark has no public way to Hadoop's file systems.
        self._jvm = spark._jvm  # pylint: disable=protected-access
        self._configuration = spark._jsc.hadoopConfiguration()  # pylint: disable=protected-access

    def size(self, uri: str) -> int | None:
        """Returns a file's bytes, None when there is no such file."""
        file_system, path = self._open(uri)
        return file_system.getFileStatus(path).getLen() if file_system.exists(path) else None

    def read(self, uri: str, limit: int = 2**31 - 1) -> bytes:
        """Returns a file's first `limit` bytes."""
        file_system, path = self._open(uri)
        stream = file_system.open(path)
        try:
            return bytes(stream.readNBytes(limit))
        finally:
            stream.close()

    def read_end(self, uri: str, limit: int) -> bytes:
        """Returns a file's last `limit` bytes."""
        file_system, path = self._open(uri)
        stream = file_system.open(path)
        try:
            stream.seek(max(0, file_system.getFileStatus(path).getLen() - limit))
            return bytes(stream.readNBytes(limit))
        finally:
            stream.close()

    def write(self, uri: str, content: bytes) -> None:
        """Writes a file, over one that is there."""
        file_system, path = self._open(uri)
        stream = file_system.create(path, True)
        try:
            stream.write(content)
        finally:
            stream.close()

    def write_json(self, uri: str, value: Any) -> None:
        """Writes a JSON document, for people too: indented, and text as it is."""
        self.write(uri, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())

    def list(self, uri: str) -> dict[str, int]:
        """Returns name -> bytes of the files right under a prefix; empty when there is none."""
        file_system, path = self._open(uri)
        if not file_system.exists(path):
            return {}
        files = [status for status in file_system.listStatus(path) if status.isFile()]
        return {file.getPath().getName(): file.getLen() for file in files}

    def delete(self, uri: str) -> None:
        """Deletes a file or everything under a prefix; one that is not there is no error."""
        file_system, path = self._open(uri)
        file_system.delete(path, True)

    def _open(self, uri: str):
        path = self._jvm.org.apache.hadoop.fs.Path(uri)
        return path.getFileSystem(self._configuration), path
