// Package registry keeps overlay networks in etcd: their definitions, which hosts are members of them, and which host owns
// which part of their subnets.
//
// Ownership is never leased, so that losing etcd takes nothing away. The leased keys are a host's heartbeat, which only decides
// when the blocks of a host that has been dead for long may be given to others, and two that say who reclaims, and when nobody
// may.
//
// Everything that must not happen twice is a transaction: a block, a VNI or a name belongs to who creates its key, and
// who loses tries another. Nothing is locked, and nobody waits for anybody.
//
// Each record is judged alone, once, when it is read: it is absent, readable or unreadable, and one that is unreadable is left
// out and named. The store itself is not trusted either: it may have been restored from a backup, or emptied (see Memory).
package registry

import (
	"context"
	"errors"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

var (
	// ErrExhausted says that every block of a subnet has an owner.
	ErrExhausted = errors.New("no block is free")
	// ErrNodeTaken says that another machine with the same node name is alive.
	ErrNodeTaken = errors.New("node name is in use")
	// ErrAddressTaken says that another host that is alive has the same address on the underlay.
	ErrAddressTaken = errors.New("underlay address is in use")
	// ErrUnverified says that the store may not be the one that this host knows, which it finds out about in a moment.
	ErrUnverified = errors.New("it is not known yet whether etcd went back")
	// ErrSettling says that the store went back a moment ago, and hosts claim again what they had.
	ErrSettling = errors.New("etcd was restored or replaced, and hosts claim again what they had: new blocks are given in a moment")
)

// Client is the registry as one host uses it. It may be used by several goroutines.
type Client struct {
	store etcd.Store
}

// New makes a client.
func New(store etcd.Store) *Client { return &Client{store: store} }

// attempt runs one transaction.
func (c *Client) attempt(ctx context.Context, conditions []etcd.Condition, then, otherwise []etcd.Op) (etcd.Result, error) {
	return c.store.Txn(ctx, etcd.Txn{If: conditions, Then: then, Otherwise: otherwise})
}

// get reads one key.
func (c *Client) get(ctx context.Context, key string) (kv etcd.KV, found bool, err error) {
	page, err := c.store.Range(ctx, etcd.Range{Key: key})
	if err != nil || len(page.KVs) == 0 {
		return etcd.KV{}, false, err
	}
	return page.KVs[0], true, nil
}

// pageSize is how many keys are read at once.
const pageSize = 1000

// list reads a range page by page, all at one revision. ErrCompacted: the list took longer than etcd keeps it.
func (c *Client) list(ctx context.Context, r etcd.Range) (revision int64, all []etcd.KV, err error) {
	r.Limit = pageSize
	for {
		page, err := c.store.Range(ctx, r)
		if err != nil {
			return 0, nil, err
		}
		if r.Revision == 0 {
			r.Revision = page.Revision
		}
		all = append(all, page.KVs...)
		if !page.More {
			return r.Revision, all, nil
		}
		r.Key = page.KVs[len(page.KVs)-1].Key + "\x00"
	}
}

// exists is the condition that a network is still the one that a state knows.
func exists(n *Network) etcd.Condition {
	return etcd.CreatedAt(networkKey(n.Name), n.Created)
}

// SettleFor is how long nobody claims anything new after the store went back, and nothing is taken away for not being in it: long
// enough for the hosts to find out, and for the heartbeats of those that cannot to end.
const SettleFor = 3 * time.Minute
