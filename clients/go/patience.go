package sluice

import "time"

const (
	// How long nobody may answer at the very first: a wrong address should be told soon.
	firstAnswer = 5 * time.Second
	// How long a server may be away that has answered before: a job that has waited all night should not die of a restart.
	away = time.Minute
)

// patience says whether to ask again after a broken connection, and when.
type patience struct {
	start    time.Duration
	heardAt  time.Duration
	hasHeard bool
	next     time.Duration
}

func newPatience() *patience { return &patience{start: now(), next: 100 * time.Millisecond} }

// waited is how long it has been since the first question.
func (p *patience) waited() time.Duration { return now() - p.start }

// heard: the server has said something.
func (p *patience) heard() {
	p.heardAt, p.hasHeard, p.next = now(), true, 100*time.Millisecond
}

// pause is the time until the next attempt; false when there is to be none. Only a server that is away is asked again.
func (p *patience) pause(isAway bool) (time.Duration, bool) {
	since, limit := p.start, firstAnswer
	if p.hasHeard {
		since, limit = p.heardAt, away
	}
	if !isAway || now()-since > limit {
		return 0, false
	}
	pause := p.next
	p.next = min(time.Second, p.next*2)
	return pause, true
}
