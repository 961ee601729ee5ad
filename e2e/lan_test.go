package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// lan is a physical network: a machine at the other end of the cable in the host's interface lan0. That end is a port of a
// switch, which has the machine's addresses.
type lan struct {
	machine *testnet.Namespace
}

const (
	machineV4, machineV6 = "10.71.0.250", "fd71::250"
	lanHostV4            = "10.71.0.10" // the host's own, on lan0
)

// newLAN plugs the cable in until the test ends.
func newLAN(t *testing.T) lan {
	t.Helper()
	l := lan{machine: testnet.NewNS(t, "machine")}
	succeed(t, command(t, "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "port", "netns", l.machine.Path))
	t.Cleanup(func() { succeed(t, command(t, "ip", "link", "del", "lan0")) })
	succeed(t, command(t, "ip", "link", "set", "lan0", "up"))
	succeed(t, command(t, "ip", "addr", "add", lanHostV4+"/24", "dev", "lan0"))
	for _, line := range []string{
		"link set lo up", "link add switch type bridge", "link set port up master switch", "link set switch up",
		"addr add " + machineV4 + "/24 dev switch", "addr add " + machineV6 + "/64 dev switch nodad",
	} {
		succeed(t, commandIn(t, l.machine.Path, "ip", strings.Fields(line)...))
	}
	return l
}

// reflective makes the switch send frames back by the port they came in.
func (l lan) reflective(t *testing.T) {
	t.Helper()
	succeed(t, commandIn(t, l.machine.Path, "bridge", "link", "set", "dev", "port", "hairpin", "on"))
}

// macSeen is the address of Ethernet by which the machine reaches an address that has answered it.
func (l lan) macSeen(t *testing.T, address string) string {
	t.Helper()
	var seen []struct{ LLAddr string }
	out := succeed(t, commandIn(t, l.machine.Path, "ip", "-json", "neigh", "show", address))
	if err := json.Unmarshal([]byte(out), &seen); err != nil || len(seen) != 1 {
		t.Fatalf("ip neigh show %s: %v\n%s", address, err, out)
	}
	return seen[0].LLAddr
}

// linkMAC is the address of Ethernet of a namespace's eth0.
func linkMAC(t *testing.T, ns *testnet.Namespace) string {
	t.Helper()
	var links []struct{ Address string }
	out := succeed(t, commandIn(t, ns.Path, "ip", "-json", "link", "show", "eth0"))
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		t.Fatalf("ip link show eth0: %v\n%s", err, out)
	}
	return links[0].Address
}

// reaches expects each address to answer. The first requests may fall into the end of an earlier question for it.
func reaches(t *testing.T, from string, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		for try := 0; !answers(t, from, address); try++ {
			if try == 10 {
				t.Errorf("%s does not answer %s", address, from)
				break
			}
		}
	}
}

func reachesNot(t *testing.T, from string, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		if answers(t, from, address) {
			t.Errorf("%s answers %s", address, from)
		}
	}
}

// answers says whether an address answers one echo request within a second.
func answers(t *testing.T, from, address string) bool {
	t.Helper()
	_, _, err := run(commandIn(t, from, "busybox", "ping", "-c", "1", "-W", "1", address))
	return err == nil
}
