"""The reader of IDX files."""

import gzip

import numpy as np
import pytest
from data_files import idx_bytes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from widelimit.datasets import read_idx
from widelimit.datasets.idx import idx_shape

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(max_dims=4, min_side=0))
    )
)
def test_every_type_and_shape_comes_back(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(idx_bytes(array, CODES[array.dtype.str[1:]]))
    read = read_idx(path)
    assert read.dtype == array.dtype and read.dtype.isnative
    np.testing.assert_array_equal(read, array)
    assert idx_shape(path) == array.shape


@pytest.mark.parametrize("name", ["a.gz", "a"])
def test_gzip_is_told_by_content(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(idx_bytes(ARRAY)))
    np.testing.assert_array_equal(read_idx(str(path)), ARRAY)
    assert idx_shape(path) == (2, 3, 4)


ZIPPED = gzip.compress(idx_bytes(ARRAY))
WRONG = {
    "empty": (b"", "two zero bytes.*starts with nothing"),
    "image": (b"\x89PNG....", "two zero bytes.*starts with 89 50 4e 47"),
    "type": (b"\0\0\x0a\x01" + bytes(8), "known type.*starts with 00 00 0a 01"),
    "header": (idx_bytes(ARRAY)[:9], "lengths of 3 axes.*truncated in its header"),
    "short": (idx_bytes(ARRAY)[:-1], r"24 bytes.*\(2, 3, 4\). Got 23 in .*truncated"),
    "long": (idx_bytes(ARRAY) + b"\0", "24 bytes.* Got 25 in .*too long"),
    "short gzip": (ZIPPED[:-9], "whole gzip file.*end-of-stream"),
    "long gzip": (ZIPPED + b"junk", "whole gzip file.*Not a gzip"),
    "bad gzip": (b"\x1f\x8b" + bytes(30), "whole gzip file.*Unknown compression"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused(tmp_path, wrong):
    data, message = WRONG[wrong]
    path = tmp_path / "bad-file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert "bad-file" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-file"):
        read_idx(tmp_path / "no-file")
