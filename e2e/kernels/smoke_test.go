package kernels

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// Two containers of each mode: they reach each other and the outside, or do not where the mode says so; CHECK finds both,
// and GC leaves the one that is valid. In the end nothing is left.
func TestSmokeModes(t *testing.T) {
	bridge := conf{"bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "ipam": ranges("10.1.0.0/24", "fd01::/64")}
	for _, test := range []struct {
		name, plugin string
		conf, keys   conf
		// apart says that containers do not reach each other, inside that they do not reach the outside.
		apart, inside bool
	}{
		{"bridge", "bridge", bridge, conf{"macspoofchk": true, "hairpinMode": true}, false, false},
		{"bridge internal", "bridge", bridge, conf{"internal": true}, false, true},
		{"bridge without icc", "bridge", bridge, conf{"icc": false}, true, false},
		{"macvlan", "macvlan", conf{"master": "eth0", "ipam": ranges("192.0.2.0/24", "2001:db8::/64")}, nil, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			host, _ := newWorld(t)
			c := network(test.plugin, "net", test.conf)
			for key, value := range test.keys {
				c[key] = value
			}
			first, second := attach(t, host, "first", c), attach(t, host, "second", c)
			visits := func() {
				t.Helper()
				if test.apart {
					first.isCutOff(t, second)
				} else {
					first.reaches(t, second)
					second.reaches(t, first)
				}
				for _, addr := range outsides() {
					if test.inside {
						silent(t, second.container, addr)
					} else {
						answers(t, second.container, addr)
					}
				}
			}
			visits()
			first.succeed(t, "CHECK")
			second.succeed(t, "CHECK")
			first.collect(t, first, second)
			visits()
			first.succeed(t, "DEL")
			first.succeed(t, "DEL")
			second.succeed(t, "CHECK")
			second.succeed(t, "STATUS")
			second.collect(t)
			leavesNothing(t, host, "net")
			if links := ip(t, second.container, "-o link"); strings.Contains(links, "eth0") {
				t.Errorf("after GC the container has\n%s", links)
			}
			second.succeed(t, "DEL")
		})
	}
}

// An isolated bridge and another one do not reach each other.
func TestSmokeIsolated(t *testing.T) {
	host, _ := newWorld(t)
	bridge := func(name, subnet string, isolated bool) conf {
		return network("bridge", name, conf{"bridge": name, "isDefaultGateway": true, "isolated": isolated, "ipam": ranges(subnet)})
	}
	apart := attach(t, host, "apart", bridge("br1", "10.1.0.0/24", true))
	other := attach(t, host, "other", bridge("br2", "10.2.0.0/24", false))
	third := attach(t, host, "third", bridge("br3", "10.3.0.0/24", false))
	apart.isCutOff(t, other)
	other.isCutOff(t, apart)
	other.reaches(t, third)
	apart.succeed(t, "CHECK")
}

// The modes that have no link of their own.
func TestSmokeNoneAndHost(t *testing.T) {
	host, _ := newWorld(t)
	a := attach(t, host, "a", network("none", "none", nil))
	answers(t, a.container, "127.0.0.1")
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")

	h := &attachment{host: host, container: host, id: "h", netns: host.Path, conf: network("host", "host", nil)}
	if out, err := h.call("ADD", nil); err != nil {
		t.Errorf("ADD: %v\n%s", err, out)
	}
	h.succeed(t, "DEL")
}

// An overlay over two hosts, whose containers also reach the outside. The routes to peers are there after every second ADD,
// too.
func TestSmokeOverlay(t *testing.T) {
	hosts := testnet.NewHosts(t, 2, binDir)
	one, two := hosts.All[0], hosts.All[1]
	blocks := func(v4, v6 string) []string {
		if !testnet.HasIPv6() {
			return []string{v4}
		}
		return []string{v4, v6}
	}
	c := network("overlay-vxlan", "wide", conf{"vni": 4242, "ipMasq": true, "subnets": blocks("10.42.0.0/16", "fd42::/48"), "peers": []conf{
		{"vtep": one.V4.String(), "subnets": blocks("10.42.1.0/24", "fd42:0:0:1::/64")},
		{"vtep": two.V4.String(), "subnets": blocks("10.42.2.0/24", "fd42:0:0:2::/64")},
	}})
	var all []*attachment
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		on := []*testnet.Host{one, two}[i%2]
		all = append(all, attachOn(t, on, id, c))
		if routes := ip(t, on.Namespace, "route show proto 250"); strings.Count(routes, "10.42.") < 2 {
			t.Errorf("after ADD of %s %s has only these routes:\n%s", id, on.Name, routes)
		}
	}
	for i, a := range all {
		a.reaches(t, all[(i+1)%len(all)])
		a.reaches(t, all[(i+2)%len(all)])
		a.succeed(t, "CHECK")
	}
	for _, addr := range outsides() {
		answers(t, all[0].container, addr)
	}
	all[2].succeed(t, "DEL")
	all[0].collect(t, all[0])
	all[0].reaches(t, all[1])
	all[0].succeed(t, "DEL")
	all[0].collect(t)
	leavesNothing(t, one.Namespace, "wide")
	if links := ip(t, one.Namespace, "-o link show type vxlan"); links != "" {
		t.Errorf("after the last container's GC the host has\n%s", links)
	}
}

// A network of the command line, and commands in it.
func TestSmokeFairway(t *testing.T) {
	host, _ := newWorld(t)
	create := []string{"create", "--subnet", "10.7.0.0/24"}
	if testnet.HasIPv6() {
		create = append(create, "--subnet", "fd07::/64")
	}
	fairway(t, host, append(create, "lamp")...)
	for _, addr := range outsides() {
		fairway(t, host, "run", "--network", "lamp", "busybox", "ping", "-c", "1", "-w", "10", addr)
	}
	if got := fairway(t, host, "run", "--network", "lamp", "ip", "-o", "-4", "addr", "show", "eth0"); !strings.Contains(got, "10.7.0.") {
		t.Errorf("in the network: %s", got)
	}
	file, err := filepath.Glob(filepath.Join(confDir, "*lamp*"))
	if err != nil || len(file) != 1 {
		t.Errorf("files of the network: %v, %v", file, err)
	}
	var found []struct{ Name string }
	if err := json.Unmarshal([]byte(fairway(t, host, "inspect", "lamp")), &found); err != nil || len(found) != 1 || found[0].Name != "lamp" {
		t.Errorf("inspect: %v, %v", found, err)
	}
	leavesNothing(t, host, "lamp")
	fairway(t, host, "rm", "lamp")
	if links := ip(t, host, "-o link show type bridge"); links != "" {
		t.Errorf("bridges are left:\n%s", links)
	}
}
