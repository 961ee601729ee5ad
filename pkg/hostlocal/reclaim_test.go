package hostlocal

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// namespace makes a file that stands for a network namespace: a record is a path
// and what it leads to, of whatever kind.
func namespace(t testing.TB) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "netns")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func addIn(t testing.TB, m machine, c Config, o Owner, netns string) Lease {
	t.Helper()
	l, err := m.add(t.Context(), c, o, netns)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestReclaim(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/29", "gateway": "10.1.0.6"`)
	m := testMachine()
	alive, gone, replaced := namespace(t), namespace(t), namespace(t)
	addIn(t, m, c, owner(1), alive)
	addIn(t, m, c, owner(2), gone)
	addIn(t, m, c, owner(3), replaced)
	addIn(t, m, c, owner(4), "") // no record: nobody knows
	write(t, c, "10.1.0.5", "")  // upstream killed in the middle
	if _, err := m.add(t.Context(), c, owner(5), ""); err != nil {
		t.Fatalf("the empty file is in the way: %v", err)
	}
	if _, err := m.add(t.Context(), c, owner(6), ""); !errors.Is(err, ErrExhausted) {
		t.Fatalf("an address in use was given away: %v", err)
	}

	remove(t, gone)
	if err := os.Rename(namespace(t), replaced); err != nil {
		t.Fatal(err)
	}
	if err := m.status(t.Context(), c); err != nil {
		t.Errorf("status: %v", err)
	}
	mustAdd(t, m, c, owner(6))
	mustAdd(t, m, c, owner(7))
	want := map[string]string{
		"10.1.0.1": "c1\r\neth0", "10.1.0.2": "c6\r\neth0", "10.1.0.3": "c7\r\neth0",
		"10.1.0.4": "c4\r\neth0", "10.1.0.5": "c5\r\neth0",
	}
	if diff := cmp.Diff(want, reservations(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The owner comes back with another namespace, and the old one goes.
func TestRecordFollowsItsOwner(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/30"`)
	m := testMachine()
	first, second := namespace(t), namespace(t)
	addIn(t, m, c, owner(1), first)
	addIn(t, m, c, owner(1), second)
	remove(t, first)
	if _, err := m.add(t.Context(), c, owner(2), ""); !errors.Is(err, ErrExhausted) {
		t.Errorf("an address in use was given away: %v", err)
	}
	addIn(t, m, c, owner(1), "")
	remove(t, second)
	if _, err := m.add(t.Context(), c, owner(2), ""); !errors.Is(err, ErrExhausted) {
		t.Errorf("an address without record was given away: %v", err)
	}
}

func TestRequestReclaims(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	c.Requested = append(c.Requested, addr("10.1.0.9"))
	m := testMachine()
	gone := namespace(t)
	addIn(t, m, c, owner(1), gone)
	remove(t, gone)
	mustAdd(t, m, c, owner(2))
	if err := m.check(t.Context(), c, owner(1)); !errors.Is(err, ErrNotReserved) {
		t.Errorf("check of the old owner: %v", err)
	}
}

// Elsewhere the same path may mean another file, so nothing can be said.
func TestRecordOfAnotherMountNamespace(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/30"`)
	m := testMachine()
	gone := namespace(t)
	addIn(t, m, c, owner(1), gone)
	remove(t, gone)
	m.mounts++
	if _, err := m.add(t.Context(), c, owner(2), ""); !errors.Is(err, ErrExhausted) {
		t.Errorf("got %v", err)
	}
}

func TestRecordText(t *testing.T) {
	r := record{boot: "b", mounts: 1, dev: 2, inode: 3, path: "/a path/with: spaces"}
	got, ok := parseRecord(r.String())
	if !ok || got != r {
		t.Errorf("%q gives %+v, %v", r, got, ok)
	}
	for _, text := range []string{"", "b", "b 1 2:3", "b 1 2:3 ", " 1 2:3 /p", "b x 2:3 /p", "b 1 2 /p", "b 1 -2:3 /p"} {
		if got, ok := parseRecord(text); ok {
			t.Errorf("%q gives %+v", text, got)
		}
	}
}
