package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

const dualStack = `[[{"subnet": "10.5.0.0/24"}], [{"subnet": "fd05::/64"}]]`

func TestConnectAndDisconnect(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", dualStack)
	s.network(t, "second", `[[{"subnet": "10.6.0.0/24"}], [{"subnet": "fd06::/64"}]]`)
	ns := testnet.NewNS(t, "web")
	ref := "netns:" + ns.Path

	s.succeed(t, "connect", "--ip", "10.5.0.20", "--ip6", "fd05::20", "--mac-address", "02:42:0a:05:00:14", "--alias", "www",
		"--alias", "apache", "lamp", ref)
	s.succeed(t, "network", "connect", "second", ref)
	wantDefault(t, ns, "10.5.0.1", "fd05::1")
	attached := listed(t)
	if a := attached[0]; a.IfName != "eth0" || a.MAC.String() != "02:42:0a:05:00:14" || a.Addresses[0].String() != "10.5.0.20/24" ||
		a.Addresses[1].String() != "fd05::20/64" || strings.Join(a.Aliases, " ") != "www apache" {
		t.Errorf("attachment to lamp: %+v", a)
	}
	if a := attached[1]; a.IfName != "eth1" || a.ID != attached[0].ID {
		t.Errorf("attachment to second: %+v", a)
	}

	// The other network has taken over once the first has gone, and is a second one again when that comes back.
	s.succeed(t, "disconnect", "lamp", ref)
	wantDefault(t, ns, "10.6.0.1", "fd06::1")
	s.succeed(t, "connect", "lamp", ref)
	wantDefault(t, ns, "10.6.0.1", "fd06::1")
	s.succeed(t, "disconnect", "second", ref)
	wantDefault(t, ns, "10.5.0.1", "fd05::1")
	s.succeed(t, "disconnect", "lamp", ref)
	if left := listed(t); len(left) != 0 {
		t.Errorf("left in the cache: %+v", left)
	}
}

func listed(t *testing.T) []attachment.Attachment {
	t.Helper()
	all, err := attachment.Runtime{}.List()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantDefault expects the default routes that are used, those with the least metric, to go over these gateways.
func wantDefault(t *testing.T, ns *testnet.Namespace, v4, v6 string) {
	t.Helper()
	for family, want := range map[string]string{"-4": v4, "-6": v6} {
		var routes []struct {
			Gateway string
			Metric  int
		}
		out := ns.Sh(t, "ip", family, "-json", "route", "show", "default")
		if err := json.Unmarshal([]byte(out), &routes); err != nil || len(routes) == 0 {
			t.Fatalf("default routes: %v, %v", out, err)
		}
		best := routes[0]
		for _, r := range routes {
			if r.Metric < best.Metric {
				best = r
			}
		}
		if best.Gateway != want {
			t.Errorf("default route %s: got %s, want %s: %s", family, best.Gateway, want, out)
		}
	}
}

func TestConnectErrors(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", dualStack)
	s.network(t, "other", `[[{"subnet": "10.6.0.0/24"}]]`)
	ns := testnet.NewNS(t, "web")
	ref, name := "netns:"+ns.Path, filepath.Base(ns.Path)
	s.succeed(t, "connect", "lamp", ref)
	t.Cleanup(func() { s.succeed(t, "disconnect", "lamp", ref) })
	const see = "\nSee 'fairway connect --help'."
	for _, test := range []struct {
		want string
		args []string
	}{
		{"fairway: network none-such not found", []string{"connect", "none-such", ref}},
		{"fairway: container web not found: containerd could not be asked: stat /run/containerd/containerd.sock: no such file or directory",
			[]string{"connect", "lamp", "web"}},
		{"fairway: container " + name + " is already connected to network lamp by its interface eth0", []string{"connect", "lamp", ref}},
		{"fairway: container " + name + " has an interface eth0 already: choose another name", []string{"connect", "--ifname", "eth0", "other", ref}},
		{"fairway: container " + ref + " is not connected to network other", []string{"disconnect", "other", ref}},
		{"fairway: network lamp has no subnet with the address 10.9.0.1: choose one of 10.5.0.0/24 or fd05::/64",
			[]string{"connect", "--ip", "10.9.0.1", "lamp", ref}},
		{"fairway: network lamp has no subnet with the address fd09::1: choose one of 10.5.0.0/24 or fd05::/64",
			[]string{"connect", "--ip6", "fd09::1", "lamp", ref}},
		{"fairway: network host: a container is on the host's network from its start, or never", []string{"connect", "host", ref}},
		{"fairway: network none connects a container to nothing", []string{"connect", "none", ref}},
		{"fairway: container netns:/proc/thread-self/ns/net shares the host's network: it cannot be connected to another",
			[]string{"connect", "other", "netns:/proc/thread-self/ns/net"}},
		{`fairway: --ip "fd05::1": give an IPv4 address` + see, []string{"connect", "--ip", "fd05::1", "lamp", ref}},
		{`fairway: --ip6 "10.5.0.9": give an IPv6 address` + see, []string{"connect", "--ip6", "10.5.0.9", "lamp", ref}},
		{`fairway: --mac-address "01:00:00:00:00:01": give a unicast Ethernet address such as 02:42:ac:11:00:02` + see,
			[]string{"connect", "--mac-address", "01:00:00:00:00:01", "lamp", ref}},
		{`fairway: --alias "a;IP=1": use letters, digits, '-', '_' and '.'` + see, []string{"connect", "--alias", "a;IP=1", "lamp", ref}},
		{`fairway: an argument is missing: fairway connect [OPTIONS] NETWORK CONTAINER` + see, []string{"connect", "lamp"}},
	} {
		s.fail(t, test.want, test.args...)
	}
	if attached := listed(t); len(attached) != 1 {
		t.Errorf("attached: %+v", attached)
	}
}

func TestDisconnectWhatHasGone(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", dualStack)
	ns, err := testnet.New("gone")
	if err != nil {
		t.Fatal(err)
	}
	s.succeed(t, "connect", "lamp", "netns:gone")
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	s.fail(t, "fairway: netns:/run/netns/gone not found", "disconnect", "lamp", "netns:gone")
	s.succeed(t, "disconnect", "-f", "lamp", "netns:gone")
	s.fail(t, "fairway: container gone is not connected to network lamp", "disconnect", "-f", "lamp", "gone")
}

// TestDisconnectFromRemovedNetwork: what was recorded at ADD suffices.
func TestDisconnectFromRemovedNetwork(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", dualStack)
	ns := testnet.NewNS(t, "web")
	s.succeed(t, "connect", "lamp", "netns:"+ns.Path)
	if err := os.Remove(filepath.Join(s.dir, "lamp.conflist")); err != nil {
		t.Fatal(err)
	}
	s.succeed(t, "disconnect", "lamp", "netns:"+ns.Path)
	s.fail(t, "fairway: network lamp not found", "disconnect", "lamp", "netns:"+ns.Path)
}

func TestGC(t *testing.T) {
	s := newShell(t)
	s.network(t, "old", dualStack)
	gone, err := testnet.New("gone")
	if err != nil {
		t.Fatal(err)
	}
	there := testnet.NewNS(t, "there")
	s.succeed(t, "connect", "old", "netns:gone")
	s.succeed(t, "connect", "old", "netns:"+there.Path)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	want := `NETWORK   CONTAINER   INTERFACE   ADDRESSES
old       gone        eth0        10.5.0.2/24 fd05::2/64
`
	for _, args := range [][]string{{"gc", "--dry-run"}, {"gc"}} {
		if diff := cmp.Diff(want, s.succeed(t, args...)); diff != "" {
			t.Errorf("fairway %s (-want +got):\n%s", strings.Join(args, " "), diff)
		}
	}
	if out := s.succeed(t, "gc", "--format", "json"); out != "" {
		t.Errorf("the second time: %s", out)
	}
	if left := listed(t); len(left) != 1 || !left[0].Alive() {
		t.Errorf("left: %+v", left)
	}
	s.succeed(t, "disconnect", "old", "netns:"+there.Path)
}

func TestCompletion(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", dualStack)
	ns := testnet.NewNS(t, "web")
	s.succeed(t, "connect", "lamp", "netns:"+ns.Path)
	t.Cleanup(func() { s.succeed(t, "disconnect", "lamp", "netns:"+ns.Path) })
	name := filepath.Base(ns.Path)
	for args, want := range map[string]string{
		"connect|":                "lamp\nbridge\n:4\n",
		"connect|bridge|":         name + "\n:4\n",
		"connect|bridge|netns:":   name + "\nnetns:" + name + "\n:4\n",
		"disconnect|":             "lamp\nbridge\n:4\n",
		"disconnect|lamp|":        name + "\n:4\n",
		"disconnect|lamp|a-name|": ":4\n",
		"disconnect|bridge|":      ":4\n",
	} {
		out, _, _ := s.run(append([]string{"__completeNoDesc"}, strings.Split(args, "|")...)...)
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

// TestCompletionOfWhatHasGone: what disconnect --force is for.
func TestCompletionOfWhatHasGone(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", dualStack)
	ns, err := testnet.New("gone")
	if err != nil {
		t.Fatal(err)
	}
	s.succeed(t, "connect", "lamp", "netns:gone")
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	out, _, _ := s.run("__complete", "disconnect", "-f", "lamp", "")
	name, _, _ := strings.Cut(out, "\t")
	if want := name + "\tgone, give --force\n:4\n"; name == "" || out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	s.succeed(t, "disconnect", "-f", "lamp", name)
}
