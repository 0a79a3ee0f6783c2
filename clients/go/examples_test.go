package sluice

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestExamples(t *testing.T) {
	const first = "examples/first/main.go"
	program, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("the first program of the README is the one in examples, with ten lines of its own at most", func(t *testing.T) {
		readme, err := os.ReadFile("README.md")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(readme), "```go\n")
		shown, _, _ := strings.Cut(rest, "```")
		if shown != string(program) {
			t.Errorf("the README shows\n%s", shown)
		}
		_, body, _ := strings.Cut(shown, "func main() {\n")
		if lines := strings.Count(strings.TrimSuffix(body, "}\n"), "\n"); lines > 10 {
			t.Errorf("it has %d lines", lines)
		}
	})

	t.Run("it runs as written", func(t *testing.T) {
		server := startFakeServer(t)
		command := exec.Command("go", "run", first)
		command.Env = append(os.Environ(), "SLUICE_ADDRESS="+server.address)
		output, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "GPU 0 is ours: [CUDA_VISIBLE_DEVICES="+gpu) {
			t.Errorf("it said %q, error %v", output, err)
		}
		if server.count("release") != 1 {
			t.Errorf("heard %q", server.heard)
		}
	})

	t.Run("a program that is run under a lease finds it, and its exit code comes out", func(t *testing.T) {
		server := startFakeServer(t, func(server *fakeServer) {
			server.onWait = func(_ int, stream waitStream) error {
				stream.Send(server.queued(1))
				return stream.Send(server.granted())
			}
		})
		command := exec.Command("go", "run", "./examples/child", "sh", "-c", "echo on $CUDA_VISIBLE_DEVICES; exit 7")
		command.Env = append(os.Environ(), "SLUICE_ADDRESS="+server.address)
		var stderr strings.Builder
		command.Stderr = &stderr
		output, _ := command.Output()
		if string(output) != "on "+gpu+"\n" || !strings.Contains(stderr.String(), "exit status 7") {
			t.Errorf("it said %q and %q", output, stderr.String())
		}
		if !strings.Contains(stderr.String(), "sluice: waiting 0s, place 1 of 3: GPU 0 is full\n") || server.count("release") != 1 {
			t.Errorf("it said %q, and %q was heard", stderr.String(), server.heard)
		}
	})
}
