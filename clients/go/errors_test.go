package sluice

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"sluice/sluicev1"
)

func failed(code codes.Code, details ...protoadapt.MessageV1) error {
	answer, err := status.New(code, "in words").WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return answer.Err()
}

func TestErrors(t *testing.T) {
	t.Run("details are read, and unknown ones passed over", func(t *testing.T) {
		answer := status.New(codes.ResourceExhausted, "in words").Proto()
		for _, detail := range []proto.Message{
			&errdetails.ErrorInfo{Reason: "QUEUE_FULL", Domain: "sluice", Metadata: map[string]string{"limit": "1"}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(5500 * time.Millisecond)},
			&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "workload.priority", Description: "too high"}}},
		} {
			packed, err := anypb.New(detail)
			if err != nil {
				t.Fatal(err)
			}
			answer.Details = append(answer.Details, packed)
		}
		answer.Details = append(answer.Details, &anypb.Any{TypeUrl: "type.googleapis.com/example.Unknown", Value: []byte{0xff}})
		full := mustBe[*QueueFullError](t, errorFrom(status.ErrorProto(answer)))
		if full.Reason != "QUEUE_FULL" || full.Metadata["limit"] != "1" || full.RetryAfter != 5500*time.Millisecond {
			t.Errorf("%+v", full.BaseError)
		}
		if len(full.Violations) != 1 || full.Violations[0] != (Violation{"workload.priority", "too high"}) {
			t.Errorf("%+v", full.Violations)
		}
		if full.Error() != "sluice: in words" {
			t.Errorf("it says %q", full.Error())
		}
	})

	t.Run("the reason decides which error it is", func(t *testing.T) {
		for reason, isIt := range map[string]func(error) bool{
			"INVALID_ARGUMENT":  is[*InvalidRequestError],
			"TENANT_QUEUE_FULL": is[*QueueFullError],
			"DRAINING":          is[*DrainingError],
			"STATE_UNAVAILABLE": is[*DrainingError],
			"TICKET_CANCELLED":  is[*TicketCancelledError],
			"LEASE_EXPIRED":     is[*LeaseGoneError],
			"STALE_TOKEN":       is[*LeaseGoneError],
			"EXECUTION_FAILED":  is[*FailedError],
		} {
			if err := errorFrom(failed(codes.Aborted, &errdetails.ErrorInfo{Reason: reason})); !isIt(err) || !is[*BaseError](err) {
				t.Errorf("%s is a %T", reason, err)
			}
		}
	})

	t.Run("what is more special is the general one too", func(t *testing.T) {
		draining := errorFrom(failed(codes.Unavailable, &errdetails.ErrorInfo{Reason: "DRAINING"}))
		if !is[*UnreachableError](draining) {
			t.Errorf("%T is not an UnreachableError", draining)
		}
		never := &sluicev1.Refusal{
			Reasons:         []*sluicev1.Reason{{Code: sluicev1.ReasonCode_REASON_CODE_NEVER_FITS, Message: "too large", NeededMb: ptr(uint32(30000))}},
			LargestThatFits: &sluicev1.ResourceRequirements{MinGpuVramMb: 24084},
		}
		err := errorFrom(failed(codes.FailedPrecondition, &errdetails.ErrorInfo{Reason: "NOT_ADMITTED"}, never))
		mustBe[*NeverFitsError](t, err)
		if no := mustBe[*RefusedError](t, err); no.LargestThatFits.GetMinGpuVramMb() != 24084 || no.Reasons[0].GetNeededMb() != 30000 {
			t.Errorf("%+v", no)
		}
	})

	t.Run("without details the status has to do, and stays within reach", func(t *testing.T) {
		mustBe[*UnreachableError](t, errorFrom(failed(codes.Unavailable)))
		mustBe[*InvalidRequestError](t, errorFrom(failed(codes.InvalidArgument)))
		other := errorFrom(failed(codes.Internal))
		if base := mustBe[*BaseError](t, other); base.Code != codes.Internal || status.Code(other) != codes.Internal {
			t.Errorf("%+v", base)
		}
		if err := errorFrom(failed(codes.DeadlineExceeded)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is not what ctx says", err)
		}
	})
}

func TestExecute(t *testing.T) {
	type executeStream = grpc.ServerStreamingServer[sluicev1.StreamExecutionResponse]

	t.Run("the result comes as encoding/json would decode it, and events are told before", func(t *testing.T) {
		server := startFakeServer(t)
		server.onExecute = func(stream executeStream) error {
			stream.Send(&sluicev1.StreamExecutionResponse{})
			result, _ := structpb.NewValue(map[string]any{"length": 4})
			return stream.Send(&sluicev1.StreamExecutionResponse{Event: &sluicev1.StreamExecutionResponse_Result{
				Result: &sluicev1.ExecutionResult{Result: result},
			}})
		}
		events := 0
		type arguments struct {
			Text  string   `json:"text"`
			Pages []string `json:"pages"`
		}
		result, err := dial(t, server).Execute(context.Background(), PluginRequest{
			Plugin:    "reader",
			Arguments: arguments{"page", []string{"1"}},
			OnEvent:   func(*sluicev1.StreamExecutionResponse) { events++ },
		})
		if fields, ok := result.(map[string]any); err != nil || !ok || fields["length"] != 4.0 || events != 2 {
			t.Errorf("result %v, error %v, %d events", result, err, events)
		}
	})

	t.Run("a failure is an error that says how", func(t *testing.T) {
		server := startFakeServer(t)
		server.onExecute = func(stream executeStream) error {
			failure := &sluicev1.ExecutionFailed{Message: "the page is torn", Attempts: 1}
			return stream.Send(&sluicev1.StreamExecutionResponse{Event: &sluicev1.StreamExecutionResponse_Failed{Failed: failure}})
		}
		_, err := dial(t, server).Execute(context.Background(), PluginRequest{Plugin: "reader"})
		if failed := mustBe[*FailedError](t, err); failed.Failure.GetAttempts() != 1 || failed.Error() != "sluice: the page is torn" {
			t.Errorf("%+v", failed)
		}
	})

	t.Run("arguments that are no object are told without asking the server", func(t *testing.T) {
		_, err := dial(t, startFakeServer(t)).Execute(context.Background(), PluginRequest{Plugin: "reader", Arguments: 7})
		mustBe[*InvalidRequestError](t, err)
	})
}

func is[Kind error](err error) bool {
	var found Kind
	return errors.As(err, &found)
}
