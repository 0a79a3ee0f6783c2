package sluice

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/connectivity"
)

const (
	// How long the server may take to answer.
	answerWithin = 10 * time.Second
	// How long it may take to hear that work is over. The lease ends by itself when it does not.
	farewellWithin = 3 * time.Second
)

// again calls, and calls again while the server is away, for at most so long. What is called must bear being called twice for one effect.
func again[Answer any](ctx context.Context, c *Client, limit time.Duration, call func(context.Context) (Answer, error)) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	until := now() + limit
	pause := 100 * time.Millisecond
	for {
		answer, err := call(ctx)
		if err == nil {
			return answer, nil
		}
		failure := c.errorFrom(err)
		if !c.isAway(failure) || now()+pause > until || ctx.Err() != nil {
			return answer, failure
		}
		c.pause(ctx, pause)
		pause = min(time.Second, pause*2)
	}
}

// isAway is true of a server that may come back.
func (c *Client) isAway(failure error) bool {
	var unreachable *UnreachableError
	return errors.As(failure, &unreachable) && !c.isClosed()
}

// errorFrom tells calls of a client that was closed from those of a server that is away.
func (c *Client) errorFrom(err error) error {
	if c.isClosed() {
		return &UnreachableError{BaseError{Message: "the client is closed", cause: err}}
	}
	return errorFrom(err)
}

func (c *Client) isClosed() bool { return c.connection.GetState() == connectivity.Shutdown }
