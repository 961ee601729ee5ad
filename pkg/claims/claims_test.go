package claims

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustOpen(t *testing.T, dir string) *Book {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func claim(id string, addresses ...string) Claim {
	c := Claim{Owner: Owner{Network: "net", ContainerID: id, IfName: "eth0"}}
	for _, a := range addresses {
		c.Addresses = append(c.Addresses, netip.MustParseAddr(a))
	}
	return c
}

// wantClaims compares the containers that claim a thing.
func (b *Book) wantClaims(t *testing.T, thing string, want ...string) {
	t.Helper()
	all, err := b.Claims(thing)
	if err != nil {
		t.Error(err)
	}
	var got []string
	for _, c := range all {
		got = append(got, c.Owner.ContainerID)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims on %s (-want +got):\n%s", thing, diff)
	}
}

func TestBook(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "claims")
	b := mustOpen(t, dir)
	first := claim("a", "10.0.0.1", "fd00::1")
	first.Netns = Netns{Path: "/run/netns/a", Dev: 4, Inode: 5}
	for _, c := range []Claim{claim("a"), first, claim("b")} { // the second in place of the first
		if err := b.Put("vlan:eth0.10", c); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Put("vlan:eth0.20", claim("b")); err != nil {
		t.Fatal(err)
	}
	b.Close()

	b = mustOpen(t, dir)
	defer b.Close()
	got, ok, err := b.Claim("vlan:eth0.10", first.Owner)
	if diff := cmp.Diff(first, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || !ok || err != nil {
		t.Errorf("claim: %v, %v (-want +got):\n%s", ok, err, diff)
	}
	b.wantClaims(t, "vlan:eth0.10", "a", "b")
	b.wantClaims(t, "vlan:eth0.30")
	for range 2 {
		if err := b.Drop("vlan:eth0.10", first.Owner); err != nil {
			t.Error(err)
		}
	}
	b.wantClaims(t, "vlan:eth0.10", "b")
	if _, ok, err := b.Claim("vlan:eth0.10", first.Owner); ok || err != nil {
		t.Errorf("a dropped claim: %v, %v", ok, err)
	}
	if err := b.Drop("vlan:eth0.10", claim("b").Owner); err != nil {
		t.Error(err)
	}
	things, err := b.Things()
	if diff := cmp.Diff([]string{"vlan:eth0.20"}, things); diff != "" || err != nil {
		t.Errorf("things: %v (-want +got):\n%s", err, diff)
	}
}

// Owners whose names differ only in where one part ends are not the same.
func TestOwnersDiffer(t *testing.T) {
	one, other := Owner{"net", "a", "eth0"}, Owner{"net", "aeth0", ""}
	if file("x", one) == file("x", other) {
		t.Error("two owners have one claim")
	}
}

func TestOpenExisting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "claims")
	b, err := OpenExisting(dir)
	if b != nil || err != nil {
		t.Errorf("no book: got %v, %v", b, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("looking for a book has made one")
	}
	mustOpen(t, dir).Close()
	if b, err = OpenExisting(dir); b == nil || err != nil {
		t.Fatalf("a book: got %v, %v", b, err)
	}
	b.Close()
}

// One process has the book at a time.
func TestOpenWaits(t *testing.T) {
	dir := t.TempDir()
	b := mustOpen(t, dir)
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		second, err := Open(dir)
		if err != nil {
			t.Error(err)
			return
		}
		second.Close()
	}()
	select {
	case <-opened:
		t.Error("two had the book at once")
	case <-time.After(20 * time.Millisecond):
	}
	b.Close()
	<-opened
}

// TestForeignFile: what is no claim keeps nobody from the others, and is as none where a claim should be.
func TestForeignFile(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"cut off":         func(path string) error { return os.WriteFile(path, []byte(`{"owner": {"net`), 0o600) },
		"empty":           func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"another JSON":    func(path string) error { return os.WriteFile(path, []byte(`{"x": 1}`), 0o600) },
		"another type":    func(path string) error { return os.WriteFile(path, []byte(`[]`), 0o600) },
		"a symbolic link": func(path string) error { return os.Symlink("/etc/passwd", path) },
		"a directory":     func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := mustOpen(t, dir)
			defer b.Close()
			for _, id := range []string{"a", "b"} {
				if err := b.Put("x", claim(id)); err != nil {
					t.Fatal(err)
				}
			}
			for _, path := range []string{filepath.Join(dir, "x", "foreign"), filepath.Join(dir, file("x", claim("b").Owner))} {
				_ = os.Remove(path) // the foreign one is new
				if err := spoil(path); err != nil {
					t.Fatal(err)
				}
			}
			all, err := b.Claims("x")
			if len(all) != 1 || err != nil {
				t.Errorf("got %v, %v", all, err)
			}
			if _, ok, err := b.Claim("x", claim("b").Owner); ok || err != nil {
				t.Errorf("claim of b: %t, %v", ok, err)
			}
		})
	}
}

// A symbolic link leads no write out of the directory.
func TestLinksAreNotFollowed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "x")); err != nil {
		t.Fatal(err)
	}
	b := mustOpen(t, dir)
	defer b.Close()
	if err := b.Put("x", claim("a")); err == nil {
		t.Error("Put through a symbolic link succeeded")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	other := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(other, lockFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(other); err == nil {
		t.Error("Open through a symbolic link succeeded")
	}
}

func TestOpenOfNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var pathError *os.PathError
	if _, err := Open(path); !errors.As(err, &pathError) {
		t.Errorf("got %v, want an error that names the path", err)
	}
}
