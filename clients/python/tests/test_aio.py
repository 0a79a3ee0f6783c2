"""The asyncio client against a server that answers what a test wants."""

from __future__ import annotations

import asyncio
import os
import unittest
from typing import Any, Callable
from unittest import mock

import grpc

import sluice
from fake_server import GPU, FakeServer
from sluice.v1 import scheduler_pb2, types_pb2


async def until(condition: Callable[[], Any], what: str, within: float = 10.0) -> None:
    end = asyncio.get_running_loop().time() + within
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"waited {within} s in vain for {what}")
        await asyncio.sleep(0.005)


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.server = FakeServer().__enter__()
        self.addCleanup(self.server.__exit__)
        self.client = sluice.aio.connect(self.server.address)
        self.addAsyncCleanup(self.client.close)

    async def test_async_with_sets_the_environment_renews_and_gives_back(self) -> None:
        self.server.ttl = 0.3
        with mock.patch.dict(os.environ):
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            async with self.client.resources(vram_mb=4096) as lease:
                self.assertEqual(os.environ["CUDA_VISIBLE_DEVICES"], GPU)
                await until(lambda: self.server.renewals >= 4, "four renewals")
                self.assertFalse(lease.lost)
            self.assertNotIn("CUDA_VISIBLE_DEVICES", os.environ)
        self.assertEqual(self.server.released, ["lease-1"])
        self.assertEqual(self.server.executions, ["start", "finish"])

    async def test_a_task_that_is_cancelled_while_it_holds_gives_the_lease_back(self) -> None:
        holding = asyncio.Event()

        async def work() -> None:
            async with self.client.resources(vram_mb=4096):
                holding.set()
                await asyncio.sleep(60)

        task = asyncio.ensure_future(work())
        await holding.wait()
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertEqual(self.server.released, ["lease-1"])

    async def test_a_task_that_is_cancelled_while_it_waits_leaves_the_queue(self) -> None:
        def stay(turn: int, context: Any) -> Any:
            yield self.server.queued()
            self.server.park(context)

        waiting = asyncio.Event()
        self.server.on_wait = stay
        task = asyncio.ensure_future(self.client.resources(vram_mb=4096, progress=lambda _: waiting.set()).acquire())
        await waiting.wait()
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertEqual(self.server.cancelled, ["ticket-1"])

    async def test_a_broken_stream_is_opened_again_with_the_same_request_id(self) -> None:
        def broken_once(turn: int, context: Any) -> Any:
            yield self.server.queued()
            if turn == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            yield self.server.granted()

        self.server.on_wait = broken_once
        async with self.client.resources(vram_mb=4096):
            pass
        self.assertEqual(len({wait.request_id for wait in self.server.waits}), 1)
        self.assertEqual(len(self.server.waits), 2)

    async def test_the_end_of_a_lease_is_told_to_a_coroutine_function(self) -> None:
        ended = scheduler_pb2.Ended(why=types_pb2.LEASE_END_EVICTED)
        self.server.watch = [scheduler_pb2.WatchLeaseResponse(), scheduler_pb2.WatchLeaseResponse(ended=ended)]
        told: list[str] = []

        async def lost(lease: Any, why: str) -> None:
            await asyncio.sleep(0)
            told.append(why)

        with self.assertLogs("sluice", "WARNING"):
            async with self.client.resources(vram_mb=4096, on_lost=lost) as lease:
                await until(lambda: told, "the loss")
                with self.assertRaises(sluice.LeaseLost):
                    lease.check()
        self.assertEqual(self.server.released, [])

    async def test_a_request_to_give_back_may_be_followed_from_the_callback(self) -> None:
        asked = scheduler_pb2.EvictionRequested(reason="somebody waits")
        self.server.watch = [scheduler_pb2.WatchLeaseResponse(eviction_requested=asked)]

        async def give_back(lease: sluice.aio.Lease, request: sluice.EvictionRequest) -> None:
            await lease.release()

        async with self.client.resources(vram_mb=4096, on_eviction=give_back) as lease:
            await until(lambda: self.server.released, "the lease to be given back")
            self.assertFalse(lease.lost)
        self.assertEqual(self.server.released, ["lease-1"])


if __name__ == "__main__":
    unittest.main()
