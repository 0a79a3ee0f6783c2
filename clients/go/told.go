package sluice

import (
	"fmt"
	"strings"
	"time"

	"sluice/sluicev1"
)

// Waiting is where a request stands in the queue.
type Waiting struct {
	// Position 1 is next.
	Position uint32
	// QueueLength counts the tickets in the queue, this one included.
	QueueLength uint32
	// Waited is how long it has waited.
	Waited time.Duration
	// Reasons are why it waits now, with the numbers behind them.
	Reasons []*sluicev1.Reason
	// ExpectedStart is when it is thought to start; the zero time where nothing is known that it could rest on.
	ExpectedStart time.Time
}

// String is one line for people, such as "waiting 4s, place 1 of 3: GPU 0 has 84 MiB available of the 512 MiB needed".
func (w Waiting) String() string {
	start := ""
	if !w.ExpectedStart.IsZero() {
		start = " (starts any moment)"
		if left := time.Until(w.ExpectedStart); left >= time.Second {
			start = fmt.Sprintf(" (starts in ~ %s)", left.Truncate(time.Second))
		}
	}
	waited := w.Waited.Truncate(time.Second)
	return fmt.Sprintf("waiting %s, place %d of %d%s: %s", waited, w.Position, w.QueueLength, start, sentences(w.Reasons))
}

func waitingFrom(queued *sluicev1.Queued) Waiting {
	waiting := Waiting{
		Position:    queued.GetPosition(),
		QueueLength: max(queued.GetQueueLength(), queued.GetPosition()),
		Waited:      queued.GetWaited().AsDuration(),
		Reasons:     queued.GetReasons(),
	}
	if start := queued.GetExpectedStart(); start != nil {
		waiting.ExpectedStart = start.AsTime()
	}
	return waiting
}

// EvictionRequest says that somebody waits for this memory: give it back before the deadline, or the server takes it.
type EvictionRequest struct {
	// Deadline is by the server's clock.
	Deadline time.Time
	// Reason is who waits, and for how much.
	Reason string
}

func evictionFrom(asked *sluicev1.EvictionRequested) EvictionRequest {
	return EvictionRequest{Deadline: asked.GetDeadline().AsTime(), Reason: asked.GetReason()}
}

func sentences(reasons []*sluicev1.Reason) string {
	messages := make([]string, len(reasons))
	for i, reason := range reasons {
		messages[i] = reason.GetMessage()
	}
	return strings.Join(messages, "; ")
}
