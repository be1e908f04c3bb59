"""What whoever starts the server reads when a setting is wrong."""

import os

import pytest

from mediakeep.errors import SettingsError
from mediakeep.settings import load_settings

PASSWORD = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in os.environ:
        if name.startswith("MEDIAKEEP_"):
            monkeypatch.delenv(name)


@pytest.fixture
def refusal(monkeypatch):
    """The sentence that these settings are refused with."""

    def refusal(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"MEDIAKEEP_{name}", value)
        with pytest.raises(SettingsError) as error:
            load_settings()
        return str(error.value)

    return refusal


@pytest.mark.parametrize("value", ["region=eu", f'{{"secret_access_key": "{PASSWORD}"', PASSWORD])
def test_options_that_are_no_json_are_named_and_not_shown(refusal, value):
    sentence = refusal(STORAGE_OPTIONS=value)
    assert sentence == (
        'MEDIAKEEP_STORAGE_OPTIONS: it must be a JSON object, such as {"region": "eu-west-1"}.'
    )


@pytest.mark.parametrize("value", [f'["{PASSWORD}"]', f'{{"secret_access_key": ["{PASSWORD}"]}}'])
def test_options_of_another_shape_are_named_and_not_shown(refusal, value):
    sentence = refusal(STORAGE_OPTIONS=value)
    assert sentence.startswith("MEDIAKEEP_STORAGE_OPTIONS: ")
    assert PASSWORD not in sentence


def test_a_short_secret_key_is_not_shown(refusal):
    assert refusal(SECRET_KEY=PASSWORD) == "MEDIAKEEP_SECRET_KEY: it must have at least 32 characters."


def test_an_address_of_a_database_is_not_shown(refusal, tmp_path):
    file = tmp_path / "mediakeep.toml"
    file.write_text(f'database_url = ["postgresql://me:{PASSWORD}@localhost/db"]')
    sentence = refusal(CONFIG=str(file))
    assert sentence.startswith("MEDIAKEEP_DATABASE_URL: ")
    assert PASSWORD not in sentence


@pytest.mark.parametrize("name", ["PROT", "CONFIGURATION", "CONFIG_FILE"])
def test_a_variable_that_is_no_setting_is_refused(refusal, name):
    assert refusal(**{name: "1"}) == f"MEDIAKEEP_{name} is not a setting; `mediakeep settings` lists them."


def test_a_name_in_the_file_that_is_no_setting_is_refused(refusal, tmp_path):
    file = tmp_path / "mediakeep.toml"
    file.write_text("prot = 1")
    assert refusal(CONFIG=str(file)) == "MEDIAKEEP_PROT is not a setting; `mediakeep settings` lists them."


def test_a_file_that_is_missing_or_no_toml_is_named(refusal, tmp_path):
    file = tmp_path / "mediakeep.toml"
    assert refusal(CONFIG=str(file)) == f"MEDIAKEEP_CONFIG: there is no file {file}."
    file.write_text("port 8000")
    assert refusal(CONFIG=str(file)).startswith(f"MEDIAKEEP_CONFIG: {file} cannot be read: ")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"PORT": "70000"},
            "MEDIAKEEP_PORT: input should be less than or equal to 65535 (given: '70000').",
        ),
        (
            {"TRUSTED_PROXIES": "here"},
            "MEDIAKEEP_TRUSTED_PROXIES: 'here' is not an address or a network (given: 'here').",
        ),
        (
            {"BASE_URL": "a"},
            "MEDIAKEEP_BASE_URL: it must be an http or https address without query or fragment (given: 'a').",
        ),
        (
            {"HOST": "0.0.0.0"},
            "MEDIAKEEP_BASE_URL must be set when listening on 0.0.0.0, which is not loopback.",
        ),
        (
            {"DATABASE_URL": "postgresql://me@localhost/db"},
            "MEDIAKEEP_SECRET_KEY must be set with a database other than SQLite.",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wrong_about_it(refusal, variables, sentence):
    assert refusal(**variables) == sentence


def test_a_clients_variables_may_be_set(monkeypatch):
    monkeypatch.setenv("MEDIAKEEP_API_KEY", "key")
    monkeypatch.setenv("MEDIAKEEP_STORAGE_OPTIONS", '{"region": "eu"}')
    assert load_settings().storage_options == {"region": "eu"}
