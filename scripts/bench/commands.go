package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// The command line is measured on a host of 2000 containers over four bridges (one has 1023 ports at most) and of 500 networks.
const (
	crowdName     = "command line, 2000 containers, 500 networks"
	crowdBridges  = 4
	crowdOfBridge = 500
	crowdNetworks = 500
)

// wall and busy are the time that a command takes, and that of the processors, its children's included.
const (
	wall verb = "wall"
	busy verb = "CPU"
)

// crowd is such a host.
type crowd struct {
	fairway    string
	plugins    string
	netconf    string
	host       *testnet.Namespace
	containers []*testnet.Namespace
}

// ofCommands are the rows of the command line.
func (b bench) ofCommands() []measurement {
	return []measurement{{crowdName, b.commands}}
}

// step is a command line that is measured, with a goal for the time that it takes in milliseconds.
type step struct {
	name   string
	args   []string
	rounds int
}

func (b bench) commands(ctx context.Context) (rows []Row, err error) {
	c := &crowd{fairway: filepath.Join(b.ours.dir, "fairway"), plugins: b.ours.dir, netconf: filepath.Join(b.scratch, "netconf")}
	defer func() { err = errors.Join(err, c.close()) }()
	if c.host, err = newHost("crowd"); err != nil {
		return nil, err
	}
	if err := c.makeNetworks(); err != nil {
		return nil, err
	}
	first, err := c.connects(ctx, "first", min(b.rounds, 5))
	if err != nil {
		return nil, err
	}
	if err := c.fill(ctx); err != nil {
		return nil, err
	}
	last, err := c.connects(ctx, "last", min(b.rounds, 5))
	if err != nil {
		return nil, err
	}
	rows = append(rows, grownRows(first, last)...)
	for _, s := range []step{
		{"ls", []string{"ls"}, 5},
		{"ls --filter dangling=true", []string{"ls", "--filter", "dangling=true"}, 5},
		{"inspect (500 containers)", []string{"inspect", "crowd0"}, 5},
		{"inspect (none)", []string{"inspect", "quiet9"}, 5},
		{"topology", []string{"topology"}, 5},
		{"topology -o html", []string{"topology", "-o", "html"}, 3},
		{"doctor", []string{"doctor"}, 3},
		{"gc", []string{"gc"}, 3},
		{"prune (nothing)", []string{"prune", "-f", "--filter", "label=none"}, 3},
		{"prune (496 networks)", []string{"prune", "-f"}, 1},
	} {
		var measured []took
		for range min(b.rounds, s.rounds) {
			t, err := c.run(ctx, s.args...)
			if err != nil {
				return rows, err
			}
			measured = append(measured, t)
		}
		rows = append(rows, timeRows(s.name, measured)...)
	}
	return rows, nil
}

// took is what a command took, in milliseconds.
type took struct{ wall, processor float64 }

func timeRows(name string, measured []took) []Row {
	rows := []Row{
		{Case: "fairway " + name, Verb: wall, Unit: milliseconds, Goal: atMost(1000)}, {Case: "fairway " + name, Verb: busy, Unit: milliseconds},
	}
	for _, t := range measured {
		rows[0].Ours, rows[1].Ours = append(rows[0].Ours, t.wall), append(rows[1].Ours, t.processor)
	}
	return rows
}

// grownRows hold what connect takes for the last container against what it took for the first.
func grownRows(first, last []took) []Row {
	rows := timeRows("connect", last)
	for _, t := range first {
		rows[1].Reference = append(rows[1].Reference, t.processor)
	}
	rows[1].Ratio = rows[1].Ours.median() / rows[1].Reference.median()
	return rows
}

// run runs a command line of fairway on the host.
func (c *crowd) run(ctx context.Context, args ...string) (took, error) {
	cmd := c.host.Command(c.fairway, append([]string{"--cni-path", c.plugins, "--netconf-dir", c.netconf}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	start := time.Now()
	err := cmd.Run()
	t := took{wall: inMilliseconds(time.Since(start))}
	if ctx.Err() != nil {
		return t, ctx.Err()
	}
	if err != nil {
		return t, fmt.Errorf("fairway %s: %w: %s", args[0], err, said.String())
	}
	t.processor = inMilliseconds(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime())
	return t, nil
}

// makeNetworks makes the bridges with their networks, and further networks that nobody is on.
func (c *crowd) makeNetworks() error {
	names := make([]string, 0, crowdNetworks)
	for i := range crowdBridges {
		names = append(names, fmt.Sprintf("crowd%d", i))
	}
	for i := crowdBridges; i < crowdNetworks; i++ {
		names = append(names, fmt.Sprintf("quiet%d", i))
	}
	for i, name := range names {
		subnet := fmt.Sprintf("10.%d.%d.0/22", 100+i/64, i%64*4)
		if _, err := c.run(context.Background(), "create", "--subnet", subnet, name); err != nil {
			return err
		}
	}
	return nil
}

// connects connects a container some times, and disconnects it again.
func (c *crowd) connects(ctx context.Context, name string, rounds int) (measured []took, err error) {
	ns, err := testnet.New("crowd-" + name)
	if err != nil {
		return nil, err
	}
	c.containers = append(c.containers, ns)
	for range rounds {
		t, err := c.run(ctx, "connect", "crowd0", "netns:"+ns.Path)
		if err != nil {
			return nil, err
		}
		measured = append(measured, t)
		if _, err := c.run(ctx, "disconnect", "crowd0", "netns:"+ns.Path); err != nil {
			return nil, err
		}
	}
	return measured, nil
}

// fill attaches the containers as a runtime does, by libcni.
func (c *crowd) fill(ctx context.Context) error {
	for i := range crowdBridges {
		network, err := libcni.NetworkConfFromFile(filepath.Join(c.netconf, fmt.Sprintf("fairway-crowd%d.conflist", i)))
		if err != nil {
			return err
		}
		beds := &bed{entrant: entrant{suite{name: "crowd", dir: c.plugins}, Case{}}, host: c.host, network: network}
		beds.runtime = beds.suite.runtime("")
		var group errgroup.Group
		group.SetLimit(4)
		for j := range crowdOfBridge {
			ns, err := testnet.New(fmt.Sprintf("crowd-%d-%d", i, j))
			if err != nil {
				return errors.Join(err, group.Wait())
			}
			c.containers = append(c.containers, ns)
			group.Go(func() error {
				_, err := beds.do(ctx, add, container{id: fmt.Sprintf("crowd-%d-%d", i, j), ns: ns})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) close() error {
	var errs []error
	for _, ns := range c.containers {
		errs = append(errs, ns.Close())
	}
	if c.host != nil {
		errs = append(errs, c.host.Close())
	}
	left, err := filepath.Glob("/var/lib/cni/*") // which is this program's own
	for _, path := range append(left, c.netconf) {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(append(errs, err)...)
}
