"""Takes over what is promoted elsewhere: by another process of the service, or from the command line."""

import asyncio

import structlog

from service.state import State

__all__ = ["POLL_S", "watch"]

_log = structlog.get_logger(__name__)

POLL_S = 1.0
"""Between two looks at the pointer, which is one small file."""


async def watch(state: State) -> None:
    """Follow the pointer until cancelled."""
    while True:
        await asyncio.sleep(POLL_S)
        state.measure()  # another worker may be asked for the metrics of them all
        try:
            await state.follow()
        except Exception as error:  # a fault here must not end it: the service would never take a version over again
            _log.error("unexpected error", exc_info=error)
