package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"sluice"
)

// hold is resources that are held through the layer, and what it told about them.
type hold struct {
	told  chan event
	lease *sluice.Lease
}

type event struct {
	name string
	news object
}

func newHold() *hold { return &hold{told: make(chan event, 1000)} }

func (h *hold) enter(client *sluice.Client, fields object) (object, error) {
	options := []sluice.HoldOption{sluice.OnWaiting(func(waiting sluice.Waiting) {
		h.told <- event{"waiting", object{
			"position":     float64(waiting.Position),
			"queue_length": float64(waiting.QueueLength),
			"reasons":      reasonsJSON(waiting.Reasons),
		}}
	})}
	if fields["evictable"] == true {
		options = append(options, sluice.OnEviction(func(_ *sluice.Lease, asked sluice.EvictionRequest) {
			h.told <- event{"eviction_requested", object{"reason": asked.Reason}}
		}))
	}
	if fields["wait"] == false {
		options = append(options, sluice.WithoutWaiting())
	}
	lease, err := client.Hold(context.Background(), resourcesFrom(fields), options...)
	if err != nil {
		return nil, err
	}
	h.lease = lease
	context.AfterFunc(lease.Context(), func() {
		var lost *sluice.LeaseLostError
		if errors.As(context.Cause(lease.Context()), &lost) {
			h.told <- event{"lost", object{"why": lost.Why}}
		}
	})
	return asJSON(lease.Message()), nil
}

func (h *hold) release() error {
	lease := h.lease
	h.lease = nil
	return lease.Release()
}

// environment is what a child process finds that is started now.
func (h *hold) environment() (object, error) {
	command := exec.Command("env", "-0")
	command.Env = os.Environ()
	if h.lease != nil {
		command.Env = append(command.Env, h.lease.Env()...)
	}
	output, err := command.Output()
	if err != nil {
		return nil, err
	}
	found := object{}
	for line := range strings.SplitSeq(string(output), "\x00") {
		if name, value, ok := strings.Cut(line, "="); ok {
			found[name] = value
		}
	}
	return found, nil
}

func resourcesFrom(fields object) sluice.Resources {
	text := func(name string) string { value, _ := fields[name].(string); return value }
	exclusive, _ := fields["exclusive"].(bool)
	resources := sluice.Resources{
		Name:      text("name"),
		VRAMMB:    uint32(number(fields["vram_mb"])),
		RAMMB:     uint32(number(fields["ram_mb"])),
		GPUs:      uint32(number(fields["gpus"])),
		Exclusive: exclusive,
		Tenant:    text("tenant"),
		Priority:  int32(number(fields["priority"])),
		TTL:       seconds(fields["ttl_s"]),
		Timeout:   seconds(fields["timeout_s"]),
		Policy:    text("policy"),
		RequestID: text("request_id"),
	}
	if fields["timeout_s"] == 0.0 {
		resources.Timeout = sluice.Forever
	}
	return resources
}

func seconds(value any) time.Duration { return time.Duration(number(value) * float64(time.Second)) }
