// Command child runs a program on 4 GiB of one GPU: it waits and shows how, stops the program when the lease is lost or Ctrl-C is pressed, and
// gives the memory back.
//
//	go run ./examples/child python3 train.py
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"sluice"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: child PROGRAM [ARGUMENT…]")
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2:]...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitCode(err))
	}
}

func run(ctx context.Context, program string, arguments ...string) error {
	client, err := sluice.Dial("")
	if err != nil {
		return err
	}
	defer client.Close()
	resources := sluice.Resources{Name: program, VRAMMB: 4096, Timeout: time.Hour}
	lease, err := client.Hold(ctx, resources, sluice.OnWaiting(func(waiting sluice.Waiting) {
		fmt.Fprintln(os.Stderr, "sluice:", waiting)
	}))
	if err != nil {
		return err
	}
	defer lease.Release()
	// Killed when the lease is lost, because others may be admitted to its memory by then.
	command := exec.CommandContext(lease.Context(), program, arguments...)
	command.Env = append(os.Environ(), lease.Env()...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = command.Run()
	if lost := lease.Err(); lost != nil {
		return lost
	}
	return err
}

// exitCode is 75, "try again later", where another attempt may help.
func exitCode(err error) int {
	var full *sluice.QueueFullError
	var late *sluice.TimedOutError
	var away *sluice.UnreachableError
	var ended *exec.ExitError
	switch {
	case errors.As(err, &full), errors.As(err, &late), errors.As(err, &away):
		return 75
	case errors.As(err, &ended) && ended.ExitCode() > 0:
		return ended.ExitCode()
	default:
		return 1
	}
}
