"""What a handler asks of whoever calls: a key with the scope that it needs."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from service.access import ANONYMOUS, Scope
from service.state import CurrentState

__all__ = ["Admin", "Labeller", "Predictor"]


def _requires(scope: Scope) -> Callable[[Request, CurrentState], Awaitable[str]]:
    async def who(request: Request, state: CurrentState) -> str:
        access = state.access
        if access.is_stale():
            await anyio.to_thread.run_sync(access.refresh)
        if access.is_open:
            if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
                raise HTTPException(403, "expected no request of a page of another site, which browsers tell of.")
            return ANONYMOUS
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        key = access.identify(secret.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            reason = "expected an API key that holds, as `Authorization: Bearer KEY`."
            raise HTTPException(401, reason, {"WWW-Authenticate": "Bearer"})
        if not key.allows(scope):
            raise HTTPException(403, f"the key {key.name!r} has the scopes {', '.join(key.scopes)}, not {scope}.")
        return key.name

    return who


Predictor = Annotated[str, Depends(_requires("predict"))]
"""A handler's parameter of this type is the name of a caller who may ask for labels."""

Labeller = Annotated[str, Depends(_requires("label"))]
"""The name of a caller who may send and change labelled statements."""

Admin = Annotated[str, Depends(_requires("admin"))]
"""The name of a caller who may do everything."""
