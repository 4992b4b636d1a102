"""Folders of the tests' own, the real data where it is, and a server."""

import os
from pathlib import Path

import pytest
from data_server import Server

_REAL = os.environ.get("WIDELIMIT_DATA")


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path):
    """No test sees the user's data or cache."""
    monkeypatch.delenv("WIDELIMIT_DATA", raising=False)
    monkeypatch.setenv("WIDELIMIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def real_data():
    """The folder of the real files; skips, saying what to set, where there is none."""
    if not _REAL:
        pytest.skip("WIDELIMIT_DATA is not set to a folder with the real data")
    return Path(_REAL)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        yield server
