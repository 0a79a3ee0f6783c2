package sluice

import (
	"cmp"
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"sluice/sluicev1"
)

const rounds = 200

// From a release to the grant that it makes possible, as this layer sees it and as the bare stub does, turn by turn in one run.
// SLUICE_LATENCY_ADDRESS names a real server of 24,576 MiB (sluice serve --simulate 24576) instead of the one in this process:
//
//	SLUICE_LATENCY_ADDRESS=127.0.0.1:50051 go test -run TestLatency -v
func TestLatency(t *testing.T) {
	t.Run("the wait loop adds under a millisecond to a grant", func(t *testing.T) {
		client := latencyClient(t)
		var layer, bare []time.Duration
		for range rounds {
			layer = append(layer, round(t, client, waitByLayer))
			bare = append(bare, round(t, client, waitByStub))
		}
		added := median(layer) - median(bare)
		t.Logf("release to grant, median of %d: layer %v, bare stub %v, added %v", rounds, median(layer), median(bare), added)
		if added >= time.Millisecond {
			t.Errorf("it adds %v", added)
		}
	})
}

func latencyClient(t *testing.T) *Client {
	server := startFakeServer(t)
	released := make(chan struct{}, 1)
	server.onRelease = func() {
		select {
		case released <- struct{}{}:
		default:
		}
	}
	server.onWait = func(_ int, stream waitStream) error {
		// What the grant of the round before gave back.
		select {
		case <-released:
		default:
		}
		if err := stream.Send(server.queued(1)); err != nil {
			return err
		}
		<-released
		return stream.Send(server.granted())
	}
	client, err := Dial(cmp.Or(os.Getenv("SLUICE_LATENCY_ADDRESS"), server.address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

var wanted = Resources{Name: "latency", VRAMMB: 20000, Policy: "queue"}

// A way to wait: told is called when it has a place in the queue.
type waiter func(ctx context.Context, client *Client, told func()) (*sluicev1.Lease, error)

func waitByLayer(ctx context.Context, client *Client, told func()) (*sluicev1.Lease, error) {
	resources := wanted
	resources.RequestID = newRequestID()
	return client.waitFor(ctx, resources, func(Waiting) { told() })
}

func waitByStub(ctx context.Context, client *Client, told func()) (*sluicev1.Lease, error) {
	resources := wanted
	resources.RequestID = newRequestID()
	stream, err := client.Scheduler.WaitForResources(ctx, resources.wait(0))
	for err == nil {
		var message *sluicev1.WaitForResourcesResponse
		if message, err = stream.Recv(); message.GetQueued() != nil {
			told()
		}
		if lease := message.GetGranted().GetLease(); lease != nil {
			return lease, nil
		}
	}
	return nil, err
}

func round(t *testing.T, client *Client, wait waiter) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := client.Scheduler.Allocate(ctx, &sluicev1.AllocateRequest{Workload: wanted.workload(), Policy: "safety"}, grpc.WaitForReady(true))
	if err != nil || answer.GetLease() == nil {
		t.Fatalf("no lease to wait behind: %v, error %v", answer, err)
	}
	release := func(lease *sluicev1.Lease) {
		if _, err := client.Scheduler.ReleaseLease(ctx, &sluicev1.ReleaseLeaseRequest{LeaseId: lease.GetId()}); err != nil {
			t.Error(err)
		}
	}
	queued := make(chan struct{}, 100)
	granted := make(chan time.Time, 1)
	var lease *sluicev1.Lease
	go func() {
		defer close(granted)
		lease, err = wait(ctx, client, func() { queued <- struct{}{} })
		granted <- time.Now()
	}()
	select {
	case <-queued:
	case <-ctx.Done():
		t.Fatal("it has no place in the queue in time")
	}
	start := time.Now()
	release(answer.GetLease())
	at := <-granted
	<-granted
	if err != nil {
		t.Fatal(err)
	}
	release(lease)
	return at.Sub(start)
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}
