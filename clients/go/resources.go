package sluice

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"sluice/sluicev1"
)

// Forever as [Resources.Timeout] waits without an end.
const Forever time.Duration = -1

// Resources is what is asked for. Sizes are MiB. The zero value of each field leaves it to the server.
type Resources struct {
	// Name of the workload, as the queue and the list of leases show it. Times and sizes are learnt by it.
	Name string
	// VRAMMB is MiB on each GPU.
	VRAMMB uint32
	// RAMMB is MiB of the host's memory.
	RAMMB uint32
	// GPUs is how many; 1 where anything about GPUs is said and this is not.
	GPUs uint32
	// GPUUUIDs are the only ones that may be granted; empty: any.
	GPUUUIDs []string
	// Exclusive asks for GPUs that nobody else has a lease on.
	Exclusive bool

	// Tenant is who asks; the server makes "default" of nothing.
	Tenant string
	// Priority is -1000 to 1000; higher is served first.
	Priority int32
	// Importance says how much it costs when an idle lease is taken back; lower goes first.
	Importance int32
	// ExpectedDuration is how long the work takes, about. Who says so can start in gaps that others leave.
	ExpectedDuration time.Duration
	// Labels are kept with the lease, and mean nothing to the server.
	Labels map[string]string

	// Timeout is how long to wait in the queue: 0 is the server's default (300 s), [Forever] is without an end.
	Timeout time.Duration
	// TTL is how long the lease lives when it is not renewed, 1 s to 24 h: 0 is the server's default (60 s).
	TTL time.Duration
	// Policy decides about this one request: "queue", "safety", "permissive", or the name of a loaded one. Empty: the server's.
	Policy string
	// RequestID finds the same place in the queue, or the same lease, again, also from another process. Empty: an id of its own for each
	// Hold.
	RequestID string
}

// A GPU is asked for as soon as anything about GPUs is said.
func (r *Resources) workload() *sluicev1.Workload {
	return &sluicev1.Workload{
		Name: r.Name,
		Resources: &sluicev1.ResourceRequirements{
			RequiresGpu:    r.VRAMMB > 0 || r.GPUs > 0 || len(r.GPUUUIDs) > 0 || r.Exclusive,
			MinGpuVramMb:   r.VRAMMB,
			MinSystemRamMb: r.RAMMB,
			GpuCount:       r.GPUs,
			GpuUuids:       r.GPUUUIDs,
			ExclusiveGpu:   r.Exclusive,
		},
		Tenant:           r.Tenant,
		Priority:         r.Priority,
		Importance:       r.Importance,
		ExpectedDuration: unlessZero(r.ExpectedDuration),
		Labels:           r.Labels,
	}
}

// The message that queues. waited is how much of the timeout is gone.
func (r *Resources) wait(waited time.Duration) *sluicev1.WaitForResourcesRequest {
	return &sluicev1.WaitForResourcesRequest{
		Workload:  r.workload(),
		RequestId: r.RequestID,
		Timeout:   timeoutMessage(r.Timeout, waited),
		LeaseTtl:  unlessZero(r.TTL),
		Policy:    r.Policy,
		Hold:      sluicev1.Hold_HOLD_TTL,
		// The place is kept for as long as this client tries to come back.
		GraceTime: durationpb.New(away),
	}
}

// The message that decides now.
func (r *Resources) allocate() *sluicev1.AllocateRequest {
	return &sluicev1.AllocateRequest{
		Workload:  r.workload(),
		RequestId: r.RequestID,
		LeaseTtl:  unlessZero(r.TTL),
		Policy:    r.Policy,
	}
}

// In the contract, not set is the server's default and 0 is for ever.
func timeoutMessage(timeout, waited time.Duration) *durationpb.Duration {
	switch {
	case timeout == 0:
		return nil
	case timeout < 0:
		return durationpb.New(0)
	default:
		return durationpb.New(max(time.Millisecond, timeout-waited))
	}
}

func unlessZero(duration time.Duration) *durationpb.Duration {
	if duration == 0 {
		return nil
	}
	return durationpb.New(duration)
}
