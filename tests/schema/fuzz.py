"""Runs schemathesis over the document of a running server, as users who must not see each other's things."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx

_ROOT = Path(__file__).parents[2]
_CONFIG = Path(__file__).with_name("schemathesis.toml")

#: They end the sign-in that all other calls need, so they are called apart.
ENDING = ("/api/v2/auth/logout", "/api/v2/auth/sessions/{session_id}")

# Not the one of the examples: nobody's account shall be deleted by trying them.
_PASSWORD = "another horse battery"


def fuzz(
    url: str, folder: Path, *, users: dict[str, str], max_examples: int, seed: int, arguments: list[str]
) -> int:
    """How many requests schemathesis made as `users` (names and access tokens); fails where it finds anything."""
    config = folder / "schemathesis.toml"
    config.write_text(f"seed = {seed}\n{_CONFIG.read_text()}{_identities(folder, users)}")
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={config}",
        "run",
        f"{url}/openapi.json",
        f"--max-examples={max_examples}",
        "--no-color",
        "--warnings=off",
        *arguments,
    ]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, _shortened(done.stdout + done.stderr)
    made = re.search(r"(\d+) generated", done.stdout)
    assert made, done.stdout
    return int(made[1])


def _shortened(report: str) -> str:
    """Without the rest of long lines, which hold whole files."""
    return "\n".join(line[:500] for line in report.splitlines())


def _identities(folder: Path, users: dict[str, str]) -> str:
    """What the configuration says of them, after writing their headers as Web Fuzzing Commons has it."""
    headers = {name: [{"name": "Authorization", "value": f"Bearer {token}"}] for name, token in users.items()}
    path = folder / "identities.json"
    path.write_text(
        json.dumps({"auth": [{"name": name, "fixedHeaders": given} for name, given in headers.items()]})
    )
    peers = f"peers = {json.dumps(list(users))}\n" if len(users) > 1 else ""
    return f'\n[auth.wfc]\npath = "{path}"\n{peers}'


def sign_up(url: str, email: str) -> str:
    """A new account's access token."""
    body = {"email": email, "password": _PASSWORD}
    answer = httpx.post(f"{url}/api/v2/auth/register", json=body, timeout=30, trust_env=False)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["access_token"])
