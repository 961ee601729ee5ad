package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// A path may lead to another namespace after its own has gone, and a namespace may outlive its path.
func TestNamespaceID(t *testing.T) {
	first, err := testnet.New("identified")
	if err != nil {
		t.Fatal(err)
	}
	k, err := Open(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	id, err := k.Container.ID()
	if err != nil || id.Inode == 0 {
		t.Fatalf("got %+v, %v", id, err)
	}
	if again, err := Identify(first.Path); err != nil || again != id {
		t.Errorf("by its path: %+v, %v, want %+v", again, err, id)
	}
	withoutNumber := NamespaceID{Dev: id.Dev, Inode: id.Inode} // as of an older kernel
	visits := 0
	visit := func(id NamespaceID) error {
		return id.Visit(first.Path, func(n *Namespace) error {
			visits++
			_, err := n.Link("lo")
			return err
		})
	}
	for _, known := range []NamespaceID{id, withoutNumber} {
		if err := visit(known); err != nil || visits == 0 {
			t.Errorf("visit: %v, %d visits", err, visits)
		}
		visits = 0
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := visit(withoutNumber); !errors.Is(err, ErrNoNamespace) {
		t.Errorf("a path that has gone: got %v, want ErrNoNamespace", err)
	}
	second, err := testnet.New("identified") // k keeps the first one, so that its inode is not given again
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := visit(withoutNumber); !errors.Is(err, ErrNoNamespace) || visits != 0 {
		t.Errorf("a path that leads to another: got %v, want ErrNoNamespace", err)
	}
	exists, err := id.Exists()
	if errors.Is(err, ErrNoHandles) { // before Linux 6.18
		k.Close()
		return
	}
	if err != nil || !exists || visit(id) != nil || visits != 1 {
		t.Errorf("held by a descriptor: exists %t, %v, %d visits", exists, err, visits)
	}
	k.Close()
	awaitEnd(t, id)
	if err := visit(id); !errors.Is(err, ErrNoNamespace) || visits != 1 {
		t.Errorf("ended: got %v, want ErrNoNamespace", err)
	}
}

// awaitEnd waits until the kernel has ended a namespace, which it does some time after its last holder has gone.
func awaitEnd(t *testing.T, id NamespaceID) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		exists, err := id.Exists()
		if err == nil && !exists {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("a namespace without holders: exists %t, %v", exists, err)
		}
	}
}

func TestNamespaceAt(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ns := testnet.NewNS(t, "c")
	for path, want := range map[string]error{
		ns.Path: nil, "/proc/self/ns/net": nil, "/proc/self/ns/mnt": ErrNotNamespace, "": ErrNoNamespace, ns.Path + "x": ErrNoNamespace,
		"/proc/0/ns/net": ErrNoNamespace, pipe: ErrNotNamespace, "/etc/passwd/x": ErrNoNamespace,
	} {
		if _, err := Identify(path); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", path, err, want)
		}
	}
}

func TestHostCookie(t *testing.T) {
	cookie := func() uint64 {
		t.Helper()
		n, err := HostCookie()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first, again := cookie(), cookie()
	testnet.NewHost(t)
	if other := cookie(); first != again || first == other {
		t.Errorf("one host has cookies %d and %d, another %d", first, again, other)
	}
}

// TestAt: by one look, as NamespaceAt has it by two.
func TestAt(t *testing.T) {
	own, other := testnet.NewNS(t, "own"), testnet.NewNS(t, "other")
	id, err := NamespaceAt(own.Path)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]bool{
		own.Path: {true, true}, other.Path: {false, false}, file: {false, true}, file + "/x": {false, true}, "": {false, true},
	} {
		if got := [2]bool{id.At(path), id.MayBeAt(path)}; got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}
