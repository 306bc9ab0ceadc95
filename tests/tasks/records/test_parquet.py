"""Tables: damage inside a page is detected."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.result import ItemResult
from tasks.errors import RecordError, StorageError
from tasks.records import parquet
from tasks.storage import StoragePath
from tests.tasks.places import at
from tests.tasks.rows import row


def test_a_flipped_bit_in_a_page_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "part.parquet"
    part = at(file)
    parquet.write_rows(part, [row(attempts=i**3) for i in range(2000)], ItemResult)
    good, data = pq.read_table(file), file.read_bytes()
    columns = pq.read_metadata(file).row_group(0).to_dict()["columns"]
    (chunk,) = (column for column in columns if column["path_in_schema"] == "attempts")
    lied = 0
    # after the page header
    for place in range(chunk["dictionary_page_offset"] + 100, chunk["data_page_offset"], 97):
        file.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            unchecked = pq.read_table(file)
        except (pa.ArrowException, OSError):
            continue
        if not unchecked.equals(good):  # without checksums the reader would not notice
            lied += 1
            with pytest.raises(RecordError, match="is damaged"):
                parquet.read_table(part)
            damaged = file.read_bytes()
    assert lied
    for reads in ([damaged, data], [damaged, data[:-9]]):  # damaged in transit, not in the store
        monkeypatch.setattr(StoragePath, "read_bytes", lambda _, reads=reads: reads.pop(0))
        if data in reads:
            assert parquet.read_table(part).equals(good)
        else:
            with pytest.raises(StorageError, match="two reads gave different bytes") as caught:
                parquet.read_table(part)
            assert caught.value.transient
