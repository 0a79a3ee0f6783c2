package sluice

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"sluice/sluicev1"
)

// PluginRequest is one execution of a plugin. The zero value of each field but Plugin leaves it to the server.
type PluginRequest struct {
	// Plugin is its name.
	Plugin string
	// Arguments are anything that encoding/json makes an object of; nil: none.
	Arguments any
	// Policy decides about this one execution: "queue", "safety", "permissive", or the name of a loaded one. Empty: the server's.
	Policy string
	// Timeout is how long to wait for resources under policy queue: 0 is the server's default, [Forever] is without an end.
	Timeout time.Duration
	// Tenant is who asks.
	Tenant string
	// Priority is -1000 to 1000; higher is served first.
	Priority int32
	// RequestID finds the same execution again while it is remembered. Empty: an id of its own for each call.
	RequestID string
	// OnEvent is called with each event: queued, admitted, loading, started, progress, log, result, failed. Events of a newer server come
	// without an Event.
	OnEvent func(*sluicev1.StreamExecutionResponse)
}

// Execute runs a plugin and answers its result, as encoding/json would decode it. When ctx is done the call ends.
//
// Errors: [*RefusedError] when it is not admitted, [*FailedError] when it fails, those of [Client.Hold], or what ctx says.
func (c *Client) Execute(ctx context.Context, asked PluginRequest) (any, error) {
	arguments, err := argumentsFrom(asked.Arguments)
	if err != nil {
		return nil, &InvalidRequestError{BaseError{Message: "the arguments are no JSON object: " + err.Error(), cause: err}}
	}
	if asked.RequestID == "" {
		asked.RequestID = newRequestID()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Executor.StreamExecution(ctx, &sluicev1.StreamExecutionRequest{
		Plugin:    asked.Plugin,
		Arguments: arguments,
		Policy:    asked.Policy,
		Timeout:   timeoutMessage(asked.Timeout, 0),
		Tenant:    asked.Tenant,
		Priority:  asked.Priority,
		RequestId: asked.RequestID,
	})
	if err != nil {
		return nil, c.errorFrom(err)
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, &FailedError{BaseError: BaseError{Message: "the server ended the execution without an answer"}}
		}
		if err != nil {
			return nil, c.errorFrom(err)
		}
		if asked.OnEvent != nil {
			asked.OnEvent(message)
		}
		switch event := message.GetEvent().(type) {
		case *sluicev1.StreamExecutionResponse_Result:
			return event.Result.GetResult().AsInterface(), nil
		case *sluicev1.StreamExecutionResponse_Failed:
			return nil, failureFrom(event.Failed)
		}
	}
}

func failureFrom(failed *sluicev1.ExecutionFailed) error {
	base := BaseError{Message: failed.GetMessage()}
	if failed.GetCode() == sluicev1.ExecutionFailure_EXECUTION_FAILURE_NOT_ADMITTED {
		return refused(failed.GetRefusal(), base)
	}
	return &FailedError{BaseError: base, Failure: failed}
}

func argumentsFrom(arguments any) (*structpb.Struct, error) {
	fields := &structpb.Struct{}
	if arguments == nil {
		return fields, nil
	}
	text, err := json.Marshal(arguments)
	if err != nil {
		return nil, err
	}
	return fields, fields.UnmarshalJSON(text)
}
