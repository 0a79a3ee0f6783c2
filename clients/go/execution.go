package sluice

import (
	"context"
	"sync"

	"sluice/sluicev1"
)

// Execution is work on a lease, from [Lease.Begin] to End.
type Execution struct {
	lease *Lease
	id    string
	ended sync.Once
}

// Begin says that work on the lease starts. While there is any, the lease is not asked back. Needed only with [OnEviction]: any other lease
// counts as in use until its end.
//
// Errors: [*LeaseGoneError] when the lease has ended, [*UnreachableError] when no server has answered for 10 s, or what ctx says.
func (l *Lease) Begin(ctx context.Context) (*Execution, error) {
	request := &sluicev1.StartExecutionRequest{LeaseId: l.id, Token: l.token}
	// One that was counted twice ends with the lease all the same.
	answer, err := again(ctx, l.client, answerWithin, func(ctx context.Context) (*sluicev1.StartExecutionResponse, error) {
		return l.client.Scheduler.StartExecution(ctx, request)
	})
	if ctx.Err() != nil {
		return nil, givenUp(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &Execution{lease: l, id: answer.GetExecutionId()}, nil
}

// End says that the work is over. It does nothing the second time. It never fails: what the server does not hear of ends with the lease.
func (e *Execution) End() {
	e.ended.Do(func() {
		client := e.lease.client
		request := &sluicev1.FinishExecutionRequest{LeaseId: e.lease.id, ExecutionId: e.id}
		ctx := context.WithoutCancel(e.lease.ctx)
		_, err := again(ctx, client, farewellWithin, func(ctx context.Context) (*sluicev1.FinishExecutionResponse, error) {
			return client.Scheduler.FinishExecution(ctx, request)
		})
		if err != nil {
			client.log.Info("the end of an execution was not told", "lease", e.lease.id, "execution", e.id, "error", err)
		}
	})
}
