package sluice

import (
	"context"
	"crypto/rand"
	"time"

	"sluice/sluicev1"
)

// HoldOption says how to wait, and what to do with the lease.
type HoldOption func(*wishes)

type wishes struct {
	now        bool
	onWaiting  func(Waiting)
	onEviction func(*Lease, EvictionRequest)
	noAttach   bool
}

// OnWaiting is called on each change while the request waits. The wait goes on when it returns.
func OnWaiting(call func(Waiting)) HoldOption {
	return func(w *wishes) { w.onWaiting = call }
}

// OnEviction makes the lease one that can be asked back while no [Execution] of it runs. It is called in a goroutine of its own when
// somebody waits for the memory: free it and call [Lease.Release]. Without this option the lease counts as in use until its end, and is
// never asked back.
func OnEviction(call func(*Lease, EvictionRequest)) HoldOption {
	return func(w *wishes) { w.onEviction = call }
}

// WithoutWaiting decides at once, by the server's policy, which admits everything unless the operator chose one: name Policy "safety" to
// be refused what does not fit.
func WithoutWaiting() HoldOption {
	return func(w *wishes) { w.now = true }
}

// WithoutAttaching leaves the memory of this process uncredited to the lease: for containers with pids of their own, where the pid of
// this process names another one to the server. With a server on another machine nothing is attached anyway.
func WithoutAttaching() HoldOption {
	return func(w *wishes) { w.noAttach = true }
}

// Hold waits in the queue until the resources are granted, and answers the lease, which is renewed in the background until
// [Lease.Release].
//
// A connection that breaks is made anew and the place in the queue found again; a server that has answered may be away for a minute.
// When ctx is done the request leaves the queue, and a grant that was under way is given back; that takes a second at most where the
// server does not answer. ctx is also the parent of [Lease.Context], so limit the wait by Resources.Timeout and not by a deadline of ctx.
//
// Errors: [*RefusedError] (also [*NeverFitsError]), [*TimedOutError], [*QueueFullError], [*TicketCancelledError], [*InvalidRequestError],
// [*UnreachableError] (also [*DrainingError]), or one in which errors.Is finds what ctx says.
func (c *Client) Hold(ctx context.Context, resources Resources, options ...HoldOption) (*Lease, error) {
	var wishes wishes
	for _, option := range options {
		option(&wishes)
	}
	if resources.RequestID == "" {
		// Without one a broken connection would cost the place.
		resources.RequestID = newRequestID()
	}
	acquire := c.waitFor
	if wishes.now {
		acquire = c.allocate
	}
	message, err := acquire(ctx, resources, wishes.onWaiting)
	if err != nil {
		return nil, err
	}
	return begin(ctx, c, message, &wishes, now())
}

func (c *Client) allocate(ctx context.Context, resources Resources, _ func(Waiting)) (*sluicev1.Lease, error) {
	request := resources.allocate()
	// Ended only a while after ctx: a lease that was granted all the same must be heard of to be given back.
	calls, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(leaveWithin, end) })
	defer stop()
	answer, err := again(calls, c, answerWithin, func(call context.Context) (*sluicev1.AllocateResponse, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return c.Scheduler.Allocate(call, request)
	})
	lease := answer.GetLease()
	if ctx.Err() != nil {
		if lease != nil {
			c.giveBack(ctx, lease)
		}
		return nil, givenUp(ctx)
	}
	if err != nil {
		return nil, err
	}
	if lease == nil {
		return nil, refused(answer.GetRefusal(), BaseError{})
	}
	return lease, nil
}

func newRequestID() string { return "go-" + rand.Text() }
