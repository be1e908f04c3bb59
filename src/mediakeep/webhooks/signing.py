"""What deliveries are signed with: each webhook's secret, a user's own for other addresses, and their exchange."""

import base64
import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook as Signer

from mediakeep.db import insert_into, now_plus
from mediakeep.webhooks.models import SigningSecret, Webhook

#: For so long after an exchange both secrets sign, so that receivers need not change at the same moment.
OVERLAP_SECONDS: Final = 24 * 3600

_BYTES = 32


def new_secret() -> str:
    """A random secret as Standard Webhooks writes them."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_BYTES)).decode()}"


def sign(signed_by: tuple[str, ...], message_id: str, at: datetime, body: str) -> str:
    """The `webhook-signature` of a message: one signature by each secret, of which one has to fit."""
    return " ".join(Signer(secret).sign(message_id, at, body) for secret in signed_by)


def good_secrets(holder: Webhook | SigningSecret, now: datetime) -> tuple[str, ...]:
    """What signs at that time, the newest first."""
    if holder.previous_secret is None or holder.previous_until is None or holder.previous_until <= now:
        return (holder.secret,)
    return holder.secret, holder.previous_secret


def exchange(holder: Webhook | SigningSecret) -> None:
    """Give it a new secret. The one before goes on signing for a day, the one before that no longer."""
    holder.previous_secret, holder.previous_until = holder.secret, now_plus(OVERLAP_SECONDS)
    holder.secret = new_secret()


async def get_own(session: AsyncSession, user_id: int) -> SigningSecret:
    """A user's own secret, for addresses that are no webhooks; made when it is first asked for."""
    theirs = select(SigningSecret).where(SigningSecret.user_id == user_id)
    found = await session.scalar(theirs)
    if found is None:
        made = insert_into(session, SigningSecret).on_conflict_do_nothing()
        await session.execute(made.values(user_id=user_id, secret=new_secret(), created_at=now_plus()))
        found = (await session.scalars(theirs)).one()
    return found


async def exchange_own(session: AsyncSession, user_id: int) -> SigningSecret:
    """Give a user a new secret, as `exchange` does."""
    own = await get_own(session, user_id)
    await session.refresh(own, with_for_update=True)
    exchange(own)
    await session.flush()
    await session.refresh(own)
    return own
