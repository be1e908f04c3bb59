"""Outputs: real media, and what else their addresses may answer."""

import io

import av
import httpx
import pytest
from PIL import Image

from mediakeep.emulators.replicate import media


def output_of(submit, **given):
    return submit(headers={"Prefer": "wait"}, **given).json()["output"]


def test_video_plays(submit, anybody):
    answer = anybody.get(output_of(submit))
    assert answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content)) as film:
        video = film.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [frame.to_ndarray(format="gray") for frame in film.decode(video)]
        assert len(frames) == 20
        assert abs(frames[0].astype(int) - frames[-1]).max() > 100
        assert film.duration == 2_000_000


@pytest.mark.parametrize(
    ("given", "media_type", "format_name", "ratio"),
    [
        ({}, "image/webp", "WEBP", 1),
        ({"output_format": "png", "aspect_ratio": "16:9"}, "image/png", "PNG", 16 / 9),
        ({"output_format": "jpg", "aspect_ratio": "9:21"}, "image/jpeg", "JPEG", 9 / 21),
    ],
)
def test_image_has_the_format_and_the_shape_that_were_asked_for(
    submit, anybody, given, media_type, format_name, ratio
):
    model = "black-forest-labs/flux-schnell"
    (url,) = output_of(submit, model=model, input={"prompt": "a boat", **given})
    answer = anybody.get(url)
    assert answer.headers["content-type"] == media_type
    image = Image.open(io.BytesIO(answer.content))
    image.load()
    assert image.format == format_name
    assert image.width / image.height == pytest.approx(ratio, rel=0.02)


def test_no_two_outputs_are_the_same(submit, anybody):
    images = [
        url
        for _ in range(2)
        for url in output_of(
            submit,
            model="black-forest-labs/flux-schnell",
            input={"prompt": "a boat", "seed": 1, "num_outputs": 4},
        )
    ]
    films = [output_of(submit) for _ in range(2)]
    contents = {anybody.get(url).content for url in images + films}
    assert len(contents) == 10


def test_output_needs_no_token_but_its_whole_address(submit, anybody, log):
    url = output_of(submit)
    assert anybody.get(url).status_code == 200
    assert anybody.get(url.replace("output.mp4", "other.mp4")).status_code == 404
    assert anybody.get("/outputs/0/output.mp4").status_code == 404
    assert [entry["status"] for entry in log("output")] == [200, 404, 404]


def test_log_tells_who_sends_a_token_where_none_belongs(submit, api, anybody, log):
    url = output_of(submit)
    anybody.get(url)
    api.get(url)
    assert [entry["authorized"] for entry in log("output")] == [False, True]


def test_html_instead_of_media(submit, anybody, turn):
    turn(output="html")
    answer = anybody.get(output_of(submit))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_zeros_without_a_length(submit, anybody, turn):
    turn(output="zeros", output_size=200_000)
    answer = anybody.get(output_of(submit))
    assert answer.headers["content-type"] == "video/mp4"
    assert "content-length" not in answer.headers
    assert answer.content == bytes(200_000)


def test_redirect_elsewhere(submit, anybody, turn):
    turn(output="redirect", output_redirect="http://10.0.0.1/secret")
    answer = anybody.get(output_of(submit))
    assert (answer.status_code, answer.headers["location"]) == (302, "http://10.0.0.1/secret")


def test_output_that_has_gone_although_it_is_named(submit, anybody, turn):
    turn(output="gone")
    assert anybody.get(output_of(submit)).status_code == 404


def test_output_that_ends_in_the_middle(submit, anybody, turn):
    turn(output="cut")
    url = output_of(submit)
    with anybody.stream("GET", url) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()
        assert 0 < answer.num_bytes_downloaded < int(answer.headers["content-length"])


def test_model_that_breaks_down_fails_the_prediction(submit, finish, monkeypatch):
    monkeypatch.setattr(media, "make_video", lambda _: {}["frames"])
    prediction = finish(submit())
    assert (prediction["status"], prediction["error"]) == ("failed", "KeyError: 'frames'")
