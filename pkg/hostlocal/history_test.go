package hostlocal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// TestFirst runs programs of calls of ours, changes by others, restarts, another machine, and losses of files: no address that anybody
// has had in this boot is called a first one.
func TestFirst(t *testing.T) {
	const programs, steps = 60, 60
	firsts := 0
	for seed := range uint64(programs) {
		firsts += firstOfProgram(t, seed, steps)
		if t.Failed() {
			return
		}
	}
	if firsts < programs {
		t.Errorf("%d first addresses in %d programs: nothing is ever known", firsts, programs)
	}
}

func firstOfProgram(t *testing.T, seed uint64, steps int) (firsts int) {
	r := rand.New(rand.NewPCG(seed, 1))
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/28"`)
	m := testMachine()
	had := map[netip.Addr]bool{}
	side := filepath.Join(c.DataDir, sideDir, c.Network)
	var trace []string
	for range steps {
		step := r.IntN(100)
		switch {
		case step < 50:
			l, err := m.add(t.Context(), c, owner(r.IntN(8)), "")
			if errors.Is(err, ErrExhausted) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got := l.Addresses[0].Prefix.Addr()
			trace = append(trace, fmt.Sprintf("add %s first %t", got, l.First))
			if l.First && had[got] {
				t.Errorf("program %d: %s had a holder before:\n%q", seed, got, trace)
			}
			if l.First {
				firsts++
			}
			had[got] = true
		case step < 80:
			if err := m.release(t.Context(), c, owner(r.IntN(8))); err != nil {
				t.Fatal(err)
			}
			trace = append(trace, "release")
		case step < 86 && len(had) > 0: // upstream gives an address, and may take it back
			a := netip.AddrFrom4([4]byte{10, 1, 0, byte(2 + r.IntN(12))})
			path := filepath.Join(c.DataDir, c.Network, a.String())
			if _, err := os.Lstat(path); err == nil {
				continue
			}
			write(t, c, a.String(), "other\r\neth0")
			had[a] = true
			if r.IntN(2) == 0 {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			trace = append(trace, "others give "+a.String())
		case step < 92:
			m, had = m.restarted(), map[netip.Addr]bool{}
			trace = append(trace, "restart")
		case step < 95: // another machine with the same directory gives an address
			other := testMachine()
			other.boot = boot{machine: "other", id: "x"}
			if l, err := other.add(t.Context(), c, owner(20+r.IntN(2)), ""); err == nil {
				had[l.Addresses[0].Prefix.Addr()] = true
				_ = other.release(t.Context(), c, owner(20))
			}
			trace = append(trace, "another machine")
		case step < 98:
			name := []string{indexName, historyName, markName}[r.IntN(3)]
			_ = os.Remove(filepath.Join(side, name)) // it may not be there
			trace = append(trace, "lost "+name)
		default:
			if err := m.release(t.Context(), c, owner(1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return firsts
}
