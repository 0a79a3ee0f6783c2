package sluice

import (
	"testing"
	"time"
)

func TestAddress(t *testing.T) {
	t.Run("it is what is given, else the environment's, else the default", func(t *testing.T) {
		t.Setenv("SLUICE_ADDRESS", "gpu-box:50051")
		for given, wanted := range map[string]string{"here:1": "here:1", "": "gpu-box:50051"} {
			if client, err := Dial(given); err != nil || client.Address() != wanted {
				t.Errorf("%q is %v, error %v", given, client, err)
			}
		}
		t.Setenv("SLUICE_ADDRESS", "")
		if client, err := Dial(""); err != nil || client.Address() != "127.0.0.1:50051" {
			t.Errorf("the default is %v, error %v", client, err)
		}
	})

	t.Run("a process is attached only where the server knows its pid", func(t *testing.T) {
		for address, local := range map[string]bool{
			"127.0.0.1:1": true, "127.1.2.3:1": true, "localhost:1": true, "[::1]:1": true, "unix:/run/sluice": true,
			"gpu-box:1": false, "10.0.0.1:1": false, "[2001:db8::1]:1": false, "127.evil.example:1": false,
		} {
			if isLocal(address) != local {
				t.Errorf("%s is local: %v", address, !local)
			}
		}
	})
}

func TestRequests(t *testing.T) {
	t.Run("what is asked for is the contract's message", func(t *testing.T) {
		resources := Resources{Name: "a", VRAMMB: 5, RAMMB: 6, GPUs: 2, Tenant: "t", Priority: 3, Labels: map[string]string{"k": "v"}, TTL: 2500 * time.Millisecond}
		request := resources.wait(0)
		workload, needs := request.GetWorkload(), request.GetWorkload().GetResources()
		if workload.GetName() != "a" || workload.GetTenant() != "t" || workload.GetPriority() != 3 || workload.GetLabels()["k"] != "v" {
			t.Errorf("%v", workload)
		}
		if !needs.GetRequiresGpu() || needs.GetMinGpuVramMb() != 5 || needs.GetMinSystemRamMb() != 6 || needs.GetGpuCount() != 2 {
			t.Errorf("%v", needs)
		}
		if request.GetLeaseTtl().AsDuration() != 2500*time.Millisecond {
			t.Errorf("%v", request.GetLeaseTtl())
		}
	})

	t.Run("no timeout is the server's own, for ever is 0, and one that is over is never 0", func(t *testing.T) {
		if timeoutMessage(0, time.Hour) != nil {
			t.Error("no timeout is not left out")
		}
		if forever := timeoutMessage(Forever, time.Hour); forever == nil || forever.AsDuration() != 0 {
			t.Errorf("for ever is %v", forever)
		}
		if over := timeoutMessage(time.Second, time.Hour); over.AsDuration() != time.Millisecond {
			t.Errorf("what is over is %v", over)
		}
	})

	t.Run("who asks for RAM only asks for no GPU", func(t *testing.T) {
		for _, resources := range []Resources{{VRAMMB: 1}, {GPUs: 1}, {GPUUUIDs: []string{gpu}}, {Exclusive: true}} {
			if !resources.workload().GetResources().GetRequiresGpu() {
				t.Errorf("%+v asks for no GPU", resources)
			}
		}
		if ram := (&Resources{RAMMB: 1}); ram.workload().GetResources().GetRequiresGpu() {
			t.Error("RAM asks for a GPU")
		}
	})
}
