package hostlocal

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
	"github.com/google/go-cmp/cmp"
)

const interopIPAM = `"ranges": [[{"subnet": "10.1.0.0/28"}, {"subnet": "10.1.1.0/24", "rangeEnd": "10.1.1.9"}], [{"subnet": "fd00::/64"}]]`

// upstream is the suite's own code on the same directory.
type upstream struct {
	ipam  *allocator.IPAMConfig
	store *disk.Store
}

func newUpstream(t *testing.T, dir string) upstream {
	t.Helper()
	ipam, _, err := allocator.LoadIPAMConfig(fmt.Appendf(nil, `{"cniVersion": "1.0.0", "name": "net", "ipam": {"dataDir": %q, %s}}`, dir, interopIPAM), "")
	if err != nil {
		t.Fatal(err)
	}
	store, err := disk.New("net", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // the test is over
	return upstream{ipam: ipam, store: store}
}

// add returns nothing if a range set refuses: full, or the owner has one already.
func (u upstream) add(o Owner) []string {
	var got []string
	for i := range u.ipam.Ranges {
		a := allocator.NewIPAllocator(&u.ipam.Ranges[i], u.store, i)
		ip, err := a.Get(o.ContainerID, o.IfName, net.IP(nil))
		if err != nil {
			return nil
		}
		got = append(got, ip.Address.String())
	}
	return got
}

func (u upstream) release(t *testing.T, o Owner) {
	t.Helper()
	if err := allocator.NewIPAllocator(&u.ipam.Ranges[0], u.store, 0).Release(o.ContainerID, o.IfName); err != nil {
		t.Fatal(err)
	}
}

// Both suites, each on a directory of its own, do the same calls: the files are the same.
func TestSameFilesAsUpstream(t *testing.T) {
	c, m := testConfig(t, t.TempDir(), interopIPAM), testMachine()
	dir := t.TempDir()
	u := newUpstream(t, dir)
	theirs := Config{DataDir: dir, Network: "net"}
	random := rand.New(rand.NewPCG(3, 4))
	held := map[Owner]bool{}
	for range 500 {
		o := owner(random.IntN(20))
		if held[o] {
			u.release(t, o)
			if err := m.release(t.Context(), c, o); err != nil {
				t.Fatal(err)
			}
		} else if diff := cmp.Diff(u.add(o), addresses(mustAdd(t, m, c, o))); diff != "" {
			t.Fatalf("addresses (-upstream +ours):\n%s", diff)
		}
		held[o] = !held[o]
		if diff := cmp.Diff(files(t, theirs), files(t, c)); diff != "" {
			t.Fatalf("files (-upstream +ours):\n%s", diff)
		}
	}
}

// Both suites take turns on one directory.
func TestTurnsWithUpstream(t *testing.T) {
	c, m := testConfig(t, t.TempDir(), interopIPAM), testMachine()
	u := newUpstream(t, c.DataDir)
	random := rand.New(rand.NewPCG(5, 6))
	held := map[Owner][]string{}
	for range 1000 {
		o := owner(random.IntN(18))
		ours := random.IntN(2) == 0
		switch {
		case held[o] == nil && ours:
			held[o] = addresses(mustAdd(t, m, c, o))
		case held[o] == nil:
			held[o] = u.add(o)
		case random.IntN(3) == 0: // a second ADD
			if diff := cmp.Diff(held[o], addresses(mustAdd(t, m, c, o))); diff != "" {
				t.Fatalf("second ADD (-first +second):\n%s", diff)
			}
			if !u.store.FindByID(o.ContainerID, o.IfName) {
				t.Fatalf("upstream does not find %v", o)
			}
		case ours:
			if err := m.release(t.Context(), c, o); err != nil {
				t.Fatal(err)
			}
			delete(held, o)
		default:
			u.release(t, o)
			delete(held, o)
		}
		compareHeld(t, c, held)
	}
	if entries, err := os.ReadDir(filepath.Join(c.DataDir, c.Network)); err != nil || len(entries) == 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// compareHeld: the directory holds these reservations, none more, none twice.
func compareHeld(t *testing.T, c Config, held map[Owner][]string) {
	t.Helper()
	want := map[string]string{}
	for o, all := range held {
		for _, a := range all {
			want[prefix(a).Addr().String()] = o.content()
		}
	}
	if diff := cmp.Diff(want, reservations(t, c)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}
