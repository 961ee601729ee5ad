package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/vishvananda/netlink"
)

// example is a container on a network of conflist-examples. It tells its ID to who connects to webPort.
type example struct {
	id         string
	ns         *testnet.Namespace
	attachment *libcni.RuntimeConf
	addresses  []netip.Addr
	hostPort   int
}

// attach makes a container and publishes its port, where the network has a plugin for that.
func (n network) attach(ctx context.Context, t *testing.T, id string, hostPort int) example {
	t.Helper()
	c := example{id: id, ns: testnet.NewNS(t, id), hostPort: hostPort}
	c.attachment = attachment(id, c.ns.Path)
	c.attachment.CapabilityArgs = map[string]any{"portMappings": []map[string]any{
		{"hostPort": hostPort, "containerPort": 80, "protocol": "tcp"},
	}}
	if n.list.Plugins[0].Network.Type == "loopback" {
		c.attachment.IfName = "lo" // as containerd does
	}
	serve(t, c.ns, webPort, func(net.Conn) string { return id })
	found, err := n.add(ctx, c.attachment)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range found {
		c.addresses = append(c.addresses, netip.MustParsePrefix(text).Addr())
	}
	return c
}

// promiseOf tries what a container can do beside a neighbour.
func (o outside) promiseOf(t *testing.T, c, neighbour example) promise {
	t.Helper()
	return promise{
		Addresses: len(c.addresses),
		Neighbour: c.reachesNeighbour(neighbour),
		Host:      c.reachesHost(t),
		Outside:   c.reachesOutside(),
		Published: o.reachesPort(c),
	}
}

// reachesNeighbour tells whether all addresses of the neighbour answer; no address, no answer.
func (c example) reachesNeighbour(neighbour example) bool {
	for _, address := range neighbour.addresses {
		if answer, err := ask(c.ns, address.String(), webPort); err != nil || answer != neighbour.id {
			return false
		}
	}
	return len(neighbour.addresses) > 0
}

// reachesHost tells whether the first address of each of the container's subnets answers: the bridge has it.
func (c example) reachesHost(t *testing.T) bool {
	t.Helper()
	for _, address := range c.addresses {
		bits := 24
		if address.Is6() {
			bits = 64
		}
		gateway := netip.PrefixFrom(address, bits).Masked().Addr().Next()
		_, _, err := run(commandIn(t, c.ns.Path, "busybox", "ping", "-c", "1", "-w", "1", gateway.String()))
		if err != nil || address.IsLoopback() {
			return false
		}
	}
	return len(c.addresses) > 0
}

// reachesOutside tells whether the outside answers to the address of the host, in every family that the container has.
func (c example) reachesOutside() bool {
	for _, address := range c.addresses {
		server, want := outsideV4, hostV4
		if address.Is6() {
			server, want = outsideV6, hostV6
		}
		if answer, err := ask(c.ns, server, mirrorPort); err != nil || answer != want {
			return false
		}
	}
	return len(c.addresses) > 0
}

func (o outside) reachesPort(c example) bool {
	answer, err := ask(o.ns, hostV4, strconv.Itoa(c.hostPort))
	return err == nil && answer == c.id
}

// removeBridge removes the network's bridge at the end of the test, if there is one.
func removeBridge(t *testing.T, n network) {
	t.Helper()
	var conf struct{ Bridge string }
	if err := json.Unmarshal(n.list.Plugins[0].Bytes, &conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		bridge, err := netlink.LinkByName(conf.Bridge)
		if err == nil {
			err = netlink.LinkDel(bridge)
		}
		if err != nil && !errors.As(err, new(netlink.LinkNotFoundError)) {
			t.Error(err)
		}
	})
}
