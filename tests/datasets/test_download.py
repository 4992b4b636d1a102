"""`download` against servers that break off, ignore ranges, or send other files."""

import hashlib
import threading

import numpy as np
import pytest

from widelimit.datasets.download import download

DATA = np.random.default_rng(0).bytes(300_000)
MD5 = "md5:" + hashlib.md5(DATA).hexdigest()


@pytest.fixture
def get(server, tmp_path):
    """Downloads the file called `name` to `target`."""
    server.files["file.bin"] = DATA

    def run(name="file.bin", checksum=MD5, **options):
        download(f"{server.url}/{name}", run.target, checksum=checksum, **options)

    run.target = tmp_path / "file.bin"
    run.part = tmp_path / "file.bin.part"
    return run


def test_a_whole_download(get, server, tmp_path):
    calls = []
    get(progress=lambda *call: calls.append(call))
    assert get.target.read_bytes() == DATA
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]
    assert server.seen == [None]
    assert calls[-1] == ("file.bin", 300_000, 300_000) and len(calls) > 2
    assert all(a[1] < b[1] for a, b in zip(calls[:-1], calls[1:], strict=True))


def test_a_good_file_is_not_downloaded_again(get, server):
    get()
    get()
    assert len(server.seen) == 1


def test_other_checksums_than_md5(get):
    get(checksum="sha256:" + hashlib.sha256(DATA).hexdigest())
    assert get.target.read_bytes() == DATA


def test_a_broken_download_goes_on_where_it_was(get, server):
    server.break_after = 200_001
    message = "broke after 200001 of 300000.*call it again: it goes on after the 200001"
    with pytest.raises(ConnectionError, match=message):
        get()
    assert not get.target.exists() and get.part.read_bytes() == DATA[:200_001]
    calls = []
    get(progress=lambda *call: calls.append(call))
    assert get.target.read_bytes() == DATA and not get.part.exists()
    assert server.seen == [None, "bytes=200001-"]
    assert calls[0][1] > 200_001 and calls[-1][1:] == (300_000, 300_000)


def test_a_server_without_ranges_starts_over(get, server):
    server.ranges = False
    get.part.write_bytes(b"something else" * 10)
    get()
    assert get.target.read_bytes() == DATA and server.seen == ["bytes=140-"]


def test_a_part_longer_than_the_file_starts_over(get, server):
    get.part.write_bytes(DATA + b"more")
    get()
    assert get.target.read_bytes() == DATA
    assert server.seen == ["bytes=300004-", None]


def test_a_whole_part_needs_no_server(get, server):
    get.part.write_bytes(DATA)
    get()
    assert get.target.read_bytes() == DATA and server.seen == []


def test_wrong_content_is_removed_and_a_retry_starts_clean(get, server):
    server.files["file.bin"] = b"not found, but politely"
    got = hashlib.md5(server.files["file.bin"]).hexdigest()
    with pytest.raises(
        ValueError, match=f"checksum {MD5}. Got md5:{got}. The bad file"
    ):
        get()
    assert not get.target.exists() and not get.part.exists()
    server.files["file.bin"] = DATA
    get()
    assert get.target.read_bytes() == DATA


def test_a_part_of_another_file_is_found_out(get):
    get.part.write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="The bad file was removed"):
        get()
    get()
    assert get.target.read_bytes() == DATA


def test_a_wrong_range_is_found_out(get, server):
    get.part.write_bytes(DATA[:1000])
    server.shift = 1
    message = "bytes from 1000 were asked, 'bytes 1001-299999/300000' came"
    with pytest.raises(ConnectionError, match=message):
        get()
    get()
    assert get.target.read_bytes() == DATA


def test_a_bad_file_in_place_is_kept_aside(get, tmp_path):
    get.target.write_bytes(b"damaged")
    get()
    assert get.target.read_bytes() == DATA
    assert (tmp_path / "file.bin.bad").read_bytes() == b"damaged"


def test_a_missing_file_on_the_server(get):
    with pytest.raises(ConnectionError, match="none.bin. Got: HTTP Error 404"):
        get("none.bin")


def test_no_server(tmp_path):
    # Port 1 is not listened on; the connection is refused at once.
    with pytest.raises(ConnectionError, match="refused.*Check the network"):
        download("http://127.0.0.1:1/x", tmp_path / "x", checksum=MD5)


def test_a_silent_server_times_out(get, server):
    server.hold.clear()
    threading.Timer(2.0, server.hold.set).start()
    with pytest.raises(ConnectionError, match="timed out.*Check the network"):
        get(timeout=0.2)


def test_other_addresses_are_refused(tmp_path):
    with pytest.raises(ValueError, match="http or https. Got 'file:///x'"):
        download("file:///x", tmp_path / "x", checksum=MD5)
