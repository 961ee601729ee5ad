package attachment

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/fairway-cni/fairway/pkg/flock"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var comparable = cmp.Options{
	cmpopts.IgnoreUnexported(Attachment{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func attach(t *testing.T, r Runtime, network *libcni.NetworkConfigList, request Request) Attachment {
	t.Helper()
	a, err := r.Attach(t.Context(), network, request)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAttachListDetach(t *testing.T) {
	p, r := newPlugin(t)
	ns := testnet.NewNS(t, "c")
	p.answers(t, answerWith(ns, "10.9.0.7/24", "02:00:00:00:00:07"), 0)
	got := attach(t, r, networkOf(t, "lamp", ""), Request{ID: "1f2e", Name: "web", Netns: ns.Path, Aliases: []string{"www", "apache"}})
	want := Attachment{
		Network: "lamp", ID: "1f2e", Name: "web", IfName: "eth0", Netns: ns.Path, Aliases: []string{"www", "apache"},
		MAC:       net.HardwareAddr{2, 0, 0, 0, 0, 7},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.7/24")}, Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1")},
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("of Attach (-want +got):\n%s", diff)
	}
	listed, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Attachment{want}, listed, comparable); diff != "" {
		t.Errorf("of List (-want +got):\n%s", diff)
	}
	if alive := Of("lamp", listed); len(alive) != 1 || len(Of("other", listed)) != 0 {
		t.Errorf("alive on lamp: %v", alive)
	}
	if err := errors.Join(r.Check(t.Context(), listed[0]), r.Detach(t.Context(), listed[0])); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ADD 1f2e eth0", "CHECK 1f2e eth0", "DEL 1f2e eth0"}, p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if !strings.Contains(p.read(t, "stdin.DEL"), "10.9.0.7") {
		t.Errorf("DEL did not get the result of ADD: %s", p.read(t, "stdin.DEL"))
	}
	if listed, err = r.List(); err != nil || len(listed) != 0 {
		t.Errorf("after Detach: %v, %v", listed, err)
	}
}

func TestAttachTwice(t *testing.T) {
	p, r := newPlugin(t)
	ns := testnet.NewNS(t, "c")
	p.answers(t, answerWith(ns, "10.9.0.7/24", "02:00:00:00:00:07"), 0)
	attach(t, r, networkOf(t, "lamp", ""), Request{ID: "c1", Netns: ns.Path})
	p.calls(t)

	_, err := r.Attach(t.Context(), networkOf(t, "lamp", ""), Request{ID: "other", Name: "web", Netns: ns.Path})
	if !errors.Is(err, ErrConnected) {
		t.Errorf("got %v, want ErrConnected", err)
	}
	if calls := p.calls(t); calls[0] != "" {
		t.Errorf("the plugin was called: %v", calls)
	}
	// The cache knows that eth0 is taken, although the plugin has made no link.
	if a := attach(t, r, networkOf(t, "second", ""), Request{ID: "c1", Netns: ns.Path}); a.IfName != "eth1" {
		t.Errorf("interface of the second network: got %s, want eth1", a.IfName)
	}
}

func TestAttachAfterACrash(t *testing.T) {
	p, r := newPlugin(t)
	before, err := testnet.New("before")
	if err != nil {
		t.Fatal(err)
	}
	attach(t, r, networkOf(t, "lamp", ""), Request{ID: "c1", Netns: before.Path})
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	p.calls(t)
	attach(t, r, networkOf(t, "lamp", ""), Request{ID: "c1", Netns: testnet.NewNS(t, "after").Path})
	if diff := cmp.Diff([]string{"DEL c1 eth0", "ADD c1 eth0"}, p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestAttachFails(t *testing.T) {
	ns := testnet.NewNS(t, "c")
	answer := answerWith(ns, "10.9.0.7/24", "02:00:00:00:00:07")
	for _, test := range []struct {
		name    string
		answer  string
		status  int
		request Request
		want    string
	}{
		{"plugin", `{"code": 11, "msg": "no address is free"}`, 1, Request{}, "network lamp: no address is free"},
		{"result", `[]`, 0, Request{}, "network lamp: "},
		{"address", answer, 0, Request{IPs: []netip.Addr{netip.MustParseAddr("10.9.0.8")}}, "network lamp cannot give the address 10.9.0.8"},
		{"MAC", answer, 0, Request{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 8}}, "network lamp cannot give the MAC address 02:00:00:00:00:08"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, r := newPlugin(t)
			p.answers(t, test.answer, test.status)
			test.request.ID, test.request.Netns = "c1", ns.Path
			_, err := r.Attach(t.Context(), networkOf(t, "lamp", ""), test.request)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if diff := cmp.Diff([]string{"ADD c1 eth0", "DEL c1 eth0"}, p.calls(t)); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if all, err := r.List(); err != nil || len(all) != 0 {
				t.Errorf("left in the cache: %v, %v", all, err)
			}
		})
	}
}

func TestAttachWithoutNamespace(t *testing.T) {
	p, r := newPlugin(t)
	_, err := r.Attach(t.Context(), networkOf(t, "lamp", ""), Request{ID: "c1", Netns: "/run/netns/none"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the namespace does not exist", err)
	}
	if calls := p.calls(t); calls[0] != "" {
		t.Errorf("the plugin was called: %v", calls)
	}
}

func TestCollect(t *testing.T) {
	p, r := newPlugin(t)
	there := testnet.NewNS(t, "there")
	gone, err := testnet.New("gone")
	if err != nil {
		t.Fatal(err)
	}
	lamp, old := networkOf(t, "lamp", ""), networkOf(t, "old", "")
	old.CNIVersion = "1.0.0"
	attach(t, r, lamp, Request{ID: "gone", Netns: gone.Path})
	attach(t, r, lamp, Request{ID: "there", Netns: there.Path})
	attach(t, r, old, Request{ID: "gone", Netns: gone.Path})
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	p.calls(t)
	// Another runtime's plugin, at work.
	adding := exec.Command("sleep", "1000")
	adding.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=new", "CNI_IFNAME=eth0", "PATH=" + os.Getenv("PATH")}
	if err := adding.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = adding.Process.Kill() // it is ours, and has not been waited for
		_ = adding.Wait()
	})

	removed, err := r.Collect(t.Context(), []*libcni.NetworkConfigList{lamp, old})
	if err != nil {
		t.Fatal(err)
	}
	if len(removed) != 2 || removed[0].Network != "lamp" || removed[1].Network != "old" {
		t.Errorf("removed: %+v", removed)
	}
	if diff := cmp.Diff([]string{"DEL gone eth0", "GC  ", "DEL gone eth1"}, p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	for _, id := range []string{"new", "there"} { // beside those of whatever else runs on this machine
		if stdin, want := p.read(t, "stdin.GC"), `{"containerID":"`+id+`","ifname":"eth0"}`; !strings.Contains(stdin, want) {
			t.Errorf("GC got %s, want %s", stdin, want)
		}
	}
	if stdin := p.read(t, "stdin.GC"); strings.Contains(stdin, `"gone"`) {
		t.Errorf("GC takes what has gone for alive: %s", stdin)
	}
}

// TestCollectWaits for who is about to attach: that container is not in the cache yet.
func TestCollectWaits(t *testing.T) {
	_, r := newPlugin(t)
	lamp := []*libcni.NetworkConfigList{networkOf(t, "lamp", "")}
	unlock, err := r.lockShared(t.Context(), "lamp")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Collect(ctx, lamp); !errors.Is(err, flock.ErrBusy) {
		t.Errorf("while somebody attaches: got %v, want that it is locked", err)
	}
	unlock()
	if _, err := r.Collect(t.Context(), lamp); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
