package main

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sluice"
	"sluice/sluicev1"
)

// rpcError is the error of a call of a stub, as data.
func rpcError(err error) object {
	failed := status.Convert(err)
	answer := object{"code": codeName(failed.Code()), "message": failed.Message()}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			metadata := object{}
			for key, value := range detail.GetMetadata() {
				metadata[key] = value
			}
			answer["reason"], answer["domain"], answer["metadata"] = detail.GetReason(), detail.GetDomain(), metadata
		case *errdetails.BadRequest:
			answer["violations"] = asJSON(detail)["field_violations"]
		case *errdetails.RetryInfo:
			answer["retry_after_ms"] = milliseconds(detail.GetRetryDelay().AsDuration())
		case *sluicev1.Refusal:
			answer["refusal"] = asJSON(detail)
		case *sluicev1.ExecutionFailed:
			answer["failure"] = asJSON(detail)
		}
	}
	return answer
}

// codeName is the name of the status in every other language: NOT_FOUND.
func codeName(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED"
	}
	var name strings.Builder
	for i, letter := range code.String() {
		if i > 0 && letter >= 'A' && letter <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(letter)
	}
	return strings.ToUpper(name.String())
}

// clientError is the error of the layer, as data.
func clientError(err error) object {
	answer := object{"kind": kindOf(err), "message": err.Error()}
	if base, ok := as[*sluice.BaseError](err); ok {
		answer["reason"] = base.Reason
		var violations []any
		for _, violation := range base.Violations {
			violations = append(violations, object{"field": violation.Field, "description": violation.Description})
		}
		answer["violations"] = violations
		if base.RetryAfter > 0 {
			answer["retry_after_ms"] = milliseconds(base.RetryAfter)
		}
	}
	if refused, ok := as[*sluice.RefusedError](err); ok {
		answer["reasons"] = reasonsJSON(refused.Reasons)
		if refused.LargestThatFits != nil {
			answer["largest_that_fits"] = asJSON(refused.LargestThatFits)
		}
	}
	if late, ok := as[*sluice.TimedOutError](err); ok {
		answer["reasons"], answer["waited_ms"] = reasonsJSON(late.Reasons), milliseconds(late.Waited)
	}
	if failed, ok := as[*sluice.FailedError](err); ok && failed.Failure != nil {
		answer["failure"] = asJSON(failed.Failure)
	}
	return answer
}

func kindOf(err error) string {
	switch {
	case is[*sluice.NeverFitsError](err):
		return "never-fits"
	case is[*sluice.RefusedError](err):
		return "refused"
	case is[*sluice.TimedOutError](err):
		return "timed-out"
	case is[*sluice.QueueFullError](err):
		return "queue-full"
	case is[*sluice.InvalidRequestError](err):
		return "invalid-request"
	case is[*sluice.TicketCancelledError](err):
		return "ticket-cancelled"
	case is[*sluice.LeaseGoneError](err):
		return "lease-gone"
	case is[*sluice.DrainingError](err):
		return "draining"
	case is[*sluice.UnreachableError](err):
		return "unreachable"
	case is[*sluice.FailedError](err):
		return "failed"
	default:
		return "other"
	}
}

func as[Kind error](err error) (Kind, bool) {
	var found Kind
	ok := errors.As(err, &found)
	return found, ok
}

func is[Kind error](err error) bool {
	_, ok := as[Kind](err)
	return ok
}

func reasonsJSON(reasons []*sluicev1.Reason) []any {
	var items []any
	for _, reason := range reasons {
		items = append(items, asJSON(reason))
	}
	return items
}

func milliseconds(duration time.Duration) float64 {
	return float64(duration) / float64(time.Millisecond)
}
