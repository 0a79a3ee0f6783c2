package sluice

import (
	"cmp"
	"context"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sluice/sluicev1"
)

// errorFrom is the typed error for a call that failed. Details that nobody knows are passed over.
func errorFrom(err error) error {
	failed, ok := status.FromError(err)
	if !ok {
		return err
	}
	code := failed.Code()
	base := BaseError{Message: cmp.Or(failed.Message(), code.String()), Code: code, cause: err}
	var refusal *sluicev1.Refusal
	var failure *sluicev1.ExecutionFailed
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			base.Reason, base.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				base.Violations = append(base.Violations, Violation{violation.GetField(), violation.GetDescription()})
			}
		case *errdetails.RetryInfo:
			base.RetryAfter = detail.GetRetryDelay().AsDuration()
		case *sluicev1.Refusal:
			refusal = detail
		case *sluicev1.ExecutionFailed:
			failure = detail
		}
	}
	switch {
	case base.Reason == "NOT_ADMITTED" && refusal != nil:
		return refused(refusal, base)
	case strings.HasPrefix(base.Reason, "EXECUTION_"):
		return &FailedError{BaseError: base, Failure: failure}
	}
	return byReason(base)
}

func byReason(base BaseError) error {
	switch base.Reason {
	case "INVALID_ARGUMENT":
		return &InvalidRequestError{base}
	case "QUEUE_FULL", "TENANT_QUEUE_FULL":
		return &QueueFullError{base}
	case "DRAINING", "STATE_UNAVAILABLE":
		return &DrainingError{UnreachableError{base}}
	case "TICKET_CANCELLED":
		return &TicketCancelledError{base}
	case "LEASE_EXPIRED", "STALE_TOKEN":
		return &LeaseGoneError{base}
	}
	switch base.Code {
	case codes.InvalidArgument:
		return &InvalidRequestError{base}
	case codes.Unavailable:
		return &UnreachableError{base}
	case codes.Canceled:
		base.cause = withStatus{base.cause, context.Canceled}
	case codes.DeadlineExceeded:
		base.cause = withStatus{base.cause, context.DeadlineExceeded}
	}
	return &base
}

// withStatus is the error of a call that ctx ended, so that errors.Is finds what ctx says.
type withStatus struct {
	error
	ctx error
}

func (e withStatus) Unwrap() []error { return []error{e.error, e.ctx} }

// refused is the error for a refusal. The words of base go before those of the refusal.
func refused(refusal *sluicev1.Refusal, base BaseError) error {
	base.Message = cmp.Or(base.Message, sentences(refusal.GetReasons()), "it was refused")
	answer := RefusedError{BaseError: base, Reasons: refusal.GetReasons(), LargestThatFits: refusal.GetLargestThatFits()}
	for _, reason := range answer.Reasons {
		if reason.GetCode() == sluicev1.ReasonCode_REASON_CODE_NEVER_FITS {
			return &NeverFitsError{answer}
		}
	}
	return &answer
}
