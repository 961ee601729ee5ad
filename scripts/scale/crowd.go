package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// networkName is the one network's.
const networkName = "scale"

// crowd is hosts without a kernel: each has its own connection, and follows the network.
type crowd struct {
	stores  []*etcd.Client
	clients []*registry.Client
	network *registry.Network // as it was when nobody had joined
	ends    sync.WaitGroup
	views   []*registry.Following // of the hosts

	mu    sync.Mutex
	known []int         // nodes that each host knows
	grown chan struct{} // a host has learned
}

// connect makes the clients.
func connect(hosts int, endpoints []string) (*crowd, error) {
	c := &crowd{known: make([]int, hosts), views: make([]*registry.Following, hosts), grown: make(chan struct{}, 1)}
	for range hosts {
		store, err := etcd.Open(etcd.Config{Endpoints: endpoints})
		if err != nil {
			return c, err
		}
		c.stores, c.clients = append(c.stores, store), append(c.clients, registry.New(store))
	}
	return c, nil
}

// newCrowd makes the network and the clients.
func newCrowd(ctx context.Context, hosts int, endpoints []string) (*crowd, error) {
	c, err := connect(hosts, endpoints)
	if err != nil {
		return c, err
	}
	_, err = c.clients[0].Create(ctx, agentapi.Network{
		Name: networkName, VNI: 4096, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix("10.0.0.0/10"), BlockLength: 26}},
	})
	if err != nil {
		return c, err
	}
	c.network, err = c.follow(ctx, 0, 0)
	return c, err
}

// follow has a host follow the network, and waits until it knows so many nodes.
func (c *crowd) follow(ctx context.Context, host, count int) (*registry.Network, error) {
	return c.followOne(ctx, networkName, host, count)
}

// followOne is follow of any network.
func (c *crowd) followOne(ctx context.Context, network string, host, count int) (*registry.Network, error) {
	w := &watcher{crowd: c, network: network, host: host, count: count, knows: make(chan *registry.Network, 1)}
	following := c.clients[host].NewFollowing(w, registry.Memory{}, func() registry.Defaults {
		return registry.Defaults{ReclaimAfter: registry.Duration(24 * time.Hour), Family: 4}
	})
	following.Join([]string{network})
	c.views[host] = following
	c.ends.Go(func() { following.Run(ctx) })
	select {
	case n := <-w.knows:
		return n, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// watcher is one host's view.
type watcher struct {
	*crowd
	network string
	host    int
	// knows gets the network when count nodes are known.
	count int
	knows chan *registry.Network
}

// Update counts the nodes.
func (w *watcher) Update(s registry.State, _ registry.Changed) {
	n := s.Networks[w.network]
	if !n.Readable() || !n.Followed {
		return
	}
	if len(n.Members) >= w.count {
		select {
		case w.knows <- n:
		default: // it has been told
		}
	}
	w.mu.Lock()
	w.known[w.host] = len(n.Members)
	w.mu.Unlock()
	select {
	case w.grown <- struct{}{}:
	default:
	}
}

// Remember has nothing to remember for.
func (w *watcher) Remember(registry.Memory, error) {}

// Disturbed says what etcd cannot cope with.
func (w *watcher) Disturbed(err error) {
	if err != nil && w.host == 0 {
		fmt.Println("disturbed:", err)
	}
}

// width is how many hosts do the same at a time. A thousand at once would run into the deadlines of their requests, on one
// machine with all of them and etcd.
const width = 16

// each has every host do something.
func (c *crowd) each(f func(host int) error) error {
	var g errgroup.Group
	g.SetLimit(width)
	for host := range c.clients {
		g.Go(func() error { return f(host) })
	}
	return g.Wait()
}

// join makes every host one of the network.
func (c *crowd) join(ctx context.Context) error {
	return c.each(func(host int) error { return c.enter(ctx, host) })
}

// read has the hosts other than the first, which follows the network from the beginning, follow it too.
func (c *crowd) read(ctx context.Context) error {
	err := c.each(func(host int) error {
		if host == 0 {
			return nil
		}
		_, err := c.follow(ctx, host, len(c.clients))
		return err
	})
	return errors.Join(err, c.await(ctx, len(c.clients)))
}

func nodeName(host int) string { return fmt.Sprintf("host%05d", host) }

// beat has a host give its heartbeat until the end.
func (c *crowd) beat(ctx context.Context, host int) {
	c.ends.Go(func() {
		c.clients[host].Beat(ctx, registry.Heartbeat{Node: nodeName(host), BootID: fmt.Sprintf("boot%05d", host), TTL: 30 * time.Second, Report: func(int64, error) {}})
	})
}

// readAtOnce has all hosts follow the network at once, beside their heartbeats.
func (c *crowd) readAtOnce(ctx context.Context) error {
	var g errgroup.Group
	for host := range c.clients {
		c.beat(ctx, host)
		g.Go(func() error {
			_, err := c.follow(ctx, host, len(c.clients))
			return err
		})
	}
	return errors.Join(g.Wait(), c.await(ctx, len(c.clients)))
}

// enter makes a host one of the network: sign of life, block, record.
func (c *crowd) enter(ctx context.Context, i int) error {
	client, node, boot := c.clients[i%len(c.clients)], nodeName(i), fmt.Sprintf("boot%05d", i)
	alive := make(chan struct{})
	var once sync.Once
	c.ends.Go(func() {
		client.Beat(ctx, registry.Heartbeat{Node: node, BootID: boot, TTL: 30 * time.Second, Report: func(_ int64, err error) {
			if err == nil {
				once.Do(func() { close(alive) })
			}
		}})
	})
	select {
	case <-alive:
	case <-ctx.Done():
		return ctx.Err()
	}
	host := hostOf(i)
	return again(ctx, func() error {
		if err := client.Publish(ctx, registry.State{}, node, boot, host); err != nil {
			return err
		}
		if err := client.Enter(ctx, registry.State{}, c.network, node, boot, host); err != nil {
			return err
		}
		_, err := client.Claim(ctx, registry.Memory{}, c.network, node, boot, c.network.Definition.Subnets[0])
		return err
	})
}

// again does as an agent does whose request etcd has not answered.
func again(ctx context.Context, f func() error) error {
	const pause = 2 * time.Second
	for {
		err := f()
		if err == nil || !errors.Is(err, etcd.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return err
		}
	}
}

// hostOf is the record of a host, at an address of RFC 2544, for benchmarks.
func hostOf(i int) registry.Host {
	return registry.Host{VTEP: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), MTU: 1500}
}

// oneNetwork has one more network be made, which some hosts join, and gives what etcd has sent for it, in bytes.
func (c *crowd) oneNetwork(ctx context.Context, members int, endpoint string) (int64, error) {
	idle, err := idleBytes(ctx, endpoint)
	if err != nil {
		return 0, err
	}
	before, err := sentBytes(ctx, endpoint)
	if err != nil {
		return 0, err
	}
	const name = "more"
	made, err := c.clients[0].Create(ctx, agentapi.Network{
		Name: name, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix("172.16.0.0/12"), BlockLength: 26}},
	})
	if err != nil {
		return 0, err
	}
	for i := range members {
		n, _, err := c.clients[i].Network(ctx, name)
		if err != nil {
			return 0, err
		}
		node, boot := nodeName(i), fmt.Sprintf("boot%05d", i)
		if err := c.clients[i].Enter(ctx, registry.State{}, n, node, boot, hostOf(i)); err != nil {
			return 0, err
		}
		if _, _, err := c.clients[i].Guess(ctx, registry.Memory{}, n, node, boot, made.Subnets[0]); err != nil {
			return 0, err
		}
		c.views[i].Join([]string{networkName, name})
	}
	return steady(ctx, endpoint, before, idle)
}

// look is between two looks at what etcd has sent.
const look = 2 * time.Second

// idleBytes is what etcd sends between two looks while nothing happens: hosts renew leases, and look whether it went back.
func idleBytes(ctx context.Context, endpoint string) (int64, error) {
	const looks = 16 // two rounds of every host
	before, err := sentBytes(ctx, endpoint)
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(looks * look):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	now, err := sentBytes(ctx, endpoint)
	return (now - before) / looks, err
}

// steady waits until etcd sends little more than while nothing happens, and gives what it has sent beside that.
func steady(ctx context.Context, endpoint string, before, idle int64) (int64, error) {
	const little = 20_000
	for looks, last := int64(1), before; ; looks++ {
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		now, err := sentBytes(ctx, endpoint)
		if err != nil || now-last < little+2*idle {
			return now - before - looks*idle, err
		}
		last = now
	}
}

// sentBytes is how many bytes etcd has sent to its clients.
func sentBytes(ctx context.Context, endpoint string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\netcd_network_client_grpc_sent_bytes_total ")
	var count float64
	_, err = fmt.Sscan(after, &count)
	return int64(count), err
}

// await waits until each host knows so many nodes.
func (c *crowd) await(ctx context.Context, count int) error {
	for {
		c.mu.Lock()
		least := slices.Min(c.known)
		c.mu.Unlock()
		if least >= count {
			return nil
		}
		select {
		case <-c.grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// oneMore has one more host join, beside the real agent, and gives the time until the last knows it.
func (c *crowd) oneMore(ctx context.Context, i int) (time.Duration, error) {
	start := time.Now()
	if err := c.enter(ctx, i); err != nil {
		return 0, err
	}
	const realAgent = 1
	err := c.await(ctx, i+1+realAgent)
	return time.Since(start), err
}

// close waits for what goes on in the background, and has to end with its context.
func (c *crowd) close() {
	for _, store := range c.stores {
		store.Close()
	}
	c.ends.Wait()
}

// spread gives the least, the middle, the 99th of a hundred, and the most of some times.
func spread(samples []time.Duration) (low, middle, p99, high time.Duration) {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[0], sorted[len(sorted)/2], sorted[(len(sorted)*99+99)/100-1], sorted[len(sorted)-1]
}
