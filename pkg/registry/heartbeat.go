package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// revokeTimeout bounds the clean-up at the end: the machine may be shutting down.
const revokeTimeout = 2 * time.Second

// Heartbeat keeps a node's heartbeat in etcd: its boot ID, under a lease that is renewed thrice as often as it lasts.
type Heartbeat struct {
	Node, BootID string
	// Machine is the hash of the machine's ID, or empty. A node whose record has another is another machine's.
	Machine string
	TTL     time.Duration
	// Report is called at each renewal with nil, and with each error that keeps the heartbeat from being there: ErrNodeTaken
	// when another machine of the name is alive, or this one before it was started again, whose heartbeat lasts for up to TTL.
	// The lease is what other keys of the node may go with.
	Report func(lease int64, err error)
	// NotCopied looks whether the machine that a dead node's record is of is another one all the same: the error wraps ErrNodeTaken then.
	// Nil: it is believed.
	NotCopied func(ctx context.Context, record Host) error
}

// Beat keeps the heartbeat until the context ends.
func (c *Client) Beat(ctx context.Context, h Heartbeat) {
	var pause backoff
	for {
		err := c.beat(ctx, h)
		if ctx.Err() != nil {
			return
		}
		h.Report(0, err)
		pause.wait(ctx)
	}
}

// beat holds one lease as long as it lasts.
func (c *Client) beat(ctx context.Context, h Heartbeat) error {
	if err := c.vacant(ctx, h); err != nil {
		return err
	}
	lease, err := c.store.Grant(ctx, h.TTL)
	if err != nil {
		return err
	}
	defer c.end(ctx, h, lease)
	if err := c.announce(ctx, h, lease); err != nil {
		return err
	}
	h.Report(lease, nil)
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(h.TTL / 3):
		}
		err := c.store.Renew(ctx, lease)
		if err == nil {
			err = c.confirm(ctx, h, lease)
		}
		switch {
		case err == nil:
			renewed = time.Now()
			h.Report(lease, nil)
		case !errors.Is(err, etcd.ErrUnavailable) || time.Since(renewed) > h.TTL:
			return fmt.Errorf("heartbeat in etcd: %w", err)
		}
	}
}

// vacant says whether the name is this host's to take. It only reads: a store without space says so, too.
func (c *Client) vacant(ctx context.Context, h Heartbeat) error {
	kv, found, err := c.get(ctx, hostKey(h.Node))
	if err != nil {
		return err
	}
	record, unreadable := readHost(kv.Value)
	recorded := found && unreadable == nil
	if recorded && record.Machine != "" && h.Machine != "" && record.Machine != h.Machine {
		return fmt.Errorf("node %s: %w by another machine: give each host its own name by --node, or if this one replaces it for good, "+
			"call `fairway overlay forget %s` on another host", h.Node, ErrNodeTaken, h.Node)
	}
	kv, found, err = c.get(ctx, heartbeatKey(h.Node))
	if err == nil && found && kv.Value != h.BootID {
		err = nodeAlive(h.Node)
	}
	if err == nil && recorded && h.NotCopied != nil {
		err = h.NotCopied(ctx, record)
	}
	return err
}

func nodeAlive(node string) error {
	return fmt.Errorf("node %s: %w by another machine that is alive, or by this one until a moment ago: give each host its own name by --node", node, ErrNodeTaken)
}

// announce sets the heartbeat unless another boot's is there.
func (c *Client) announce(ctx context.Context, h Heartbeat, lease int64) error {
	key := heartbeatKey(h.Node)
	put := []etcd.Op{etcd.SetWith(key, h.BootID, lease)}
	response, err := c.attempt(ctx, []etcd.Condition{etcd.Absent(key)}, put, nil)
	if err != nil || response.Done {
		return err
	}
	response, err = c.attempt(ctx, []etcd.Condition{etcd.Is(key, h.BootID)}, put, nil)
	if err == nil && !response.Done {
		err = nodeAlive(h.Node)
	}
	return err
}

// confirm looks whether the key is still this host's: a lease may be renewed although its key was deleted or overwritten.
func (c *Client) confirm(ctx context.Context, h Heartbeat, lease int64) error {
	kv, found, err := c.get(ctx, heartbeatKey(h.Node))
	if err != nil || found && kv.Value == h.BootID {
		return err
	}
	if err := c.vacant(ctx, h); err != nil {
		return err
	}
	return c.announce(ctx, h, lease)
}

// end takes the heartbeat away, so that a host that stops in order says so at once. Names stay until the lease ends, as its containers
// do: an agent that starts again puts them under a lease of its own. A lease that a host has lost otherwise ends with all that it has.
func (c *Client) end(ctx context.Context, h Heartbeat, lease int64) {
	stopped := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	if !stopped {
		_ = c.store.Revoke(ctx, lease) // without it, the lease ends by itself
		return
	}
	for key, value := range map[string]string{heartbeatKey(h.Node): h.BootID, keeperKey: h.Node} {
		_, _ = c.attempt(ctx, []etcd.Condition{etcd.Is(key, value)}, []etcd.Op{etcd.Remove(key)}, nil) // likewise
	}
}
