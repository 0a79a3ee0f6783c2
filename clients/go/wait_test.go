package sluice

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sluice/sluicev1"
)

func TestWaiting(t *testing.T) {
	t.Run("a broken stream is opened again with the same request_id, for what is left of the time", func(t *testing.T) {
		server := startFakeServer(t)
		server.onWait = func(turn int, stream waitStream) error {
			if turn == 1 {
				stream.Send(server.queued(1))
				return status.Error(codes.Unavailable, "gone")
			}
			return stream.Send(server.granted())
		}
		hold(t, dial(t, server), Resources{VRAMMB: 4096, Timeout: 50 * time.Second})
		waits := server.waits()
		if len(waits) != 2 || waits[0].GetRequestId() == "" || waits[0].GetRequestId() != waits[1].GetRequestId() {
			t.Fatalf("asked %v", waits)
		}
		// The pause before asking again is 0.1 s.
		if waits[1].GetTimeout().AsDuration() > waits[0].GetTimeout().AsDuration()-50*time.Millisecond {
			t.Errorf("asked for %v and then for %v", waits[0].GetTimeout().AsDuration(), waits[1].GetTimeout().AsDuration())
		}
		if waits[0].GetGraceTime().AsDuration() != away {
			t.Errorf("the place is kept for %v", waits[0].GetGraceTime().AsDuration())
		}
	})

	t.Run("each wait has a request_id of its own, unless it is given one", func(t *testing.T) {
		server := startFakeServer(t)
		client := dial(t, server)
		hold(t, client, Resources{VRAMMB: 1})
		hold(t, client, Resources{VRAMMB: 1})
		hold(t, client, Resources{VRAMMB: 1, RequestID: "night-job"})
		waits := server.waits()
		if waits[0].GetRequestId() == waits[1].GetRequestId() || waits[2].GetRequestId() != "night-job" {
			t.Errorf("asked %v", waits)
		}
	})

	t.Run("unknown events are passed over, and each change is told", func(t *testing.T) {
		server := startFakeServer(t)
		server.onWait = func(_ int, stream waitStream) error {
			for _, message := range []*sluicev1.WaitForResourcesResponse{{}, server.queued(2), server.queued(1), server.granted()} {
				if err := stream.Send(message); err != nil {
					return err
				}
			}
			return nil
		}
		var told []Waiting
		hold(t, dial(t, server), Resources{VRAMMB: 4096}, OnWaiting(func(waiting Waiting) { told = append(told, waiting) }))
		if len(told) != 2 || told[0].String() != "waiting 0s, place 2 of 3: GPU 0 is full" || told[1].Position != 1 {
			t.Errorf("told %v", told)
		}
	})

	t.Run("nobody at the address is told after a few seconds, not never", func(t *testing.T) {
		client, err := Dial("127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		start := now()
		_, err = client.Hold(context.Background(), Resources{VRAMMB: 1})
		mustBe[*UnreachableError](t, err)
		if took := now() - start; took < firstAnswer || took > 2*firstAnswer {
			t.Errorf("it took %v", took)
		}
	})

	t.Run("an end that is not for want of a server is not tried again", func(t *testing.T) {
		server := startFakeServer(t)
		server.onWait = func(int, waitStream) error { return cancelledTicket() }
		_, err := dial(t, server).Hold(context.Background(), Resources{VRAMMB: 1})
		mustBe[*TicketCancelledError](t, err)
		if len(server.waits()) != 1 {
			t.Errorf("asked %d times", len(server.waits()))
		}
	})

	t.Run("a time that is over is an error that says how long it was and why", func(t *testing.T) {
		server := startFakeServer(t)
		server.onWait = func(_ int, stream waitStream) error {
			event := &sluicev1.TimedOut{Reasons: server.queued(1).GetQueued().GetReasons()}
			return stream.Send(&sluicev1.WaitForResourcesResponse{Event: &sluicev1.WaitForResourcesResponse_TimedOut{TimedOut: event}})
		}
		_, err := dial(t, server).Hold(context.Background(), Resources{VRAMMB: 1})
		if late := mustBe[*TimedOutError](t, err); late.Error() != "sluice: waited 0.0 s in vain: GPU 0 is full" || len(late.Reasons) != 1 {
			t.Errorf("%v with %v", late, late.Reasons)
		}
	})
}

func TestGivingUp(t *testing.T) {
	t.Run("a caller that cancels leaves the queue", func(t *testing.T) {
		server := startFakeServer(t)
		over := make(chan struct{})
		server.onCancel = func() error { close(over); return nil }
		server.onWait = func(_ int, stream waitStream) error {
			stream.Send(server.queued(1))
			<-over
			return cancelledTicket()
		}
		ctx, cancel := context.WithCancel(context.Background())
		_, err := dial(t, server).Hold(ctx, Resources{VRAMMB: 4096}, OnWaiting(func(Waiting) { cancel() }))
		if !errors.Is(err, context.Canceled) || server.count("cancel") != 1 {
			t.Errorf("error %v, heard %q", err, server.heard)
		}
	})

	t.Run("a deadline and a cause of the caller's own can be told from one another", func(t *testing.T) {
		server := startFakeServer(t)
		server.onWait = func(_ int, stream waitStream) error {
			stream.Send(server.queued(1))
			<-stream.Context().Done()
			return nil
		}
		mine := errors.New("the page was closed")
		ctx, cancel := context.WithCancelCause(context.Background())
		_, err := dial(t, server).Hold(ctx, Resources{VRAMMB: 4096}, OnWaiting(func(Waiting) { cancel(mine) }))
		if !errors.Is(err, mine) || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		late, cancelLate := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancelLate()
		if _, err = dial(t, server).Hold(late, Resources{VRAMMB: 4096}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})

	t.Run("a grant that arrives after the caller has cancelled is given back", func(t *testing.T) {
		server := startFakeServer(t)
		asked := make(chan struct{})
		server.onCancel = func() error {
			close(asked)
			return status.Error(codes.NotFound, "it does not wait here")
		}
		server.onWait = func(_ int, stream waitStream) error {
			stream.Send(server.queued(1))
			<-asked
			// The line is slow: the answer to CancelTicket is there first.
			<-time.After(50 * time.Millisecond)
			return stream.Send(server.granted())
		}
		ctx, cancel := context.WithCancel(context.Background())
		start := now()
		_, err := dial(t, server).Hold(ctx, Resources{VRAMMB: 4096}, OnWaiting(func(Waiting) { cancel() }))
		if !errors.Is(err, context.Canceled) || server.count("release") != 1 {
			t.Errorf("error %v, heard %q", err, server.heard)
		}
		if took := now() - start; took > leaveWithin {
			t.Errorf("it took %v although the grant was there", took)
		}
	})

	t.Run("it takes a second at most where the server does not answer", func(t *testing.T) {
		server := startFakeServer(t)
		over := make(chan struct{})
		defer close(over)
		server.onCancel = func() error { <-over; return nil }
		server.onWait = func(_ int, stream waitStream) error {
			stream.Send(server.queued(1))
			<-stream.Context().Done()
			return nil
		}
		ctx, cancel := context.WithCancel(context.Background())
		start := now()
		_, err := dial(t, server).Hold(ctx, Resources{VRAMMB: 4096}, OnWaiting(func(Waiting) { cancel() }))
		if took := now() - start; !errors.Is(err, context.Canceled) || took > 2*leaveWithin {
			t.Errorf("error %v after %v", err, took)
		}
	})
}

func cancelledTicket() error {
	cancelled, _ := status.New(codes.Canceled, "ticket ticket-1 was cancelled").WithDetails(&errdetails.ErrorInfo{Reason: "TICKET_CANCELLED"})
	return cancelled.Err()
}
