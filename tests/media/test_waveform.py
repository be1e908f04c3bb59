import io

import numpy as np
import pytest
from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media import waveform
from tests.samples import films, papers

FORMATS = ("mp3", "wav", "flac", "ogg", "m4a")
PCM = ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le")


@pytest.mark.parametrize("name", FORMATS)
def test_every_sound_format_has_peaks(name, saved, limits):
    peaks = waveform.peaks(saved(films.sound(name)), name, limits)
    assert peaks["length"] == pytest.approx(200, abs=10)
    assert len(peaks["peaks"]) == 2 * peaks["length"]
    assert peaks["duration_seconds"] == pytest.approx(2.0, abs=0.1)
    assert peaks["samples_per_peak"] == peaks["sample_rate"] // 100
    assert -128 <= min(peaks["peaks"]) < -100
    assert 100 < max(peaks["peaks"]) <= 127


def test_peaks_follow_the_loudness(saved, limits):
    """The tone grows steadily from silence to 30,000 of 32,767."""
    highs = waveform.peaks(saved(films.sound("wav")), "wav", limits)["peaks"][1::2]
    assert highs[0] <= 2
    assert highs[100] == pytest.approx(58, abs=3)
    assert highs[-1] == pytest.approx(116, abs=3)


@pytest.mark.parametrize("codec", PCM)
def test_every_kind_of_plain_samples_gives_the_same_peaks(codec, saved, limits):
    path = saved(films.sound("wav", codec=codec))
    assert waveform._find_pcm(path)
    found = waveform.peaks(path, "wav", limits)["peaks"]
    expected = waveform.peaks(saved(films.sound("wav")), "wav", limits)["peaks"]
    assert np.abs(np.subtract(found, expected)).max() <= 1


def test_a_compressed_wav_is_decoded(saved, limits):
    path = saved(films.sound("wav", codec="adpcm_ima_wav"))
    assert waveform._find_pcm(path) is None
    assert waveform.peaks(path, "wav", limits)["length"] == pytest.approx(200, abs=5)


def test_long_sounds_get_coarser_peaks(saved, limits, monkeypatch):
    monkeypatch.setattr(waveform, "MAX_PEAKS", 70)
    fine = waveform.peaks(saved(films.sound("wav")), "wav", limits)
    assert fine["length"] <= 70
    assert fine["samples_per_peak"] == 3 * 441
    assert max(fine["peaks"]) > 110


def test_sound_over_the_limit_is_refused(saved, limits):
    short = type(limits)(
        **{name: getattr(limits, name) for name in limits.__dataclass_fields__} | {"max_waveform_seconds": 1}
    )
    for name in ("wav", "mp3"):
        with pytest.raises(UndecodableMedia, match="longer than 1 s"):
            waveform.peaks(saved(films.sound(name)), name, short)


def test_a_video_with_sound_has_peaks(saved, limits):
    peaks = waveform.peaks(saved(films.video("mp4", 2.0, sound=True)), "mp4", limits)
    assert peaks["length"] == pytest.approx(200, abs=10)


def test_a_silent_video_has_none(saved, limits):
    with pytest.raises(UndecodableMedia, match="no sound"):
        waveform.peaks(saved(films.video("mp4")), "mp4", limits)


def test_a_damaged_sound_has_none(saved, limits):
    with pytest.raises(UndecodableMedia):
        waveform.peaks(saved(papers.pdf()), "wav", limits)


def test_a_wav_without_samples_has_none(saved, limits):
    with pytest.raises(UndecodableMedia):
        waveform.peaks(saved(films.sound("wav")[:44]), "wav", limits)


def test_the_drawing_has_the_size_asked_for(saved, limits):
    peaks = waveform.peaks(saved(films.sound("wav")), "wav", limits)
    png = Image.open(io.BytesIO(waveform.draw(peaks, 1800, 140)))
    assert (png.format, png.size) == ("PNG", (1800, 140))
    jpeg = Image.open(io.BytesIO(waveform.draw_jpeg(peaks, 512, 192)))
    assert (jpeg.format, jpeg.size) == ("JPEG", (512, 192))


def test_the_drawing_is_higher_where_the_sound_is_louder(saved, limits):
    peaks = waveform.peaks(saved(films.sound("wav")), "wav", limits)
    pixels = np.asarray(Image.open(io.BytesIO(waveform.draw(peaks, 200, 100))).convert("L"))
    inked = (pixels < 128).sum(0)
    assert inked[5] < 12
    assert inked[-5] > 60
