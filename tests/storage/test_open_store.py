from pathlib import Path

import pytest

from mediakeep.errors import SettingsError
from mediakeep.settings import Settings
from mediakeep.storage import DiskStore, ObjectStore, open_store


def test_without_an_address_files_lie_in_the_data_folder(tmp_path: Path) -> None:
    store = open_store(Settings(data=tmp_path / "DATA"))
    assert isinstance(store, DiskStore)
    assert store.root == tmp_path / "DATA"


async def test_an_address_opens_an_object_store(
    tmp_path: Path, s3_url: str, s3_options: dict[str, str]
) -> None:
    store = open_store(Settings(data=tmp_path, storage_url=s3_url, storage_options=s3_options))
    assert isinstance(store, ObjectStore)
    assert store.scratch == tmp_path / "tmp"
    await store.check()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://bucket/prefix", {}),
        ("az://container/prefix", {"account_name": "someone"}),
        ("s3://bucket", {"endpoint": "http://storage:9000", "allow_http": "true"}),
        ("s3://bucket", {"endpoint": "https://storage", "connect_timeout": "1s"}),
    ],
)
def test_other_stores_and_options_are_understood(tmp_path: Path, url: str, options: dict[str, str]) -> None:
    assert isinstance(
        open_store(Settings(data=tmp_path, storage_url=url, storage_options=options)), ObjectStore
    )


@pytest.mark.parametrize(
    ("url", "options", "sentence"),
    [
        ("nonsense", {}, "MEDIAKEEP_STORAGE_URL must look like"),
        ("s3://", {}, "MEDIAKEEP_STORAGE_URL must look like"),
        ("ftp://host/x", {}, "MEDIAKEEP_STORAGE_URL must look like"),
        ("file:///etc", {}, "MEDIAKEEP_STORAGE_URL must look like"),
        ("s3://bucket", {"endpoint": "http://storage:9000"}, "the endpoint is not encrypted"),
        ("s3://bucket", {"nonsense": "1"}, "'nonsense' is not valid"),
        ("s3://bucket", {"access_key_id": "only"}, "Missing SecretAccessKey"),
        ("s3://bucket", {"timeout": "nonsense"}, "nonsense"),
        ("az://container", {}, "Account must be specified"),
    ],
)
def test_what_cannot_be_right_is_said_in_a_sentence(
    tmp_path: Path, url: str, options: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence) as raised:
        open_store(Settings(data=tmp_path, storage_url=url, storage_options=options))
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_a_data_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"MEDIAKEEP_DATA: the folder .* cannot be written"):
        open_store(Settings(data=tmp_path / "file" / "DATA"))
