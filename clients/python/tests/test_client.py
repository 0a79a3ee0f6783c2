"""The sync client against a server that answers what a test wants."""

from __future__ import annotations

import io
import os
import threading
import time
import unittest
from contextlib import redirect_stderr
from typing import Any
from unittest import mock

import grpc

import sluice
from fake_server import GPU, FakeServer, until
from sluice import _tenure, _wait_rules
from sluice.v1 import scheduler_pb2, types_pb2


class WithServer(unittest.TestCase):
    """A server and a client of it."""

    def setUp(self) -> None:
        self.server = FakeServer().__enter__()
        self.addCleanup(self.server.__exit__)
        self.client = sluice.connect(self.server.address)
        self.addCleanup(self.client.close)


class Environment(WithServer):
    def test_with_sets_what_a_lease_says_and_puts_back_what_was_there(self) -> None:
        with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": "3"}):
            os.environ.pop("SLUICE_LEASE_ID", None)
            with self.client.resources(vram_mb=4096):
                self.assertEqual(os.environ["CUDA_VISIBLE_DEVICES"], GPU)
                self.assertEqual(os.environ["SLUICE_LEASE_ID"], "lease-1")
                # The server cannot know how it was reached from here.
                self.assertEqual(os.environ["SLUICE_ADDRESS"], self.server.address)
            self.assertEqual(os.environ["CUDA_VISIBLE_DEVICES"], "3")
            self.assertNotIn("SLUICE_LEASE_ID", os.environ)

    def test_what_the_program_itself_has_changed_is_left_alone(self) -> None:
        with mock.patch.dict(os.environ):
            with self.client.resources(vram_mb=4096):
                os.environ["CUDA_VISIBLE_DEVICES"] = "mine"
            self.assertEqual(os.environ["CUDA_VISIBLE_DEVICES"], "mine")

    def test_an_exception_in_the_block_gives_the_lease_back_and_comes_out(self) -> None:
        with mock.patch.dict(os.environ):
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            with self.assertRaises(ZeroDivisionError), self.client.resources(vram_mb=4096):
                _ = 1 / 0
            self.assertNotIn("CUDA_VISIBLE_DEVICES", os.environ)
        self.assertEqual(self.server.released, ["lease-1"])

    def test_env_is_the_grants_also_after_a_renewal_which_does_not_tell_it(self) -> None:
        self.server.ttl = 0.3
        with self.client.resources(vram_mb=4096) as lease:
            until(lambda: self.server.renewals >= 2, "two renewals")
            self.assertEqual(lease.env["CUDA_VISIBLE_DEVICES"], GPU)

    def test_cuda_that_is_in_use_already_is_warned_of(self) -> None:
        torch = mock.Mock()
        torch.cuda.is_initialized.return_value = True
        with mock.patch.dict("sys.modules", {"torch": torch}), self.assertLogs("sluice", "WARNING") as logs:
            with self.client.resources(vram_mb=4096):
                pass
        self.assertIn("CUDA is in use already", logs.output[0])


class Holding(WithServer):
    def test_the_lease_is_renewed_several_times_in_its_time_to_live(self) -> None:
        self.server.ttl = 0.6
        with self.client.resources(vram_mb=4096) as lease:
            until(lambda: self.server.renewals >= 4, "four renewals", within=3)
            self.assertFalse(lease.lost)
            lease.check()

    def test_it_is_in_use_until_the_end_and_this_process_is_attached(self) -> None:
        with self.client.resources(vram_mb=4096):
            self.assertEqual(self.server.executions, ["start"])
            self.assertEqual(self.server.attached, [os.getpid()])
        self.assertEqual(self.server.executions, ["start", "finish"])

    def test_a_client_that_is_closed_too_early_is_a_lost_lease_and_no_exception(self) -> None:
        self.server.ttl = 0.3
        lease = self.client.resources(vram_mb=4096).acquire()
        with self.assertLogs("sluice", "WARNING"):
            self.client.close()
            until(lambda: lease.lost, "the loss", within=3)
        self.assertIn("closed", lease.why_lost)
        lease.release()

    def test_giving_back_twice_is_one_call(self) -> None:
        lease = self.client.resources(vram_mb=4096).acquire()
        lease.release()
        lease.release()
        self.assertEqual(self.server.released, ["lease-1"])

    def test_a_server_that_says_the_lease_is_gone_is_believed_and_told_to_the_program(self) -> None:
        def gone(context: Any) -> None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no such token")

        told: list[str] = []
        self.server.ttl = 0.3
        with self.assertLogs("sluice", "WARNING"):
            with self.client.resources(vram_mb=4096, on_lost=lambda lease, why: told.append(why)) as lease:
                until(lambda: self.server.renewals >= 1, "a renewal")
                self.server.watch = []
                self.server.on_renew = gone
                # Without ErrorInfo it could be anybody's error, so it is tried until the time is up.
                until(lambda: lease.lost, "the loss")
        self.assertEqual(len(told), 1)
        with self.assertRaises(sluice.LeaseLost):
            lease.check()
        # What is lost is not ours to give back.
        self.assertEqual(self.server.released, [])

    def test_renewal_gives_up_before_the_time_to_live_is_over(self) -> None:
        """Guards: the last renewal that succeeded counts from before it was sent, and there is time left to tell the program."""
        self.server.ttl = 1.0
        lost: list[float] = []
        with self.assertLogs("sluice", "WARNING"):
            with self.client.resources(vram_mb=4096, on_lost=lambda *_: lost.append(time.monotonic())):
                renewed: list[float] = []

                def silent(context: Any) -> None:
                    if not renewed:
                        renewed.append(time.monotonic())
                        return
                    self.server.park(context)

                self.server.on_renew = silent
                until(lambda: lost, "the loss", within=5)
        self.assertLess(lost[0] - renewed[0], 1.0)
        self.assertGreater(lost[0] - renewed[0], 0.5)

    def test_the_end_that_the_server_tells_is_a_loss_at_once(self) -> None:
        ended = scheduler_pb2.Ended(why=types_pb2.LEASE_END_EVICTED)
        self.server.watch = [
            scheduler_pb2.WatchLeaseResponse(),  # an event of a newer server
            scheduler_pb2.WatchLeaseResponse(ended=ended),
        ]
        with self.assertLogs("sluice", "WARNING"), self.client.resources(vram_mb=4096) as lease:
            until(lambda: lease.lost, "the loss", within=2)
            self.assertIn("taken for somebody who waited", lease.why_lost)

    def test_a_request_to_give_back_calls_the_program_which_may_do_so_from_there(self) -> None:
        asked = scheduler_pb2.EvictionRequested(reason="somebody needs 8,000 MiB")
        self.server.watch = [scheduler_pb2.WatchLeaseResponse(eviction_requested=asked)]
        heard: list[sluice.EvictionRequest] = []

        def give_back(lease: sluice.Lease, request: sluice.EvictionRequest) -> None:
            heard.append(request)
            lease.release()

        with self.client.resources(vram_mb=4096, on_eviction=give_back) as lease:
            until(lambda: self.server.released, "the lease to be given back")
            self.assertFalse(lease.lost)
        self.assertEqual(heard[0].reason, "somebody needs 8,000 MiB")
        self.assertEqual(self.server.released, ["lease-1"])
        # It listens with its token, and is idle until it says that it works.
        self.assertEqual(self.server.watch_tokens[0], 7)
        self.assertEqual(self.server.executions, [])

    def test_work_on_a_lease_that_can_be_asked_back_is_counted(self) -> None:
        with self.client.resources(vram_mb=4096, on_eviction=lambda *_: None) as lease:
            with lease.executing():
                self.assertEqual(self.server.executions, ["start"])
            self.assertEqual(self.server.executions, ["start", "finish"])

    def test_a_callback_that_fails_does_not_end_the_renewals(self) -> None:
        asked = scheduler_pb2.EvictionRequested(reason="x")
        self.server.ttl = 0.3
        self.server.watch = [scheduler_pb2.WatchLeaseResponse(eviction_requested=asked)]
        with self.assertLogs("sluice", "ERROR"):
            with self.client.resources(vram_mb=4096, on_eviction=lambda *_: 1 / 0):
                until(lambda: self.server.renewals >= 4, "renewals to go on")

    def test_a_child_process_that_was_forked_off_does_not_give_it_back(self) -> None:
        lease = self.client.resources(vram_mb=4096).acquire()
        with mock.patch("os.getpid", return_value=1):
            lease.release()
        self.assertEqual(self.server.released, [])
        lease.release()


class Waiting(WithServer):
    def test_a_broken_stream_is_opened_again_with_the_same_request_id(self) -> None:
        def broken_once(turn: int, context: Any) -> Any:
            yield self.server.queued()
            if turn == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            yield self.server.granted()

        self.server.on_wait = broken_once
        with self.client.resources(vram_mb=4096, timeout=50):
            pass
        first, second = self.server.waits
        self.assertNotEqual(first.request_id, "")
        self.assertEqual(first.request_id, second.request_id)
        # Its place is kept for as long as it tries to come back.
        self.assertEqual(second.grace_time.seconds, 60)
        # What is left of the time, not the whole again.
        left = [wait.timeout.seconds + wait.timeout.nanos / 1e9 for wait in (first, second)]
        # The pause before asking again is 0.1 s.
        self.assertLess(left[1], left[0] - 0.05)

    def test_each_wait_has_a_request_id_of_its_own(self) -> None:
        resources = self.client.resources(vram_mb=4096)
        resources.acquire().release()
        resources.acquire().release()
        self.assertEqual(len({wait.request_id for wait in self.server.waits}), 2)

    def test_unknown_events_are_passed_over(self) -> None:
        def newer(turn: int, context: Any) -> Any:
            yield scheduler_pb2.WaitForResourcesResponse.FromString(bytes([0x82, 0x7D, 0x00]))
            yield self.server.granted()

        self.server.on_wait = newer
        with self.client.resources(vram_mb=4096) as lease:
            self.assertEqual(lease.token, 7)

    def test_nobody_at_the_address_is_told_after_a_few_seconds_not_never(self) -> None:
        with mock.patch.object(_wait_rules, "FIRST_ANSWER", 0.3):
            with self.assertRaises(sluice.Unreachable):
                sluice.connect("127.0.0.1:1").resources(vram_mb=1).acquire()

    def test_a_wait_that_is_interrupted_leaves_the_queue(self) -> None:
        def stay(turn: int, context: Any) -> Any:
            yield self.server.queued()
            self.server.park(context)

        def interrupt(_: sluice.Waiting) -> None:
            raise KeyboardInterrupt

        self.server.on_wait = stay
        with self.assertRaises(KeyboardInterrupt):
            self.client.resources(vram_mb=4096, progress=interrupt).acquire()
        self.assertEqual(self.server.cancelled, ["ticket-1"])

    def test_progress_calls_a_function_with_place_and_reasons(self) -> None:
        def twice(turn: int, context: Any) -> Any:
            yield self.server.queued(2)
            yield self.server.queued(1)
            yield self.server.granted()

        self.server.on_wait = twice
        places: list[sluice.Waiting] = []
        with self.client.resources(vram_mb=4096, progress=places.append):
            pass
        self.assertEqual([place.position for place in places], [2, 1])
        self.assertEqual(places[0].reasons[0].code, types_pb2.REASON_CODE_INSUFFICIENT_GPU_MEMORY)
        self.assertIn("place 2 of 3: GPU 0 is full", str(places[0]))

    def test_progress_in_a_terminal_is_one_line_that_goes_away(self) -> None:
        self.server.on_wait = lambda turn, context: iter([self.server.queued(), self.server.granted()])
        terminal = io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        with redirect_stderr(terminal), self.client.resources(vram_mb=4096, progress=True):
            pass
        self.assertIn("\rsluice: waiting 0s, place 1 of 3", terminal.getvalue())
        self.assertTrue(terminal.getvalue().endswith("\r\x1b[K"))
        self.assertNotIn("\n", terminal.getvalue())

    def test_progress_in_a_log_file_is_lines(self) -> None:
        self.server.on_wait = lambda turn, context: iter([self.server.queued(), self.server.queued(), self.server.granted()])
        log = io.StringIO()
        with redirect_stderr(log), self.client.resources(vram_mb=4096, progress=True):
            pass
        # The same news is told once.
        self.assertEqual(log.getvalue(), "sluice: waiting 0s, place 1 of 3: GPU 0 is full\n")

    def test_progress_in_a_notebook_replaces_one_output(self) -> None:
        shown: list[str] = []

        class Handle:
            def update(self, content: dict[str, str], raw: bool) -> None:
                shown.append(content["text/plain"])

        def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
            shown.append(content["text/plain"])
            return Handle()

        ipython = mock.Mock()
        ipython.get_ipython.return_value = type("ZMQInteractiveShell", (), {})()
        self.server.on_wait = lambda turn, context: iter([self.server.queued(), self.server.granted()])
        modules = {"IPython": ipython, "IPython.display": mock.Mock(display=display)}
        with mock.patch.dict("sys.modules", modules), self.client.resources(vram_mb=4096, progress=True):
            pass
        self.assertEqual(shown, ["sluice: waiting 0s, place 1 of 3: GPU 0 is full", "sluice: the wait is over"])

    def test_what_is_asked_for_is_the_contracts_message(self) -> None:
        asked = self.client.resources(name="a", vram_mb=5, ram_mb=6, gpus=2, tenant="t", priority=3, labels={"k": "v"}, ttl=2.5)
        asked.acquire().release()
        workload = self.server.waits[0].workload
        self.assertEqual((workload.name, workload.tenant, workload.priority), ("a", "t", 3))
        self.assertTrue(workload.resources.requires_gpu)
        self.assertEqual(workload.resources.gpu_count, 2)
        self.assertEqual(dict(workload.labels), {"k": "v"})
        self.assertEqual((self.server.waits[0].lease_ttl.seconds, self.server.waits[0].lease_ttl.nanos), (2, 500_000_000))
        # Not set is not 0, which would mean for ever.
        self.assertFalse(self.server.waits[0].HasField("timeout"))

    def test_the_client_adds_less_than_a_millisecond_to_a_wait(self) -> None:
        """Guards the target: beside a bare stub in the same process, the layer's own wait costs under 1 ms for each grant."""
        scheduler = self.client.scheduler
        request = scheduler_pb2.WaitForResourcesRequest()

        def bare() -> None:
            for message in scheduler.WaitForResources(request):
                if message.WhichOneof("event") == "granted":
                    return

        from sluice._progress import Display
        from sluice._request import Request
        from sluice._wait import wait_for

        def layer() -> None:
            wait_for(scheduler, self.client.channel, Request(vram_mb=1, request_id="r"), Display())

        def median(action: Any, turns: int = 60) -> float:
            times = []
            for _ in range(turns):
                start = time.perf_counter()
                action()
                times.append(time.perf_counter() - start)
            return sorted(times)[turns // 2]

        median(bare, 10)
        added = min(median(layer) - median(bare) for _ in range(3))
        self.assertLess(added, 0.001)


class Tenure(unittest.TestCase):
    def test_the_first_renewal_is_due_at_once_and_then_three_in_each_time_to_live(self) -> None:
        tenure = _tenure.Tenure(30.0, 100.0)
        self.assertEqual(tenure.next_at, 100.0)
        tenure.renewed(101.0)
        self.assertEqual(tenure.next_at, 111.0)

    def test_it_is_given_up_before_it_ends_counted_from_before_the_renewal_was_sent(self) -> None:
        tenure = _tenure.Tenure(30.0, 100.0)
        tenure.renewed(101.0)
        self.assertEqual(tenure.give_up_at, 101.0 + 30.0 - 2.0)
        # A renewal that is sent in the last moment cannot outlast it.
        self.assertLessEqual(tenure.call_timeout(128.5), 0.5)

    def test_after_a_failure_it_is_tried_soon_and_never_only_after_the_end(self) -> None:
        tenure = _tenure.Tenure(2.0, 100.0)
        tenure.renewed(100.0)
        tenure.failed(101.0)
        self.assertAlmostEqual(tenure.next_at, 101.2)
        tenure.failed(101.75)
        self.assertEqual(tenure.next_at, tenure.give_up_at)


class Address(unittest.TestCase):
    def test_it_is_what_is_given_else_the_environments_else_the_default(self) -> None:
        with mock.patch.dict(os.environ, {"SLUICE_ADDRESS": "gpu-box:50051"}):
            self.assertEqual(sluice.connect("here:1").address, "here:1")
            self.assertEqual(sluice.connect().address, "gpu-box:50051")
        with mock.patch.dict(os.environ):
            os.environ.pop("SLUICE_ADDRESS", None)
            self.assertEqual(sluice.connect().address, "127.0.0.1:50051")

    def test_a_process_is_attached_only_where_the_server_knows_its_pid(self) -> None:
        from sluice._channel import is_local

        for address in ("127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/sluice"):
            self.assertTrue(is_local(address), address)
        for address in ("gpu-box:1", "10.0.0.1:1", "[2001:db8::1]:1"):
            self.assertFalse(is_local(address), address)


class Threads(WithServer):
    def test_nothing_is_left_running_after_the_block(self) -> None:
        before = threading.active_count()
        with self.client.resources(vram_mb=4096):
            self.assertGreaterEqual(threading.active_count(), before + 2)
            self.server.watching.wait(5)
        names = [thread.name for thread in threading.enumerate()]
        self.assertEqual([name for name in names if name.startswith("sluice-")], [])


if __name__ == "__main__":
    unittest.main()
