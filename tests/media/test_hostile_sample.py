"""A sample of S4, the same every time; `tests/proof/test_hostile_media.py` has all of it."""

import pytest

from mediakeep.media.formats import FORMATS
from mediakeep.media.pool import DecodePool
from tests.samples.mutations import SAMPLES, mutation, sample
from tests.trials import Trial, endure

FILES = 1200
MIB = 1 << 20


@pytest.fixture
def pool():
    running = DecodePool(processes=2, memory_bytes=1024 * MIB)
    running.start()
    yield running
    running.close()


def test_there_is_a_sample_of_every_format():
    assert {name for name, _ in SAMPLES} == {format_.name for format_ in FORMATS}


def test_a_mutation_is_the_same_every_time():
    assert mutation(3, 40) == mutation(3, 40)
    assert mutation(3, 40) != mutation(4, 40)


async def test_undamaged_samples_are_accepted(pool, limits, tmp_path):
    trials = [Trial(f"sample {index}", name, sample(index)) for index, (name, _) in enumerate(SAMPLES)]
    outcomes = await endure(pool, trials, folder=tmp_path, limits=limits)
    assert outcomes.wrong == []
    assert outcomes.accepted == len(SAMPLES)


async def test_damaged_files_are_measured_or_refused_and_harm_nothing(pool, limits, tmp_path):
    mutations = ((number, mutation(2026, number)) for number in range(FILES))
    trials = (Trial(f"{number} {one.done}", one.format, one.data) for number, one in mutations)
    outcomes = await endure(pool, trials, folder=tmp_path, limits=limits, most_seconds=5)
    assert outcomes.wrong == []
    assert outcomes.faults == []
    assert outcomes.files == FILES
    # Neither only junk, which would be refused at the first byte, nor hardly damaged.
    assert FILES * 0.2 < outcomes.accepted < FILES * 0.8
    assert outcomes.grown_bytes < 48 * MIB
