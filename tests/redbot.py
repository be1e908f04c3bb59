"""Mark Nottingham's RedBot (https://redbot.org) in a process of its own, since its event loop is one for each process.

Run as `python -m tests.redbot`: reads a list of requests (`url`, `headers`), asks for each together with what RedBot asks
for besides (conditions, a range, a compressed answer), and writes what it has found, as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    url: str
    headers: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that RedBot has noted; `check` is the request it was noted of, `name` the class of the note."""

    check: str
    level: str
    name: str
    subject: str
    text: str

    @property
    def is_complaint(self) -> bool:
        return self.level in {"warning", "bad"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of one request, with the requests that followed from it."""

    status: int
    findings: list[Finding]

    @property
    def complaints(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_complaint]

    def has(self, name: str) -> bool:
        return any(finding.name == name for finding in self.findings)


def inspect(*requests: Request) -> list[Report]:
    """Have RedBot look at the answers to these requests, one after the other."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.redbot"],
        input=json.dumps([asdict(request) for request in requests]),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return [
        Report(status=report["status"], findings=[Finding(**finding) for finding in report["findings"]])
        for report in json.loads(done.stdout)
    ]


def main() -> None:
    requests = [Request(**request) for request in json.load(sys.stdin)]
    json.dump([asdict(report) for report in _reports(requests)], sys.stdout)


def _reports(requests: Sequence[Request]) -> list[Report]:
    import thor
    from redbot.resource import HttpResource

    config = ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})
    waiting = iter(requests)
    reports: list[Report] = []

    def ask_next() -> None:
        request = next(waiting, None)
        if request is None:
            thor.stop()
            return
        resource = HttpResource(config["redbot"])
        resource.set_request(request.url, headers=list(request.headers.items()))
        _sample(resource)
        _sample(resource.subreqs["Partial Content"])

        def note() -> None:
            reports.append(
                Report(status=resource.response.status_code or 0, findings=list(_findings(resource)))
            )
            thor.schedule(0, ask_next)

        resource.on("check_done", note)
        resource.check()

    # Stopped and run again, the loop has lost the connections that its client still keeps.
    thor.schedule(0, ask_next)
    thor.run()
    return reports


def _sample(fetched) -> None:
    """Give RedBot the bytes that it compares a range with: this version forgets to collect them, and asks for none."""
    body = bytearray()

    def add(chunk: bytes) -> None:
        body.extend(chunk)
        start = len(body) // 2 if fetched.check_name == "default" else 0
        fetched.response_content_sample[:] = [(start, bytes(body[start:]))]

    fetched.response_content_processors.append(add)


def _findings(resource) -> Iterator[Finding]:
    for fetched in (resource, *resource.subreqs.values()):
        if error := fetched.fetch_error:
            yield Finding(
                check=fetched.check_name,
                level="bad",
                name=type(error).__name__,
                subject="",
                text=f"{error.desc} {error.detail}",
            )
        for note in fetched.response.notes:
            yield Finding(
                check=fetched.check_name,
                level=note.level.value,
                name=type(note).__name__,
                subject=note.subject,
                text=str(note.summary),
            )


if __name__ == "__main__":
    main()
