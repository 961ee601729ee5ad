package registry

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// Memory is by what a host knows again the store that it has seen, and finds out that it went back: restored from a backup, or
// emptied. The zero value is that of a host which has seen none. It has to survive the agent.
type Memory struct {
	// ID and Epoch are those of the cluster's record.
	ID    string `json:"id,omitempty"`
	Epoch string `json:"epoch,omitempty"`
	// Cluster is etcd's own ID.
	Cluster uint64 `json:"cluster,omitempty"`
	// Revision is the last that was seen, and Mark a key that the revision MarkRevision changed, to a value of the hash MarkSum, or
	// deleted: a store that went back has another history there, whatever revision it has reached since.
	Revision     int64  `json:"revision,omitempty"`
	Mark         string `json:"mark,omitempty"`
	MarkRevision int64  `json:"markRevision,omitempty"`
	MarkSum      string `json:"markSum,omitempty"`
	// Pulse is the last word that was seen of the store's pulse.
	Pulse string `json:"pulse,omitempty"`
	// Turned is the revision that began the epoch, 0 for the first one: see Network.Restored.
	Turned int64 `json:"turned,omitempty"`
	// WentBack is why the store is not the one that was seen, while that cannot be written: it may look the same again by then.
	WentBack string `json:"wentBack,omitempty"`
}

// sumDeleted is the MarkSum of a key that was deleted.
const sumDeleted = "deleted"

// ErrWentBack says that the store is not what it was when this host saw it last.
var ErrWentBack = errors.New("etcd went back")

// see takes a change into the memory.
func (m *Memory) see(kv etcd.KV, deleted bool) {
	m.Revision = max(m.Revision, kv.Modified)
	if kv.Modified <= m.MarkRevision {
		return
	}
	m.Mark, m.MarkRevision, m.MarkSum = kv.Key, kv.Modified, sumOf(kv.Value)
	if deleted {
		m.MarkSum = sumDeleted
	}
}

func sumOf(value string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(value)) // it takes everything
	return strconv.FormatUint(h.Sum64(), 16)
}

// seePulse takes the pulse into the memory.
func (m *Memory) seePulse(p pulse) {
	if p.modified > 0 {
		m.Pulse = p.last()
		m.see(etcd.KV{Key: pulseKey, Value: p.value(), Modified: p.modified}, false)
	}
}

// Defaults are what the first host of a cluster decides for all.
type Defaults struct {
	ReclaimAfter Duration
	// Family of the underlay, 4 or 6.
	Family int
}

// recognise compares the store with a memory. The memory that it gives is that of the store as it is now; the error is
// ErrWentBack, with the reason, when it is another than it was. Then the epoch is a new one, for all hosts to find out by.
func (c *Client) recognise(ctx context.Context, m Memory, d Defaults) (Memory, error) {
	for range tries {
		seen, err := c.look(ctx)
		if err != nil {
			return m, err
		}
		if len(seen.cluster) == 0 {
			if err := c.found(ctx, m, d); err != nil {
				return m, err
			}
			continue
		}
		kv := seen.cluster[0]
		record, err := readCluster(kv.Value)
		if err != nil {
			return m, fmt.Errorf("%s cannot be read, no record is trusted: %w", clusterKey, err)
		}
		now := Memory{ID: record.ID, Epoch: record.Epoch, Cluster: seen.Cluster, Revision: seen.Revision, Turned: record.turned(kv)}
		now.seePulse(seen.pulse)
		if m.ID == "" {
			return now, nil // seen for the first time
		}
		same := record.ID == m.ID && record.Epoch == m.Epoch
		if !same && slices.Contains(strings.Split(record.Past, ","), m.Epoch) { // and others have found out
			if record.ID != m.ID {
				return now, fmt.Errorf("%w: it is another store than this host knows, or was emptied", ErrWentBack)
			}
			return now, fmt.Errorf("%w: it was restored from a backup", ErrWentBack)
		}
		reason := m.WentBack
		switch {
		case !same:
			reason = "another epoch"
		case reason == "":
			if reason, err = c.differs(ctx, m, seen); err != nil {
				return m, err
			}
		}
		if reason == "" {
			now.Revision = max(now.Revision, m.Revision)
			if m.MarkRevision > now.MarkRevision {
				now.Mark, now.MarkRevision, now.MarkSum = m.Mark, m.MarkRevision, m.MarkSum
			}
			return now, nil
		}
		m.WentBack = reason
		if err := c.turn(ctx, kv, record, m.Epoch); err != nil {
			return m, err
		}
	}
	return m, busy("the cluster's record", etcd.ErrUnavailable)
}

// differs says why the store's history is not the one that was seen; empty when it is.
func (c *Client) differs(ctx context.Context, m Memory, s sight) (string, error) {
	switch {
	case s.Revision < m.Revision:
		return fmt.Sprintf("revision %d, %d was seen", s.Revision, m.Revision), nil
	case m.Mark == "", m.Mark == pulseKey && s.pulse.has(m.Pulse):
		return "", nil
	}
	has, err := c.hasMark(ctx, m)
	switch {
	case errors.Is(err, etcd.ErrCompacted):
		if s.Cluster != m.Cluster {
			return "another cluster, whose history cannot be compared", nil
		}
		return "", nil
	case errors.Is(err, etcd.ErrFuture):
		return "another history", nil
	case err != nil:
		return "", err
	case !has:
		return "another history", nil
	}
	return "", nil
}

// hasMark says whether the store has changed the mark as the memory knows it.
func (c *Client) hasMark(ctx context.Context, m Memory) (bool, error) {
	at, err := c.store.Range(ctx, etcd.Range{Key: m.Mark, Revision: m.MarkRevision})
	if err != nil {
		return false, err
	}
	if m.MarkSum != sumDeleted {
		return len(at.KVs) == 1 && at.KVs[0].Modified == m.MarkRevision && (m.MarkSum == "" || sumOf(at.KVs[0].Value) == m.MarkSum), nil
	}
	before, err := c.store.Range(ctx, etcd.Range{Key: m.Mark, Revision: m.MarkRevision - 1, KeysOnly: true})
	return len(at.KVs) == 0 && len(before.KVs) == 1, err
}

// epochsKept is how many past epochs the cluster's record has: a host that was away for more of them begins another.
const epochsKept = 16

// turn begins another epoch, in which nothing new is claimed at first. seen is the epoch that this host knew.
func (c *Client) turn(ctx context.Context, kv etcd.KV, record Cluster, seen string) error {
	past := slices.Compact(append([]string{seen, record.Epoch}, strings.Split(record.Past, ",")...))
	record.Past = strings.Trim(strings.Join(past[:min(len(past), epochsKept)], ","), ",")
	record.Epoch, record.Turned = rand.Text(), 0
	value, err := merged(kv.Value, record)
	if err != nil {
		return err
	}
	lease, err := c.store.Grant(ctx, SettleFor)
	if err != nil {
		return err
	}
	// Another host may have been faster; then its epoch is as good.
	_, err = c.attempt(ctx, []etcd.Condition{etcd.ModifiedAt(clusterKey, kv.Modified)},
		[]etcd.Op{etcd.Set(clusterKey, value), etcd.SetWith(settling, "", lease)}, nil)
	return err
}

// found makes the cluster's record. Where this host remembers another store, this one was emptied or replaced.
func (c *Client) found(ctx context.Context, m Memory, d Defaults) error {
	record := Cluster{Version: recordVersion, ID: rand.Text(), Epoch: rand.Text(), ReclaimAfter: d.ReclaimAfter, Family: d.Family}
	former, err := c.store.Range(ctx, etcd.Range{Key: root, End: etcd.PrefixEnd(root), Limit: 1, KeysOnly: true})
	if err != nil {
		return err
	}
	record.Mixed, record.Past = len(former.KVs) > 0, m.Epoch
	value, err := json.Marshal(record)
	if err != nil {
		return err
	}
	then := []etcd.Op{etcd.Set(clusterKey, string(value))}
	if m.ID != "" {
		lease, err := c.store.Grant(ctx, SettleFor)
		if err != nil {
			return err
		}
		then = append(then, etcd.SetWith(settling, "", lease))
	}
	_, err = c.attempt(ctx, []etcd.Condition{etcd.Absent(clusterKey)}, then, nil)
	return err
}

// Testify notes up to which revision a host had seen a network before the store went back to begin an epoch, while it settles. It says
// whether none has seen more: who has, knows best what others had. A backup may have what was said when the store went back before.
func (c *Client) Testify(ctx context.Context, network, epoch string, revision int64) (most bool, err error) {
	for range tries {
		kv, found, err := c.get(ctx, testimonyKey(network))
		if err != nil {
			return false, err
		}
		text, of, _ := strings.Cut(kv.Value, " ")
		seen, _ := strconv.ParseInt(text, 10, 64) // 0 for none
		if found && of == epoch && seen >= revision {
			return seen == revision, nil
		}
		lease, err := c.store.Grant(ctx, SettleFor)
		if err != nil {
			return false, err
		}
		response, err := c.attempt(ctx, []etcd.Condition{etcd.ModifiedAt(testimonyKey(network), kv.Modified)},
			[]etcd.Op{etcd.SetWith(testimonyKey(network), fmt.Sprint(revision, " ", epoch), lease)}, nil)
		if err != nil || response.Done {
			return response.Done, err
		}
	}
	return false, nil
}

// Writable says whether the store takes what hosts have to claim again. Error: etcd.ErrUnavailable.
func (c *Client) Writable(ctx context.Context, node string) error {
	_, err := c.attempt(ctx, nil, []etcd.Op{etcd.Set(marks+node, rand.Text())}, nil)
	return err
}

// Lost is what the store has lost of a member.
type Lost struct {
	Node   string
	VTEP   netip.Addr
	Blocks []netip.Prefix
	Pins   []netip.Addr
	// Over says that these were the member's when the store went back: pins in its blocks, and blocks with its pins, of which the store has
	// records from before had been given up.
	Over bool
}

// RestoreMember writes again what the store has lost of a member that cannot do so itself, as its agent does not run: the host keeps
// what it had, and counts as one with containers. It says which blocks and pins were written.
func (c *Client) RestoreMember(ctx context.Context, n *Network, lost Lost) (written []string, err error) {
	value, err := json.Marshal(Member{Version: recordVersion, VTEP: lost.VTEP})
	if err != nil {
		return nil, err
	}
	key, silent := memberKey(n.Name, lost.Node), etcd.Absent(heartbeatKey(lost.Node))
	used := etcd.Set(usedKey(n.Name, lost.Node), "") // with each, as the store may have a membership from before the first container
	response, err := c.attempt(ctx, []etcd.Condition{exists(n), etcd.Absent(key), silent}, []etcd.Op{etcd.Set(key, string(value)), used}, []etcd.Op{etcd.Read(key)})
	if err != nil {
		return nil, err
	}
	if !response.Done && len(response.Pages[0].KVs) == 0 {
		return nil, nil // its heartbeat is there, and may end in a moment: blocks without a member would lead nowhere
	}
	pins := etcd.UnchangedSince(partPrefix(n.Name, pinsPart), n.Modified) // one may lie in a block that was given up meanwhile
	for _, block := range lost.Blocks {
		if n.pinned(block, lost.Over) {
			continue
		}
		still, gone := n.dropPins(block) // none, unless over
		key := blockKey(n.Name, block)
		missing := etcd.ModifiedAt(key, n.Restored[block]) // 0, or another's from before it took the block
		response, err := c.attempt(ctx, append(still, exists(n), missing, pins, silent), append(gone, etcd.Set(key, lost.Node), used), nil)
		if err != nil {
			return written, err
		}
		if response.Done {
			written = append(written, block.String())
		}
	}
	for _, addr := range lost.Pins {
		done, err := c.restorePin(ctx, n, addr, lost)
		if err != nil {
			return written, err
		}
		if done {
			written = append(written, addr.String())
		}
	}
	return written, nil
}

// restorePin writes a pin again; of which container only its own host knows.
func (c *Client) restorePin(ctx context.Context, n *Network, addr netip.Addr, lost Lost) (bool, error) {
	subnet, ok := subnetOf(n.Definition, addr)
	if !ok {
		return false, nil
	}
	value, err := json.Marshal(Pin{Node: lost.Node})
	if err != nil {
		return false, err
	}
	key, block, former := pinKey(n.Name, addr), blockKey(n.Name, blockOf(subnet, addr)), int64(0)
	if lost.Over {
		former = n.formerly(addr)
	}
	response, err := c.attempt(ctx, []etcd.Condition{
		exists(n), etcd.Absent(key), etcd.ModifiedAt(block, former), etcd.Absent(heartbeatKey(lost.Node)),
	}, append(dropBlock(block, former), etcd.Set(key, string(value)), etcd.Set(usedKey(n.Name, lost.Node), "")), nil)
	return response.Done, err
}

// Unmix says that no agent of a former release runs any more.
func (c *Client) Unmix(ctx context.Context) error {
	kv, ok, err := c.get(ctx, clusterKey)
	if err != nil || !ok {
		return err
	}
	record, err := readCluster(kv.Value)
	if err != nil || !record.Mixed {
		return err
	}
	record.Mixed, record.Turned = false, record.turned(kv)
	var all map[string]json.RawMessage
	value, err := merged(kv.Value, record)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(value), &all); err != nil {
		return err
	}
	delete(all, "mixed")
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	_, err = c.attempt(ctx, []etcd.Condition{etcd.ModifiedAt(clusterKey, kv.Modified)}, []etcd.Op{etcd.Set(clusterKey, string(text))}, nil)
	return err
}
