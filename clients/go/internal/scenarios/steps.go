package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"sluice"
	"sluice/sluicev1"
)

func (p *player) client(step object) *sluice.Client {
	if name, ok := step["client"].(string); ok {
		return p.clients[name]
	}
	return p.clients[p.first]
}

func (p *player) call(step object, name string) error {
	method, err := stub(p.client(step), name)
	if err != nil {
		return err
	}
	deadline := patience
	if ms, ok := step["deadline_ms"].(float64); ok {
		deadline = time.Duration(ms) * time.Millisecond
	}
	act := func() (object, error) {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		answer, err := invoke(ctx, method, step["with"])
		if err != nil {
			return nil, failure{rpcError(err)}
		}
		return asJSON(answer.(proto.Message)), nil
	}
	start := time.Now()
	const pause = 50 * time.Millisecond
	if ms, ok := step["for_ms"].(float64); ok {
		for milliseconds(time.Since(start)) < ms {
			if err := p.judge(step, act); err != nil {
				return err
			}
			time.Sleep(pause)
		}
	}
	if ms, ok := step["until_ms"].(float64); ok {
		for {
			err := p.judge(step, act)
			if err == nil || milliseconds(time.Since(start)) > ms {
				return err
			}
			time.Sleep(pause)
		}
	}
	return p.startOrJudge(step, act)
}

func (p *player) await(name string, within time.Duration) (object, error) {
	select {
	case came := <-p.background[name]:
		return came.answer, came.err
	case <-time.After(within):
		return nil, errors.New("it is not over in time")
	}
}

func (p *player) open(step object, name string) error {
	method, err := stub(p.client(step), name)
	if err != nil {
		return err
	}
	stream, err := openStream(method, step["with"], time.Duration(number(step["deadline_ms"]))*time.Millisecond)
	if err != nil {
		return err
	}
	p.streams[step["as"].(string)] = stream
	return nil
}

func (p *player) until(step object, name string, atMost int) error {
	end := time.Now().Add(within(step))
	var last any
	for range atMost {
		message, err := p.streams[name].next(time.Until(end))
		switch {
		case errors.Is(err, errNothing):
			return fmt.Errorf("%w; the last message was %s", err, short(last))
		case isEnd(err):
			return fmt.Errorf("the stream ended; the last message was %s", short(last))
		case err != nil:
			return fmt.Errorf("the stream failed: %s; before: %s", short(rpcError(err)), short(last))
		}
		fields := asJSON(message)
		if match(step["expect"], fields, "") == nil {
			p.save(step, fields)
			return nil
		}
		last = fields
	}
	return match(step["expect"], last, "message")
}

func (p *player) ends(name string, within time.Duration) error {
	message, err := p.streams[name].next(within)
	switch {
	case err == nil:
		return fmt.Errorf("wanted the end of the stream, got %s", short(asJSON(message)))
	case isEnd(err):
		return nil
	case errors.Is(err, errNothing):
		return err
	default:
		return failure{rpcError(err)}
	}
}

func (p *player) hold(step object) error {
	hold := newHold()
	p.holds[step["as"].(string)] = hold
	return p.startOrJudge(step, func() (object, error) {
		lease, err := hold.enter(p.client(step), step["hold"].(object))
		if err != nil {
			return nil, failure{clientError(err)}
		}
		return lease, nil
	})
}

func (p *player) told(step object, name string) error {
	end := time.After(within(step))
	for {
		select {
		case told := <-p.holds[name].told:
			if told.name == step["event"] && (step["expect"] == nil || match(step["expect"], told.news, "") == nil) {
				p.save(step, told.news)
				return nil
			}
		case <-end:
			return fmt.Errorf("%s was not told in time", step["event"])
		}
	}
}

func (p *player) environment(step object) error {
	found, err := p.holds[step["hold"].(string)].environment()
	if err != nil {
		return err
	}
	return match(step["expect"], found, "environment")
}

func (p *player) run(step object) error {
	asked := step["run"].(object)
	policy, _ := asked["policy"].(string)
	return p.startOrJudge(step, func() (object, error) {
		var events []any
		result, err := p.client(step).Execute(context.Background(), sluice.PluginRequest{
			Plugin:    asked["plugin"].(string),
			Arguments: asked["arguments"],
			Policy:    policy,
			OnEvent: func(message *sluicev1.StreamExecutionResponse) {
				events = append(events, eventName(message))
			},
		})
		if err != nil {
			return nil, failure{clientError(err)}
		}
		return object{"result": result, "events": events}, nil
	})
}

func eventName(message proto.Message) string {
	reflection := message.ProtoReflect()
	field := reflection.WhichOneof(reflection.Descriptor().Oneofs().ByName("event"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

func within(step object) time.Duration {
	if ms, ok := step["within_ms"].(float64); ok {
		return time.Duration(ms) * time.Millisecond
	}
	return patience
}
