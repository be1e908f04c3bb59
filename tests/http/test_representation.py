from urllib.parse import unquote

import pytest

from mediakeep.http.delivery.representation import content_disposition


@pytest.mark.parametrize("name", ["a.jpg", "two words.jpg", "a;b=c.jpg", "it's.jpg"])
def test_an_ascii_name_is_sent_once(name):
    assert content_disposition("inline", name) == f'inline; filename="{name}"'


@pytest.mark.parametrize(
    "name", ["Grüße.jpg", 'a"b.jpg', "a\\b.jpg", "100%.jpg", "日本.jpg", "🎬", "a\u00a0b"]
)
def test_any_other_name_is_sent_in_full_beside_an_ascii_one(name):
    value = content_disposition("attachment", name)
    plain, _, extended = value.partition("; filename*=UTF-8''")
    assert value.isascii()
    assert unquote(extended) == name
    assert set(extended) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%-._~")
    fallback = plain.removeprefix('attachment; filename="').removesuffix('"')
    assert not set(fallback) & set('"\\%')
