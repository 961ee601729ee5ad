package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// networkName is the one network's.
const networkName = "scale"

// crowd is hosts without a kernel: each has its own connection, and follows the network.
type crowd struct {
	clients []*registry.Client
	network *registry.Network // as it was when nobody had joined
	stop    context.CancelFunc
	ends    sync.WaitGroup

	mu    sync.Mutex
	known []int         // nodes that each host knows
	grown chan struct{} // a host has learned
}

// newCrowd makes the network and the clients.
func newCrowd(ctx context.Context, hosts int, endpoints []string) (*crowd, error) {
	c := &crowd{known: make([]int, hosts), grown: make(chan struct{}, 1)}
	ctx, c.stop = context.WithCancel(ctx)
	for range hosts {
		client, err := registry.Open(registry.Config{Endpoints: endpoints})
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		c.clients = append(c.clients, client)
	}
	_, err := c.clients[0].Create(ctx, agentapi.Network{
		Name: networkName, VNI: 4096, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix("10.0.0.0/10"), BlockLength: 26}},
	})
	if err != nil {
		return nil, err
	}
	made := make(chan *registry.Network, 1)
	for i, client := range c.clients {
		c.ends.Go(func() { client.Follow(ctx, &watcher{crowd: c, host: i, made: made}) })
	}
	select {
	case c.network = <-made:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// watcher is one host's view.
type watcher struct {
	*crowd
	host int
	made chan<- *registry.Network
}

// Update counts the nodes.
func (w *watcher) Update(s registry.State, _ []string) {
	n := s.Networks[networkName]
	if n == nil || n.Created == 0 {
		return
	}
	select {
	case w.made <- n:
	default:
	}
	w.mu.Lock()
	w.known[w.host] = len(n.Nodes)
	w.mu.Unlock()
	select {
	case w.grown <- struct{}{}:
	default:
	}
}

// Disturbed says what etcd cannot cope with.
func (w *watcher) Disturbed(err error) {
	if err != nil && w.host == 0 {
		fmt.Println("disturbed:", err)
	}
}

// join has every host join at once, and waits until each knows all.
func (c *crowd) join(ctx context.Context) error {
	errs := make([]error, len(c.clients))
	var all sync.WaitGroup
	for i := range c.clients {
		all.Go(func() { errs[i] = c.enter(ctx, i) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.await(ctx, len(c.clients))
}

// enter makes a host one of the network: sign of life, block, record.
func (c *crowd) enter(ctx context.Context, i int) error {
	client, node, boot := c.clients[i%len(c.clients)], fmt.Sprintf("host%05d", i), fmt.Sprintf("boot%05d", i)
	if _, err := client.Claim(ctx, c.network, node, c.network.Definition.Subnets[0]); err != nil {
		return err
	}
	alive := make(chan struct{})
	var once sync.Once
	c.ends.Go(func() {
		client.StayAlive(ctx, node, boot, 30*time.Second, func(err error) {
			if err == nil {
				once.Do(func() { close(alive) })
			}
		})
	})
	select {
	case <-alive:
	case <-ctx.Done():
		return ctx.Err()
	}
	vtep := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) // RFC 2544: for benchmarks
	return client.Publish(ctx, networkName, node, c.network.Created, registry.Node{VTEP: vtep, BootID: boot})
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

func (c *crowd) close() {
	c.stop()
	for _, client := range c.clients {
		client.Close()
	}
	c.ends.Wait()
}

// spread gives the least, the middle and the most of some times.
func spread(samples []time.Duration) (low, middle, high time.Duration) {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
}
