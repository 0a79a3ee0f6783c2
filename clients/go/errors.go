package sluice

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"sluice/sluicev1"
)

// BaseError is what every error of this package is, besides what ctx says: errors.As finds it behind each of the others.
// The status of gRPC is behind it where a call failed, for status.FromError and status.Code.
type BaseError struct {
	// Message is one or more plain sentences, in the server's words where it said something.
	Message string
	// Code is the status of the call that failed; OK when none did.
	Code codes.Code
	// Reason is the stable word for what happened (ErrorInfo.reason of the contract), such as "QUEUE_FULL"; empty when there is none.
	Reason string
	// Metadata is what the server added to Reason.
	Metadata map[string]string
	// Violations are the fields that are wrong.
	Violations []Violation
	// RetryAfter is when to ask again; 0 when the server named no time.
	RetryAfter time.Duration

	cause error
}

// Violation is a field of the request, and what is wrong with it.
type Violation struct{ Field, Description string }

// Error is the message, with the name of the package before it.
func (e *BaseError) Error() string { return "sluice: " + e.Message }

// Unwrap is the error of gRPC.
func (e *BaseError) Unwrap() error { return e.cause }

// InvalidRequestError: the request is wrong and stays wrong; see Violations.
type InvalidRequestError struct{ BaseError }

// Unwrap is the [BaseError] inside.
func (e *InvalidRequestError) Unwrap() error { return &e.BaseError }

// RefusedError is a no, with its reasons.
type RefusedError struct {
	BaseError
	// Reasons are the server's, with their numbers.
	Reasons []*sluicev1.Reason
	// LargestThatFits is the largest request of the same shape that the machine could ever hold; nil when there is none.
	LargestThatFits *sluicev1.ResourceRequirements
}

// Unwrap is the [BaseError] inside.
func (e *RefusedError) Unwrap() error { return &e.BaseError }

// NeverFitsError: it would not fit on an empty machine either. It is a [RefusedError] too.
type NeverFitsError struct{ RefusedError }

// Unwrap is the [RefusedError] inside.
func (e *NeverFitsError) Unwrap() error { return &e.RefusedError }

// TimedOutError: it waited as long as [Resources.Timeout] allowed.
type TimedOutError struct {
	BaseError
	// Waited is how long.
	Waited time.Duration
	// Reasons are why it waited until the end.
	Reasons []*sluicev1.Reason
}

// Unwrap is the [BaseError] inside.
func (e *TimedOutError) Unwrap() error { return &e.BaseError }

// QueueFullError: the queue, or the tenant's share of it, is at its limit; see RetryAfter.
type QueueFullError struct{ BaseError }

// Unwrap is the [BaseError] inside.
func (e *QueueFullError) Unwrap() error { return &e.BaseError }

// TicketCancelledError: somebody took the request out of the queue.
type TicketCancelledError struct{ BaseError }

// Unwrap is the [BaseError] inside.
func (e *TicketCancelledError) Unwrap() error { return &e.BaseError }

// LeaseGoneError: the lease has ended, or the token is not its own.
type LeaseGoneError struct{ BaseError }

// Unwrap is the [BaseError] inside.
func (e *LeaseGoneError) Unwrap() error { return &e.BaseError }

// LeaseLostError: the lease ended while it was held. Its memory is no longer reserved, and others may be admitted to it.
// It is the cause of [Lease.Context] then, and what [Lease.Err] answers.
type LeaseLostError struct {
	BaseError
	// LeaseID is which lease.
	LeaseID string
	// Why is why, in words.
	Why string
}

// Unwrap is the [BaseError] inside.
func (e *LeaseLostError) Unwrap() error { return &e.BaseError }

func leaseLost(id, why string) *LeaseLostError {
	return &LeaseLostError{BaseError: BaseError{Message: fmt.Sprintf("the lease %s is lost: %s", id, why)}, LeaseID: id, Why: why}
}

// UnreachableError: no server answers.
type UnreachableError struct{ BaseError }

// Unwrap is the [BaseError] inside.
func (e *UnreachableError) Unwrap() error { return &e.BaseError }

// DrainingError: the server is shutting down, or cannot promise anything now; see RetryAfter. It is an [UnreachableError] too.
type DrainingError struct{ UnreachableError }

// Unwrap is the [UnreachableError] inside.
func (e *DrainingError) Unwrap() error { return &e.UnreachableError }

// FailedError: an execution failed.
type FailedError struct {
	BaseError
	// Failure says how; nil when nothing is known.
	Failure *sluicev1.ExecutionFailed
}

// Unwrap is the [BaseError] inside.
func (e *FailedError) Unwrap() error { return &e.BaseError }

// ErrReleased is the cause of [Lease.Context] once the lease was given back.
var ErrReleased = errors.New("sluice: the lease was given back")
