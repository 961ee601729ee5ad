package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// lanKills is less than for the bridge: there is less to be killed between.
const lanKills = 60

// TestCrashMacvlan kills ADDs and DELs of a network whose containers the host reaches, and lets GC put things in order. What
// is left may lie in a container, where only a claim leads to it.
func TestCrashMacvlan(t *testing.T) {
	newLAN(t)
	s := newStorm(t, newNetwork(t, []byte(macvlanConf("1.1.0", "wreck", `"hostAccess": true,`))))
	for round := 0; s.kills() < lanKills; round++ {
		if round == 5*lanKills {
			t.Fatalf("%d of %d calls killed in %d rounds", s.kills(), lanKills, round)
		}
		id := fmt.Sprintf("m%03d", round)
		s.round(attachment(id, testnet.NewNS(t, id).Path))
	}
	t.Logf("%d ADDs and %d DELs killed, %d attachments alive", s.killedAdds, s.killedDels, len(s.alive))
	if err := s.network.collect(t, s.valid()); err != nil {
		t.Fatal(err)
	}
	s.wantOnlyAliveOnLAN()
	for _, rt := range s.dead {
		wantLinks(t, &testnet.Namespace{Path: rt.NetNS}, "lo")
		s.add(rt, unharmed)
	}
	s.dead = nil
	s.wantOnlyAliveOnLAN()
	eachAtOnce(t, s.attachments(), func(ctx context.Context, _ int, rt *libcni.RuntimeConf) error { return s.network.del(ctx, rt) })
	s.alive = nil
	s.wantOnlyAliveOnLAN()
	wantNothing(t, "wreck")
}

// wantOnlyAliveOnLAN expects a route of the host and a reservation for each address of the alive, and the host's own link and
// addresses as long as there is anybody.
func (s *storm) wantOnlyAliveOnLAN() {
	s.t.Helper()
	var want []string
	for _, c := range s.alive {
		for _, address := range c.addresses {
			want = append(want, address.String())
		}
	}
	slices.Sort(want)
	found, shims := routesToContainers(s.t)
	if diff := cmp.Diff(want, found); diff != "" {
		s.t.Errorf("routes of the host (-want +got):\n%s", diff)
	}
	if len(s.alive) > 0 {
		want = append(want, shims...)
		slices.Sort(want)
	}
	if diff := cmp.Diff(want, reservations(s.t, "wreck")); diff != "" {
		s.t.Errorf("reservations (-want +got):\n%s", diff)
	}
	if (len(shims) == 2) != (len(s.alive) > 0) {
		s.t.Errorf("the host has addresses %v in the network beside %d containers", shims, len(s.alive))
	}
	eachAtOnce(s.t, s.attachments(), func(ctx context.Context, _ int, rt *libcni.RuntimeConf) error {
		return s.network.check(ctx, rt)
	})
}

// routesToContainers are the destinations of routes through macvlan links of the host, and the addresses of those links.
func routesToContainers(t *testing.T) (routes, own []string) {
	t.Helper()
	for _, family := range []string{"-4", "-6"} {
		var list []struct{ Dst, Dev, Protocol string }
		out := succeed(t, command(t, "ip", "-json", family, "route"))
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatalf("ip %s route: %v\n%s", family, err, out)
		}
		for _, r := range list {
			if strings.HasPrefix(r.Dev, "shim") && r.Protocol != "kernel" {
				routes = append(routes, r.Dst)
			}
		}
	}
	var links []struct {
		AddrInfo []struct{ Local, Scope string } `json:"addr_info"`
	}
	out := succeed(t, command(t, "ip", "-json", "addr", "show", "type", "macvlan"))
	if out != "" {
		if err := json.Unmarshal([]byte(out), &links); err != nil {
			t.Fatalf("ip addr show type macvlan: %v\n%s", err, out)
		}
	}
	for _, link := range links {
		for _, a := range link.AddrInfo {
			if a.Scope == "global" {
				own = append(own, a.Local)
			}
		}
	}
	slices.Sort(routes)
	return routes, own
}
