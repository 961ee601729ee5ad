package kernel

import (
	"errors"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// A path may lead to another namespace after its own has gone.
func TestNamespaceID(t *testing.T) {
	first, err := testnet.New("identified")
	if err != nil {
		t.Fatal(err)
	}
	k, err := Open(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	id, err := k.Container.ID()
	if err != nil || id.Path != first.Path || id.Inode == 0 {
		t.Fatalf("got %+v, %v", id, err)
	}
	visited := 0
	visit := func() error {
		return id.Visit(func(n *Namespace) error {
			visited++
			_, err := n.Link("lo")
			return err
		})
	}
	if err := visit(); err != nil || visited != 1 {
		t.Errorf("visit: %v, %d visits", err, visited)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := visit(); !errors.Is(err, ErrNoNamespace) {
		t.Errorf("a path that has gone: got %v, want ErrNoNamespace", err)
	}
	second, err := testnet.New("identified") // k keeps the first one, so that its inode is not given again
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := visit(); !errors.Is(err, ErrNoNamespace) || visited != 1 {
		t.Errorf("a path that leads to another: got %v, want ErrNoNamespace", err)
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
