package etcdsim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// requestTimeout is how long a request waits for a store that cannot be reached.
const requestTimeout = 5 * time.Second

// Client is one host's connection to the store.
type Client struct {
	sim *Sim

	mu     sync.Mutex
	random *rand.Rand
	cut    bool
	lossy  bool
}

var _ etcd.Store = (*Client)(nil)

// Client makes a connection, whose delays follow from a seed.
func (s *Sim) Client(seed uint64) *Client {
	return &Client{sim: s, random: rand.New(rand.NewPCG(seed, 0))}
}

// Cut cuts the connection, or mends it.
func (c *Client) Cut(is bool) {
	c.mu.Lock()
	c.cut = is
	c.mu.Unlock()
	if is {
		c.sim.mu.Lock()
		defer c.sim.mu.Unlock()
		c.sim.disconnect(func(w *watcher) bool { return w.client == c })
	}
}

// SetLossy has the answers to some transactions be lost: they are done, and the host does not hear of it.
func (c *Client) SetLossy(is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lossy = is
}

// delay is up to some milliseconds, never the same for two, so that what happens has an order.
func (c *Client) delay() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(1+c.random.Int64N(5_000_000)) * time.Nanosecond
}

func (c *Client) reachable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.cut
}

func (c *Client) loses() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lossy && c.random.IntN(4) == 0
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("etcd: %w: %w", etcd.ErrUnavailable, ctx.Err())
	}
}

// do runs a request in the store.
func (c *Client) do(ctx context.Context, f func() error) error {
	if err := sleep(ctx, c.delay()); err != nil {
		return err
	}
	if !c.reachable() {
		return c.unanswered(ctx)
	}
	c.sim.mu.Lock()
	if c.sim.down {
		c.sim.mu.Unlock()
		return fmt.Errorf("etcd: %w: it is down", etcd.ErrUnavailable)
	}
	c.sim.expire()
	err := f()
	c.sim.mu.Unlock()
	if err != nil {
		return err
	}
	if err := sleep(ctx, c.delay()); err != nil {
		return err
	}
	if !c.reachable() {
		return c.unanswered(ctx)
	}
	return nil
}

func (c *Client) unanswered(ctx context.Context) error {
	if err := sleep(ctx, requestTimeout); err != nil {
		return err
	}
	return fmt.Errorf("etcd: %w: no answer", etcd.ErrUnavailable)
}

// Txn implements etcd.Store.
func (c *Client) Txn(ctx context.Context, t etcd.Txn) (result etcd.Result, err error) {
	err = c.do(ctx, func() error {
		result.Done = true
		for _, condition := range t.If {
			result.Done = result.Done && c.sim.holds(condition)
		}
		ops := t.Then
		if !result.Done {
			ops = t.Otherwise
		}
		for _, op := range ops {
			if op.Do == etcd.Put && c.sim.noSpace {
				return fmt.Errorf("etcd: %w: its space is exhausted", etcd.ErrUnavailable)
			}
			if _, ok := c.sim.data.leases[op.Lease]; op.Lease != 0 && !ok {
				return etcd.ErrLeaseLost
			}
		}
		result.Pages = c.sim.write(ops)
		result.Header = c.sim.header()
		return nil
	})
	if err == nil && c.loses() {
		return etcd.Result{}, c.unanswered(ctx)
	}
	return result, err
}

// Range implements etcd.Store.
func (c *Client) Range(ctx context.Context, r etcd.Range) (page etcd.Page, err error) {
	err = c.do(ctx, func() error {
		switch {
		case r.Revision > c.sim.data.revision:
			return etcd.ErrFuture
		case r.Revision != 0 && r.Revision < c.sim.data.compacted:
			return etcd.ErrCompacted
		case r.Revision == 0:
			r.Revision = c.sim.data.revision
		}
		page.Header, page.KVs = c.sim.header(), c.sim.at(r)
		if r.Limit > 0 && int64(len(page.KVs)) > r.Limit {
			page.KVs, page.More = page.KVs[:r.Limit], true
		}
		return nil
	})
	return page, err
}

// Grant implements etcd.Store.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (id int64, err error) {
	err = c.do(ctx, func() error {
		if c.sim.noSpace {
			return fmt.Errorf("etcd: %w: its space is exhausted", etcd.ErrUnavailable)
		}
		c.sim.granted++
		id = c.sim.granted
		c.sim.data.leases[id] = lease{ttl, time.Now().Add(ttl)}
		return nil
	})
	return id, err
}

// Renew implements etcd.Store.
func (c *Client) Renew(ctx context.Context, id int64) error {
	return c.do(ctx, func() error {
		l, ok := c.sim.data.leases[id]
		if !ok {
			return etcd.ErrLeaseLost
		}
		l.ends = time.Now().Add(l.ttl)
		c.sim.data.leases[id] = l
		return nil
	})
}

// Revoke implements etcd.Store.
func (c *Client) Revoke(ctx context.Context, id int64) error {
	return c.do(ctx, func() error {
		c.sim.revoke(id)
		return nil
	})
}

// Alarmed implements etcd.Store.
func (c *Client) Alarmed(ctx context.Context) (is bool, err error) {
	err = c.do(ctx, func() error {
		is = c.sim.noSpace
		return nil
	})
	return is, err
}
