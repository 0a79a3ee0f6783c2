// Package sluice waits for GPU memory, holds it while your code runs, and gives it back.
//
//	client, err := sluice.Dial("")
//	...
//	lease, err := client.Hold(ctx, sluice.Resources{Name: "whisper", VRAMMB: 4096})
//	...
//	defer lease.Release()
//	command := exec.CommandContext(lease.Context(), "python3", "transcribe.py")
//	command.Env = append(os.Environ(), lease.Env()...)
//
// Sizes are MiB everywhere. The lease is renewed in the background; [Lease.Context] is cancelled when it is lost all the same.
// The generated messages and stubs of the contract are in sluice/sluicev1, and reachable as [Client.Scheduler], [Client.Executor]
// and [Client.Monitor].
package sluice
