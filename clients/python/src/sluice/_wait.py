"""Waiting in the queue."""

from __future__ import annotations

import contextlib
from typing import Any

import grpc

from ._line import pause
from ._progress import Display
from ._request import Request
from ._wait_rules import Patience, meaning, no_answer
from .errors import SluiceError, error_from
from .told import Waiting
from .v1 import scheduler_pb2, types_pb2


def wait_for(scheduler: Any, channel: Any, request: Request, display: Display) -> types_pb2.Lease:
    """Waits for the lease. A connection that breaks is made anew, and the place found again by request_id.

    Whatever ends the wait from here, such as Ctrl-C, takes the request out of the queue.
    """
    patience = Patience(request)
    ticket = ""
    call: Any = None
    try:
        while True:
            call = scheduler.WaitForResources(request.wait(patience.left()))
            try:
                for message in call:
                    patience.heard()
                    ticket = message.ticket_id
                    told = meaning(message)
                    if isinstance(told, types_pb2.Lease):
                        return told
                    if isinstance(told, Waiting):
                        display.update(told)
                failure: SluiceError = no_answer()
            except grpc.RpcError as error:
                failure = error_from(error)
            pause(channel, patience.pause(failure))
    except SluiceError:
        raise
    except BaseException:
        # With a request_id the server would keep the place of a client that only went away.
        if ticket:
            with contextlib.suppress(grpc.RpcError):
                scheduler.CancelTicket(scheduler_pb2.CancelTicketRequest(ticket_id=ticket), timeout=1.0)
        raise
    finally:
        if call is not None:
            call.cancel()
        display.close()
