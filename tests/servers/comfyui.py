"""A ComfyUI server for tests, on a port of its own in the test's event loop: HTTP and websocket, but nothing is drawn.

It does what it is told: a test has prompts begin and end, and says what is told meanwhile. `is_old` makes it a server
of 2023: it gives prompts ids of its own, notes no status, and interrupts whatever runs.
"""

import asyncio
import json
import time
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import uvicorn
from multipart import MultipartParser, parse_options_header
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

#: The place of a file: (type, subfolder, name).
Place = tuple[str, str, str]


class Silence(Response):
    """No answer, until the client has had enough."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI's
        while (await receive())["type"] != "http.disconnect":
            pass


class Cut(Response):
    """The length of the whole body and half of it, then the connection is closed; without a body it is closed at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.body:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            half = bytes(self.body)[: len(self.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["extensions"]["close"]()
        await Silence()(scope, receive, send)


class _ClosableProtocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"close": self.transport.close}


@dataclass
class Seen:
    """A request that has come."""

    method: str
    path: str
    headers: dict[str, str]
    json: Any


@dataclass
class ComfyServer:
    url: str = ""
    is_old: bool = False
    has_websocket: bool = True
    #: Where it is set, every request must bring it.
    token: str = ""
    #: Prompts end as soon as they are submitted, and these files come out.
    at_once: dict[str, bytes] = field(default_factory=dict)

    #: As `/queue` tells them: [number, prompt's id, workflow, extra data, outputs].
    running: list[list[Any]] = field(default_factory=list)
    waiting: list[list[Any]] = field(default_factory=list)
    history: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[Place, bytes] = field(default_factory=dict)

    seen: list[Seen] = field(default_factory=list)
    #: What to answer next on a path instead of the truth.
    answers: defaultdict[str, deque[Response]] = field(default_factory=lambda: defaultdict(deque))
    sockets: dict[str, WebSocket] = field(default_factory=dict)
    #: Set once somebody listens, and once nobody does any more.
    is_heard: asyncio.Event = field(default_factory=asyncio.Event)
    is_unheard: asyncio.Event = field(default_factory=asyncio.Event)
    numbers: int = 0

    def answer(self, path: str, *answers: Response) -> None:
        self.answers[path].extend(answers)

    def requests(self, path: str) -> list[Seen]:
        return [one for one in self.seen if one.path == path]

    def put(self, prompt_id: str, workflow: Any, extra: dict[str, Any] | None = None) -> None:
        self.numbers += 1
        self.waiting.append([self.numbers, prompt_id, workflow, extra or {}, []])

    def begin(self, prompt_id: str) -> None:
        item = next(one for one in self.waiting if one[1] == prompt_id)
        self.waiting.remove(item)
        self.running.append(item)

    def end(
        self, prompt_id: str, outputs: dict[str, Any], *, status: str = "success", messages: Any = ()
    ) -> None:
        item = next(one for one in self.running if one[1] == prompt_id)
        self.running.remove(item)
        self.history[prompt_id] = {"prompt": item, "outputs": outputs}
        if not self.is_old:
            told = {"status_str": status, "completed": status == "success", "messages": list(messages)}
            self.history[prompt_id]["status"] = told

    def save(self, name: str, content: bytes, *, kind: str = "output", subfolder: str = "") -> dict[str, str]:
        """Keep a file; gives what a node says of it."""
        self.files[kind, subfolder, name] = content
        return {"filename": name, "subfolder": subfolder, "type": kind}

    def interrupt(self, prompt_id: str) -> None:
        data = {"prompt_id": prompt_id, "node_id": "3", "node_type": "KSampler", "executed": []}
        self.end(prompt_id, {}, status="error", messages=[["execution_interrupted", data]])

    def restart(self) -> None:
        self.running, self.waiting, self.history = [], [], {}

    async def tell(self, client_id: str, kind: str, **data: Any) -> None:
        await self.sockets[client_id].send_text(json.dumps({"type": kind, "data": data}))


@asynccontextmanager
async def running_comfyui() -> AsyncIterator[ComfyServer]:
    """Uvicorn's protocols without its server, which takes a tenth of a second to end."""
    comfy = ComfyServer()
    config = uvicorn.Config(
        _Application(comfy), http=_ClosableProtocol, ws="websockets-sansio", log_config=None
    )
    config.load()
    state = ServerState()
    protocol = partial(_ClosableProtocol, config=config, server_state=state, app_state={})
    listener = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    comfy.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield comfy
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=10)


class _Application:
    """Keeps what comes, and answers what it was told to before anything else."""

    def __init__(self, state: ComfyServer) -> None:
        self._state = state
        self._routes = Starlette(
            routes=[
                Route("/prompt", _post_prompt, methods=["POST"]),
                Route("/queue", _get_queue, methods=["GET"]),
                Route("/queue", _post_queue, methods=["POST"]),
                Route("/interrupt", _post_interrupt, methods=["POST"]),
                Route("/history", _get_history, methods=["GET"]),
                Route("/history/{prompt_id}", _get_history, methods=["GET"]),
                Route("/upload/image", _post_image, methods=["POST"]),
                Route("/view", _get_view, methods=["GET"]),
                WebSocketRoute("/ws", _websocket),
            ]
        )
        self._routes.state.comfy = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._routes(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        is_json = request.headers.get("content-type") == "application/json"
        self._state.seen.append(
            Seen(
                request.method,
                scope["path"],
                dict(request.headers),
                json.loads(body) if is_json and body else None,
            )
        )
        told = self._state.answers[scope["path"]]
        if told:
            await told.popleft()(scope, receive, send)
        elif not _may(self._state, request.headers.get("authorization")):
            await Response("Unauthorized", 401)(scope, receive, send)
        else:
            await self._routes(scope, _again(body, receive), send)


def _again(body: bytes, receive: Receive) -> Receive:
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> Any:
        return parts.pop() if parts else await receive()

    return read


def _may(state: ComfyServer, authorization: str | None) -> bool:
    return not state.token or authorization == f"Bearer {state.token}"


def _comfy(request: Request | WebSocket) -> ComfyServer:
    state: ComfyServer = request.app.state.comfy
    return state


async def _post_prompt(request: Request) -> Response:
    comfy = _comfy(request)
    given = await request.json()
    prompt_id = str(uuid.uuid4()) if comfy.is_old else given.get("prompt_id", str(uuid.uuid4()))
    try:
        is_id = str(uuid.UUID(prompt_id)) == prompt_id
    except ValueError:
        is_id = False
    if not is_id:
        error = {"type": "invalid_prompt_id", "message": "prompt_id must be a valid UUID", "details": ""}
        return JSONResponse({"error": error, "node_errors": {}}, 400)
    comfy.put(prompt_id, given["prompt"], {"client_id": given["client_id"]})
    answer = {"prompt_id": prompt_id, "number": comfy.numbers, "node_errors": {}}
    if comfy.at_once:
        comfy.begin(prompt_id)
        images = [comfy.save(name, content) for name, content in comfy.at_once.items()]
        comfy.end(prompt_id, {"9": {"images": images}}, messages=_times(prompt_id))
    return JSONResponse(answer)


def _times(prompt_id: str) -> list[list[Any]]:
    now = int(time.time() * 1000)
    return [
        ["execution_start", {"prompt_id": prompt_id, "timestamp": now - 1500}],
        ["execution_success", {"prompt_id": prompt_id, "timestamp": now}],
    ]


async def _get_queue(request: Request) -> Response:
    comfy = _comfy(request)
    return JSONResponse({"queue_running": comfy.running, "queue_pending": comfy.waiting})


async def _post_queue(request: Request) -> Response:
    comfy = _comfy(request)
    gone = set((await request.json()).get("delete", ()))
    comfy.waiting = [one for one in comfy.waiting if one[1] not in gone]
    return Response()


async def _post_interrupt(request: Request) -> Response:
    comfy = _comfy(request)
    wanted = None if comfy.is_old else (await request.json()).get("prompt_id")
    for item in list(comfy.running):
        if wanted in {None, item[1]}:
            comfy.interrupt(item[1])
    return Response()


async def _get_history(request: Request) -> Response:
    history = _comfy(request).history
    if prompt_id := request.path_params.get("prompt_id"):
        return JSONResponse({prompt_id: history[prompt_id]} if prompt_id in history else {})
    most = int(request.query_params.get("max_items", len(history)))
    return JSONResponse(dict(list(history.items())[-most:]))


async def _post_image(request: Request) -> Response:
    _, options = parse_options_header(request.headers["content-type"])
    parts = {one.name: one for one in MultipartParser(BytesIO(await request.body()), options["boundary"])}
    form = {name: part.value for name, part in parts.items() if not part.filename}
    kind, subfolder, name = form["type"], form["subfolder"], parts["image"].filename
    if form.get("overwrite") != "true" and (kind, subfolder, name) in _comfy(request).files:
        name = f"1 {name}"
    _comfy(request).files[kind, subfolder, name] = parts["image"].raw
    return JSONResponse({"name": name, "subfolder": subfolder, "type": kind})


async def _get_view(request: Request) -> Response:
    query = request.query_params
    place = query.get("type", "output"), query.get("subfolder", ""), query["filename"]
    content = _comfy(request).files.get(place)
    return Response(status_code=404) if content is None else Response(content, media_type="image/png")


async def _websocket(socket: WebSocket) -> None:
    comfy = _comfy(socket)
    if not comfy.has_websocket or not _may(comfy, socket.headers.get("authorization")):
        await socket.close()
        return
    client_id = socket.query_params["clientId"]
    await socket.accept()
    comfy.sockets[client_id] = socket
    await comfy.tell(client_id, "status", status={"exec_info": {"queue_remaining": 1}}, sid=client_id)
    comfy.is_heard.set()
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        del comfy.sockets[client_id]
        comfy.is_unheard.set()
