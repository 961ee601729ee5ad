// Command scale measures an overlay network of many hosts: clients of one etcd, each of which follows the network as a node
// agent does, in one process; and beside them one real agent, whose kernel has the way to all of them. It runs in network and
// mount namespaces that it makes for itself. It is a benchmark and not a test.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

type options struct {
	fairwayd         string
	hosts, rounds    int
	networks, joined int
	members          int
}

func main() {
	var o options
	flag.StringVar(&o.fairwayd, "fairwayd", "bin/fairwayd", "the node agent's `file`")
	flag.IntVar(&o.hosts, "hosts", 1000, "`number` of hosts")
	flag.IntVar(&o.rounds, "n", 10, "`rounds` of one more host")
	flag.IntVar(&o.networks, "networks", 0, "what an agent costs among so many `networks`, with each host on all of them; 0: hosts that follow one network")
	flag.IntVar(&o.joined, "joined", 1, "`number` of these networks that the agent is on")
	flag.IntVar(&o.members, "members", 0, "how long hosts take that all start at once, on networks with so many `members` each; 0: not measured")
	flag.Parse()
	if o.hosts < 1 || o.hosts > 10000 || o.rounds < 1 || o.networks < 0 || o.networks > 200 || o.joined < 1 || o.members < 0 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if o.fairwayd, err = filepath.Abs(o.fairwayd); err != nil {
		return err
	}
	if err := testnet.Isolate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "fairway-scale-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	etcd, err := testnet.StartEtcd(testnet.EtcdMember{Name: "a", Address: "127.0.0.1", Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	if o.members > 0 {
		return manyPowerCut(ctx, o, etcd.Endpoints())
	}
	if o.networks > 0 {
		return costs(ctx, o, etcd.Endpoints(), dir)
	}
	if err := measure(ctx, o, etcd.Endpoints(), dir); err != nil {
		return err
	}
	return powerCut(ctx, o, etcd.Endpoints())
}

// measure prints one row for each figure.
func measure(ctx context.Context, o options, endpoints []string, dir string) error {
	ctx, stop := context.WithCancel(ctx)
	c, err := newCrowd(ctx, o.hosts, endpoints)
	defer func() {
		stop()
		c.close()
	}()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := c.join(ctx); err != nil {
		return err
	}
	row(fmt.Sprintf("%d hosts claim a block and publish, %d at a time", o.hosts, width), time.Since(start))
	start = time.Now()
	if err := c.read(ctx); err != nil {
		return err
	}
	row(fmt.Sprintf("%d hosts begin to follow, %d at a time", o.hosts, width), time.Since(start))

	agent, err := startAgent(o.fairwayd, dir, endpoints, "--join="+networkName)
	if err != nil {
		return err
	}
	defer agent.stop()
	took, err := agent.awaitPeers(ctx, "fwvx4096", o.hosts)
	if err != nil {
		return err
	}
	row(fmt.Sprintf("one agent starts, until its kernel has %d peers", o.hosts), took)
	if err := agent.printMemory(); err != nil {
		return err
	}

	var samples []time.Duration
	for i := range o.rounds {
		took, err := c.oneMore(ctx, o.hosts+i)
		if err != nil {
			return err
		}
		samples = append(samples, took)
	}
	const joined = 10
	sent, err := c.oneNetwork(ctx, min(joined, o.hosts), endpoints[0])
	if err != nil {
		return err
	}
	fmt.Printf("%-72s %10.1f KiB\n", fmt.Sprintf("one more network of which %d hosts join: sent by etcd", min(joined, o.hosts)), float64(sent)/1024)
	low, middle, p99, high := spread(samples)
	row("one more host, until the last knows it: min", low)
	row("median", middle)
	row("99th of a hundred", p99)
	row("max", high)
	return nil
}

func row(what string, took time.Duration) {
	fmt.Printf("%-72s %10.1f ms\n", what, float64(took.Microseconds())/1000)
}

// powerCut has all hosts start at once, as new processes, until each knows all. Before that, all have ended at once.
func powerCut(ctx context.Context, o options, endpoints []string) error {
	ctx, stop := context.WithCancel(ctx)
	c, err := connect(o.hosts, endpoints)
	defer func() {
		stop()
		c.close()
	}()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := c.readAtOnce(ctx); err != nil {
		return err
	}
	row(fmt.Sprintf("%d hosts start at once, until each knows all", o.hosts), time.Since(start))
	return nil
}
