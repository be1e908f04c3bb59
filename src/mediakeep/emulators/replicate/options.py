"""Every switch of the stand-in: what the command line, `PUT /emulator/options` and `POST /emulator/next` take."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field

Outcome = Literal["succeeded", "failed", "canceled", "aborted"]

Answer = Literal[
    "normal",
    "throttled",
    "error",
    "error_after",
    "closed",
    "lost",
    "silent",
    "silent_after",
    "html",
    "broken_json",
]

#: What a request is about; the log names it, too.
Kind = Literal["submit", "look", "list", "cancel", "model", "file", "secret", "account", "output"]

WebhookFault = Literal["duplicate", "late", "unsigned", "tampered", "old_timestamp", "out_of_order", "none"]

OutputFault = Literal["media", "html", "zeros", "redirect", "gone", "cut"]


class Options(BaseModel, frozen=True, extra="forbid"):
    """One value of every switch. A prediction keeps those that held when it was submitted."""

    token: str = Field("r8_of_the_emulator", min_length=1, description="The API token that is accepted.")
    webhook_secret: str = Field(
        "whsec_bWVkaWFrZWVwIGVtdWxhdGVzIHJlcGxpY2F0ZSE=",
        pattern=r"^whsec_[A-Za-z0-9+/]+=*$",
        description="What webhooks are signed with.",
    )
    files_secret: str = Field(
        "the emulator's files", min_length=1, description="What download addresses of files are signed with."
    )
    submissions_per_minute: int = Field(600, ge=1, description="Predictions that may be created in a minute.")
    requests_per_minute: int = Field(3000, ge=1, description="Other requests that may be made in a minute.")

    startup_seconds: float = Field(0.2, ge=0, description="How long a prediction is `starting`.")
    latency_seconds: float = Field(2.0, ge=0, description="How long it is `processing`.")
    output_lifetime_seconds: float = Field(
        3600, ge=0, description="When input, output and logs of an ended prediction are removed."
    )
    file_lifetime_seconds: float = Field(86_400, ge=0, description="When an uploaded file is removed.")
    speed: float = Field(
        1.0,
        gt=0,
        description="How many times faster the waits between webhooks and those of Cancel-After pass.",
    )

    outcome: Outcome = Field(
        "succeeded", description="How a prediction ends; `aborted` is before it has begun."
    )
    error: str = Field("The model failed, as it was told to.", description="What a failed prediction says.")
    cancel_race: bool = Field(
        default=False, description="A cancel is answered, and comes too late: the prediction goes on."
    )
    sync_quirk: bool = Field(
        default=False,
        description="A blocking submission that is done answers `processing`, with data URLs as output.",
    )

    webhooks: tuple[WebhookFault, ...] = Field(
        (), description="What goes wrong with webhooks; several at once may."
    )
    late_seconds: float = Field(5.0, ge=0, description="How late the late ones are.")

    answer: Answer = Field("normal", description="What becomes of the answers to requests.")
    answer_to: Kind | Literal["any"] = Field("submit", description="Which requests `answer` is about.")
    answer_times: int | None = Field(
        None, ge=1, description="To how many of them it happens; without it, to all."
    )
    answer_status: int = Field(500, ge=400, le=599, description="The status of `error` and `error_after`.")
    throttle_seconds: int = Field(30, ge=0, description="When the limit resets, as `throttled` says.")

    output: OutputFault = Field("media", description="What the address of an output answers.")
    output_size: int = Field(64 << 20, ge=1, description="How many bytes `zeros` sends.")
    output_redirect: str = Field("", description="Where `redirect` leads.")

    def turned(self, named: Mapping[str, Any]) -> Self:
        """The same, with these switches turned. Raises `ValidationError`."""
        return self.model_validate({**dict(self), **named})


#: Switches that are no matter of a single submission.
SERVER_WIDE: Final = frozenset(
    {
        "token",
        "webhook_secret",
        "files_secret",
        "submissions_per_minute",
        "requests_per_minute",
        "file_lifetime_seconds",
        "answer_to",
        "answer_times",
    }
)
