package e2e

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// storm attaches and detaches containers, kills plugins on the way, and keeps the books.
type storm struct {
	t       *testing.T
	network network
	chance  *rand.Rand

	// addTime and delTime are the moments by which every second call is over, learned on the way.
	addTime, delTime time.Duration

	alive map[string]survivor
	// dead are those whose last call was killed.
	dead                   []*libcni.RuntimeConf
	killedAdds, killedDels int
}

// survivor is a container whose ADD succeeded and whose DEL has not been tried.
type survivor struct {
	attachment *libcni.RuntimeConf
	addresses  []netip.Addr
}

func newStorm(t *testing.T, n network) *storm {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return &storm{
		t:       t,
		network: n,
		chance:  rand.New(rand.NewPCG(seed, 0)),
		addTime: 10 * time.Millisecond,
		delTime: 20 * time.Millisecond,
		alive:   map[string]survivor{},
	}
}

func (s *storm) kills() int { return s.killedAdds + s.killedDels }

// unharmed lets a call take all its time.
const unharmed = commandLimit

// round is the life of one container: its ADD may be killed; most of those who live on meet a DEL that may be killed.
func (s *storm) round(rt *libcni.RuntimeConf) {
	s.t.Helper()
	before := s.killedAdds
	s.add(rt, s.moment(s.addTime))
	s.addTime = learn(s.addTime, s.killedAdds > before)
	if s.killedAdds > before || s.chance.IntN(4) == 0 {
		return
	}
	before = s.killedDels
	s.del(rt, s.moment(s.delTime))
	s.delTime = learn(s.delTime, s.killedDels > before)
}

// moment is one at random, before or after the middle with equal chances.
func (s *storm) moment(middle time.Duration) time.Duration {
	return time.Duration(s.chance.Int64N(2 * int64(middle)))
}

// learn grants the next call more time after a kill, and less after a survival, so that half of them are killed however
// busy the machine is.
func learn(middle time.Duration, killed bool) time.Duration {
	if killed {
		return middle * 21 / 20
	}
	return middle * 20 / 21
}

func (s *storm) add(rt *libcni.RuntimeConf, limit time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	found, err := s.network.add(ctx, rt) // os/exec kills with the context
	switch {
	case err == nil:
		s.welcome(rt, found)
	case ctx.Err() != nil:
		s.killedAdds++
		s.dead = append(s.dead, rt)
	default:
		s.t.Fatal(err)
	}
}

func (s *storm) del(rt *libcni.RuntimeConf, limit time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := s.network.del(ctx, rt)
	delete(s.alive, rt.ContainerID)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		s.killedDels++
		s.dead = append(s.dead, rt)
	default:
		s.t.Fatal(err)
	}
}

// welcome enters a container in the books, unless somebody alive has one of its addresses.
func (s *storm) welcome(rt *libcni.RuntimeConf, found []string) {
	s.t.Helper()
	self := survivor{attachment: rt}
	for _, text := range found {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			s.t.Fatal(err)
		}
		self.addresses = append(self.addresses, prefix.Addr())
	}
	for id, other := range s.alive {
		for _, address := range self.addresses {
			if slices.Contains(other.addresses, address) {
				s.t.Fatalf("%s is given to %s, but %s has it", address, rt.ContainerID, id)
			}
		}
	}
	s.alive[rt.ContainerID] = self
}

// valid are the containers that are alive.
func (s *storm) valid() []string { return slices.Sorted(maps.Keys(s.alive)) }

func (s *storm) attachments() []*libcni.RuntimeConf {
	var all []*libcni.RuntimeConf
	for _, id := range s.valid() {
		all = append(all, s.alive[id].attachment)
	}
	return all
}

// traces are what the alive must have on the host.
func (s *storm) traces() traces {
	var want traces
	for _, id := range s.valid() {
		owner := "fairway " + s.network.list.Name + " " + id + " eth0"
		want.Ports = append(want.Ports, owner)
		want.Elements = append(want.Elements, owner)
		for _, address := range s.alive[id].addresses {
			want.Addresses = append(want.Addresses, address.String())
		}
	}
	slices.Sort(want.Addresses)
	return want
}
