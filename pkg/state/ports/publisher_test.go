package ports_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// TestRemoveModel: whatever a container has published, at once and later, also what is taken back and what does not fit into its note, goes
// with it, and nothing of others; also where notes are lost, as nft writes none when it restores a ruleset.
func TestRemoveModel(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br9", "type", "bridge")
	random := rand.New(rand.NewPCG(5, 6))
	const containers = 4
	for step := range 150 {
		i := random.IntN(containers)
		p := at(fmt.Sprintf("c%d", i), fmt.Sprintf("10.1.0.%d", i+2))
		before := elements(t)
		switch random.IntN(40) {
		case 0:
			restore(t)
		case 1, 2, 3, 4, 5:
			list := randomPorts(random, uint16(i))
			if err := ports.Withdraw(statetest.Open(t, nil), p.Owner, list); err != nil && !errors.Is(err, state.ErrAbsent) {
				t.Fatal(err)
			}
		case 6, 7, 8, 9, 10, 11, 12:
			if err := p.Remove(statetest.Open(t, nil)); err != nil {
				t.Fatal(err)
			}
			delete(before, p.Owner.ContainerID)
			if diff := cmp.Diff(before, elements(t)); diff != "" {
				t.Fatalf("step %d: elements (-want +got):\n%s", step, diff)
			}
		default:
			p.Ports = randomPorts(random, uint16(i))
			if random.IntN(2) == 0 {
				p.Addrs = append(p.Addrs, netip.MustParseAddr(fmt.Sprintf("fd01::%d", i+2)))
			}
			p.Hairpin, p.Only, p.MasqueradeAll = random.IntN(2) == 0, random.IntN(2) == 0, random.IntN(2) == 0
			p.Link = []string{"lo", "br9"}[random.IntN(2)]
			// A port that comes twice, or in two ranges, is an error in any case.
			_, err := state.Set{p}.Apply(statetest.Open(t, nil))
			if err != nil && !errors.Is(err, state.ErrConflict) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOENT) {
				t.Fatalf("step %d: %v", step, err)
			}
		}
	}
}

// randomPorts are from the thousand ports of a container: few or many, at all addresses or at one, some for a prefix alone.
func randomPorts(random *rand.Rand, of uint16) (list []ports.Port) {
	if random.IntN(8) == 0 {
		return many(1000*(of+1)+500, 40)
	}
	for range 1 + random.IntN(3) {
		p := tcp(1000*(of+1)+uint16(random.IntN(20)), 80)
		p.Protocol = []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP}[random.IntN(3)]
		if p.HostIP = []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fd99::1"), netip.IPv4Unspecified()}[random.IntN(4)]; random.IntN(3) == 0 {
			p.ContainerPort, p.More = p.HostPort, 16
		}
		if random.IntN(3) == 0 {
			p.Sources = statetest.Prefixes("192.0.2.0/24")
		}
		list = append(list, p)
	}
	return list
}

// restore writes the ruleset anew, as an administrator's scripts do.
func restore(t *testing.T) {
	t.Helper()
	file := t.TempDir() + "/ruleset"
	if err := os.WriteFile(file, []byte("flush ruleset\n"+testnet.Sh(t, "nft", "list", "ruleset")), 0o644); err != nil {
		t.Fatal(err)
	}
	testnet.Sh(t, "nft", "-f", file)
}

// TestPublishedAtOnce: what several add to one container at the same moment goes with it.
func TestPublishedAtOnce(t *testing.T) {
	host := testnet.NewHost(t)
	first := at("a", "10.1.0.2", tcp(1, 1))
	statetest.Apply(t, statetest.Open(t, nil), first)
	errs := make(chan error)
	const publishers = 6
	for i := range uint16(publishers) {
		go func() {
			errs <- host.Do(func() error {
				k, err := kernel.Open("")
				if err == nil {
					defer k.Close()
					_, err = state.Set{at("a", "10.1.0.2", tcp(100+i, 80))}.Apply(k)
				}
				return err
			})
		}()
	}
	published := 1
	for range publishers {
		if err := <-errs; err == nil {
			published++
		} else if !errors.Is(err, unix.ENOENT) { // gave up
			t.Error(err)
		}
	}
	if got := elements(t); got["a"] != published+1 {
		t.Errorf("%d elements, %d ports", got["a"], published)
	}
	if err := first.Remove(statetest.Open(t, nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{}, elements(t)); diff != "" {
		t.Errorf("left:\n%s", diff)
	}
}
