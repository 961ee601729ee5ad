package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Undertaker finds hosts that are dead for long, and gives back what they own. Its own clock decides, which runs evenly:
// a host must have been without a sign of life at every look for the whole hold, and a look that fails starts it anew,
// because after an outage of etcd the hosts take a moment to show themselves. So each agent counts from its own start.
type Undertaker struct {
	client *Client
	hold   time.Duration
	since  map[string]time.Time // when a node was first seen to be dead
}

// NewUndertaker waits for hold before it takes a host for dead for good.
func (c *Client) NewUndertaker(hold time.Duration) *Undertaker {
	return &Undertaker{client: c, hold: hold, since: make(map[string]time.Time)}
}

// Look looks for dead hosts, as of now, among the nodes of a state, and removes what those own whose time is over.
func (u *Undertaker) Look(ctx context.Context, s State, now time.Time) error {
	response, err := u.client.get(ctx, alive, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		clear(u.since)
		return err
	}
	living := make(map[string]bool, len(response.Kvs))
	for _, kv := range response.Kvs {
		living[strings.TrimPrefix(string(kv.Key), alive)] = true
	}
	var errs []error
	for _, node := range u.expired(s, living, now) {
		errs = append(errs, u.client.bury(ctx, s, node))
	}
	return errors.Join(errs...)
}

// expired are the nodes that have been dead for the whole hold.
func (u *Undertaker) expired(s State, living map[string]bool, now time.Time) []string {
	dead := make(map[string]bool)
	for _, n := range s.Networks {
		for node := range n.Owners() {
			dead[node] = !living[node]
		}
	}
	var over []string
	for node := range u.since {
		if !dead[node] {
			delete(u.since, node)
		}
	}
	for node, isDead := range dead {
		if !isDead {
			continue
		}
		first, seen := u.since[node]
		if !seen {
			u.since[node] = now
		} else if now.Sub(first) >= u.hold {
			over = append(over, node)
		}
	}
	return over
}

// Owners are the nodes that have anything in a network.
func (n *Network) Owners() map[string]bool {
	nodes := make(map[string]bool)
	for _, node := range n.Blocks {
		nodes[node] = true
	}
	for _, p := range n.Pins {
		nodes[p.Node] = true
	}
	for node := range n.Nodes {
		nodes[node] = true
	}
	for node := range n.Used {
		nodes[node] = true
	}
	return nodes
}

// bury removes what a node owns in all networks.
func (c *Client) bury(ctx context.Context, s State, node string) error {
	var errs []error
	for name, n := range s.Networks {
		keys := []string{nodeKey(name, node), usedKey(name, node)}
		for _, block := range n.BlocksOf(node) {
			keys = append(keys, blockKey(name, block))
		}
		for _, addr := range n.PinsOf(node) {
			keys = append(keys, pinKey(name, addr))
		}
		for _, key := range keys {
			errs = append(errs, c.buryKey(ctx, s.Revision, key, node))
		}
	}
	return errors.Join(errs...)
}

// buryKey deletes a key that has not changed since the state was read, of a node that has not come back.
func (c *Client) buryKey(ctx context.Context, revision int64, key, node string) error {
	response, err := c.attempt(ctx,
		[]clientv3.Cmp{
			clientv3.Compare(clientv3.CreateRevision(key), ">", 0),
			clientv3.Compare(clientv3.ModRevision(key), "<", revision+1),
			clientv3.Compare(clientv3.CreateRevision(aliveKey(node)), "=", 0),
		},
		[]clientv3.Op{clientv3.OpDelete(key)}, nil)
	if err != nil {
		return fmt.Errorf("reclaim from %s: %w", node, err)
	}
	if response.Succeeded {
		slog.Info("reclaimed from a dead host", "node", node, "key", key)
	}
	return nil
}
