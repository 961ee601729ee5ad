package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

const (
	kills = 200
	// rounds bounds the test; about every second call is killed.
	rounds = 5 * kills
)

const crashConf = `{
	"cniVersion": "1.1.0",
	"name": "crash",
	"plugins": [{
		"type": "bridge",
		"bridge": "crash0",
		"isDefaultGateway": true,
		"ipMasq": true,
		"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.65.0.0/16"}], [{"subnet": "fd65::/64"}]]}
	}]
}`

// TestCrash kills ADDs and DELs, and lets GC put things in order.
func TestCrash(t *testing.T) {
	s := newStorm(t, newNetwork(t, []byte(crashConf)))
	removeLink(t, "crash0")
	for round := 0; s.kills() < kills; round++ {
		if round == rounds {
			t.Fatalf("%d of %d calls killed in %d rounds", s.kills(), kills, rounds)
		}
		id := fmt.Sprintf("c%03d", round)
		s.round(attachment(id, testnet.NewNS(t, id).Path))
	}
	t.Logf("%d ADDs and %d DELs killed, %d attachments alive", s.killedAdds, s.killedDels, len(s.alive))
	t.Logf("left by the killed: %d ports, %d reservations",
		len(ports(t, "crash"))-len(s.alive), len(reservations(t, "crash"))-2*len(s.alive))

	if err := s.network.collect(t, s.valid()); err != nil {
		t.Fatal(err)
	}
	s.wantOnlyAlive()

	// Their namespaces are usable again, and they get addresses that nobody has.
	for _, rt := range s.dead {
		s.add(rt, unharmed)
	}
	s.wantOnlyAlive()
	everyone := s.attachments()
	eachAtOnce(t, everyone, func(ctx context.Context, _ int, rt *libcni.RuntimeConf) error { return s.network.del(ctx, rt) })
	wantNothing(t, "crash")
}

// wantOnlyAlive expects the alive to be whole, and nothing of anybody else.
func (s *storm) wantOnlyAlive() {
	s.t.Helper()
	if diff := cmp.Diff(s.traces(), tracesOf(s.t, "crash")); diff != "" {
		s.t.Errorf("on the host (-want +got):\n%s", diff)
	}
	eachAtOnce(s.t, s.attachments(), func(ctx context.Context, _ int, rt *libcni.RuntimeConf) error {
		return s.network.check(ctx, rt)
	})
}
