package hostlocal

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReservedAndPurge(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]`)
	about := Config{Network: c.Network, DataDir: c.DataDir}
	m := testMachine()
	reserved := func(m machine) []string {
		t.Helper()
		addrs, err := m.store(about).Reserved()
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, a := range addrs {
			list = append(list, a.String())
		}
		return list
	}
	if got := reserved(m); got != nil {
		t.Errorf("without a directory: got %v", got)
	}
	if err := m.store(about).Purge(t.Context()); err != nil {
		t.Errorf("purge without a directory: %v", err)
	}
	addIn(t, m, c, owner(1), namespace(t))
	if diff := cmp.Diff([]string{"10.1.0.2", "fd00::2"}, reserved(m), cmp.Transformer("sort", sorted)); diff != "" {
		t.Errorf("reserved (-want +got):\n%s", diff)
	}
	if err := m.store(about).Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := reserved(m); len(got) != 2 {
		t.Errorf("after a purge in the same boot: got %v", got)
	}
	m = m.restarted()
	if got := reserved(m); got != nil {
		t.Errorf("after a restart: got %v", got)
	}
	if err := m.store(about).Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{}, reservations(t, c)); diff != "" {
		t.Errorf("files after the purge (-want +got):\n%s", diff)
	}
}

func sorted(list []string) map[string]bool {
	set := make(map[string]bool)
	for _, s := range list {
		set[netip.MustParseAddr(s).String()] = true
	}
	return set
}
