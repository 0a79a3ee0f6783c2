package sluice

import "time"

const defaultTTL = 60 * time.Second

// tenure is when to renew a lease, and when to give it up. All times are of now().
//
// A renewal counts from before it was sent, so the server's own count is never shorter. The first renewal is due at once: the grant
// says how long the lease lives, but not how long ago that began.
type tenure struct {
	ttl      time.Duration
	nextAt   time.Duration
	giveUpAt time.Duration
}

func newTenure(ttl, heardAt time.Duration) *tenure {
	t := &tenure{ttl: ttl}
	t.renewed(heardAt)
	t.nextAt = heardAt
	return t
}

// renewed: a renewal that was sent then has succeeded.
func (t *tenure) renewed(sentAt time.Duration) {
	// Time to tell the program before the server takes the memory back.
	margin := min(t.ttl/10, 2*time.Second)
	t.nextAt = sentAt + t.ttl/3
	t.giveUpAt = sentAt + t.ttl - margin
}

// failed: a renewal has failed; the next is due soon, and never only after the lease would be given up.
func (t *tenure) failed(at time.Duration) {
	t.nextAt = min(at+min(time.Second, t.ttl/10), t.giveUpAt)
}

// callTimeout is how long one renewal may take: a line that swallows a call should not cost the lease.
func (t *tenure) callTimeout(at time.Duration) time.Duration {
	return max(time.Millisecond, min(5*time.Second, t.ttl/3, t.giveUpAt-at))
}
