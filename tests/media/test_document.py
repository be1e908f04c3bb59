import io

import pytest
from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media import document
from mediakeep.media.probe import probe
from tests.samples import papers


def test_pages_are_counted(saved, limits):
    facts = probe(saved(papers.pdf(7)), "pdf", limits)
    assert facts.page_count == 7
    assert facts.details["title"] == "Paper"
    assert facts.thumbnail is None


def test_page_one_is_drawn(saved, limits):
    picture = Image.open(io.BytesIO(document.page_picture(saved(papers.pdf()), "pdf", limits)))
    assert picture.size == (362, 512)
    red, green, _ = picture.getpixel((100, 400))
    assert red > 180
    assert green < 60
    assert min(picture.getpixel((100, 50))) > 240


def test_a_huge_page_is_drawn_no_larger(saved, limits):
    picture = document.page_picture(saved(papers.pdf(1, 2_000_000, 1_000_000)), "pdf", limits)
    assert Image.open(io.BytesIO(picture)).size == (512, 256)


def test_one_that_needs_a_password_is_accepted_without_page_count(saved, limits):
    facts = probe(saved(papers.pdf(3, password="secret")), "pdf", limits)
    assert facts.page_count is None
    assert facts.details == {"encrypted": True}


def test_one_that_needs_a_password_has_no_picture(saved, limits):
    with pytest.raises(UndecodableMedia, match="needs a password"):
        document.page_picture(saved(papers.pdf(password="secret")), "pdf", limits)


@pytest.mark.parametrize("data", [papers.pdf()[:100], b"%PDF-1.4\n" + b"nothing" * 50, papers.pdf(0)])
def test_a_broken_one_is_refused(data, saved, limits):
    with pytest.raises(UndecodableMedia):
        probe(saved(data), "pdf", limits)
