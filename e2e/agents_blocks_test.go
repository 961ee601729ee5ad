package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// blocksOf is how many blocks a host owns, as far as its own agent knows.
func blocksOf(h *member, network string) int {
	peers, err := h.Agent().Peers(h.ends.Context(), network)
	if err != nil {
		return 0
	}
	for _, p := range peers {
		if p.Self {
			return len(p.Blocks)
		}
	}
	return 0
}

// offeredBy is how many blocks a host's plugin may give addresses of: the agent knows of a block a moment before.
func offeredBy(h *member, network string) int {
	data, err := os.ReadFile(filepath.Join(h.stateDir(), "networks", network+".json"))
	if err != nil {
		return 0
	}
	document, err := overlay.Decode(data)
	if err != nil {
		return 0
	}
	own, err := document.Hosts.Own(nil)
	if err != nil {
		return 0
	}
	return len(slices.DeleteFunc(own.Blocks, func(b netip.Prefix) bool { return slices.Contains(document.Withheld, b) }))
}

// pieces is a network of small blocks: a /30 has room for three containers.
func pieces(name, subnet string) agentapi.Network {
	return agentapi.Network{Name: name, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix(subnet), BlockLength: 30}}}
}

// says tells whether a host's health has a sentence with a text.
func says(t *testing.T, h *member, text string) bool {
	t.Helper()
	health, err := h.Agent().Health(t.Context())
	return err == nil && strings.Contains(strings.Join(health.Problems, "\n"), text)
}

// Three hosts and a network of two blocks: who has none says so, and it is no host's problem when the network has gone.
func TestNoBlockForTheLast(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 1)
	c.start(t)
	h1 := c.hosts[0]
	if _, err := h1.Agent().Put(t.Context(), pieces("tight", "10.42.0.0/29")); err != nil {
		t.Fatal(err)
	}
	joined := make(map[*member]error)
	for _, h := range c.hosts {
		eventually(t, h.Name+" has its conflist", func() bool { return exists(h.conflist("tight")) })
		joined[h] = h.Agent().Join(t.Context(), "tight")
	}
	var without *member
	eventually(t, "two hosts own a block, and one says that it does not", func() bool {
		owners := 0
		for _, h := range c.hosts {
			if blocksOf(h, "tight") == 1 {
				owners++
			} else {
				without = h
			}
		}
		return owners == 2 && says(t, without, "subnet 10.42.0.0/29 has 2 blocks, all in use")
	})
	for _, h := range c.hosts {
		if (joined[h] != nil) != (h == without) {
			t.Errorf("%s joined: %v", h.Name, joined[h])
		}
		if h != without {
			awaitHealthy(t, h)
		}
	}
	wantRefusal(t, without, "ADD", "tight", tryAgain, "no block of the network is this host's yet")
	if err := without.Agent().Delete(t.Context(), "tight"); err != nil {
		t.Fatal(err)
	}
	awaitHealthy(t, without)
}

// Two agents want the last block at once: one gets it, and on the other's host ADD says to try again.
func TestRaceForTheLastBlock(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 1)
	c.start(t)
	c.put(t, c.hosts[0], pieces("tight", "10.48.0.0/28"))
	fill(t, "tight", "first", c.hosts[:2]...)
	var winner, loser *member
	eventually(t, "one has the last block, and the other says that there is none", func() bool {
		winner, loser = c.hosts[0], c.hosts[1]
		if blocksOf(winner, "tight") == 1 {
			winner, loser = loser, winner
		}
		return blocksOf(winner, "tight") == 2 && blocksOf(loser, "tight") == 1 && says(t, loser, "all in use")
	})
	awaitHealthy(t, winner)
	winner.add(t, "tight", "fourth")
	wantRefusal(t, loser, "ADD", "tight", tryAgain, "10.48.0.")
}

// fill attaches as many containers as a block has room for to each of some hosts, all at once.
func fill(t *testing.T, network, round string, hosts ...*member) {
	t.Helper()
	const room = 3
	var commands []*exec.Cmd
	for _, h := range hosts {
		for i := range room {
			commands = append(commands, h.cni(t, "add", network, h.newGuest(t, fmt.Sprintf("%s%d", round, i))))
		}
	}
	errs := make([]error, len(commands))
	var all sync.WaitGroup
	for i, cmd := range commands {
		all.Go(func() {
			if stdout, stderr, err := run(cmd); err != nil {
				errs[i] = fmt.Errorf("%w: %s%s", err, stdout, stderr)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// A host's block is full: with its agent it gets another, and without it ADD says to try again.
func TestFullBlock(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1)
	c.start(t)
	h := c.hosts[0]
	c.put(t, h, pieces("room", "10.49.0.0/24"))
	h.kill(t)
	fill(t, "room", "first", h)
	wantRefusal(t, h, "ADD", "room", tryAgain, "10.49.0.")
	h.start(t)
	eventually(t, "the agent has claimed another block", func() bool { return offeredBy(h, "room") == 2 })
	fill(t, "room", "second", h)
	eventually(t, "and one more", func() bool { return offeredBy(h, "room") == 3 })
}

// Fifty agents start at once, and the network has just as many blocks.
func TestFiftyAgents(t *testing.T) {
	const agents, all = 50, 64
	c := newCluster(t, agents, 1)
	h1 := c.hosts[0]
	h1.start(t)
	if _, err := h1.Agent().Put(t.Context(), pieces("tight", "10.42.0.0/24")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the conflist is there", func() bool { return exists(h1.conflist("tight")) })
	h1.join(t, "tight")
	own := h1.address(t, "tight")
	h1.kill(t)
	left := all - agents // are others' already
	for i := 0; left > 0; i++ {
		first := fmt.Sprintf("10.42.0.%d", 4*i)
		if first == own {
			continue
		}
		if _, err := c.etcd.Ctl(0, "put", "/fairway/v1/net/tight/blocks/"+first+"/30", "earlier"); err != nil {
			t.Fatal(err)
		}
		left--
	}
	c.start(t)
	var joins errgroup.Group
	for _, h := range c.hosts {
		joins.Go(func() error { return h.Agent().Join(t.Context(), "tight") })
	}
	if err := joins.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		eventually(t, h.Name+" has its block", func() bool { return blocksOf(h, "tight") == 1 && exists(h.conflist("tight")) })
	}
	made, err := h1.Agent().Network(t.Context(), "tight")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		awaitHealthy(t, h)
		c.awaitPeers(t, h, made, agents-1)
	}
	last := c.hosts[agents-1]
	ns, addr := last.add(t, "tight", "last")
	first, _ := h1.add(t, "tight", "first")
	ping(t, first.Path, addr)
	ping(t, ns.Path, own)
}
