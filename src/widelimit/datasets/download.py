"""Download of one file: resumable, checksummed, and moved into place when whole."""

import hashlib
import http.client
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes so far, and the bytes in all where known."""

_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


def download(
    url: str,
    target: Path,
    *,
    checksum: str,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> None:
    """Download `url` to `target`, going on from `target` + ".part" where one is left.

    A file that is there with the right checksum is left alone, and one with another
    checksum is renamed to `target` + ".bad". What was received before an error or an
    interrupt stays in the `.part` file, unless its checksum is wrong.

    Args:
        url: Address, http or https.
        target: The file to make; its folder exists.
        checksum: Algorithm and hexadecimal digest, as in `"md5:0cc1..."`.
        progress: Called after each block.
        timeout: Seconds without any data after which the connection counts as broken.

    Raises:
        ValueError: If the address is not http, or the checksum is wrong.
        ConnectionError: If the server cannot be reached, refuses, or breaks off.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"`fetch` needs an address with http or https. Got '{url}'.")
    if target.exists():
        if file_checksum(target, checksum) == checksum:
            return
        os.replace(target, target.with_name(target.name + ".bad"))
    part = target.with_name(target.name + ".part")
    if not (part.exists() and file_checksum(part, checksum) == checksum):
        try:
            _transfer(url, part, target.name, progress, timeout)
        except _NETWORK_ERRORS as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            kept = part.stat().st_size if part.exists() else 0
            raise ConnectionError(
                f"`fetch` needs {url}. Got: {error or type(error).__name__}. Check the "
                f"network and call it again: it goes on after the {kept} bytes that "
                "it has."
            ) from error
    got = file_checksum(part, checksum)
    if got != checksum:
        part.unlink()
        raise ValueError(
            f"`fetch` needs {url} with checksum {checksum}. Got {got}. The bad file "
            "was removed: call it again to start afresh, or use another `base_url`."
        )
    os.replace(part, target)


def file_checksum(path: Path, like: str) -> str:
    """Checksum of a file by the algorithm of `like`, written the same way."""
    algorithm = like.partition(":")[0]
    with path.open("rb") as file:
        digest = hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        )
    return f"{algorithm}:{digest.hexdigest()}"


def _transfer(
    url: str, part: Path, name: str, progress: Progress | None, timeout: float
) -> None:
    """Append to `part` what is missing of it, or write it anew."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "widelimit"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if not (done and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise
        error.close()  # `part` is longer than the file, so it is another one
        part.unlink()
        return _transfer(url, part, name, progress, timeout)
    with response:
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            sent = response.headers.get("Content-Range", "")
            if not re.match(rf"bytes {done}-", sent):
                part.unlink(missing_ok=True)
                raise ConnectionError(f"bytes from {done} were asked, '{sent}' came")
        else:  # the whole file, whatever was asked
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if done else "wb") as file:
            while block := response.read(1 << 16):
                file.write(block)
                done += len(block)
                if progress:
                    progress(name, done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection broke after {done} of {total} bytes")
