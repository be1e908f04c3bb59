"""Every route with every kind of caller answers as the tables beside the routers say."""

import re

from tests.permissions.table import COLUMNS, described, route_of, routes, written
from tests.permissions.world import NOWHERE

#: Calls that end accounts or sign-ins, their own or others.
ENDING = {
    "POST /api/v2/auth/logout",
    "POST /api/v2/auth/password",
    "DELETE /api/v2/auth/me",
    "DELETE /api/v2/auth/sessions",
}

#: Where somebody else's thing is told apart from one that does not exist, as the clients of these calls expect.
FORBIDDEN_NOT_MISSING = {"DELETE /api/v2/assets/{asset_id}", "DELETE /legacy/api/v2/assets/{asset_id}"}

UNDESCRIBED = {"GET /openapi.json", "HEAD /openapi.json"}


async def test_every_route_is_written_down_and_nothing_else(app):
    assert {route_of(call) for call in written()} == routes(app)


async def test_every_route_is_in_the_openapi_document_and_nothing_else(app):
    assert set(described(app)) == routes(app) - UNDESCRIBED


async def test_every_caller_gets_the_answer_that_is_written_down(world):
    measured = {}
    for call in written():
        callers = await world.callers()
        cells = []
        for column in COLUMNS:
            answers = {(await world.call(call, headers)).status_code for headers in callers[column].values()}
            cells.append("/".join(str(status) for status in sorted(answers)))
        measured[call] = tuple(cells)
        if call in ENDING:
            world.begin_anew()
    assert measured == written()


async def test_somebody_else_s_thing_answers_as_one_that_does_not_exist(world):
    for call, (nobody, *_) in written().items():
        if "{" not in call or nobody == "200" or route_of(call) in FORBIDDEN_NOT_MISSING:
            continue
        for column in ("nobody", "other user"):
            for headers in (await world.callers())[column].values():
                theirs = await world.call(call, headers)
                missing = await world.call(call, headers, nowhere=True)
                assert is_same(theirs, missing), (call, column, theirs.text, missing.text)


async def test_an_admin_s_key_without_the_admin_scope_may_do_no_more_than_anybody_else_s(world):
    other = COLUMNS.index("other user")
    key = await world.key(await world.sign_in("admin@example.com"))
    for call, answers in written().items():
        status = (await world.call(call, key)).status_code
        assert status in {int(answers[other]), 403}, call


def is_same(one, other):
    """Whether two answers are the same to the byte, except for its time and what names the request."""

    def of(answer):
        # A length tells no more than the content, in which an id may be named.
        varying = {"date", "x-request-id", "content-length"}
        headers = {n: value for n, value in answer.headers.items() if n not in varying}
        content = answer.content.replace(NOWHERE.encode(), b"")
        for number in re.findall(r"/([0-9]+)\b", answer.request.url.path):
            content = re.sub(rb"\b%s\b" % number.encode(), b"", content)
        return answer.status_code, headers, content

    return of(one) == of(other)
