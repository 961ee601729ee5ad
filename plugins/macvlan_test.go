package plugins

import (
	"slices"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// lan is a physical network: another machine behind the host's interface lan0, whose end of the cable is a port of a switch
// with the machine's addresses.
type lan struct {
	machine *testnet.Namespace
}

const (
	lanV4, machineV4 = "10.1.0.0/24", "10.1.0.250"
	lanV6, machineV6 = "fd01::/64", "fd01::250"
)

// macvlanOn is an attachment to a network called net, of both families, on the physical network of a host of its own.
func macvlanOn(t *testing.T, container *testnet.Namespace) (attachment, lan) {
	t.Helper()
	a := attachment{
		host: testnet.NewNS(t, "lanhost"), plugin: "macvlan", env: map[string]string{"CNI_PATH": binDir},
		conf: map[string]any{
			"cniVersion": "1.1.0", "name": "net", "type": "macvlan", "master": "lan0",
			"ipam": hostLocal(t.TempDir(), lanV4, lanV6),
		},
	}
	return a.on(container, "eth0"), newLAN(t, a.host)
}

func newLAN(t *testing.T, host *testnet.Namespace) lan {
	t.Helper()
	l := lan{machine: testnet.NewNS(t, "machine")}
	host.Sh(t, "ip", "link", "add", "lan0", "address", "02:00:00:00:00:0a", "type", "veth", "peer", "name", "port", "netns", l.machine.Path)
	host.Sh(t, "ip", "link", "set", "lan0", "up")
	l.machine.Sh(t, "ip", "link", "add", "switch", "type", "bridge")
	l.machine.Sh(t, "ip", "link", "set", "port", "up", "master", "switch")
	l.machine.Sh(t, "ip", "link", "set", "switch", "up")
	l.machine.Sh(t, "ip", "addr", "add", machineV4+"/24", "dev", "switch")
	l.machine.Sh(t, "ip", "addr", "add", machineV6+"/64", "dev", "switch", "nodad")
	return l
}

// reflective makes the switch send frames back by the port they came in.
func (l lan) reflective(t *testing.T) {
	t.Helper()
	l.machine.Sh(t, "bridge", "link", "set", "dev", "port", "hairpin", "on")
}

// answers says whether an address answers an echo request from a namespace. An answer is not waited for long.
func answers(from *testnet.Namespace, address string) bool {
	return from.Command("busybox", "ping", "-c", "1", "-W", "1", address).Run() == nil
}

// reaches expects an answer from each address.
func reaches(t *testing.T, from *testnet.Namespace, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		const tries = 10 // the first may fall into the end of an earlier question for the address
		if !slices.ContainsFunc(make([]int, tries), func(int) bool { return answers(from, address) }) {
			t.Errorf("%s does not answer %s", address, from.Path)
		}
	}
}

func reachesNot(t *testing.T, from *testnet.Namespace, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		if answers(from, address) {
			t.Errorf("%s answers %s", address, from.Path)
		}
	}
}

// macSeen is the address of Ethernet by which a namespace reaches an address.
func macSeen(t *testing.T, n *testnet.Namespace, address string) string {
	t.Helper()
	var seen []struct{ LLAddr string }
	decodeShown(t, n, &seen, "neigh", "show", address)
	if len(seen) != 1 {
		t.Fatalf("neighbours with %s: got %v, want one", address, seen)
	}
	return seen[0].LLAddr
}

func TestMacvlanResult(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a, _ := macvlanOn(t, container)
	// A name that the host has is no obstacle.
	a.host.Sh(t, "ip", "link", "add", "eth0", "type", "bridge")
	got := a.add(t)
	mac := interfaceOf(t, got, "eth0").Mac
	want := &types100.Result{
		CNIVersion: "1.1.0",
		Interfaces: []*types100.Interface{{Name: "eth0", Mac: mac, Mtu: 1500, Sandbox: container.Path}},
		IPs:        []*types100.IPConfig{ipOf(t, "10.1.0.2/24", "10.1.0.1"), ipOf(t, "fd01::2/64", "fd01::1")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	a.after(got).succeed(t, "CHECK")
	if shown := container.Sh(t, "ip", "addr", "show", "scope", "global"); strings.Contains(shown, "tentative") {
		t.Errorf("the plugin left addresses to duplicate detection:\n%s", shown)
	}

	a.succeed(t, "DEL")
	second := a.add(t)
	wantText(t, "MAC when attached again", mac, interfaceOf(t, second, "eth0").Mac)
}

// TestMacvlanModes: what each promises. In all of them, the other machine reaches a container by its own MAC.
func TestMacvlanModes(t *testing.T) {
	for _, mode := range []string{"bridge", "private", "vepa"} {
		t.Run(mode, func(t *testing.T) {
			first, second := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")
			a, l := macvlanOn(t, first)
			a = a.with("mode", mode)
			b := a.on(second, "eth0")
			for i, result := range []*types100.Result{a.add(t), b.add(t)} {
				v4, v6 := []string{"10.1.0.2", "10.1.0.3"}[i], []string{"fd01::2", "fd01::3"}[i]
				reaches(t, l.machine, v4, v6)
				mac := interfaceOf(t, result, "eth0").Mac
				wantText(t, "MAC of "+v4, mac, macSeen(t, l.machine, v4))
				wantText(t, "MAC of "+v6, mac, macSeen(t, l.machine, v6))
			}
			reaches(t, first, machineV4, machineV6)
			switch mode {
			case "bridge":
				reaches(t, first, "10.1.0.3", "fd01::3")
			case "private":
				reachesNot(t, first, "10.1.0.3", "fd01::3")
				l.reflective(t)
				reachesNot(t, first, "10.1.0.3", "fd01::3")
			case "vepa":
				reachesNot(t, first, "10.1.0.3", "fd01::3")
				l.reflective(t)
				reaches(t, first, "10.1.0.3", "fd01::3")
			}
		})
	}
}

// TestMacvlanPassthru: the container takes the interface, and a second one is told so.
func TestMacvlanPassthru(t *testing.T) {
	container := testnet.NewNS(t, "a")
	a, l := macvlanOn(t, container)
	a = a.with("mode", "passthru")
	result := a.add(t)
	reaches(t, l.machine, "10.1.0.2", "fd01::2")
	wantText(t, "MAC", "02:00:00:00:00:0a", macSeen(t, l.machine, "10.1.0.2"))

	second := a.on(testnet.NewNS(t, "b"), "eth0")
	before := second.traces(t)
	wantText(t, "sentence", "master lan0 has another macvlan interface, and mode passthru takes it for one alone: "+
		"remove that one, or choose another mode or master", second.fail(t, "ADD", 7))
	wantText(t, "sentence", "master lan0 is taken by an interface in mode passthru, which lets no other beside it: "+
		"remove that one, or name another interface in key master", second.with("mode", "bridge").fail(t, "ADD", 7))
	second.wantUnchanged(t, before)
	a.after(result).succeed(t, "CHECK")
	a.succeed(t, "DEL")
	reaches(t, l.machine, second.add(t).IPs[0].Address.IP.String())
}

// TestMacvlanDAD: an address that another machine has is refused when detection is asked for.
func TestMacvlanDAD(t *testing.T) {
	a, l := macvlanOn(t, testnet.NewNS(t, "c"))
	a = a.with("enabledad", true)
	a = a.after(a.add(t))
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
	l.machine.Sh(t, "ip", "addr", "add", "fd01::3/64", "dev", "switch", "nodad")
	before := a.traces(t)
	wantText(t, "sentence", "ip addr add fd01::3/64 dev eth0: another machine on the network has this address", a.fail(t, "ADD", 999))
	a.wantUnchanged(t, before)
}

func TestMacvlanOfDefaultRoute(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
	a = a.with("master", nil)
	const none = "no default route leads to a master in the host's namespace: name an interface in key master"
	wantText(t, "sentence", none, a.fail(t, "ADD", 7))
	wantText(t, "sentence", none, a.statusCall().fail(t, "STATUS", 50))
	a.host.Sh(t, "ip", "addr", "add", "192.0.2.2/24", "dev", "lan0")
	a.host.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	a.statusCall().succeed(t, "STATUS")
	a = a.after(a.add(t))
	a.succeed(t, "CHECK")
	a.with("master", "lan0").succeed(t, "CHECK")
}

// TestMacvlanInContainer puts a second link on top of the first.
func TestMacvlanInContainer(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a, l := macvlanOn(t, container)
	a.add(t)
	inner := a.with("name", "inner").with("master", "eth0").with("linkInContainer", true).on(container, "net1").
		withIPAM("dataDir", t.TempDir()).withIPAM("ranges", [][]map[string]string{{{"subnet": lanV4, "rangeStart": "10.1.0.100"}}})
	inner = inner.after(inner.add(t))
	inner.succeed(t, "CHECK")
	inner.statusCall().succeed(t, "STATUS")
	if diff := cmp.Diff([]string{"eth0", "lo", "net1"}, links(t, container)); diff != "" {
		t.Errorf("links of the container (-want +got):\n%s", diff)
	}
	reaches(t, l.machine, "10.1.0.100")
	inner.succeed(t, "DEL")
	if diff := cmp.Diff([]string{"eth0", "lo"}, links(t, container)); diff != "" {
		t.Errorf("links of the container (-want +got):\n%s", diff)
	}
}

// TestMacvlanFailedAddLeavesNothing makes each ADD fail at another step: upstream's leaves the link and the lease.
func TestMacvlanFailedAddLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, a attachment) attachment
		code  uint
		want  string
	}{
		{"master missing", func(_ *testing.T, a attachment) attachment { return a.with("master", "lan9") }, 7,
			"master lan9 does not exist in the host's namespace: name an interface in key master"},
		{"master of another kind", func(_ *testing.T, a attachment) attachment { return a.with("master", "lo") }, 7,
			"master lo is no Ethernet interface: name one in key master"},
		{"MTU above the master's", func(_ *testing.T, a attachment) attachment { return a.with("mtu", 9000) }, 7,
			"key mtu is 9000, and master lan0 has 1500: give no more than that, or raise the master's"},
		{"master is a bridge's port", func(t *testing.T, a attachment) attachment {
			a.host.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
			a.host.Sh(t, "ip", "link", "set", "lan0", "master", "br0")
			return a
		}, 7, "master lan0 is a port of br0, which takes its frames: name br0 in key master, or take lan0 out of it: device or resource busy"},
		{"interface exists", func(_ *testing.T, a attachment) attachment { return a.withEnv("CNI_IFNAME", "lo") }, 4,
			"interface lo exists already in the container: ask for another name in CNI_IFNAME, or remove that one"},
		{"a route without a way", func(_ *testing.T, a attachment) attachment {
			return a.withIPAM("routes", []map[string]any{{"dst": "10.8.0.0/16", "gw": "192.0.2.1"}})
		}, 5, "ip route add 10.8.0.0/16 via 192.0.2.1 dev eth0: network is unreachable"},
		{"an exhausted range", func(_ *testing.T, a attachment) attachment {
			return a.withIPAM("ranges", [][]map[string]string{{{"subnet": "10.1.0.0/31"}}}).with("master", "lan0").exhausted(t)
		}, 11, "range set 0 (10.1.0.0-10.1.0.1) has no free address, all 1 are reserved: " +
			"let GC release those of containers that are gone, or configure a larger range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
			a = tt.spoil(t, a)
			before := a.traces(t)
			wantText(t, "sentence", tt.want, a.fail(t, "ADD", tt.code))
			a.wantUnchanged(t, before)
		})
	}
}

// exhausted takes all addresses of the attachment's network, for other containers.
func (a attachment) exhausted(t *testing.T) attachment {
	t.Helper()
	other := a
	other.plugin = "host-local"
	for _, id := range []string{"x", "y"} {
		if other.withEnv("CNI_CONTAINERID", id).run(t, "ADD").code != 0 {
			return a
		}
	}
	return a
}

func TestMacvlanClosedPipe(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
	before := a.traces(t)
	a.addToNobody(t)
	a.wantUnchanged(t, before)
}

// TestMacvlanAddTwice keeps the first attachment whole.
func TestMacvlanAddTwice(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
	result := a.add(t)
	before := a.traces(t)
	a.fail(t, "ADD", 4)
	a.wantUnchanged(t, before)
	a.after(result).succeed(t, "CHECK")
}

// TestMacvlanDel: again and again, before ADD, without a result, without the namespace.
func TestMacvlanDel(t *testing.T) {
	container, err := testnet.New("macvlan-vanishing-c")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := macvlanOn(t, container)
	before := a.traces(t)
	stopped := a.withEnv("CNI_NETNS", "")
	for _, del := range []attachment{a, stopped, a.withEnv("CNI_NETNS", "/run/netns/none"), a.withEnv("CNI_NETNS", a.host.Path)} {
		del.succeed(t, "DEL")
		a.wantUnchanged(t, before)
	}
	a.after(a.add(t)).succeed(t, "DEL")
	a.succeed(t, "DEL")
	a.wantUnchanged(t, before)

	a.add(t)
	a.with("prevResult", map[string]any{"ips": []any{nil}}).succeed(t, "DEL")
	a.wantUnchanged(t, before)

	result := a.add(t)
	if err := container.Close(); err != nil {
		t.Fatal(err)
	}
	a.after(result).succeed(t, "DEL")
	before.Container = nil
	a.wantUnchanged(t, before)
}

// TestMacvlanDelOfAnUpstreamAttachment: a host changes its suite while containers run.
func TestMacvlanDelOfAnUpstreamAttachment(t *testing.T) {
	for _, tt := range []struct{ name, ipam string }{{"layer 3", "host-local"}, {"layer 2", ""}} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
			a = a.with("cniVersion", "1.0.0").withIPAM("ranges", [][]map[string]string{{{"subnet": lanV4}}})
			if tt.ipam == "" {
				a = a.with("ipam", nil)
			}
			before := a.traces(t)
			theirs := a
			theirs.plugin = upstream(t, "macvlan")
			a.after(theirs.add(t)).succeed(t, "DEL")
			a.wantUnchanged(t, before)
		})
	}
}

func TestMacvlanCheckReportsAllDrift(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a, _ := macvlanOn(t, container)
	a = a.with("mtu", 1400)
	result := a.add(t)
	container.Sh(t, "ip", "link", "set", "eth0", "type", "macvlan", "mode", "private")
	container.Sh(t, "ip", "link", "set", "eth0", "mtu", "1450")
	container.Sh(t, "ip", "addr", "del", "10.1.0.2/24", "dev", "eth0")
	a.releaseByHand(t)
	wantText(t, "sentence", "drift: eth0 is in mode private instead of bridge; "+
		"drift: eth0 has MTU 1450, more than the 1400 of the configuration; drift: eth0 has no address 10.1.0.2/24; "+
		"no address of network net is reserved for container c interface eth0: run DEL and ADD again",
		a.after(result).fail(t, "CHECK", 100))
}

// TestMacvlanCheckToleratesAChain: plugins after ours may change the interface, and say so in the result.
func TestMacvlanCheckToleratesAChain(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a, _ := macvlanOn(t, container)
	a = a.with("mtu", 1400)
	result := a.add(t)
	container.Sh(t, "ip", "link", "set", "eth0", "mtu", "1300", "promisc", "on", "address", "02:00:00:00:00:77")
	interfaceOf(t, result, "eth0").Mac = "02:00:00:00:00:77" // upstream's tuning records no MTU
	a.after(result).succeed(t, "CHECK")
}

// TestMacvlanOfLayer2: a network without addresses works in every verb.
func TestMacvlanOfLayer2(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
	a = a.with("ipam", nil)
	a.statusCall().succeed(t, "STATUS")
	a = a.after(a.add(t))
	a.succeed(t, "CHECK")
	a.gcCall().with("cni.dev/valid-attachments", alive("c")).succeed(t, "GC")
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
	a.fail(t, "CHECK", 100)
}

func TestMacvlanStatus(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
	a.statusCall().succeed(t, "STATUS")
	wantText(t, "sentence", "key mtu is 9000, and master lan0 has 1500: give no more than that, or raise the master's",
		a.statusCall().with("mtu", 9000).fail(t, "STATUS", 50))
	a.host.Sh(t, "ip", "link", "set", "lan0", "down")
	a.statusCall().warns(t, "master lan0 is down: ip link set lan0 up") // ADD works
	a.host.Sh(t, "ip", "link", "del", "lan0")
	wantText(t, "sentence", "master lan0 does not exist in the host's namespace: name an interface in key master",
		a.statusCall().fail(t, "STATUS", 50))
}

// TestMacvlanDelegates to an IPAM plugin that is executed.
func TestMacvlanDelegates(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
	a, d := a.delegated(t)
	result := a.add(t)
	if diff := cmp.Diff("10.7.0.2/24", result.IPs[0].Address.String()); diff != "" {
		t.Errorf("address (-want +got):\n%s", diff)
	}
	a = a.after(result)
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
	a.gcCall().succeed(t, "GC")
	a.statusCall().succeed(t, "STATUS")
	d.wantCalls(t, "ADD c eth0", "CHECK c eth0", "DEL c eth0", "GC", "STATUS")

	before := a.traces(t)
	d.answer(t, "ADD.error", `{"cniVersion": "1.1.0", "code": 123, "msg": "no luck"}`)
	wantText(t, "sentence", "IPAM plugin recorder: no luck", a.with("prevResult", nil).fail(t, "ADD", 123))
	d.wantCalls(t, "ADD c eth0", "DEL c eth0")
	a.wantUnchanged(t, before)
}

// TestMacvlanTwoNetworks: a second network's default route gives way until the first goes.
func TestMacvlanTwoNetworks(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a, _ := macvlanOn(t, container)
	first := a.withIPAM("routes", []map[string]string{{"dst": "0.0.0.0/0"}})
	second := first.with("name", "net2").on(container, "eth1").withIPAM("ranges", [][]map[string]string{{{"subnet": "10.2.0.0/24"}}})
	first = first.after(first.add(t))
	second = second.after(second.add(t))
	wantWay(t, container, "192.0.2.1", "eth0")
	first.succeed(t, "DEL")
	second.succeed(t, "CHECK")
	wantWay(t, container, "192.0.2.1", "eth1")
}
