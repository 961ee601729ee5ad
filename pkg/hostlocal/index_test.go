package hostlocal

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table against a map, in memory: few distinct homes make long runs, which
// wrap around its end.
func TestIndexAgainstMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	x := buildIndex(nil, nil)
	model := map[slot]bool{}
	for range 20000 {
		s := slot{
			hash: random.Uint64N(40)*7 - 20,
			addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(8))}),
		}
		if model[s] {
			x.remove(s)
			delete(model, s)
		} else {
			x.insert(s)
			model[s] = true
		}
		if x.state != loose || x.used != uint64(len(model)) {
			t.Fatalf("state %v, used %d, want %d", x.state, x.used, len(model))
		}
		got, err := x.find(s.hash)
		if err != nil || slices.Contains(got, s.addr) != model[s] {
			t.Fatalf("find(%v) = %v, %v; want it there: %v", s, got, err, model[s])
		}
	}
	for s := range model {
		if got, err := x.find(s.hash); err != nil || !slices.Contains(got, s.addr) {
			t.Fatalf("%v is lost: %v, %v", s, got, err)
		}
	}
}

func indexPath(c Config) string {
	return filepath.Join(c.DataDir, sideDir, c.Network, indexName)
}

// rebuilds reports whether the next call finds the index out of step.
func rebuilds(t *testing.T, m machine, c Config) bool {
	t.Helper()
	s, err := m.enter(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	return s.index.state != inStep
}

func TestIndexStaysInStep(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/16"`)
	m := testMachine()
	for i := range 600 { // grows twice
		mustAdd(t, m, c, owner(i))
		if rebuilds(t, m, c) {
			t.Fatalf("rebuilt after adding %d", i)
		}
	}
	for i := range 600 {
		if err := m.release(t.Context(), c, owner(i)); err != nil {
			t.Fatal(err)
		}
		if rebuilds(t, m, c) {
			t.Fatalf("rebuilt after releasing %d", i)
		}
	}
}

// damage changes the bytes of the index, and not its stamp.
func damage(change func(b []byte) []byte) func(*testing.T, Config) {
	return func(t *testing.T, c Config) {
		b, err := os.ReadFile(indexPath(c))
		if err == nil {
			err = os.WriteFile(indexPath(c), change(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestIndexFollowsOthers(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, Config)
	}{
		{"another program reserves", func(t *testing.T, c Config) { write(t, c, "10.1.0.99", "c99\r\neth0") }},
		{"and the owner has two", func(t *testing.T, c Config) { write(t, c, "10.1.0.99", "c1\r\neth0") }},
		{"another program releases", func(t *testing.T, c Config) { remove(t, filepath.Join(c.DataDir, "net", "10.1.0.2")) }},
		{"a reservation changes hands", func(t *testing.T, c Config) { write(t, c, "10.1.0.2", "c5\r\neth0") }},
		{"no index", func(t *testing.T, c Config) { remove(t, indexPath(c)) }},
		{"an index that is a link", func(t *testing.T, c Config) {
			remove(t, indexPath(c))
			if err := os.Symlink("/dev/null", indexPath(c)); err != nil {
				t.Fatal(err)
			}
		}},
		{"empty index", damage(func(b []byte) []byte { return nil })},
		{"half an index", damage(func(b []byte) []byte { return b[:len(b)/2] })},
		{"no header", damage(func(b []byte) []byte { clear(b[:headerSize]); return b })},
		{"no slots", damage(func(b []byte) []byte { clear(b[headerSize:]); return b })},
		{"other slots", damage(func(b []byte) []byte {
			for i := headerSize + 3; i < len(b); i += slotSize {
				b[i] ^= 1
			}
			return b
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
			m := testMachine()
			for i := range 4 {
				mustAdd(t, m, c, owner(i))
			}
			tt.change(t, c)
			want := reservations(t, c)
			for i := range 6 { // each owner finds all that is its own, and nothing else
				o := owner(i)
				for a, content := range want {
					if content == o.content() {
						delete(want, a)
					}
				}
				if err := m.release(t.Context(), c, o); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, reservations(t, c)); diff != "" {
					t.Errorf("after releasing %v (-want +got):\n%s", o, diff)
				}
			}
		})
	}
}

func TestSideDirectoryUnusable(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	if err := os.Symlink(t.TempDir(), filepath.Join(c.DataDir, sideDir)); err != nil {
		t.Fatal(err)
	}
	m := testMachine()
	first, again := mustAdd(t, m, c, owner(1)), mustAdd(t, m, c, owner(1))
	if diff := cmp.Diff(addresses(first), addresses(again)); diff != "" {
		t.Errorf("(-first +again):\n%s", diff)
	}
	if err := m.release(t.Context(), c, owner(1)); err != nil {
		t.Fatal(err)
	}
	if left := reservations(t, c); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
