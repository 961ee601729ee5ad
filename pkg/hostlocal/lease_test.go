package hostlocal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSameOwnerSameAddress(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]`)
	m := testMachine()
	first := mustAdd(t, m, c, owner(1))
	mustAdd(t, m, c, owner(2))
	again := mustAdd(t, m, c, owner(1))
	if diff := cmp.Diff(addresses(first), addresses(again)); diff != "" || len(again.Fresh) > 0 {
		t.Errorf("fresh %v, addresses (-first +again):\n%s", again.Fresh, diff)
	}
	other := mustAdd(t, m, c, Owner{ContainerID: "c1", IfName: "eth1"})
	if diff := cmp.Diff([]string{"10.1.0.4/24", "fd00::4/64"}, addresses(other)); diff != "" || len(other.Fresh) != 2 {
		t.Errorf("second interface: fresh %v, (-want +got):\n%s", other.Fresh, diff)
	}
}

// An owner whose address fits the ranges no longer gets a new one, and
// releases both.
func TestRangesMovedOn(t *testing.T) {
	dir, m := t.TempDir(), testMachine()
	mustAdd(t, m, testConfig(t, dir, `"subnet": "10.1.0.0/24"`), owner(1))
	c := testConfig(t, dir, `"subnet": "10.2.0.0/24"`)
	l := mustAdd(t, m, c, owner(1))
	if diff := cmp.Diff([]string{"10.2.0.2/24"}, addresses(l)); diff != "" || len(l.Fresh) != 1 {
		t.Errorf("fresh %v, (-want +got):\n%s", l.Fresh, diff)
	}
	if err := m.release(t.Context(), c, owner(1)); err != nil {
		t.Fatal(err)
	}
	if left := reservations(t, c); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRequestedAddress(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	c.Requested = append(c.Requested, addr("10.1.0.9"))
	if got := addresses(mustAdd(t, m, c, owner(1))); got[0] != "10.1.0.9/24" {
		t.Errorf("got %v", got)
	}
	if again := mustAdd(t, m, c, owner(1)); len(again.Fresh) > 0 {
		t.Error("the owner got its own address as a new one")
	}
	_, err := m.add(t.Context(), c, owner(2), "")
	want := "the requested address 10.1.0.9 is reserved for container c1 interface eth0: request another one, or remove that container first"
	if !errors.Is(err, ErrReserved) || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
	c.Requested[0] = addr("10.1.0.10")
	_, err = m.add(t.Context(), c, owner(1), "")
	want = "container c1 interface eth0 holds 10.1.0.9 and cannot get the requested address 10.1.0.10 besides it: request 10.1.0.9, or run DEL first"
	if !errors.Is(err, ErrReserved) || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestExhausted(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "fd00::/64"}], [{"subnet": "10.1.0.0/29"}]]`)
	m := testMachine()
	for i := range 5 {
		mustAdd(t, m, c, owner(i))
	}
	before := reservations(t, c)
	_, err := m.add(t.Context(), c, owner(5), "")
	want := "range set 1 (10.1.0.1-10.1.0.6) has no free address, all 5 are reserved: let GC release those of containers that are gone, or configure a larger range"
	if !errors.Is(err, ErrExhausted) || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
	if diff := cmp.Diff(before, reservations(t, c)); diff != "" {
		t.Errorf("the failed call left something (-before +after):\n%s", diff)
	}
	warnings := logged(t)
	if err := m.store(c).Status(t.Context()); err != nil || !strings.Contains(warnings.String(), "10.1.0.1-10.1.0.6) has no free address") {
		t.Errorf("status: %v, %s", err, warnings)
	}
	warnings.Reset()
	if err := m.release(t.Context(), c, owner(3)); err != nil {
		t.Fatal(err)
	}
	if err := m.store(c).Status(t.Context()); err != nil || warnings.Len() > 0 {
		t.Errorf("status: %v, %s", err, warnings)
	}
	if got := addresses(mustAdd(t, m, c, owner(5))); got[1] != "10.1.0.5/29" {
		t.Errorf("got %v, want the released address", got)
	}
}

func TestTinySubnets(t *testing.T) {
	for subnet, want := range map[string]string{
		"10.1.0.0/31": "10.1.0.0/31 10.1.0.1",
		"10.1.0.7/32": "10.1.0.7/32 invalid IP",
		"fd00::/127":  "fd00::/127 fd00::1",
		"fd00::5/128": "fd00::5/128 invalid IP",
	} {
		c := testConfig(t, t.TempDir(), `"subnet": "`+subnet+`"`)
		l := mustAdd(t, testMachine(), c, owner(1))
		if got := l.Addresses[0].Prefix.String() + " " + l.Addresses[0].Gateway.String(); got != want {
			t.Errorf("%s: got %s, want %s", subnet, got, want)
		}
		if _, err := testMachine().add(t.Context(), c, owner(2), ""); !errors.Is(err, ErrExhausted) {
			t.Errorf("%s: second address: %v", subnet, err)
		}
	}
}

func TestBadOwners(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	for _, o := range []Owner{{}, {"c1", ""}, {"../c1", "eth0"}, {"c 1", "eth0"}, {"c1", "a/b"}, {"c1", ".."}, {"c1", "e\r\n"}, {"c1", "sixteen-letters-"}} {
		if _, err := NewStore(c).Add(t.Context(), o, Netns{}); !errors.Is(err, ErrOwner) {
			t.Errorf("Add(%q): %v", o, err)
		}
		if err := NewStore(c).Release(t.Context(), o); !errors.Is(err, ErrOwner) {
			t.Errorf("Release(%q): %v", o, err)
		}
		if err := NewStore(c).Check(t.Context(), o, nil); !errors.Is(err, ErrOwner) {
			t.Errorf("Check(%q): %v", o, err)
		}
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, "net")); !isNotExist(err) {
		t.Errorf("the refused calls made a directory: %v", err)
	}
}

func TestNothingThere(t *testing.T) {
	c := testConfig(t, filepath.Join(t.TempDir(), "a", "b"), `"subnet": "10.1.0.0/24"`)
	if err := NewStore(c).Release(t.Context(), owner(1)); err != nil {
		t.Error(err)
	}
	if err := NewStore(c).GC(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := NewStore(c).Status(t.Context()); err != nil {
		t.Error(err)
	}
	if err := NewStore(c).Check(t.Context(), owner(1), nil); !errors.Is(err, ErrNotReserved) {
		t.Errorf("Check: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(c.DataDir)); !isNotExist(err) {
		t.Errorf("a directory was made: %v", err)
	}
}

func TestResolvConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# nameserver 1.1.1.1\n;search x\nnameserver 10.0.0.1\nnameserver\t fd00::1 \ndomain a.example\nsearch b c\nsearch d\noptions ndots:5 edns0\nfoo bar\nnameserver\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24", "resolvConf": "`+file+`"`)
	want := DNS{
		Nameservers: []string{"10.0.0.1", "fd00::1"}, Domain: "a.example",
		Search: []string{"b", "c", "d"}, Options: []string{"ndots:5", "edns0"},
	}
	if diff := cmp.Diff(want, mustAdd(t, testMachine(), c, owner(1)).DNS); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.ResolvConf = file + ".gone"
	if _, err := NewStore(c).Add(t.Context(), owner(2), Netns{}); !isNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
	if got := len(reservations(t, c)); got != 1 {
		t.Errorf("%d reservations, want 1", got)
	}
}
