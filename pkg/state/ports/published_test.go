package ports_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// at is a container with ports, without links: elements need none.
func at(container, addr string, list ...ports.Port) ports.Published {
	return ports.Published{Owner: statetest.Owner(container), Addrs: []netip.Addr{netip.MustParseAddr(addr)}, Ports: list}
}

func tcp(host, to uint16) ports.Port {
	return ports.Port{Protocol: unix.IPPROTO_TCP, HostPort: host, ContainerPort: to}
}

func (o onHost) tcp(host, to uint16) ports.Port {
	p := tcp(host, to)
	p.HostIP = netip.MustParseAddr(string(o))
	return p
}

type onHost string

func span(protocol uint8, from, to uint16) ports.Port {
	return ports.Port{Protocol: protocol, HostPort: from, ContainerPort: from, More: to - from}
}

// TestFlushedMeanwhile: `nft flush ruleset` between any two steps of an ADD is outlived.
func TestFlushedMeanwhile(t *testing.T) {
	p := at("a", "10.1.0.2", tcp(80, 8080), span(unix.IPPROTO_UDP, 100, 200))
	p.Only, p.MasqueradeAll = true, true
	p.Ports[0].Sources = statetest.Prefixes("192.0.2.0/24")
	statetest.OutlivesFlush(t, testnet.NewHost(t), p)
}

// TestConflict: a port of the host is one container's; who has it is named, and everything of the second stays out.
func TestConflict(t *testing.T) {
	const stop = ", in conflict with the configuration: stop that one, or choose another port of the host"
	for _, tt := range []struct {
		name          string
		first, second ports.Published
		want          string
	}{
		{"the same port", at("a", "10.1.0.2", tcp(80, 80)), at("b", "10.1.0.3", tcp(79, 1), tcp(80, 8080)), "port 80/tcp is already published by container a of network net" + stop},
		{"another protocol", at("a", "10.1.0.2", tcp(80, 80)), at("b", "10.1.0.3", ports.Port{Protocol: unix.IPPROTO_UDP, HostPort: 80, ContainerPort: 80}), ""},
		{"another family", at("a", "10.1.0.2", tcp(80, 80)), at("b", "fd01::3", tcp(80, 80)), ""},
		{"two addresses", at("a", "10.1.0.2", onHost("192.0.2.1").tcp(80, 80)), at("b", "10.1.0.3", onHost("192.0.2.2").tcp(80, 80)), ""},
		{"the same address", at("a", "10.1.0.2", onHost("192.0.2.1").tcp(80, 80)), at("b", "10.1.0.3", onHost("192.0.2.1").tcp(80, 80)),
			"port 80/tcp of 192.0.2.1 is already published by container a of network net" + stop},
		{"a port of a range", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 200)), at("b", "10.1.0.3", tcp(150, 80)), "port 150/tcp is already published by container a of network net" + stop},
		{"a range over a port", at("a", "10.1.0.2", tcp(150, 80)), at("b", "10.1.0.3", span(unix.IPPROTO_TCP, 100, 200)), "port 100-200/tcp is already published by container a of network net" + stop},
		{"ranges that overlap", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 200)), at("b", "10.1.0.3", span(unix.IPPROTO_TCP, 200, 300)), "port 200-300/tcp is already published by container a of network net" + stop},
		{"ranges within", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 200)), at("b", "10.1.0.3", span(unix.IPPROTO_TCP, 120, 150)), "port 120-150/tcp is already published by container a of network net" + stop},
		{"ranges around", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 120, 150)), at("b", "10.1.0.3", span(unix.IPPROTO_TCP, 100, 200)), "port 100-200/tcp is already published by container a of network net" + stop},
		{"ranges side by side", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 199)), at("b", "10.1.0.3", span(unix.IPPROTO_TCP, 200, 300)), ""},
		{"ranges of another protocol", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 199)), at("b", "10.1.0.3", span(unix.IPPROTO_UDP, 100, 199)), ""},
		{"many ports, one of a range", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 200)), at("b", "10.1.0.3", many(181, 40)...), "port 181/tcp is already published by container a of network net" + stop},
		{"many ports beside a range", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 200)), at("b", "10.1.0.3", many(201, 40)...), ""},
		{"many ports at one address beside a range at all", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 200)), at("b", "10.1.0.3", onHost("192.0.2.1").many(181, 40)...), ""},
		{"many ports, one of another's", at("a", "10.1.0.2", tcp(190, 80)), at("b", "10.1.0.3", many(181, 40)...), "port 190/tcp is already published by container a of network net" + stop},
		{"the same container again", at("a", "10.1.0.2", tcp(80, 80), span(unix.IPPROTO_TCP, 100, 199)), at("a", "10.1.0.9", tcp(80, 81), span(unix.IPPROTO_TCP, 100, 199)), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testnet.NewHost(t)
			statetest.Apply(t, statetest.Open(t, nil), tt.first)
			before := testnet.Sh(t, "nft", "list", "ruleset")
			_, err := state.Set{tt.second}.Apply(statetest.Open(t, nil))
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				statetest.Verifies(t, nil, tt.second)
				return
			}
			statetest.Fails(t, err, state.ErrConflict, tt.want)
			if diff := cmp.Diff(before, testnet.Sh(t, "nft", "list", "ruleset")); diff != "" {
				t.Errorf("ruleset (-before +after):\n%s", diff)
			}
			statetest.Verifies(t, nil, tt.first)
		})
	}
}

// many are ports in a row that lead to other ports.
func many(first uint16, n int) (list []ports.Port) {
	for i := range uint16(n) {
		list = append(list, tcp(first+i, first+i+1000))
	}
	return list
}

func (o onHost) many(first uint16, n int) []ports.Port {
	list := many(first, n)
	for i := range list {
		list[i].HostIP = netip.MustParseAddr(string(o))
	}
	return list
}

// TestListeningProgram: a program of the host that waits at a port keeps it, where it waits at the same address and family.
func TestListeningProgram(t *testing.T) {
	for _, tt := range []struct {
		network, at string
		published   ports.Published
		want        string
	}{
		{"tcp4", "0.0.0.0:80", at("a", "10.1.0.2", tcp(80, 8080)), "port 80/tcp of the host is in use: "},
		{"tcp4", "127.0.0.1:80", at("a", "10.1.0.2", tcp(80, 8080)), "listens on 127.0.0.1:80"},
		{"tcp4", "127.0.0.1:80", at("a", "10.1.0.2", onHost("127.0.0.2").tcp(80, 8080)), ""},
		{"tcp4", "127.0.0.1:80", at("a", "10.1.0.2", onHost("127.0.0.1").tcp(80, 8080)), "listens on 127.0.0.1:80"},
		{"tcp4", "127.0.0.1:80", at("a", "fd01::2", tcp(80, 8080)), ""},
		{"tcp6", "[::]:80", at("a", "10.1.0.2", tcp(80, 8080)), ""}, // Go opens it for IPv6 alone
		{"tcp6", "[::]:80", at("a", "fd01::2", tcp(80, 8080)), "listens on [::]:80"},
		{"tcp4", "0.0.0.0:150", at("a", "10.1.0.2", span(unix.IPPROTO_TCP, 100, 200)), "port 150/tcp of the host is in use: "},
		{"tcp4", "0.0.0.0:80", at("a", "10.1.0.2", tcp(81, 80)), ""},
		{"udp4", "0.0.0.0:80", at("a", "10.1.0.2", tcp(80, 80)), ""},
		{"udp4", "0.0.0.0:80", at("a", "10.1.0.2", ports.Port{Protocol: unix.IPPROTO_UDP, HostPort: 80, ContainerPort: 80}), "port 80/udp of the host is in use: "},
	} {
		t.Run(tt.network+" "+tt.at+" "+fmt.Sprint(tt.published.Ports), func(t *testing.T) {
			host := testnet.NewHost(t)
			testnet.Sh(t, "ip", "link", "set", "lo", "up")
			if err := host.Do(func() error {
				if strings.HasPrefix(tt.network, "udp") {
					c, err := net.ListenPacket(tt.network, tt.at)
					if err == nil {
						t.Cleanup(func() { _ = c.Close() })
					}
					return err
				}
				l, err := net.Listen(tt.network, tt.at)
				if err == nil {
					t.Cleanup(func() { _ = l.Close() })
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			_, err := state.Set{tt.published}.Apply(statetest.Open(t, nil))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			statetest.Fails(t, err, state.ErrConflict, tt.want)
		})
	}
}

// TestModel: containers come and go with ports at random; at each step the maps are what a model of them says.
func TestModel(t *testing.T) {
	testnet.NewHost(t)
	random := rand.New(rand.NewPCG(3, 4))
	const containers, low, high = 6, 1, 40
	model := make(map[int]ports.Published)
	for step := range 150 {
		i := random.IntN(containers)
		p, here := model[i]
		if here {
			if random.IntN(3) == 0 {
				statetest.Verifies(t, nil, p)
			}
			if err := p.Remove(statetest.Open(t, nil)); err != nil {
				t.Fatal(err)
			}
			delete(model, i)
		} else {
			p = at(fmt.Sprintf("c%d", i), fmt.Sprintf("10.1.0.%d", i+2))
			p.Hairpin, p.Only, p.Link = random.IntN(2) == 0, random.IntN(2) == 0, "lo"
			for range 1 + random.IntN(3) {
				from := uint16(low + random.IntN(high-low))
				p.Ports = append(p.Ports, ports.Port{Protocol: unix.IPPROTO_TCP, HostPort: from, ContainerPort: from, More: uint16(random.IntN(3) * 8)})
			}
			wanted := taken(map[int]ports.Published{i: p})
			clash := len(wanted) < count(p) // with itself
			for port := range wanted {
				clash = clash || slices.Contains(slices.Collect(maps.Keys(taken(model))), port)
			}
			_, err := state.Set{p}.Apply(statetest.Open(t, nil))
			if (err != nil) != clash && len(wanted) == count(p) {
				t.Fatalf("step %d: %v of c%d: error %v, the model says %t", step, p.Ports, i, err, clash)
			}
			if err == nil {
				model[i] = p
			}
		}
		got := elements(t)
		for c, p := range model {
			statetest.Verifies(t, nil, p)
			if got[fmt.Sprintf("c%d", c)] == 0 {
				t.Errorf("step %d: nothing of c%d", step, c)
			}
			delete(got, fmt.Sprintf("c%d", c))
		}
		if len(got) > 0 {
			t.Fatalf("step %d: left of others: %v", step, got)
		}
	}
}

// taken is the ports that containers have.
func taken(model map[int]ports.Published) map[uint16]bool {
	all := make(map[uint16]bool)
	for _, p := range model {
		for _, port := range p.Ports {
			for more := range int(port.More) + 1 {
				all[port.HostPort+uint16(more)] = true
			}
		}
	}
	return all
}

func count(p ports.Published) (n int) {
	for _, port := range p.Ports {
		n += int(port.More) + 1
	}
	return n
}

// elements counts the elements of each container.
func elements(t *testing.T) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for _, part := range strings.Split(testnet.Sh(t, "nft", "list", "ruleset"), `comment "fairway net `)[1:] {
		id, _, _ := strings.Cut(part, " ")
		found[id]++
	}
	return found
}

// TestUDPFlows: a client whose flow began before the port was published, or with an earlier container, gets the new one with
// its next packet; flows to other addresses go on.
func TestUDPFlows(t *testing.T) {
	w := newWorld(t)
	testnet.Sh(t, "ip", "addr", "add", "192.0.2.7/24", "dev", "up0")
	serve(t, w.neighbour.Namespace)
	udp := func(hostIP string) ports.Port {
		return ports.Port{Protocol: unix.IPPROTO_UDP, HostIP: netip.MustParseAddr(hostIP), HostPort: 53, ContainerPort: 80}
	}
	other := at("n", "10.1.0.3", udp("192.0.2.7"))
	statetest.Apply(t, statetest.Open(t, nil), other)
	var kept, moved net.Conn
	if err := w.outside.Do(func() (err error) {
		if kept, err = net.Dial("udp4", "192.0.2.7:53"); err == nil {
			moved, err = net.Dial("udp4", "192.0.2.1:53")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	defer moved.Close()
	answers := func(c net.Conn, within time.Duration) bool {
		_ = c.SetDeadline(time.Now().Add(within))
		_, _ = c.Write([]byte("?"))
		n, _ := c.Read(make([]byte, 64))
		return n > 0
	}
	if !answers(kept, statetest.Patience) || answers(moved, 200*time.Millisecond) {
		t.Fatal("before anything is published at 192.0.2.1")
	}
	flow := func() string {
		return testnet.Sh(t, "conntrack", "-L", "-p", "udp", "--orig-dst", "192.0.2.7", "-o", "id")
	}
	before := flow()
	for _, hostIP := range []string{"192.0.2.1", "0.0.0.0"} {
		p := at("a", "10.1.0.2", udp(hostIP))
		statetest.Apply(t, statetest.Open(t, nil), p)
		if !answers(moved, statetest.Patience) {
			t.Errorf("%s: the flow that began before goes past the container", hostIP)
		}
		if err := (state.Set{p}).Remove(statetest.Open(t, nil)); err != nil {
			t.Fatal(err)
		}
		if answers(moved, 200*time.Millisecond) {
			t.Errorf("%s: the flow goes on to a container that is gone", hostIP)
		}
	}
	id := func(text string) string { _, id, _ := strings.Cut(text, " id="); return strings.Fields(id)[0] }
	if got := flow(); id(before) != id(got) {
		t.Errorf("the flow of another address: before\n%s\nafter\n%s", before, got)
	}
}
