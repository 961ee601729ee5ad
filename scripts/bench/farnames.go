package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

const (
	farCase   = "names, three hosts"
	farRounds = 100
)

// farNames is how long after the start of an ADD on one host containers on the two others are told of its container.
func (b bench) farNames(ctx context.Context) (rows []Row, err error) {
	hosts, err := testnet.RaiseHosts(testnet.HostsConfig{Dir: filepath.Join(b.scratch, "hosts"), Count: 3, Plugins: b.ours.dir})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, hosts.Close()) }()
	etcd, err := hosts.StartEtcd(1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	for _, h := range hosts.All {
		if _, err := h.StartAgent(etcd.Endpoints()); err != nil {
			return nil, err
		}
		if err := h.AwaitHealthy(ctx); err != nil {
			return nil, err
		}
	}
	// What is unknown on an internal network is answered at once, and asked for nowhere.
	wide := agentapi.Network{Name: networkName, Internal: true, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix("10.42.0.0/16")}}}
	if _, err := hosts.All[0].Agent().Put(ctx, wide); err != nil {
		return nil, err
	}
	var askers []container
	for _, h := range hosts.All {
		if err := awaitFile(ctx, h.File(networkFile)); err != nil {
			return nil, err
		}
		asker, err := attachOn(h, "asker-"+h.Name)
		if err != nil {
			return nil, err
		}
		askers = append(askers, asker)
	}
	var whole, after Samples
	for i := range farRounds {
		begun := time.Now()
		c, err := attachOn(hosts.All[0], fmt.Sprintf("far-%d", i))
		if err != nil {
			return nil, err
		}
		attached := time.Now()
		if _, err := askEachFor(askers[1:], c); err != nil {
			return nil, err
		}
		whole, after = append(whole, milli(time.Since(begun))), append(after, milli(time.Since(attached)))
	}
	slices.Sort(whole)
	slices.Sort(after)
	p95 := func(s Samples) Samples { return Samples{s[len(s)*95/100]} }
	return []Row{
		{Case: farCase, Verb: "p95", Unit: "ms", Ours: p95(whole), Goal: atMost(100)},
		{Case: "  from the start of ADD", Unit: "ms", Ours: whole},
		{Case: "  from its end", Unit: "ms", Ours: after},
	}, nil
}

func milli(d time.Duration) float64 { return d.Seconds() * 1e3 }

// networkFile is where a host finds the network.
const networkFile = "/etc/cni/net.d/fairway-" + networkName + ".conflist"

func awaitFile(ctx context.Context, path string) error {
	for {
		if _, err := os.Stat(path); err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// attachOn attaches a new container on a host, as a runtime does.
func attachOn(h *testnet.Host, id string) (c container, err error) {
	const dir = "/run/netns/"
	for _, args := range [][]string{{"netns", "add", id}, {"-n", id, "link", "set", "lo", "up"}} {
		if out, err := h.Command("ip", args...).CombinedOutput(); err != nil {
			return c, fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	text, err := os.ReadFile(h.File(networkFile))
	if err != nil {
		return c, err
	}
	var list struct{ Plugins []map[string]any }
	if err := json.Unmarshal(text, &list); err != nil {
		return c, err
	}
	conf := list.Plugins[0]
	conf["name"], conf["cniVersion"] = networkName, "1.0.0"
	stdin, err := json.Marshal(conf)
	if err != nil {
		return c, err
	}
	plugin := h.Command("/opt/cni/bin/overlay-vxlan")
	plugin.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_CONTAINERID="+id, "CNI_IFNAME=eth0", "CNI_NETNS="+dir+id, "CNI_PATH=/opt/cni/bin")
	plugin.Stdin = bytes.NewReader(stdin)
	if out, err := plugin.CombinedOutput(); err != nil {
		return c, fmt.Errorf("ADD of %s: %w: %s", id, err, out)
	}
	return container{id: id, ns: &testnet.Namespace{Path: h.File(dir + id)}}, nil
}

// askEachFor asks in each container for another, until it is told.
func askEachFor(askers []container, other container) (last time.Time, err error) {
	query, err := new(dns.Msg).SetQuestion(names.ShortID(other.id)+".", dns.TypeA).Pack()
	if err != nil {
		return last, err
	}
	for _, c := range askers {
		conn, err := c.dial()
		if err != nil {
			return last, err
		}
		err = askUntilTold(conn, query)
		conn.Close()
		if err != nil {
			return last, fmt.Errorf("%s asks for %s: %w", c.id, other.id, err)
		}
		last = time.Now()
	}
	return last, nil
}

func askUntilTold(conn net.Conn, query []byte) error {
	const patience, limit = time.Second, 30 * time.Second
	for begun := time.Now(); time.Since(begun) < limit; time.Sleep(time.Millisecond) {
		if told, err := exchange(conn, query, patience); err == nil && told {
			return nil
		}
	}
	return errors.New("no answer")
}
