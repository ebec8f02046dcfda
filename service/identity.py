"""What a handler asks of whoever calls: a key with the scope that it needs."""

import base64
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
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        # A browser sends passwords that it knows by itself, whoever wrote the page.
        if (access.is_open or scheme.lower() == "basic") and _is_of_another_site(request):
            raise HTTPException(403, "expected no request of a page of another site, which browsers tell of.")
        if access.is_open:
            return ANONYMOUS
        secret = _secret(scheme.lower(), credentials.strip())
        key = None if secret is None else access.identify(secret)
        if key is None:
            reason = "expected an API key that holds, as `Authorization: Bearer KEY` or as a basic password."
            raise HTTPException(401, reason, {"WWW-Authenticate": "Bearer"})
        if not key.allows(scope):
            raise HTTPException(403, f"the key {key.name!r} has the scopes {', '.join(key.scopes)}, not {scope}.")
        return key.name

    return who


def _is_of_another_site(request: Request) -> bool:
    return request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}


def _secret(scheme: str, credentials: str) -> str | None:
    """Return what a caller sends as a key: a bearer's token, or a basic password, under whatever user name."""
    if scheme == "bearer":
        return credentials
    if scheme == "basic":
        try:
            _, _, password = base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")
        except ValueError:  # no base64, or no UTF-8
            return None
        return password
    return None


Predictor = Annotated[str, Depends(_requires("predict"))]
"""A handler's parameter of this type is the name of a caller who may ask for labels."""

Labeller = Annotated[str, Depends(_requires("label"))]
"""The name of a caller who may send and change labelled statements."""

Admin = Annotated[str, Depends(_requires("admin"))]
"""The name of a caller who may do everything."""
