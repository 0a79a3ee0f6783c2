package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"sluice"
)

// stub is a method of the generated stubs by its name, "Allocate" or "ExecutorService.GetPlugin".
func stub(client *sluice.Client, name string) (reflect.Value, error) {
	service, method, named := strings.Cut(name, ".")
	if !named {
		service, method = "", name
	}
	for candidate, stubs := range map[string]any{
		"SchedulerService": client.Scheduler, "ExecutorService": client.Executor, "MonitorService": client.Monitor,
	} {
		found := reflect.ValueOf(stubs).MethodByName(method)
		if found.IsValid() && (service == "" || service == candidate) {
			return found, nil
		}
	}
	return reflect.Value{}, fmt.Errorf("there is no method %s", name)
}

// invoke calls a method of the stubs; what comes is a message or a stream.
func invoke(ctx context.Context, method reflect.Value, fields any, options ...grpc.CallOption) (any, error) {
	request := reflect.New(method.Type().In(1).Elem())
	if fields != nil {
		text, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		if err := protojson.Unmarshal(text, request.Interface().(proto.Message)); err != nil {
			return nil, err
		}
	}
	arguments := []reflect.Value{reflect.ValueOf(ctx), request}
	for _, option := range options {
		arguments = append(arguments, reflect.ValueOf(option))
	}
	answers := method.Call(arguments)
	err, _ := answers[1].Interface().(error)
	return answers[0].Interface(), err
}

var errNothing = errors.New("nothing came in time")

// stream is a server stream that is read only when a step asks for it, so that back-pressure is real.
type stream struct {
	call    reflect.Value
	cancel  context.CancelFunc
	pending chan read
}

type read struct {
	message proto.Message
	err     error
}

func openStream(method reflect.Value, fields any, deadline time.Duration) (*stream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	if deadline > 0 {
		ctx, cancel = context.WithTimeout(context.Background(), deadline)
	}
	call, err := invoke(ctx, method, fields)
	if err != nil {
		cancel()
		return nil, err
	}
	return &stream{call: reflect.ValueOf(call).MethodByName("Recv"), cancel: cancel}, nil
}

// next is the next message, io.EOF at a good end, or errNothing when nothing comes in time.
func (s *stream) next(within time.Duration) (proto.Message, error) {
	if s.pending == nil {
		pending := make(chan read, 1)
		s.pending = pending
		go func() {
			answers := s.call.Call(nil)
			err, _ := answers[1].Interface().(error)
			message, _ := answers[0].Interface().(proto.Message)
			pending <- read{message, err}
		}()
	}
	select {
	case came := <-s.pending:
		s.pending = nil
		return came.message, came.err
	case <-time.After(max(0, within)):
		return nil, errNothing
	}
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }
