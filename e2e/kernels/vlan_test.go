package kernels

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// inVLAN is a network of layer 3 without a gateway, on one bridge with others.
func inVLAN(name, subnet string, keys conf) conf {
	c := network("bridge", name, conf{"bridge": "br0", "ipam": ranges(subnet)})
	for key, value := range keys {
		c[key] = value
	}
	return c
}

// one is host-local that has one address to give, of a subnet that several networks share.
func one(addr string) conf {
	return conf{"type": "host-local", "ranges": [][]conf{{{"subnet": "10.5.0.0/24", "rangeStart": addr, "rangeEnd": addr}}}}
}

// Containers of one bridge and one subnet reach each other where they share a VLAN, and nowhere else.
func TestVLANsOfABridge(t *testing.T) {
	host, _ := newWorld(t)
	member := func(id, addr string, keys conf) *attachment {
		return attach(t, host, id, inVLAN("net"+id, "", conf{"ipam": one(addr)}).with(keys))
	}
	red1, red2 := member("red1", "10.5.0.11", conf{"vlan": 100}), member("red2", "10.5.0.12", conf{"vlan": 100})
	blue := member("blue", "10.5.0.13", conf{"vlan": 200})
	plain := member("plain", "10.5.0.14", nil)
	both := member("both", "10.5.0.15", conf{"vlan": 200, "preserveDefaultVlan": true})

	red1.reaches(t, red2)
	for _, other := range []*attachment{blue, plain, both} {
		red1.isCutOff(t, other)
		other.isCutOff(t, red1)
	}
	blue.reaches(t, both)
	plain.isCutOff(t, blue)
	for port, want := range map[*attachment]string{red1: "100 PVID Egress Untagged", plain: "1 PVID Egress Untagged", both: "200 PVID Egress Untagged"} {
		if got := vlansOf(t, host, port); !strings.Contains(got, want) {
			t.Errorf("%s: VLANs\n%s\nwant %s", port.id, got, want)
		}
	}
	if got := vlansOf(t, host, red1); strings.Contains(got, "\t 1 ") || strings.Contains(got, " 1 Egress") {
		t.Errorf("without preserveDefaultVlan a port is in the default VLAN:\n%s", got)
	}
	if got := vlansOf(t, host, both); !strings.Contains(got, " 1 Egress Untagged") {
		t.Errorf("with preserveDefaultVlan a port is not in the default VLAN:\n%s", got)
	}
	for _, a := range []*attachment{red1, red2, blue, plain, both} {
		a.succeed(t, "CHECK")
	}
	host.Sh(t, "bridge", "vlan", "del", "dev", portOf(red1), "vid", "100")
	if out, err := red1.call("CHECK", nil); err == nil || !strings.Contains(out, "is not in VLAN 100 as declared") {
		t.Errorf("CHECK of a port that has lost its VLAN: %v\n%s", err, out)
	}
	red1.succeed(t, "DEL")
}

// A trunk carries its VLANs with their tags, and no other.
func TestVLANTrunk(t *testing.T) {
	host, _ := newWorld(t)
	trunk := attach(t, host, "trunk", inVLAN("trunk", "", conf{"ipam": one("10.5.0.30"), "vlan": 7,
		"vlanTrunk": []conf{{"minID": 100, "maxID": 102}, {"id": 200}}}))
	trunk.succeed(t, "CHECK")
	for vid, want := range map[string]bool{"7": true, "100": true, "102": true, "200": true, "201": false} {
		member := attach(t, host, "in"+vid, inVLAN("net"+vid, "", conf{"ipam": one("10.5.0." + map[string]string{
			"7": "7", "100": "10", "102": "12", "200": "20", "201": "21"}[vid])}).with(conf{"vlan": number(vid)}))
		if vid == "7" {
			trunk.reaches(t, member) // the native one, without a tag
			continue
		}
		// Each VLAN is a subnet of its own there, by an address beside that which the member has.
		ip(t, trunk.container, "link add link eth0 name eth0."+vid+" up type vlan id "+vid)
		ip(t, trunk.container, "addr add 10.9."+vid+".1/24 dev eth0."+vid)
		ip(t, member.container, "addr add 10.9."+vid+".2/24 dev eth0")
		if want {
			answers(t, trunk.container, "10.9."+vid+".2")
		} else {
			silent(t, trunk.container, "10.9."+vid+".2")
		}
	}
	trunk.succeed(t, "DEL")
}

// In a VLAN, too, the host can be the gateway, and internal and isolated mean what they say.
func TestVLANGateway(t *testing.T) {
	host, outside := newWorld(t)
	ip(t, outside, "route add 10.0.0.0/8 via "+host4)
	gateway := func(name, bridge, subnet string, keys conf) conf {
		return network("bridge", name, conf{"bridge": bridge, "isDefaultGateway": true, "ipam": ranges(subnet)}).with(keys)
	}
	open := attach(t, host, "open", gateway("open", "br1", "10.1.0.0/24", conf{"vlan": 100, "ipMasq": true}))
	beside := attach(t, host, "beside", gateway("beside", "br1", "10.2.0.0/24", conf{"vlan": 101}))
	internal := attach(t, host, "internal", gateway("internal", "br1", "10.3.0.0/24", conf{"vlan": 102, "internal": true}))
	isolated := attach(t, host, "isolated", gateway("isolated", "br1", "10.4.0.0/24", conf{"vlan": 103, "isolated": true}))
	other := attach(t, host, "other", gateway("other", "br2", "10.5.0.0/24", nil))

	answers(t, open.container, outside4)
	open.reaches(t, beside) // the host routes between VLANs
	open.reaches(t, other)
	ip(t, internal.container, "route replace default via 10.3.0.1")
	silent(t, internal.container, outside4)
	silent(t, outside, "10.3.0.2")
	for _, a := range []*attachment{open, beside, internal, other} {
		isolated.isCutOff(t, a)
		a.isCutOff(t, isolated)
	}
	answers(t, isolated.container, outside4)
	for _, a := range []*attachment{open, beside, internal, isolated, other} {
		a.succeed(t, "CHECK")
	}
	for _, a := range []*attachment{open, beside, internal, isolated, other} {
		a.succeed(t, "DEL")
		a.collect(t)
		leavesNothing(t, host, a.id)
	}
}

// A bridge goes with its network though the host's gateways in VLANs are its ports.
func TestVLANGatewayIsRemoved(t *testing.T) {
	host, _ := newWorld(t)
	fairway(t, host, "create", "--subnet", "10.7.0.0/24", "--opt", "vlan=100", "lamp")
	fairway(t, host, "run", "--network", "lamp", "busybox", "ping", "-c", "1", "-w", "10", outside4)
	fairway(t, host, "rm", "lamp")
	if links := ip(t, host, "-o link"); strings.Contains(links, "br-") || strings.Contains(links, "veth") {
		t.Errorf("links are left:\n%s", links)
	}
}

// The interface eth0.10 is made for the first container of a macvlan network on it, and goes with the last one's. One that
// was there before stays.
func TestVLANMaster(t *testing.T) {
	for _, before := range []bool{false, true} {
		name := map[bool]string{false: "made", true: "there before"}[before]
		t.Run(name, func(t *testing.T) {
			host, outside := newWorld(t)
			ip(t, outside, "link add link wire name wire.10 up type vlan id 10")
			ip(t, outside, "addr add 10.8.0.1/24 dev wire.10")
			if before {
				ip(t, host, "link add link eth0 name eth0.10 up type vlan id 10")
			}
			c := network("macvlan", "lan", conf{"master": "eth0.10", "ipam": ranges("10.8.0.0/24")})
			first, second := attach(t, host, "first", c), attach(t, host, "second", c)
			first.reaches(t, second)
			answers(t, first.container, "10.8.0.1")
			answers(t, outside, second.result.IPs[0].Address.IP.String())
			silent(t, first.container, outside4)
			first.succeed(t, "CHECK")
			first.succeed(t, "DEL")
			answers(t, second.container, "10.8.0.1")
			second.succeed(t, "CHECK")
			second.succeed(t, "STATUS")
			second.collect(t)
			if links := ip(t, host, "-o link"); strings.Contains(links, "eth0.10@") != before {
				t.Errorf("after the last container the host has\n%s", links)
			}
			second.succeed(t, "DEL")
		})
	}
}

// with is the configuration with further keys.
func (c conf) with(keys conf) conf {
	for key, value := range keys {
		c[key] = value
	}
	return c
}

func number(text string) (n int) {
	for _, digit := range text {
		n = 10*n + int(digit-'0')
	}
	return n
}

// portOf is the host's end of a container.
func portOf(a *attachment) string { return a.result.Interfaces[1].Name }

// vlansOf is what the bridge says of a container's port.
func vlansOf(t *testing.T, host *testnet.Namespace, a *attachment) string {
	t.Helper()
	return host.Sh(t, "bridge", "vlan", "show", "dev", portOf(a))
}
