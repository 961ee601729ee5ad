package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// manyPowerCut has all hosts of many networks start at once, each of which is a member of one: until each has given its heartbeat and knows
// the other members. What they had is in etcd, as they left it.
func manyPowerCut(ctx context.Context, o options, endpoints []string) error {
	ctx, stop := context.WithCancel(ctx)
	o.networks = (o.hosts + o.members - 1) / o.members
	r, err := newRecords(ctx, options{networks: o.networks}, endpoints)
	if r != nil {
		defer r.store.Close()
	}
	if err != nil {
		stop()
		return err
	}
	for host := range o.hosts {
		r.put(ctx, "nodes/"+nodeName(host), hostRecord(host, 0))
		r.join(ctx, host/o.members, host)
	}
	if err := r.flush(ctx); err != nil {
		stop()
		return err
	}
	c, err := connect(o.hosts, endpoints)
	defer func() {
		stop()
		c.close()
	}()
	if err != nil {
		return err
	}
	before, err := sentBytes(ctx, endpoints[0])
	if err != nil {
		return err
	}
	start := time.Now()
	took, err := c.startAtOnce(ctx, r, o)
	if err != nil {
		return err
	}
	_, middle, p99, high := spread(took)
	what := fmt.Sprintf("%d hosts on networks of %d start at once, until the ", o.hosts, o.members)
	row(what+"middle one knows all", middle)
	row("99 of a hundred do", p99)
	row("the last does", high)
	if err := c.awaitHeartbeats(ctx, r); err != nil {
		return err
	}
	row("all have given their heartbeat", time.Since(start))
	sent, err := sentBytes(ctx, endpoints[0])
	fmt.Printf("%-72s %10.1f MiB\n", "sent by etcd meanwhile", float64(sent-before)/(1<<20))
	return err
}

// startAtOnce gives the time of each.
func (c *crowd) startAtOnce(ctx context.Context, r *records, o options) ([]time.Duration, error) {
	var g errgroup.Group
	took, start := make([]time.Duration, o.hosts), time.Now()
	for host := range c.clients {
		c.beat(ctx, host)
		g.Go(func() error {
			network := host / o.members
			_, err := c.followOne(ctx, r.networks[network], host, min(o.members, o.hosts-network*o.members))
			took[host] = time.Since(start)
			return err
		})
	}
	return took, g.Wait()
}

// awaitHeartbeats waits until etcd has those of all.
func (c *crowd) awaitHeartbeats(ctx context.Context, r *records) error {
	for {
		count := 0
		page, err := r.store.Range(ctx, etcd.Prefix(root+"alive/"))
		if err == nil {
			count = len(page.KVs)
		}
		if count >= len(c.clients) {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
