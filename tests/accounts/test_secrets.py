import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from mediakeep.accounts import secrets
from mediakeep.accounts.secrets import derive_key, is_setup_code, load_secret_key, setup_code
from mediakeep.errors import SettingsError
from mediakeep.settings import Settings


def load_in(folder):
    return load_secret_key(Settings(data=folder))


def test_the_setting_beats_the_file(tmp_path):
    assert load_secret_key(Settings(data=tmp_path, secret_key="s" * 32)) == b"s" * 32
    assert not (tmp_path / "secret_key").exists()


def test_the_key_is_made_once_and_readable_by_its_owner_only(tmp_path):
    made = load_in(tmp_path / "DATA")
    assert len(made) >= 43
    assert load_in(tmp_path / "DATA") == made
    assert (tmp_path / "DATA" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_processes_that_start_at_once_agree(tmp_path):
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        assert len(set(pool.map(load_in, [tmp_path] * 8))) == 1


def test_nobody_reads_a_key_that_is_being_made(tmp_path, monkeypatch):
    make = secrets.secrets.token_urlsafe

    def make_slowly(size):
        time.sleep(0.05)
        return make(size)

    monkeypatch.setattr(secrets.secrets, "token_urlsafe", make_slowly)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(load_in, [tmp_path] * 4))) == 1


def test_a_damaged_key_is_said_to_be(tmp_path):
    (tmp_path / "secret_key").write_text("short")
    with pytest.raises(SettingsError, match="is damaged"):
        load_in(tmp_path)


def test_a_key_that_cannot_be_read_is_said_to_be(tmp_path):
    (tmp_path / "secret_key").mkdir()
    with pytest.raises(SettingsError, match="cannot be read or made"):
        load_in(tmp_path)


def test_each_purpose_has_a_key_of_its_own():
    assert len({derive_key(b"a", "x"), derive_key(b"a", "y"), derive_key(b"b", "x")}) == 3


def test_the_set_up_code_is_the_same_in_all_processes_and_kind_to_typists():
    code = setup_code(b"secret")
    assert code == setup_code(b"secret") != setup_code(b"other")
    assert len(code) == 11
    assert is_setup_code(b"secret", code)
    assert is_setup_code(b"secret", f" {code.lower().replace('-', ' ')} ")
    assert not is_setup_code(b"secret", setup_code(b"other"))
    assert not is_setup_code(b"secret", "")
    assert not is_setup_code(b"secret", "é" * 10)
