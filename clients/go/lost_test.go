package sluice

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sluice/sluicev1"
)

func TestLosing(t *testing.T) {
	t.Run("renewal gives up on the monotonic clock before the time to live is over, and tells the program", func(t *testing.T) {
		server := startFakeServer(t)
		server.ttl = time.Second
		var renewed atomic.Int64
		server.onRenew = func(ctx context.Context) error {
			if renewed.CompareAndSwap(0, int64(now())) {
				return nil
			}
			// A server that has fallen silent.
			<-ctx.Done()
			return ctx.Err()
		}
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		lost := mustBe[*LeaseLostError](t, done(t, lease.Context()))
		held := now() - time.Duration(renewed.Load())
		if held >= time.Second || held < 500*time.Millisecond {
			t.Errorf("it was given up %v after the last renewal", held)
		}
		if lost.LeaseID != "lease-1" || !strings.Contains(lost.Error(), "the lease lease-1 is lost: the server could not be reached") {
			t.Errorf("told %v", lost)
		}
		// What is lost is not ours to give back.
		if err := lease.Release(); err != nil || server.count("release") != 0 {
			t.Errorf("heard %q, error %v", server.heard, err)
		}
		mustBe[*LeaseLostError](t, lease.Err())
	})

	t.Run("a server that says the lease is gone is believed at once", func(t *testing.T) {
		server := startFakeServer(t)
		server.onRenew = func(context.Context) error {
			gone, _ := status.New(codes.NotFound, "it has ended").WithDetails(&errdetails.ErrorInfo{Reason: "LEASE_EXPIRED", Domain: "sluice"})
			return gone.Err()
		}
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		if lost := mustBe[*LeaseLostError](t, done(t, lease.Context())); lost.Why != "it has ended" {
			t.Errorf("told %v", lost)
		}
		if server.count("renew") != 1 {
			t.Errorf("it was renewed %d times", server.count("renew"))
		}
	})

	t.Run("an error that could be anybody's is tried again, until the time is up", func(t *testing.T) {
		server := startFakeServer(t)
		server.ttl = 600 * time.Millisecond
		server.onRenew = func(context.Context) error { return status.Error(codes.FailedPrecondition, "no such token") }
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		mustBe[*LeaseLostError](t, done(t, lease.Context()))
		if server.count("renew") < 3 {
			t.Errorf("it was renewed %d times", server.count("renew"))
		}
	})

	t.Run("the end that the server tells is a loss at once, whatever else it tells before", func(t *testing.T) {
		server := startFakeServer(t)
		ended := &sluicev1.Ended{Why: sluicev1.LeaseEnd_LEASE_END_EVICTED}
		server.watch = []*sluicev1.WatchLeaseResponse{{}, {Event: &sluicev1.WatchLeaseResponse_Ended{Ended: ended}}}
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		if lost := mustBe[*LeaseLostError](t, done(t, lease.Context())); lost.Why != "it was taken for somebody who waited" {
			t.Errorf("told %v", lost)
		}
	})

	t.Run("a client that is closed too early is a lost lease, and the log warns of it", func(t *testing.T) {
		server := startFakeServer(t)
		server.ttl = 300 * time.Millisecond
		var written bytes.Buffer
		client, err := Dial(server.address, WithLogger(slog.New(slog.NewTextHandler(&written, nil))))
		if err != nil {
			t.Fatal(err)
		}
		lease := hold(t, client, Resources{VRAMMB: 4096})
		client.Close()
		if lost := mustBe[*LeaseLostError](t, done(t, lease.Context())); lost.Why != "its client was closed, so nobody renews it" {
			t.Errorf("told %v", lost)
		}
		lease.Release()
		if !strings.Contains(written.String(), "level=WARN msg=\"a lease is lost") {
			t.Errorf("written %q", written.String())
		}
		start := now()
		_, err = client.Hold(context.Background(), Resources{})
		// It cannot come back, so nobody waits for it.
		if mustBe[*UnreachableError](t, err); err.Error() != "sluice: the client is closed" || now()-start > time.Second {
			t.Errorf("a closed client answers %v after %v", err, now()-start)
		}
	})

	t.Run("three renewals are sent in each time to live, the first at once", func(t *testing.T) {
		server := startFakeServer(t)
		server.ttl = 600 * time.Millisecond
		start := now()
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		until(t, "four renewals", func() bool { return server.count("renew") >= 4 })
		if took := now() - start; took < 550*time.Millisecond {
			t.Errorf("they took only %v", took)
		}
		if lease.Err() != nil {
			t.Error(lease.Err())
		}
	})
}

func TestTenure(t *testing.T) {
	const second = time.Second

	t.Run("the first renewal is due at once, and then three in each time to live", func(t *testing.T) {
		tenure := newTenure(30*second, 100*second)
		if tenure.nextAt != 100*second {
			t.Errorf("the first is due at %v", tenure.nextAt)
		}
		tenure.renewed(101 * second)
		if tenure.nextAt != 111*second {
			t.Errorf("the second is due at %v", tenure.nextAt)
		}
	})

	t.Run("it is given up before it ends, counted from before the renewal was sent", func(t *testing.T) {
		tenure := newTenure(30*second, 100*second)
		tenure.renewed(101 * second)
		if tenure.giveUpAt != 129*second {
			t.Errorf("it is given up at %v", tenure.giveUpAt)
		}
		// A renewal that is sent in the last moment cannot outlast it.
		if limit := tenure.callTimeout(128500 * time.Millisecond); limit > second/2 {
			t.Errorf("that may take %v", limit)
		}
	})

	t.Run("after a failure it is tried soon, and never only after the end", func(t *testing.T) {
		tenure := newTenure(2*second, 100*second)
		tenure.failed(101 * second)
		if tenure.nextAt != 101200*time.Millisecond {
			t.Errorf("it is tried at %v", tenure.nextAt)
		}
		tenure.failed(101750 * time.Millisecond)
		if tenure.nextAt != tenure.giveUpAt {
			t.Errorf("it is tried at %v and given up at %v", tenure.nextAt, tenure.giveUpAt)
		}
	})
}
