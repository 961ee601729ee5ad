package e2e

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// macvlanConf is a network of both families on lan0, with keys beside its own. Each has reservations of its own.
func macvlanConf(version, name, keys string) string {
	return `{
		"cniVersion": "` + version + `",
		"name": "` + name + `",
		"plugins": [{
			"type": "macvlan", "master": "lan0", ` + keys + `
			"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.71.0.0/24"}], [{"subnet": "fd71::/64"}]]}
		}]
	}`
}

// TestCnitoolMacvlan: what each mode promises, and the other machine reaches every container by its own MAC.
func TestCnitoolMacvlan(t *testing.T) {
	for _, mode := range []string{"bridge", "private", "vepa"} {
		t.Run(mode, func(t *testing.T) {
			writeConf(t, macvlanConf("1.1.0", mode, `"mode": "`+mode+`",`))
			l := newLAN(t)
			a, b := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")
			succeed(t, cnitool(t, "status", mode, a))
			wantAddresses(t, succeed(t, cnitool(t, "add", mode, a)), "10.71.0.2/24", "fd71::2/64")
			wantAddresses(t, succeed(t, cnitool(t, "add", mode, b)), "10.71.0.3/24", "fd71::3/64")
			succeed(t, cnitool(t, "check", mode, a))
			for address, ns := range map[string]*testnet.Namespace{"10.71.0.2": a, "fd71::2": a, "10.71.0.3": b, "fd71::3": b} {
				reaches(t, l.machine.Path, address)
				if seen, own := l.macSeen(t, address), linkMAC(t, ns); seen != own {
					t.Errorf("the machine reaches %s by %s, want %s", address, seen, own)
				}
			}
			reaches(t, a.Path, machineV4, machineV6)
			neighbour := []string{"10.71.0.3", "fd71::3"}
			if mode == "bridge" {
				reaches(t, a.Path, neighbour...)
			} else {
				reachesNot(t, a.Path, neighbour...)
			}
			reachesNot(t, a.Path, lanHostV4)
			l.reflective(t)
			switch mode {
			case "private":
				reachesNot(t, a.Path, neighbour...)
			case "vepa":
				reaches(t, a.Path, neighbour...)
			}
			succeed(t, cnitool(t, "del", mode, a))
			succeed(t, cnitool(t, "del", mode, a))
			wantLinks(t, a, "lo")
			succeed(t, cnitool(t, "gc", mode, b)) // cnitool names no valid attachments: all go
			wantLinks(t, b, "lo")
			wantNothing(t, mode)
		})
	}
}

// TestCnitoolMacvlanPassthru: the container takes the interface; a second one is told why it cannot.
func TestCnitoolMacvlanPassthru(t *testing.T) {
	writeConf(t, macvlanConf("1.1.0", "passthru", `"mode": "passthru",`))
	l := newLAN(t)
	a, b := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")
	succeed(t, cnitool(t, "add", "passthru", a))
	reaches(t, l.machine.Path, "10.71.0.2", "fd71::2")
	said := fail(t, cnitool(t, "add", "passthru", b))
	if want := "master lan0 has another macvlan interface, and mode passthru takes it for one alone"; !strings.Contains(said, want) {
		t.Errorf("second container: got %q, want it to say %q", said, want)
	}
	wantLinks(t, b, "lo")
	succeed(t, cnitool(t, "check", "passthru", a))
	succeed(t, cnitool(t, "del", "passthru", a))
	wantNothing(t, "passthru")
	succeed(t, cnitool(t, "add", "passthru", b))
	succeed(t, cnitool(t, "del", "passthru", b))
	wantNothing(t, "passthru")
}

// TestCRIMacvlan: pods with MACs of their own on the physical network, which the host reaches too, as a kubelet's probes need.
func TestCRIMacvlan(t *testing.T) {
	writeConf(t, macvlanConf("1.0.0", "probed", `"hostAccess": true,`))
	l := newLAN(t)
	k := newKubelet(t, startContainerd(t))
	web := k.run(t, "web")
	client := k.run(t, "client")
	want := [][]string{{"10.71.0.2", "fd71::2"}, {"10.71.0.4", "fd71::4"}} // the host has 3
	if diff := cmp.Diff(want, [][]string{web.addresses, client.addresses}); diff != "" {
		t.Errorf("addresses of the pods (-want +got):\n%s", diff)
	}

	shell := k.start(t, client, "shell")
	const url = "http://10.71.0.2/"
	machine := commandIn(t, l.machine.Path, "busybox", "wget", "-q", "-O-", url)
	host := command(t, "busybox", "wget", "-q", "-O-", "http://[fd71::2]/")
	for who, page := range map[string]string{
		"another pod": k.execute(t, shell, "wget", "-q", "-O-", url), "the machine": succeed(t, machine), "the host": succeed(t, host),
	} {
		if page != webPage {
			t.Errorf("%s from %s: got %q, want %q", url, who, page, webPage)
		}
	}
	reaches(t, l.machine.Path, "10.71.0.4")
	own := strings.TrimSpace(k.execute(t, shell, "cat", "/sys/class/net/eth0/address"))
	if seen := l.macSeen(t, "10.71.0.4"); seen != own {
		t.Errorf("the machine reaches the pod by %s, want %s", seen, own)
	}
	k.execute(t, shell, "ping", "-c", "1", lanHostV4)

	k.stop(t, web)
	succeed(t, command(t, "busybox", "ping", "-c", "1", "-w", "3", "10.71.0.4"))
	k.stop(t, client)
	wantNothing(t, "probed")
	if left := succeed(t, command(t, "ip", "-brief", "link", "show", "type", "macvlan")); left != "" {
		t.Errorf("links left on the host: %s", left)
	}
}

// runMacvlanExample attaches two containers beside a router with the first address of the subnet.
func runMacvlanExample(t *testing.T, path string) {
	t.Helper()
	conf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, conf)
	o := newOutside(t)
	const router = "192.168.1.1"
	succeed(t, commandIn(t, o.ns.Path, "ip", "addr", "add", router+"/24", "dev", "eth0"))
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	a, b := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")
	for _, ns := range []*testnet.Namespace{a, b} {
		if _, err := n.add(ctx, attachment(strings.TrimPrefix(ns.Path, netnsDir+"/"), ns.Path)); err != nil {
			t.Fatal(err)
		}
	}
	const first = "192.168.1.200"
	reaches(t, b.Path, first, router, outsideV4)
	reaches(t, o.ns.Path, first)
	if strings.Contains(path, "host-access") {
		reaches(t, ownNamespace, first)
		reaches(t, a.Path, "192.168.1.201") // the host's own
	} else {
		reachesNot(t, ownNamespace, first)
	}
	for _, ns := range []*testnet.Namespace{a, b} {
		rt := attachment(strings.TrimPrefix(ns.Path, netnsDir+"/"), ns.Path)
		if err := errors.Join(n.check(ctx, rt), n.del(ctx, rt), n.del(ctx, rt)); err != nil {
			t.Error(err)
		}
		wantLinks(t, ns, "lo")
	}
	wantNothing(t, n.list.Name)
}
