import pytest

from mediakeep.tasks import Again, periodic, task


def test_two_functions_cannot_have_one_name():
    @task("work")
    async def one(library, job):
        pass

    with pytest.raises(ValueError, match="work"):

        @periodic("work", every=lambda _: 60)
        async def two(library, job):
            pass


def test_a_state_that_cannot_be_stored_is_refused_where_it_is_made():
    with pytest.raises(TypeError):
        Again(1, {"at": object()})
