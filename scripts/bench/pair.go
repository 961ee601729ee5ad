package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/fastpath"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// pair is two hosts on one underlay, which is a veth between them, with a container on each.
type pair struct {
	hosts, containers [2]*testnet.Namespace
	fast              [2]*fastpath.Keeper
	// endFast ends the fast path, and waits until it has.
	endFast func() error
}

// carryFast has packets of both hosts be carried by the fast path, until the pair is closed.
func (p *pair) carryFast(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var both errgroup.Group
	for i, host := range p.hosts {
		p.fast[i] = &fastpath.Keeper{}
		both.Go(func() error { return host.Do(func() error { return p.fast[i].Run(ctx) }) })
	}
	p.endFast = func() error {
		cancel()
		return both.Wait()
	}
}

// awaitFast waits until both hosts carry what is said by a way.
func (p *pair) awaitFast(w way) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		before := [2]uint64{p.fast[0].Carried(), p.fast[1].Carried()}
		if _, err := w.exchanges(100 * time.Millisecond); err != nil {
			return err
		}
		if p.fast[0].Carried() > before[0] && p.fast[1].Carried() > before[1] {
			return nil
		}
	}
	return errors.New("the fast path carries nothing")
}

// underlayAddresses are those of the two hosts.
var underlayAddresses = [2]string{"192.0.2.1", "192.0.2.2"}

func openPair(name string) (p *pair, err error) {
	p = &pair{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	for i := range 2 {
		for place, ns := range map[string]**testnet.Namespace{"host": &p.hosts[i], "container": &p.containers[i]} {
			if *ns, err = testnet.New(fmt.Sprintf("%s-%s-%d", name, place, i)); err != nil {
				return p, err
			}
		}
	}
	if err := batch(p.hosts[0], "link add eth0 type veth peer name eth0 netns "+filepath.Base(p.hosts[1].Path)); err != nil {
		return p, err
	}
	for i, host := range p.hosts {
		if err := batch(host, "link set lo up\nlink set eth0 up\naddr add "+underlayAddresses[i]+"/24 dev eth0"); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *pair) close() error {
	var errs []error
	if p.endFast != nil {
		errs = append(errs, p.endFast())
	}
	for i := range 2 {
		for _, ns := range []*testnet.Namespace{p.containers[i], p.hosts[i]} {
			if ns != nil {
				errs = append(errs, ns.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// attach joins the containers by the plugin, with one and the same conflist on both hosts and more keys in it, and gives their addresses.
func (p *pair) attach(ctx context.Context, s suite, scratch string, keys ...string) (addrs [2]netip.Addr, err error) {
	network := overlayNetwork()
	var hosts overlay.Hosts
	for i, addr := range underlayAddresses {
		hosts.Peers = append(hosts.Peers, overlay.Peer{VTEP: netip.MustParseAddr(addr), Blocks: []netip.Prefix{overlayBlock(i)}})
	}
	for i, host := range p.hosts {
		dir := filepath.Join(scratch, fmt.Sprint("pair-", i))
		conflist, err := libcni.NetworkConfFromBytes([]byte(fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "plugins": [
			{"type": "overlay-vxlan", "vni": %d, "subnet": %q, "peers": %s, "ipam": {"dataDir": %q}%s}]}`,
			networkName, network.VNI, network.Subnets[0], listed(hosts), dir, strings.Join(append([]string{""}, keys...), ", "))))
		if err != nil {
			return addrs, err
		}
		rt := &libcni.RuntimeConf{ContainerID: fmt.Sprint("c", i), NetNS: p.containers[i].Path, IfName: "eth0"}
		err = host.Do(func() error {
			answer, err := s.runtime(filepath.Join(dir, "cache")).AddNetworkList(ctx, conflist, rt)
			if err != nil {
				return err
			}
			result, err := types100.NewResultFromResult(answer)
			if err != nil {
				return err
			}
			addrs[i], _ = netip.AddrFromSlice(result.IPs[0].Address.IP)
			addrs[i] = addrs[i].Unmap()
			return nil
		})
		if err != nil {
			return addrs, fmt.Errorf("ADD on host %d: %w", i, err)
		}
	}
	return addrs, nil
}

// plain joins the containers by what an administrator would type: a VXLAN device that knows its one peer, routes, and a veth
// to each container, with the same addresses and the same MTU as the plugin's.
func (p *pair) plain() (addrs [2]netip.Addr, err error) {
	for i, host := range p.hosts {
		own, far := overlayBlock(i), overlayBlock(1-i)
		gateway := overlay.Gateway(own)
		addrs[i] = gateway.Next()
		container := filepath.Base(p.containers[i].Path)
		if err := batch(host, fmt.Sprintf(`link add vx0 mtu 1450 type vxlan id 4096 local %s remote %s dstport 4789 nolearning
link set vx0 up
addr add %s/32 dev vx0
route add %s via %s dev vx0 onlink
link add c0 mtu 1450 type veth peer name eth0 mtu 1450 netns %s
link set c0 up
addr add %[3]s/32 dev c0
route add %[7]s/32 dev c0`,
			underlayAddresses[i], underlayAddresses[1-i], gateway, far, overlay.Gateway(far), container, addrs[i])); err != nil {
			return addrs, err
		}
		if err := batch(p.containers[i], fmt.Sprintf(`link set lo up
link set eth0 up
addr add %s/32 dev eth0
route add %s dev eth0 scope link
route add default via %[2]s`, addrs[i], gateway)); err != nil {
			return addrs, err
		}
		if out, err := host.Command("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward").CombinedOutput(); err != nil {
			return addrs, fmt.Errorf("ip_forward: %w: %s", err, out)
		}
	}
	return addrs, nil
}
