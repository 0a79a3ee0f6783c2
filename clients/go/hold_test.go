package sluice

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sluice/sluicev1"
)

func dial(t testing.TB, server *fakeServer) *Client {
	t.Helper()
	client, err := Dial(server.address, WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func hold(t testing.TB, client *Client, resources Resources, options ...HoldOption) *Lease {
	t.Helper()
	lease, err := client.Hold(context.Background(), resources, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lease.Release() })
	return lease
}

func mustBe[Kind error](t testing.TB, err error) Kind {
	t.Helper()
	var found Kind
	if !errors.As(err, &found) {
		t.Fatalf("wanted a %T, got %T: %v", found, err, err)
	}
	return found
}

func TestEnvironment(t *testing.T) {
	t.Run("a child process finds the lease, and the address by which the server is reached from here", func(t *testing.T) {
		server := startFakeServer(t)
		t.Setenv("CUDA_VISIBLE_DEVICES", "3")
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		command := exec.Command("env")
		command.Env = append(os.Environ(), lease.Env()...)
		output, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(output), "\n")
		for _, wanted := range []string{"CUDA_VISIBLE_DEVICES=" + gpu, "SLUICE_LEASE_ID=lease-1", "SLUICE_ADDRESS=" + server.address} {
			if !slices.Contains(lines, wanted) {
				t.Errorf("no %s in %q", wanted, lines)
			}
		}
		if os.Getenv("CUDA_VISIBLE_DEVICES") != "3" {
			t.Error("the environment of this process was changed")
		}
	})

	t.Run("it is the grant's also after a renewal, which does not tell it", func(t *testing.T) {
		server := startFakeServer(t)
		server.ttl = 300 * time.Millisecond
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		before := lease.Env()
		until(t, "two renewals", func() bool { return server.count("renew") >= 2 && lease.Message().GetEnv() == nil })
		if !slices.Equal(before, lease.Env()) {
			t.Errorf("%q became %q", before, lease.Env())
		}
	})
}

func TestHolding(t *testing.T) {
	t.Run("it is in use until the end, and this process is attached", func(t *testing.T) {
		server := startFakeServer(t)
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		if server.count("start") != 1 || server.count("attach") != 1 || server.pid != uint32(os.Getpid()) {
			t.Errorf("heard %q of process %d", server.heard, server.pid)
		}
		if server.count("finish") != 0 {
			t.Error("it was over before the end")
		}
		if err := lease.Release(); err != nil {
			t.Fatal(err)
		}
		if server.count("finish") != 1 {
			t.Error("the end was not told")
		}
	})

	t.Run("giving back twice is one call, and ends the context with a cause that says so", func(t *testing.T) {
		server := startFakeServer(t)
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096})
		if lease.Context().Err() != nil {
			t.Fatal("its context is done already")
		}
		for range 2 {
			if err := lease.Release(); err != nil {
				t.Fatal(err)
			}
		}
		if server.count("release") != 1 {
			t.Errorf("it was given back %d times", server.count("release"))
		}
		if !errors.Is(done(t, lease.Context()), ErrReleased) || lease.Err() != nil {
			t.Errorf("cause %v, error %v", context.Cause(lease.Context()), lease.Err())
		}
	})

	t.Run("a ctx that is cancelled later ends the context of the work, and leaves the lease to be given back", func(t *testing.T) {
		server := startFakeServer(t)
		server.ttl = 300 * time.Millisecond
		ctx, cancel := context.WithCancel(context.Background())
		lease, err := dial(t, server).Hold(ctx, Resources{VRAMMB: 4096})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if cause := done(t, lease.Context()); !errors.Is(cause, context.Canceled) {
			t.Errorf("cause %v", cause)
		}
		renewals := server.count("renew")
		until(t, "renewals to go on", func() bool { return server.count("renew") > renewals+1 })
		if err := lease.Release(); err != nil || server.count("release") != 1 || server.count("finish") != 1 {
			t.Errorf("heard %q, error %v", server.heard, err)
		}
	})

	t.Run("a lease that cannot be begun is given back", func(t *testing.T) {
		server := startFakeServer(t)
		server.onStart = func() error { return status.Error(codes.Internal, "no") }
		if _, err := dial(t, server).Hold(context.Background(), Resources{VRAMMB: 4096}); status.Code(err) != codes.Internal {
			t.Errorf("error %v", err)
		}
		if server.count("release") != 1 {
			t.Errorf("heard %q", server.heard)
		}
	})

	t.Run("without waiting, a refusal is an error with its reasons", func(t *testing.T) {
		server := startFakeServer(t)
		server.onAllocate = func() (*sluicev1.AllocateResponse, error) {
			reason := &sluicev1.Reason{Message: "GPU 0 is full", AvailableMb: ptr(uint32(84))}
			refusal := &sluicev1.Refusal{Reasons: []*sluicev1.Reason{reason}}
			return &sluicev1.AllocateResponse{Outcome: &sluicev1.AllocateResponse_Refusal{Refusal: refusal}}, nil
		}
		_, err := dial(t, server).Hold(context.Background(), Resources{VRAMMB: 4096}, WithoutWaiting())
		if no := mustBe[*RefusedError](t, err); no.Reasons[0].GetAvailableMb() != 84 || no.Error() != "sluice: GPU 0 is full" {
			t.Errorf("%v with %v", no, no.Reasons)
		}
	})
}

func TestEviction(t *testing.T) {
	asked := &sluicev1.WatchLeaseResponse{Event: &sluicev1.WatchLeaseResponse_EvictionRequested{
		EvictionRequested: &sluicev1.EvictionRequested{Reason: "somebody needs 8,000 MiB"},
	}}

	t.Run("a request to give back calls the program, which may do so from there", func(t *testing.T) {
		server := startFakeServer(t)
		server.watch = []*sluicev1.WatchLeaseResponse{asked}
		told := make(chan string, 1)
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096}, OnEviction(func(lease *Lease, request EvictionRequest) {
			lease.Release()
			told <- request.Reason
		}))
		if why := <-told; why != "somebody needs 8,000 MiB" || server.count("release") != 1 {
			t.Errorf("told %q, heard %q", why, server.heard)
		}
		if lease.Err() != nil || lease.EvictionRequested() == nil {
			t.Errorf("error %v, request %v", lease.Err(), lease.EvictionRequested())
		}
		// It listens with its token, and is idle until it says that it works.
		if server.token != 7 || server.count("start") != 0 {
			t.Errorf("token %d, heard %q", server.token, server.heard)
		}
	})

	t.Run("work on a lease that can be asked back is counted, once however often its end is said", func(t *testing.T) {
		server := startFakeServer(t)
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096}, OnEviction(func(*Lease, EvictionRequest) {}))
		execution, err := lease.Begin(context.Background())
		if err != nil || server.count("start") != 1 || server.count("finish") != 0 {
			t.Fatalf("heard %q, error %v", server.heard, err)
		}
		execution.End()
		execution.End()
		if server.count("finish") != 1 {
			t.Errorf("heard %q", server.heard)
		}
	})

	t.Run("a request is withdrawn by a snapshot of an idle lease", func(t *testing.T) {
		server := startFakeServer(t)
		idle := &sluicev1.LeaseSnapshot{Lease: &sluicev1.Lease{State: sluicev1.LeaseState_LEASE_STATE_IDLE}}
		server.watch = []*sluicev1.WatchLeaseResponse{asked, {Event: &sluicev1.WatchLeaseResponse_Snapshot{Snapshot: idle}}}
		told := make(chan struct{})
		lease := hold(t, dial(t, server), Resources{VRAMMB: 4096}, OnEviction(func(*Lease, EvictionRequest) { close(told) }))
		<-told
		until(t, "the request to be withdrawn", func() bool { return lease.EvictionRequested() == nil })
	})
}

func ptr[T any](value T) *T { return &value }
