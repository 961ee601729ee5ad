package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// The pulse is a key to which about every pulseEvery one of the hosts adds a random word, whoever finds first that the last one has
// been there for that long. All hosts read it as often, and remember the last word: a store that does not have it was restored from a
// backup that is older. So each host finds out by itself, whatever it follows, and not only who has seen the last change.
const (
	pulseEvery = 15 * time.Second
	// pulseWords are kept, so that also a host that was away for some minutes finds the one that it knows.
	pulseWords = 24
	wordLength = 10
)

// pulse is the key as it was read. The zero value: there is none.
type pulse struct {
	words    []string // the last first
	modified int64
}

func readPulse(page etcd.Page) (p pulse) {
	if len(page.KVs) > 0 {
		p.words, p.modified = strings.Fields(page.KVs[0].Value), page.KVs[0].Modified
	}
	return p
}

func (p pulse) last() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p pulse) value() string { return strings.Join(p.words, " ") }

// beatPulse adds a word, unless somebody else has meanwhile.
func (c *Client) beatPulse(ctx context.Context, before pulse) (now pulse, done bool, err error) {
	words := append([]string{rand.Text()[:wordLength]}, before.words...)
	now.words = words[:min(len(words), pulseWords)]
	result, err := c.attempt(ctx, []etcd.Condition{etcd.ModifiedAt(pulseKey, before.modified)}, []etcd.Op{etcd.Set(pulseKey, now.value())}, nil)
	now.modified = result.Revision
	return now, err == nil && result.Done, err
}

// sight is what one look at the store shows of it.
type sight struct {
	etcd.Header
	cluster []etcd.KV // the key of the cluster's record, or none
	pulse   pulse
}

// look reads by what a host knows the store again.
func (c *Client) look(ctx context.Context) (sight, error) {
	result, err := c.attempt(ctx, nil, []etcd.Op{etcd.Read(clusterKey), etcd.Read(pulseKey)}, nil)
	if err != nil {
		return sight{}, err
	}
	return sight{result.Header, result.Pages[0].KVs, readPulse(result.Pages[1])}, nil
}

// verified is the condition that the store is still the one that a memory knows, of which it assures itself first: whoever claims
// something new on a store that went back would take what the store has lost of others. Errors: ErrUnverified.
func (c *Client) verified(ctx context.Context, m Memory) (etcd.Condition, error) {
	for range tries {
		s, err := c.look(ctx)
		if err != nil {
			return etcd.Condition{}, err
		}
		reason := m.WentBack
		if reason == "" {
			reason, err = c.differs(ctx, m, s)
		}
		if err != nil {
			return etcd.Condition{}, err
		}
		if reason == "" && !m.isOf(s) {
			reason = "another epoch"
		}
		if reason != "" {
			return etcd.Condition{}, fmt.Errorf("%w: %w: %s", etcd.ErrUnavailable, ErrUnverified, reason)
		}
		if s.pulse.modified > 0 {
			return etcd.ModifiedAt(pulseKey, s.pulse.modified), nil
		}
		if _, _, err := c.beatPulse(ctx, s.pulse); err != nil {
			return etcd.Absent(pulseKey), nil // this host may not write it, or the claim fails as well
		}
	}
	return etcd.Condition{}, busy("the cluster's pulse", etcd.ErrUnavailable)
}

// isOf says whether a store has the cluster's record that the memory knows. A host that has seen none knows no other.
func (m Memory) isOf(s sight) bool {
	if m.ID == "" {
		return true
	}
	if len(s.cluster) == 0 {
		return false
	}
	record, err := readCluster(s.cluster[0].Value)
	return err == nil && record.ID == m.ID && record.Epoch == m.Epoch
}

// has says whether the pulse has a word that a host knows.
func (p pulse) has(word string) bool { return word != "" && slices.Contains(p.words, word) }
