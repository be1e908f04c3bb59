import pytest

from mediakeep.media.formats import FORMATS, find_format_by_extension, find_format_by_media_type, get_format


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        ("image/jpeg", "jpg"),
        ("image/jpg", "jpg"),
        ("IMAGE/PNG", "png"),
        ("video/avi", "avi"),
        ("video/x-msvideo", "avi"),
        ("video/mov", "mov"),
        ("video/quicktime", "mov"),
        ("video/mkv", "mkv"),
        ("video/x-matroska; codecs=avc1", "mkv"),
        ("audio/x-wav", "wav"),
        ("audio/wave", "wav"),
        ("audio/vnd.wave", "wav"),
        ("audio/mp3", "mp3"),
    ],
)
def test_real_world_names_of_a_type_are_that_type(declared, name):
    assert find_format_by_media_type(declared).name == name


@pytest.mark.parametrize(
    ("extension", "name"), [("jpeg", "jpg"), (".JPG", "jpg"), ("qt", "mov"), ("tif", "tiff")]
)
def test_extensions_of_a_type_are_that_type(extension, name):
    assert find_format_by_extension(extension).name == name


def test_unknown_names_find_nothing():
    assert find_format_by_media_type("image/svg+xml") is None
    assert find_format_by_extension("exe") is None


def test_no_name_belongs_to_two_formats():
    names = [name for format_ in FORMATS for name in (format_.media_type, *format_.media_type_aliases)]
    extensions = [extension for format_ in FORMATS for extension in format_.extensions]
    assert len(set(names)) == len(names)
    assert len(set(extensions)) == len(extensions)


def test_every_format_is_found_by_its_own_names():
    for format_ in FORMATS:
        assert get_format(format_.name) is format_
        assert find_format_by_media_type(format_.media_type) is format_
        assert find_format_by_extension(format_.name) is format_
