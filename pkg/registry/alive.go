package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// revokeTimeout bounds the clean-up at the end: the machine may be shutting down.
const revokeTimeout = 2 * time.Second

// StayAlive keeps a node's sign of life in etcd until the context ends: its boot ID, under a lease of ttl that is renewed
// thrice as often, and made anew when it was lost. report gets nil when the sign is there, and each error that keeps it from
// being: ErrNodeTaken when another machine of the name is alive, or this one before it was started again, whose sign lasts
// for up to ttl.
func (c *Client) StayAlive(ctx context.Context, node, bootID string, ttl time.Duration, report func(error)) {
	var pause backoff
	for {
		err := c.beAlive(ctx, node, bootID, ttl, report)
		if ctx.Err() != nil {
			return
		}
		report(err)
		pause.wait(ctx)
	}
}

var errLeaseLost = errors.New("the lease was lost")

// beAlive holds one lease as long as it lasts.
func (c *Client) beAlive(ctx context.Context, node, bootID string, ttl time.Duration, report func(error)) error {
	var lease *clientv3.LeaseGrantResponse
	if err := c.request(ctx, func(ctx context.Context) (err error) {
		lease, err = c.etcd.Grant(ctx, int64(ttl/time.Second))
		return err
	}); err != nil {
		return err
	}
	defer c.revoke(lease.ID)
	if err := c.announce(ctx, node, bootID, lease.ID); err != nil {
		return err
	}
	renewals, err := c.etcd.KeepAlive(ctx, lease.ID)
	if err != nil {
		return c.unavailable(ctx, err)
	}
	report(nil)
	for range renewals {
	}
	return fmt.Errorf("sign of life in etcd: %w", errLeaseLost)
}

// announce sets the sign unless another boot's is there.
func (c *Client) announce(ctx context.Context, node, bootID string, lease clientv3.LeaseID) error {
	key := aliveKey(node)
	put := []clientv3.Op{clientv3.OpPut(key, bootID, clientv3.WithLease(lease))}
	response, err := c.attempt(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, put, nil)
	if err != nil || response.Succeeded {
		return err
	}
	response, err = c.attempt(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", bootID)}, put, nil)
	if err == nil && !response.Succeeded {
		err = fmt.Errorf("node %s: %w by another machine that is alive, or by this one until a moment ago: give each host its own name by --node", node, ErrNodeTaken)
	}
	return err
}

// revoke ends a lease, so that a host that stops in order says so at once. Without it, the lease ends by itself.
func (c *Client) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
	defer cancel()
	_, _ = c.etcd.Revoke(ctx, lease) // see above
}
