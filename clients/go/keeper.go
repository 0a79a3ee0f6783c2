package sluice

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"sluice/sluicev1"
)

const (
	// Until a watch that broke is opened again: only a holder that listens can be asked to give memory back.
	listenAgain = 500 * time.Millisecond
	// Timers stand still while the machine sleeps, and the lease does not: the clock is looked at this often.
	longestSleep = 5 * time.Second
)

// keeper keeps a lease alive in two goroutines: one renews it, one listens to what the server says about it.
type keeper struct {
	lease   *Lease
	tenure  *tenure
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newKeeper(lease *Lease, ttl, heardAt time.Duration) *keeper {
	// The lease is held until it is given back, whatever becomes of the caller's ctx.
	ctx, cancel := context.WithCancel(context.WithoutCancel(lease.ctx))
	return &keeper{lease: lease, tenure: newTenure(ttl, heardAt), ctx: ctx, cancel: cancel}
}

func (k *keeper) start() {
	k.running.Add(2)
	go func() {
		defer k.running.Done()
		k.renew()
	}()
	go func() {
		defer k.running.Done()
		k.watch()
	}()
}

// stop ends both goroutines, and whatever call they are in.
func (k *keeper) stop() {
	k.cancel()
	k.running.Wait()
}

func (k *keeper) renew() {
	lease := k.lease
	ttl := k.tenure.ttl
	request := &sluicev1.RenewLeaseRequest{LeaseId: lease.id, Token: lease.token, Ttl: durationpb.New(ttl)}
	troubled := false
	for k.sleepUntil(k.tenure.nextAt) {
		sentAt := now()
		if sentAt >= k.tenure.giveUpAt {
			k.lose("the server could not be reached in time to renew it")
			return
		}
		answer, err := k.renewOnce(request, sentAt)
		switch {
		case err == nil:
			lease.lock.Lock()
			lease.message = answer.GetLease()
			lease.lock.Unlock()
			k.tenure.renewed(sentAt)
			troubled = false
			continue
		case k.ctx.Err() != nil:
			return
		case lease.client.isClosed():
			k.lose("its client was closed, so nobody renews it")
			return
		}
		failure := errorFrom(err)
		if isFinal(failure) {
			k.lose(message(failure))
			return
		}
		k.tenure.failed(now())
		if !troubled {
			lease.client.log.Warn("a lease could not be renewed; trying again", "lease", lease.id, "error", failure)
		}
		troubled = true
	}
}

func (k *keeper) renewOnce(request *sluicev1.RenewLeaseRequest, sentAt time.Duration) (*sluicev1.RenewLeaseResponse, error) {
	ctx, cancel := context.WithTimeout(k.ctx, k.tenure.callTimeout(sentAt))
	defer cancel()
	// A call that waits for the line goes out in the moment it is there again.
	return k.lease.client.Scheduler.RenewLease(ctx, request, grpc.WaitForReady(true))
}

func (k *keeper) watch() {
	request := &sluicev1.WatchLeaseRequest{LeaseId: k.lease.id}
	if k.lease.wishes.onEviction != nil {
		// Whoever gives the token can be asked to give the memory back; without it one only looks on.
		request.Token = k.lease.token
	}
	for k.ctx.Err() == nil {
		if k.listen(request) {
			return
		}
		k.sleepUntil(now() + listenAgain)
	}
}

// listen follows one stream to its end; true when there is nothing more to hear.
func (k *keeper) listen(request *sluicev1.WatchLeaseRequest) bool {
	stream, err := k.lease.client.Scheduler.WatchLease(k.ctx, request, grpc.WaitForReady(true))
	for err == nil {
		var message *sluicev1.WatchLeaseResponse
		if message, err = stream.Recv(); err == nil && k.heard(message) {
			return true
		}
	}
	// The renewal tells the program of a lease that is gone.
	return isFinal(errorFrom(err)) || k.lease.client.isClosed()
}

// heard is true when there is nothing more to hear. Events of a newer server are passed over.
func (k *keeper) heard(message *sluicev1.WatchLeaseResponse) bool {
	lease := k.lease
	switch event := message.GetEvent().(type) {
	case *sluicev1.WatchLeaseResponse_EvictionRequested:
		asked := evictionFrom(event.EvictionRequested)
		lease.setEviction(&asked)
		if call := lease.wishes.onEviction; call != nil {
			// It may give the lease back, which waits for this goroutine.
			go call(lease, asked)
		}
	case *sluicev1.WatchLeaseResponse_Snapshot:
		if event.Snapshot.GetLease().GetState() != sluicev1.LeaseState_LEASE_STATE_EVICTING {
			lease.setEviction(nil)
		}
	case *sluicev1.WatchLeaseResponse_Ended:
		k.lose(whyEnded(event.Ended.GetWhy()))
		return true
	}
	return false
}

func (k *keeper) lose(why string) {
	k.lease.lose(why)
	k.cancel()
}

// sleepUntil waits until then on the clock of now(); false when the keeper is stopped.
func (k *keeper) sleepUntil(then time.Duration) bool {
	for k.ctx.Err() == nil {
		left := then - now()
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(min(left, longestSleep))
		select {
		case <-timer.C:
		case <-k.ctx.Done():
			timer.Stop()
		}
	}
	return false
}

func isFinal(failure error) bool {
	var gone *LeaseGoneError
	var invalid *InvalidRequestError
	return errors.As(failure, &gone) || errors.As(failure, &invalid)
}

func message(failure error) string {
	var ours *BaseError
	if errors.As(failure, &ours) {
		return ours.Message
	}
	return failure.Error()
}

func whyEnded(why sluicev1.LeaseEnd) string {
	switch why {
	case sluicev1.LeaseEnd_LEASE_END_RELEASED:
		return "somebody gave it back"
	case sluicev1.LeaseEnd_LEASE_END_EXPIRED:
		return "it was not renewed in time"
	case sluicev1.LeaseEnd_LEASE_END_EVICTED:
		return "it was taken for somebody who waited"
	case sluicev1.LeaseEnd_LEASE_END_PROCESS_EXITED:
		return "every process attached to it has ended"
	default:
		return "the server ended it"
	}
}
