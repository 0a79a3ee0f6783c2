package sluice

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"sluice/sluicev1"
)

// Lease is a claim on named GPUs and on RAM that is renewed in the background until it is given back. All goroutines may share it.
type Lease struct {
	client *Client
	wishes *wishes
	id     string
	token  uint64
	env    []string

	ctx    context.Context
	cancel context.CancelCauseFunc
	keeper *keeper
	// What is counted until the end, because nobody would hear a request to give the lease back.
	execution *Execution
	released  sync.Once

	lock     sync.Mutex
	message  *sluicev1.Lease
	eviction *EvictionRequest
	lost     *LeaseLostError
	over     bool
}

// begin takes up a lease that was granted. ctx is what the caller held it with; when it fails, the lease is given back.
func begin(ctx context.Context, client *Client, message *sluicev1.Lease, wishes *wishes, heardAt time.Duration) (*Lease, error) {
	l := &Lease{
		client:  client,
		wishes:  wishes,
		id:      message.GetId(),
		token:   message.GetToken(),
		env:     environment(message, client.address),
		message: message,
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	ttl := cmp.Or(message.GetTtl().AsDuration(), defaultTTL)
	l.keeper = newKeeper(l, ttl, heardAt)

	// Both calls at a time: whoever has waited should begin soon.
	var attached sync.WaitGroup
	if !wishes.noAttach && isLocal(client.address) {
		attached.Add(1)
		go func() {
			defer attached.Done()
			l.attach(ctx)
		}()
	}
	var err error
	if wishes.onEviction == nil {
		l.execution, err = l.Begin(ctx)
	}
	attached.Wait()
	if err == nil && ctx.Err() != nil {
		err = givenUp(ctx)
	}
	if err != nil {
		l.cancel(ErrReleased)
		client.giveBack(ctx, message)
		return nil, err
	}
	l.keeper.start()
	return l, nil
}

// environment is what the grant says. Only the grant tells it, a renewal does not; and by which name the server is reached from here it
// cannot know.
func environment(message *sluicev1.Lease, address string) []string {
	variables := maps.Clone(message.GetEnv())
	if variables == nil {
		variables = map[string]string{}
	}
	variables["SLUICE_ADDRESS"] = address
	var env []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		env = append(env, name+"="+variables[name])
	}
	return env
}

// ID is the identity of the lease.
func (l *Lease) ID() string { return l.id }

// Token is the fencing token: it rises with every grant of the server and never repeats.
func (l *Lease) Token() uint64 { return l.token }

// Message is the lease as it was granted or last renewed.
func (l *Lease) Message() *sluicev1.Lease {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.message
}

// GPUs are those of the lease with their UUIDs, indexes and MiB; empty when no GPU was asked for.
func (l *Lease) GPUs() []*sluicev1.LeasedGpu { return l.Message().GetGpus() }

// Env is what a child process should find in its environment, as "NAME=value", for [os/exec.Cmd]:
//
//	command.Env = append(os.Environ(), lease.Env()...)
//
// CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER, SLUICE_LEASE_ID, SLUICE_LEASE_TOKEN and SLUICE_ADDRESS. The environment of this process is
// left alone.
func (l *Lease) Env() []string { return slices.Clone(l.env) }

// Context is for work on the lease. It is done when the lease is lost ([context.Cause] is a [*LeaseLostError] then), when it was given
// back (the cause is [ErrReleased]), and when the ctx of [Client.Hold] is done, which does not give the lease back.
func (l *Lease) Context() context.Context { return l.ctx }

// Err is nil while the lease is held, and a [*LeaseLostError] once it is known to have ended although nobody here gave it back.
func (l *Lease) Err() error {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.lost == nil {
		return nil
	}
	return l.lost
}

// EvictionRequested is set while somebody waits for this memory; nil when nobody does, or no longer.
func (l *Lease) EvictionRequested() *EvictionRequest {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.eviction
}

func (l *Lease) setEviction(asked *EvictionRequest) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.eviction = asked
}

// Release gives the lease back, for at most some seconds. It does nothing the second time, nor with a lease that is lost. An error means that
// the server did not hear of it; the lease then ends by itself, because nobody renews it.
func (l *Lease) Release() error {
	var err error
	l.released.Do(func() {
		l.lock.Lock()
		l.over = true
		lost := l.lost
		l.lock.Unlock()
		l.keeper.stop()
		l.cancel(ErrReleased)
		if lost == nil {
			err = l.giveBack()
		}
	})
	return err
}

func (l *Lease) giveBack() error {
	ctx := context.WithoutCancel(l.ctx)
	if l.execution != nil {
		l.execution.End()
	}
	request := &sluicev1.ReleaseLeaseRequest{LeaseId: l.id, Token: l.token}
	_, err := again(ctx, l.client, farewellWithin, func(ctx context.Context) (*sluicev1.ReleaseLeaseResponse, error) {
		return l.client.Scheduler.ReleaseLease(ctx, request)
	})
	return err
}

func (l *Lease) attach(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewellWithin)
	defer cancel()
	request := &sluicev1.AttachProcessRequest{LeaseId: l.id, Token: l.token, Pid: uint32(os.Getpid())}
	if _, err := l.client.Scheduler.AttachProcess(ctx, request); err != nil {
		// Measured memory is then not credited to the lease; what was promised holds all the same.
		l.client.log.Info("this process was not attached to its lease", "lease", l.id, "error", err)
	}
}

// lose ends the lease on this side. It says nothing about a lease that is given back just now.
func (l *Lease) lose(why string) {
	l.lock.Lock()
	if l.over || l.lost != nil {
		l.lock.Unlock()
		return
	}
	l.lost = leaseLost(l.id, why)
	l.lock.Unlock()
	l.client.log.Warn("a lease is lost: the program goes on, but its memory is no longer reserved; others may be admitted to it",
		"lease", l.id, "why", why)
	l.cancel(l.lost)
}
