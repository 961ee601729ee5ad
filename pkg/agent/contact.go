package agent

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// reach is whether a host answers by a tunnel.
type reach int

const (
	// unknown: nothing was sent lately, and nobody asks a peer to show that it is there (keepalive is off).
	unknown reach = iota
	reached
	// waiting: what was sent last is not answered yet, and need not be.
	waiting
	down
)

const (
	// answersWithin is when a peer that is there has answered: with a packet or else a keepalive ten seconds after what it received
	// (KeepaliveTimeout), and to a handshake, with which one begins five seconds later (RekeyTimeout), at once.
	answersWithin = 15 * time.Second
	// forgottenAfter is when a session has ended without any traffic (RejectAfterTime).
	forgottenAfter = 3 * time.Minute
)

// judge says whether a peer is down, by how long ago there was something: a packet that nothing has come after, anything that was sent,
// and anything that came. Less than 0 is never.
//
//	sent            ×──×──×──×─ … each after the first is another try
//	unanswered      │←────────────────────────→│
//	                │ waiting      │ down      │ reached, by the first packet that comes
//	                0             15 s
//
// Where nothing is sent any more, the last is remembered as long as a session is.
func judge(unanswered, sent, received time.Duration) reach {
	switch {
	case sent >= 0 && sent < forgottenAfter && unanswered >= answersWithin:
		return down
	case sent >= 0 && sent < forgottenAfter && unanswered >= 0:
		return waiting
	case received >= 0 && received < forgottenAfter:
		return reached
	}
	return unknown
}

// contact is what was seen of a peer's counters.
type contact struct {
	sent, received int64
	// sentAt and receivedAt are when they last grew, unansweredAt when sent did for the first time after received had; zero for never.
	sentAt, receivedAt, unansweredAt time.Time
}

// see takes the counters of an instant. Smaller ones are those of a device that was made anew.
func (c contact) see(sent, received int64, now time.Time) contact {
	if received != c.received {
		c.receivedAt, c.unansweredAt = now, time.Time{}
	}
	if sent != c.sent {
		c.sentAt = now
		if received == c.received && c.unansweredAt.IsZero() {
			c.unansweredAt = now
		}
	}
	c.sent, c.received = sent, received
	return c
}

func (c contact) state(now time.Time) reach {
	ago := func(t time.Time) time.Duration {
		if t.IsZero() {
			return -1
		}
		return now.Sub(t)
	}
	return judge(ago(c.unansweredAt), ago(c.sentAt), ago(c.receivedAt))
}

// contacts are those with the hosts of all encrypted networks.
type contacts struct {
	mu  sync.Mutex
	all map[contactKey]contact
}

type contactKey struct {
	network, node string
	key           wgtypes.Key
}

func newContacts() contacts { return contacts{all: make(map[contactKey]contact)} }

// lookEvery is between two looks at the counters: several within the time in which a peer answers.
const lookEvery = answersWithin / 5

// watchTunnels looks at the counters of tunnels, as long as there are any.
func (a *Agent) watchTunnels(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			a.lookAtTunnels(now)
		}
	}
}

func (a *Agent) lookAtTunnels(now time.Time) {
	seen := make(map[contactKey]contact)
	a.contacts.mu.Lock()
	defer a.contacts.mu.Unlock()
	for _, t := range a.tunnelPeers() {
		key := contactKey{t.network, t.node, t.PublicKey}
		seen[key] = a.contacts.all[key].see(t.TransmitBytes, t.ReceiveBytes, now)
	}
	a.contacts.all = seen
}

// reachOf is whether a peer answers.
func (a *Agent) reachOf(t tunnelPeer, now time.Time) reach {
	a.contacts.mu.Lock()
	defer a.contacts.mu.Unlock()
	return a.contacts.all[contactKey{t.network, t.node, t.PublicKey}].state(now)
}

// unanswered are sentences on the hosts that do not answer, of one network or of all. They are no problems of this host's.
func (a *Agent) unanswered(network string) (list []string) {
	now := time.Now()
	for _, t := range a.tunnelPeers() {
		if network != "" && network != t.network || a.reachOf(t, now) != down {
			continue
		}
		since := "never"
		if !t.LastHandshakeTime.IsZero() {
			since = now.Sub(t.LastHandshakeTime).Round(time.Second).String() + " ago"
		}
		list = append(list, fmt.Sprintf("network %s: host %s does not answer at %s, last handshake: %s", t.network, t.node, t.Endpoint, since))
	}
	slices.Sort(list)
	return list
}
