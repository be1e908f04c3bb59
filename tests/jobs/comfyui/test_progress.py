"""How a prompt stands, and what is told of it."""

import asyncio

import pytest
from starlette.responses import JSONResponse

from mediakeep.jobs.providers import comfyui
from mediakeep.jobs.providers.base import (
    RefusedByProvider,
)
from mediakeep.jobs.providers.comfyui.progress import Progress
from tests.jobs.comfyui.conftest import JOB, OTHER, PATIENCE_SECONDS, unheard


async def test_what_waits_longer_is_looked_at_less(comfy, look):
    for number in range(3):
        comfy.put(f"other-{number}", {})
    comfy.put(JOB, {})
    comfy.waiting.reverse()  # a heap is told as it lies
    assert [await look(f"other-{number}") for number in range(3)] == [
        comfyui.Look(status="waiting", again_seconds=seconds) for seconds in (2, 2, 4)
    ]
    assert await look() == comfyui.Look(status="waiting", again_seconds=6)
    for number in range(50):
        comfy.put(f"more-{number}", {})
    assert (await look("more-49")).again_seconds == 20


async def test_what_the_server_does_not_know_any_more_has_failed(comfy, look):
    comfy.put(JOB, {})
    comfy.restart()
    with pytest.raises(
        RefusedByProvider, match="ComfyUI no longer knows this job; it was restarted, perhaps"
    ):
        await look()
    assert len(comfy.requests("/queue")) == 2


async def test_what_is_in_neither_for_a_moment_is_looked_for_again(begun, look):
    begun.answer("/queue", JSONResponse({"queue_running": [], "queue_pending": []}))
    assert (await look()).status == "running"


async def test_progress_is_told_while_it_runs(begun, listener):
    async def share():
        return await asyncio.wait_for(listener.told.get(), PATIENCE_SECONDS) * 8

    await begun.tell(JOB, "executing", node="2", prompt_id=JOB)
    await begun.tell(JOB, "executing", node="4", prompt_id=JOB)  # so the one before is done
    assert await share() == 2
    await begun.tell(JOB, "executing", node="6", prompt_id=JOB)  # and all that it needs: 2, 3, 4, 5
    assert await share() == 5
    await begun.tell(JOB, "progress", value=10, max=20, node="6", prompt_id=JOB)
    assert await share() == 5.5
    await begun.tell(JOB, "progress", value=2, max=20, node="6", prompt_id=JOB)  # never back
    await begun.tell(JOB, "progress", value=9, max=9, node="6", prompt_id=OTHER)  # another's
    await begun.sockets[JOB].send_bytes(b'{"type": "executing", "data": {"node": "8"}}')
    await begun.tell(JOB, "progress", value=15, max=20, prompt_id=JOB)  # of old servers
    assert await share() == 5.75
    await begun.tell(JOB, "executed", node="8", prompt_id=JOB, output={})
    assert await share() == 6.75
    begun.end(JOB, {"8": {"images": [begun.save("a.png", b"a")]}})
    await begun.tell(JOB, "execution_success", prompt_id=JOB)
    assert (await listener.looking).status == "succeeded"
    assert listener.told.empty()


async def test_newer_servers_tell_how_all_nodes_stand(begun, listener):
    nodes = {
        "5": {"state": "finished", "value": 1, "max": 1},
        "2": {"state": "running", "value": 1, "max": 4},
        "4": {"state": "running", "value": 1, "max": 2},
        "999": {"state": "finished", "value": 1, "max": 1},
        "7": "nonsense",
    }
    await begun.tell(JOB, "progress_state", prompt_id=JOB, nodes=nodes)
    assert await asyncio.wait_for(listener.told.get(), PATIENCE_SECONDS) * 8 == 2 + 0.25 + 0.5
    begun.interrupt(JOB)
    await begun.tell(JOB, "execution_interrupted", prompt_id=JOB)
    assert (await listener.looking).status == "cancelled"


async def test_a_look_that_ends_tells_the_share_so_far(begun, listener):
    await begun.sockets[JOB].close()
    seen = await listener.looking
    assert (seen.status, seen.progress, seen.again_seconds) == ("running", 1 / 8, 1.0)


async def test_a_look_ends_after_its_time(begun, look):
    seen = await look()
    assert (seen.status, seen.again_seconds) == ("running", 1.0)


async def test_a_look_that_is_cancelled_hangs_up(begun, listener):
    listener.looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listener.looking
    await asyncio.wait_for(begun.is_unheard.wait(), PATIENCE_SECONDS)


async def test_an_end_of_old_servers_is_heard(begun, listener):
    begun.end(JOB, {"8": {"images": [begun.save("a.png", b"a")]}})
    await begun.tell(JOB, "executing", node=None, prompt_id=JOB)
    assert (await listener.looking).status == "succeeded"


async def test_an_end_is_told_before_the_history_has_it(begun, listener):
    begun.answer(f"/history/{JOB}", JSONResponse({}))
    begun.end(JOB, {"8": {"images": [begun.save("a.png", b"a")]}})
    await begun.tell(JOB, "execution_success", prompt_id=JOB)
    assert (await listener.looking).status == "succeeded"


async def test_an_end_that_the_history_never_has_is_looked_for_later(begun, listener):
    await begun.tell(JOB, "execution_success", prompt_id=JOB)
    assert (await listener.looking).status == "running"


async def test_the_end_of_another_job_is_not_ones_own(begun, listener):
    await begun.tell(JOB, "execution_success", prompt_id=OTHER)
    await begun.tell(JOB, "executing", node=None, prompt_id=OTHER)
    await begun.tell(JOB, "executing", node="8", prompt_id=JOB)
    assert await asyncio.wait_for(listener.told.get(), PATIENCE_SECONDS) * 8 == 7


async def test_what_ends_while_the_look_connects_is_seen(begun, look, patient):
    begun.answer(f"/history/{JOB}", JSONResponse({}))
    begun.answer("/queue", JSONResponse({"queue_running": begun.running[:], "queue_pending": []}))
    begun.end(JOB, {"8": {"images": [begun.save("a.png", b"a")]}})
    assert (await look()).status == "succeeded"


async def test_without_a_websocket_it_is_looked_at_again(begun, look, patient):
    begun.has_websocket = False
    assert (await look()).status == "running"
    begun.end(JOB, {"8": {"images": [begun.save("a.png", b"a")]}})
    assert (await look()).status == "succeeded"


@pytest.mark.parametrize(
    "message",
    ["hello", "[]", "5", '{"type": 5, "data": {}}', '{"type": "executing", "data": []}', "[" * 99_999],
)
async def test_nonsense_over_the_websocket_is_passed_over(begun, listener, message):
    await begun.sockets[JOB].send_text(message)
    begun.interrupt(JOB)
    await begun.tell(JOB, "execution_interrupted", prompt_id=JOB)
    assert (await listener.looking).status == "cancelled"


async def test_a_message_that_is_too_long_ends_the_listening(begun, listener):
    await begun.sockets[JOB].send_bytes(b"a preview" * (1 << 17))
    assert (await listener.looking).status == "running"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("executing", {"node": 5}),
        ("execution_cached", {"nodes": [5, None, "999"]}),
        ("execution_cached", {"nodes": "1"}),
        ("executed", {"node": ["1"]}),
        ("progress", {"value": 1, "max": 2}),  # of no node
        ("progress", {"value": "1", "max": 2, "node": "1"}),
        ("progress", {"value": 1, "max": 0, "node": "1"}),
        ("progress", {"value": 1, "max": -1, "node": "1"}),
        ("progress", {"value": 1, "max": 10**400, "node": "1"}),
        ("progress", {"value": -5, "max": 5, "node": "1"}),
        ("progress", {"node": "1"}),
        ("progress_state", {"nodes": [1]}),
        ("progress_state", {"nodes": {"1": {"state": "running"}}}),
        ("status", {"status": {"exec_info": {"queue_remaining": 0}}}),
    ],
)
def test_nonsense_is_no_progress(sketch, kind, data):
    told = []
    progress = Progress(JOB, sketch["workflow"], told.append)
    progress.hear(kind, data)
    assert (told, progress.share, progress.has_ended) == ([], 0.0, False)


@pytest.mark.parametrize("value", [10**400, float("inf"), 9])
def test_a_node_is_never_more_than_done(sketch, value):
    progress = Progress(JOB, sketch["workflow"], unheard)
    progress.hear("progress", {"value": value, "max": 2, "node": "1"})
    assert progress.share == 1 / 8


def test_a_node_without_end_does_not_spoil_the_rest(sketch):
    progress = Progress(JOB, sketch["workflow"], unheard)
    progress.hear("progress", {"value": float("inf"), "max": float("inf"), "node": "1"})
    progress.hear("executed", {"node": "8"})
    assert progress.share == 1 / 8


@pytest.mark.parametrize("workflow", [None, [], {}, {"1": 5}, {"1": {"inputs": 5}}])
def test_a_workflow_that_is_none_has_no_progress_beyond_its_nodes(workflow):
    progress = Progress(JOB, workflow, unheard)
    progress.hear("executing", {"node": "2"})
    assert progress.share == 0.0


def test_nodes_that_need_one_another_are_no_trap():
    workflow = {"1": {"inputs": {"a": ["2", 0]}}, "2": {"inputs": {"a": ["1", 0], "b": ["2", 0]}}}
    progress = Progress(JOB, workflow, unheard)
    progress.hear("executing", {"node": "1"})
    assert progress.share == 1 / 2
