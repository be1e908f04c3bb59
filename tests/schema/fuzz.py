"""Runs schemathesis over the document of a running server, as two users who must not see each other's things."""

import json
import subprocess
import sys
from pathlib import Path

import httpx

_ROOT = Path(__file__).parents[2]
_CONFIG = Path(__file__).with_name("schemathesis.toml")

#: It ends the sign-in that all other calls need, so it is called apart.
LOGOUT = "/api/v2/auth/logout"


def fuzz(
    url: str, folder: Path, *, users: dict[str, str], max_examples: int, seed: int, arguments: list[str]
) -> str:
    """What schemathesis reports of a run as `users` (names and access tokens); fails where it finds anything."""
    identities = folder / "identities.json"
    headers = {name: [{"name": "Authorization", "value": f"Bearer {token}"}] for name, token in users.items()}
    identities.write_text(
        json.dumps({"auth": [{"name": name, "fixedHeaders": given} for name, given in headers.items()]})
    )
    peers = (
        f'\n[auth.wfc]\npath = "{identities}"\npeers = {json.dumps(list(users))}\n' if len(users) > 1 else ""
    )
    config = folder / "schemathesis.toml"
    config.write_text(f"seed = {seed}\n{_CONFIG.read_text()}{peers}")
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
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    return done.stdout


def sign_up(url: str, email: str) -> str:
    """A new account's access token."""
    body = {"email": email, "password": "correct horse battery"}
    answer = httpx.post(f"{url}/api/v2/auth/register", json=body, timeout=30, trust_env=False)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["access_token"])
