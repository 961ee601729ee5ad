package hostlocal

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// netnsAt is a namespace that a file stands for, by its inode.
func netnsAt(path string) Netns {
	var st unix.Stat_t
	if path == "" || unix.Stat(path, &st) != nil {
		return Netns{}
	}
	return Netns{Mark: strconv.FormatUint(st.Ino, 10), Path: path}
}

// fileGone is the kernel of these namespaces.
func fileGone(_ context.Context, h Holder) bool {
	return h.Netns != Netns{} && netnsAt(h.Netns.Path) != h.Netns
}

// namespace makes a file that stands for a network namespace.
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
	write(t, c, "10.1.0.5", "")  // made by hand
	if _, err := m.add(t.Context(), c, owner(6), ""); !errors.Is(err, ErrExhausted) {
		t.Fatalf("an address in use was given away: %v", err)
	}

	remove(t, gone)
	if err := os.Rename(namespace(t), replaced); err != nil {
		t.Fatal(err)
	}
	if err := m.store(c).Status(t.Context()); err != nil {
		t.Errorf("status: %v", err)
	}
	mustAdd(t, m, c, owner(6))
	mustAdd(t, m, c, owner(7))
	want := map[string]string{
		"10.1.0.1": "c1\r\neth0", "10.1.0.2": "c6\r\neth0", "10.1.0.3": "c7\r\neth0",
		"10.1.0.4": "c4\r\neth0", "10.1.0.5": "",
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

// Without proof, and without anybody who could give one, an address in use is nobody else's.
func TestNothingIsReclaimedInDoubt(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/30"`)
	m := testMachine()
	gone := namespace(t)
	addIn(t, m, c, owner(1), gone)
	remove(t, gone)
	for _, doubtful := range []Gone{nil, func(context.Context, Holder) bool { return false }} {
		m.gone = doubtful
		if _, err := m.add(t.Context(), c, owner(2), ""); !errors.Is(err, ErrExhausted) {
			t.Errorf("got %v", err)
		}
	}
}

func TestRecordText(t *testing.T) {
	r := record{boot: boot{machine: "a machine", id: "b"}, netns: Netns{Mark: "1:2:3", Path: "/a path/with: \nspaces"}}
	for _, r := range []record{r, {boot: boot{id: "b"}}, {}} {
		if got := parseRecord(string(r.text())); got != r {
			t.Errorf("%q gives %+v", r.text(), got)
		}
	}
	for _, text := range []string{"", "1", `2 "m" "b" "n" /p`, `1 "m" "b" "n"`, `1 m "b" "n" /p`, `1 "m" "b" n /p`} {
		if got := parseRecord(text); got != (record{}) {
			t.Errorf("%q gives %+v", text, got)
		}
	}
}
