package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// formerAgent is what an agent of the release before join on demand does: every host is a member of every network from its start, and
// its address is in its membership. It writes no record of the host, and knows of none.
type formerAgent struct {
	host   *simHost
	cancel context.CancelFunc // nil: it does not run
	ends   sync.WaitGroup
	lease  int64
}

const (
	formerPass = 5 * time.Second
	formerRoot = "/fairway/v1/"
)

func (f *formerAgent) runs() bool { return f != nil && f.cancel != nil }

func (f *formerAgent) up() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.ends.Go(func() {
		for ctx.Err() == nil {
			_ = f.pass(ctx) // the next one is soon
			select {
			case <-ctx.Done():
			case <-time.After(formerPass):
			}
		}
	})
}

func (f *formerAgent) down() {
	f.cancel()
	f.ends.Wait()
	f.cancel, f.lease = nil, 0
}

// formerState is what it reads.
type formerState struct {
	created map[string]int64
	values  map[string]string
}

// pass does what there is to do.
func (f *formerAgent) pass(ctx context.Context) error {
	h := f.host
	if err := f.beat(ctx); err != nil {
		return err
	}
	page, err := h.etcd.Range(ctx, etcd.Prefix(formerRoot))
	if err != nil {
		return err
	}
	s := formerState{make(map[string]int64), make(map[string]string)}
	for _, kv := range page.KVs {
		key := strings.TrimPrefix(kv.Key, formerRoot)
		s.values[key], s.created[key] = kv.Value, kv.Created
	}
	for key, value := range s.values {
		name, ok := strings.CutPrefix(key, "networks/")
		var n agentapi.Network
		if !ok || json.Unmarshal([]byte(value), &n) != nil {
			continue
		}
		if err := f.network(ctx, s, name, n); err != nil {
			return err
		}
	}
	return nil
}

func (f *formerAgent) beat(ctx context.Context) (err error) {
	h := f.host
	if f.lease != 0 && h.etcd.Renew(ctx, f.lease) == nil {
		return nil
	}
	if f.lease, err = h.etcd.Grant(ctx, simTTL); err != nil {
		return err
	}
	key := formerRoot + "alive/" + h.node
	put := []etcd.Op{etcd.SetWith(key, h.bootID(), f.lease)}
	for _, condition := range []etcd.Condition{etcd.Absent(key), etcd.Is(key, h.bootID())} {
		if r, err := h.etcd.Txn(ctx, etcd.Txn{If: []etcd.Condition{condition}, Then: put}); err != nil || r.Done {
			return err
		}
	}
	f.lease = 0
	return fmt.Errorf("%s is taken", h.node)
}

// network publishes this host, claims a block, and programs what the memberships say.
func (f *formerAgent) network(ctx context.Context, s formerState, name string, n agentapi.Network) error {
	h, prefix := f.host, formerRoot+"net/"+name+"/"
	created := s.created["networks/"+name]
	mine := []etcd.Condition{etcd.CreatedAt(formerRoot+"networks/"+name, created), etcd.Is(formerRoot+"alive/"+h.node, h.bootID())}
	record := fmt.Sprintf(`{"vtep":"%s","bootID":"%s"}`, h.vtep, h.bootID())
	if s.values["net/"+name+"/nodes/"+h.node] != record {
		if _, err := h.etcd.Txn(ctx, etcd.Txn{If: mine, Then: []etcd.Op{etcd.Set(prefix+"nodes/"+h.node, record)}}); err != nil {
			return err
		}
	}
	h.mu.Lock()
	used := len(h.containers[name]) > 0
	h.mu.Unlock()
	if _, says := s.values["net/"+name+"/used/"+h.node]; says != used {
		op := etcd.Set(prefix+"used/"+h.node, "")
		if !used {
			op = etcd.Remove(prefix + "used/" + h.node)
		}
		if _, err := h.etcd.Txn(ctx, etcd.Txn{If: mine[:1], Then: []etcd.Op{op}}); err != nil {
			return err
		}
	}
	blocks := make(map[string][]netip.Prefix)
	for key, owner := range s.values {
		if text, ok := strings.CutPrefix(key, "net/"+name+"/blocks/"); ok {
			blocks[owner] = append(blocks[owner], netip.MustParsePrefix(text))
		}
	}
	if len(blocks[h.node]) == 0 {
		block := f.free(n, blocks)
		key := prefix + "blocks/" + block.String()
		_, err := h.etcd.Txn(ctx, etcd.Txn{If: append(mine, etcd.Absent(key)), Then: []etcd.Op{etcd.Set(key, h.node)}})
		return err // it is offered by the next pass
	}
	f.program(s, n, created, blocks)
	return nil
}

func (f *formerAgent) free(n agentapi.Network, blocks map[string][]netip.Prefix) netip.Prefix {
	all := slices.Concat(slices.Collect(maps.Values(blocks))...)
	for {
		addr := n.Subnets[0].Prefix.Addr().As4()
		addr[3] = byte(rand.IntN(32) * 8)
		block := netip.PrefixFrom(netip.AddrFrom4(addr), n.Subnets[0].BlockLength)
		if !slices.Contains(all, block) {
			return block
		}
	}
}

// program has the way to all that say where they are.
func (f *formerAgent) program(s formerState, n agentapi.Network, created int64, blocks map[string][]netip.Prefix) {
	h := f.host
	snap := snapshot{definition: n, created: created, mtu: 1500, hosts: overlay.Hosts{Self: h.vtep}}
	for key, value := range s.values {
		node, ok := strings.CutPrefix(key, "net/"+n.Name+"/nodes/")
		var record struct {
			VTEP netip.Addr `json:"vtep"`
		}
		if !ok || json.Unmarshal([]byte(value), &record) != nil || !record.VTEP.IsValid() {
			continue
		}
		slices.SortFunc(blocks[node], netip.Prefix.Compare)
		peer := overlay.Peer{Node: node, VTEP: record.VTEP, Blocks: blocks[node]}
		if node == h.node {
			snap.hosts.Peers = slices.Insert(snap.hosts.Peers, 0, peer)
		} else {
			snap.hosts.Peers = append(snap.hosts.Peers, peer)
		}
	}
	text, err := snap.forPlugin(blocks[h.node], "/full", "/confirmed")
	if err != nil || len(snap.hosts.Peers) == 0 || snap.hosts.Peers[0].Node != h.node {
		return // its own membership is written by the next pass
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disk[n.Name], h.small[n.Name], h.programmed[n.Name], h.offered[n.Name] = snap, text, snap, n
}
