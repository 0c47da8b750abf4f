"""What derives from the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemesh.model.settings import MetaSettings, Settings


def test_the_socket_lies_in_the_run_time_directory() -> None:
    assert Settings(run_dir=Path("/run/x")).socket_path == Path("/run/x/meta.sock")


def test_the_store_is_a_file_in_the_state_directory_unless_a_url_is_given() -> None:
    assert Settings(state_dir=Path("/state")).store_url == "sqlite:////state/edgemesh.db"
    url = "postgresql+psycopg://db/edgemesh"
    assert Settings(meta=MetaSettings(store_url=url)).store_url == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://agent:secret@db:5432/mesh", "postgresql://agent:***@db:5432/mesh"),
        ("postgresql://agent@db/mesh", "postgresql://agent@db/mesh"),
        ("sqlite:////var/lib/x.db", "sqlite:////var/lib/x.db"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert Settings(meta=MetaSettings(store_url=url)).shown_store_url == shown
