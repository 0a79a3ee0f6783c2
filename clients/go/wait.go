package sluice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sluice/sluicev1"
)

// How long the server may take to hear that a wait is given up; then the place is left to its grace time.
const leaveWithin = time.Second

// wait is one request in the queue, over as many streams as it takes.
type wait struct {
	client    *Client
	resources Resources
	onWaiting func(Waiting)
	// Streams live on this one, so that a grant that crosses with a cancelled ctx is still heard and can be given back.
	streams context.Context
	end     context.CancelFunc

	ticketOnce sync.Once
	ticketTold chan struct{}
	ticket     string
	over       chan struct{}
}

// waitFor waits for the lease. A connection that breaks is made anew, and the place found again by the request's id. When ctx is done,
// the request leaves the queue.
func (c *Client) waitFor(ctx context.Context, resources Resources, onWaiting func(Waiting)) (*sluicev1.Lease, error) {
	w := &wait{client: c, resources: resources, onWaiting: onWaiting, ticketTold: make(chan struct{}), over: make(chan struct{})}
	w.streams, w.end = context.WithCancel(context.WithoutCancel(ctx))
	defer w.end()
	left := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(left)
		w.leave()
	})
	lease, err := w.run(ctx)
	close(w.over)
	if stop() {
		return lease, err
	}
	if lease != nil {
		c.giveBack(ctx, lease)
	}
	<-left
	return nil, givenUp(ctx)
}

func (w *wait) run(ctx context.Context) (*sluicev1.Lease, error) {
	patience := newPatience()
	for {
		lease, failure := w.listen(patience)
		if failure == nil || ctx.Err() != nil {
			return lease, failure
		}
		pause, again := patience.pause(w.client.isAway(failure))
		if !again {
			return nil, failure
		}
		w.client.pause(ctx, pause)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// listen follows one stream to its end.
func (w *wait) listen(patience *patience) (*sluicev1.Lease, error) {
	ctx, cancel := context.WithCancel(w.streams)
	defer cancel()
	stream, err := w.client.Scheduler.WaitForResources(ctx, w.resources.wait(patience.waited()))
	if err != nil {
		return nil, w.client.errorFrom(err)
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, &UnreachableError{BaseError{Message: "the server ended the wait without an answer"}}
		}
		if err != nil {
			return nil, w.client.errorFrom(err)
		}
		patience.heard()
		w.ticketOnce.Do(func() {
			w.ticket = message.GetTicketId()
			close(w.ticketTold)
		})
		switch event := message.GetEvent().(type) {
		case *sluicev1.WaitForResourcesResponse_Queued:
			w.tell(event.Queued)
		case *sluicev1.WaitForResourcesResponse_Granted:
			return event.Granted.GetLease(), nil
		case *sluicev1.WaitForResourcesResponse_Refused:
			return nil, refused(event.Refused.GetRefusal(), BaseError{})
		case *sluicev1.WaitForResourcesResponse_TimedOut:
			return nil, timedOut(event.TimedOut)
		default:
			// An event of a newer server.
		}
	}
}

func (w *wait) tell(queued *sluicev1.Queued) {
	waiting := waitingFrom(queued)
	w.client.log.Debug("waiting for resources", "place", waiting.Position, "of", waiting.QueueLength, "why", sentences(waiting.Reasons))
	if w.onWaiting != nil {
		w.onWaiting(waiting)
	}
}

// leave takes the request out of the queue. With a request_id the server would keep the place of a client that only went away.
func (w *wait) leave() {
	ctx, cancel := context.WithTimeout(w.streams, leaveWithin)
	defer cancel()
	defer w.end()
	select {
	case <-w.ticketTold:
	case <-w.over:
	case <-ctx.Done():
	}
	if w.ticketID() == "" {
		return
	}
	_, err := w.client.Scheduler.CancelTicket(ctx, &sluicev1.CancelTicketRequest{TicketId: w.ticketID()})
	if err == nil || w.client.isAway(errorFrom(err)) {
		return
	}
	// It does not wait any more, so a grant may be under way: the stream says which, or ends.
	select {
	case <-w.over:
	case <-ctx.Done():
	}
}

// ticketID is empty while the server has not said anything.
func (w *wait) ticketID() string {
	select {
	case <-w.ticketTold:
		return w.ticket
	default:
		return ""
	}
}

// giveBack ends a lease that nobody will use.
func (c *Client) giveBack(ctx context.Context, lease *sluicev1.Lease) {
	request := &sluicev1.ReleaseLeaseRequest{LeaseId: lease.GetId(), Token: lease.GetToken()}
	_, err := again(context.WithoutCancel(ctx), c, farewellWithin, func(ctx context.Context) (*sluicev1.ReleaseLeaseResponse, error) {
		return c.Scheduler.ReleaseLease(ctx, request)
	})
	if err != nil {
		c.log.Warn("a lease could not be given back; it ends by itself when it is not renewed", "lease", lease.GetId(), "error", err)
	}
}

// givenUp is the error for what the caller itself has ended: errors.Is finds what ctx says, and its cause.
func givenUp(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("sluice: the wait was given up: %w (%w)", cause, ctx.Err())
	}
	return fmt.Errorf("sluice: the wait was given up: %w", ctx.Err())
}

func timedOut(event *sluicev1.TimedOut) error {
	waited := event.GetWaited().AsDuration()
	message := fmt.Sprintf("waited %.1f s in vain: %s", waited.Seconds(), sentences(event.GetReasons()))
	return &TimedOutError{BaseError: BaseError{Message: message}, Waited: waited, Reasons: event.GetReasons()}
}
