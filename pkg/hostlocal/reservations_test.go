package hostlocal

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReservations(t *testing.T) {
	c := Config{Network: "net", DataDir: t.TempDir(), Ranges: []RangeSet{{parseRange(t, rangeSection{Subnet: "10.1.0.0/29"})}}}
	if all, err := NewStore(c).Reservations(); err != nil || len(all) != 0 {
		t.Fatalf("without a directory: %v, %v", all, err)
	}
	ns := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(ns, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, gone := Owner{"c1", "eth0"}, Owner{"c2", "eth0"}
	for owner, path := range map[Owner]string{alive: "/proc/self/ns/net", gone: ns} {
		if _, err := NewStore(c).Add(t.Context(), owner, netnsAt(path)); err != nil {
			t.Fatal(err)
		}
	}
	empty := filepath.Join(c.DataDir, "net", "10.1.0.6")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ns); err != nil {
		t.Fatal(err)
	}
	store := NewStore(c)
	store.Gone = fileGone
	all, err := store.Reservations()
	if err != nil || len(all) != 3 {
		t.Fatalf("%d reservations, %v; want 3", len(all), err)
	}
	for _, r := range all {
		if want := r.Owner == gone; r.Void != want {
			t.Errorf("%s of %s: void %t, want %t", r.Addr, r.Owner, r.Void, want)
		}
		if age := time.Since(r.Made); age < -time.Hour || age > time.Hour {
			t.Errorf("%s was made %s ago", r.Addr, age)
		}
	}
	if all[2].Addr != netip.MustParseAddr("10.1.0.6") || all[2].Owner != (Owner{}) {
		t.Errorf("the empty file: %+v", all[2])
	}
}
