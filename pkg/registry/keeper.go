package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
)

// Keeper gives to others what hosts own that are dead for long. One host of the cluster is it at a time. Its own clock decides, which
// runs evenly: a host must have been without a heartbeat at every look for the whole hold, and a look that fails starts it
// anew, because after an outage of etcd the hosts take a moment to show themselves. So each keeper counts from its own start.
//
// The absence of a heartbeat in a store is not the death of a host: it may have its first container of a network, of which nobody could
// tell. So nothing is taken of a member unless the network has nothing else left; then of hosts without known containers first. Nor is
// anything while etcd has an alarm, or hosts claim again what they had, or more than a third of the hosts seem dead.
type Keeper struct {
	client *Client
	node   string
	since  map[string]time.Time // when a node was first seen to be dead
}

// NewKeeper makes the keeper that a node may become.
func (c *Client) NewKeeper(node string) *Keeper {
	return &Keeper{client: c, node: node, since: make(map[string]time.Time)}
}

// Look becomes the keeper, for as long as a lease lasts, unless another host is; looks for dead hosts, as of now; and gives back
// what those own whose time is over. Error: etcd.ErrUnavailable.
func (k *Keeper) Look(ctx context.Context, lease int64, now time.Time) error {
	is, err := k.elect(ctx, lease)
	if err != nil || !is {
		clear(k.since)
		return err
	}
	all, err := k.survey(ctx)
	if err != nil {
		clear(k.since)
		return err
	}
	if all.cluster.Mixed && !all.former() {
		if err := k.client.Unmix(ctx); err != nil {
			return err
		}
	}
	over := k.expired(all, now)
	if err := k.heard(ctx, all); err != nil || len(over) == 0 {
		return err
	}
	if reason, err := k.forbidden(ctx, all); err != nil || reason != "" {
		if reason != "" {
			slog.Warn("blocks of dead hosts are not reclaimed", "hosts", over, "because", reason)
		}
		return err
	}
	return k.reclaim(ctx, all, over)
}

// heard ends what hosts asked for before this look: who still has no block asks again, and who has found one by then does not.
func (k *Keeper) heard(ctx context.Context, s survey) error {
	var errs []error
	for network := range s.wanted {
		_, err := k.client.attempt(ctx, nil, []etcd.Op{etcd.Remove(wantedKey(network))}, nil)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// elect says whether this host is the keeper.
func (k *Keeper) elect(ctx context.Context, lease int64) (bool, error) {
	if lease == 0 {
		return false, nil
	}
	response, err := k.client.attempt(ctx, []etcd.Condition{etcd.Absent(keeperKey)}, []etcd.Op{etcd.SetWith(keeperKey, k.node, lease)},
		[]etcd.Op{etcd.Read(keeperKey)})
	if err != nil {
		return false, err
	}
	return response.Done || len(response.Pages[0].KVs) > 0 && response.Pages[0].KVs[0].Value == k.node, nil
}

// survey is everything, as the keeper reads it.
type survey struct {
	State
	cluster Cluster
	alive   map[string]bool
	used    map[string]map[string]bool // nodes with containers, by network
	wanted  map[string]bool            // networks without a free block
}

func (k *Keeper) survey(ctx context.Context) (survey, error) {
	s := survey{alive: make(map[string]bool), used: make(map[string]map[string]bool), wanted: make(map[string]bool)}
	revision, list, err := k.client.list(ctx, etcd.Prefix(root))
	if err != nil {
		return s, err
	}
	u := State{}.begin()
	for _, kv := range list {
		if node, ok := strings.CutPrefix(kv.Key, heartbeats); ok {
			s.alive[node] = true
		}
		if network, ok := strings.CutPrefix(kv.Key, wanted); ok {
			s.wanted[network] = true
		}
		l, ok := parseKey(kv.Key)
		if ok && l.part == usedPart {
			if s.used[l.network] == nil {
				s.used[l.network] = make(map[string]bool)
			}
			s.used[l.network][l.name] = true
			continue
		}
		if ok && l.part == namesPart {
			continue // they go with their host's heartbeat
		}
		u.set(etcd.Change{KV: kv})
	}
	s.State, _ = u.end()
	s.State.Revision = revision
	s.cluster = s.State.Cluster
	return s, nil
}

// hosts are the nodes that have anything.
func (s survey) hosts() map[string]bool {
	all := maps.Clone(s.alive)
	for node := range s.Hosts {
		all[node] = true
	}
	for name, n := range s.Networks {
		maps.Copy(all, n.Owners())
		for node := range s.used[name] {
			all[node] = true
		}
	}
	return all
}

// former says whether an agent of a former release runs, or may come back: it has no record of its host. One that is dead for good goes
// with what it owns.
func (s survey) former() bool {
	for node := range s.alive {
		if _, ok := s.Hosts[node]; !ok {
			return true
		}
	}
	for _, n := range s.Networks {
		for node, m := range n.Members {
			if _, ok := s.Hosts[node]; !ok && m.VTEP.IsValid() {
				return true
			}
		}
	}
	return false
}

// expired are the nodes that have been dead for the whole hold.
func (k *Keeper) expired(s survey, now time.Time) []string {
	var over []string
	hosts := s.hosts()
	maps.DeleteFunc(k.since, func(node string, _ time.Time) bool { return !hosts[node] || s.alive[node] })
	for node := range hosts {
		if s.alive[node] {
			continue
		}
		first, seen := k.since[node]
		if !seen {
			k.since[node] = now
		} else if now.Sub(first) >= time.Duration(s.cluster.ReclaimAfter) && s.cluster.ReclaimAfter > 0 {
			over = append(over, node)
		}
	}
	slices.Sort(over)
	return over
}

// forbidden says why nothing may be reclaimed now; empty when it may.
func (k *Keeper) forbidden(ctx context.Context, s survey) (string, error) {
	alarmed, err := k.client.store.Alarmed(ctx)
	if err != nil {
		return "", err
	}
	if alarmed {
		return "etcd has an alarm: see `etcdctl alarm list`", nil
	}
	if _, found, err := k.client.get(ctx, settling); err != nil || found {
		return "the store has gone back a moment ago", err
	}
	hosts := s.hosts()
	dead := 0
	for node := range hosts {
		if !s.alive[node] {
			dead++
		}
	}
	if many := max(1, len(hosts)/3); dead > many {
		return fmt.Sprintf("%d of %d hosts seem dead, which looks like a failure of the network or of etcd: name those that are gone by `fairway overlay forget`",
			dead, len(hosts)), nil
	}
	return "", nil
}

// reclaim removes what dead nodes own in networks where a block is wanted, and the records of those that own nothing.
func (k *Keeper) reclaim(ctx context.Context, s survey, over []string) error {
	var errs []error
	kept := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		taken := s.toTake(name, over)
		for _, node := range over {
			switch {
			case slices.Contains(taken, node):
				var also []etcd.Condition
				if !s.used[name][node] {
					also = []etcd.Condition{etcd.Absent(usedKey(name, node))}
				}
				errs = append(errs, k.client.strip(ctx, s.State, name, node, also...))
			case s.used[name][node] || s.Networks[name].Owners()[node]:
				kept[node] = true
			}
		}
	}
	for _, node := range over {
		if !kept[node] {
			errs = append(errs, k.client.strike(ctx, s.Revision, hostKey(node), node), k.client.strike(ctx, s.Revision, marks+node, node))
		}
	}
	return errors.Join(errs...)
}

// toTake are the dead nodes whose blocks of a network are taken: none unless the network has no other, and those without containers,
// as far as is known, where any has a block.
func (s survey) toTake(name string, over []string) (nodes []string) {
	if !s.wanted[name] {
		return nil
	}
	blocks := s.Networks[name].BlocksByNode()
	for _, used := range []bool{false, true} {
		for _, node := range over {
			if s.used[name][node] == used && len(blocks[node]) > 0 {
				nodes = append(nodes, node)
			}
		}
		if len(nodes) > 0 {
			return nodes
		}
	}
	return nil
}

// strip removes what a node owns in a network.
func (c *Client) strip(ctx context.Context, s State, name, node string, also ...etcd.Condition) error {
	n := s.Networks[name]
	keys := []string{memberKey(name, node)}
	for _, block := range n.BlocksOf(node) {
		keys = append(keys, blockKey(name, block))
	}
	for _, addr := range n.PinsOf(node) {
		keys = append(keys, pinKey(name, addr))
	}
	keys = append(keys, usedKey(name, node))
	var errs []error
	for _, key := range keys {
		errs = append(errs, c.strike(ctx, s.Revision, key, node, also...))
	}
	return errors.Join(errs...)
}

// strike deletes a key that has not changed since a revision, of a node that has not come back.
func (c *Client) strike(ctx context.Context, revision int64, key, node string, also ...etcd.Condition) error {
	conditions := append([]etcd.Condition{
		{Key: key, Subject: etcd.Modified, Below: true, Revision: revision + 1}, etcd.Absent(heartbeatKey(node)), etcd.Absent(settling),
	}, also...)
	response, err := c.attempt(ctx, conditions, []etcd.Op{etcd.Remove(key)}, nil)
	if err != nil {
		return fmt.Errorf("reclaim from %s: %w", node, err)
	}
	if response.Done {
		slog.Debug("reclaimed from a dead host", "node", node, "key", key)
	}
	return nil
}

// Forget takes everything from a host at once that is gone for good, containers or not. Errors: agentapi.ErrInUse while it is
// alive, agentapi.ErrNotFound, etcd.ErrUnavailable.
func (c *Client) Forget(ctx context.Context, node string) error {
	k := c.NewKeeper("")
	all, err := k.survey(ctx)
	if err != nil {
		return err
	}
	if all.alive[node] {
		return inUsef("host %s is alive: stop its fairwayd first", node)
	}
	if !all.hosts()[node] {
		return &sentence{agentapi.ErrNotFound, "host " + node + " not found"}
	}
	var errs []error
	for name := range all.Networks {
		errs = append(errs, c.strip(ctx, all.State, name, node))
	}
	errs = append(errs, c.strike(ctx, all.Revision, hostKey(node), node), c.strike(ctx, all.Revision, marks+node, node))
	return errors.Join(errs...)
}
