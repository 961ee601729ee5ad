package state_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// open opens the kernel from a test's host for a container, or for none.
func open(t *testing.T, container *testnet.Namespace) *kernel.Kernel {
	t.Helper()
	path := ""
	if container != nil {
		path = container.Path
	}
	k, err := kernel.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// newPair gives a test a host and a container of its own.
func newPair(t *testing.T) (*kernel.Kernel, *testnet.Namespace) {
	t.Helper()
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	return open(t, container), container
}

// owner is an attachment of a container.
func owner(container string) state.Owner {
	return state.Owner{Network: "net", ContainerID: container, IfName: "eth0"}
}

// apply applies objects and gives back what takes back what that made.
func apply(t *testing.T, k *kernel.Kernel, objects ...state.Object) (undo func() error) {
	t.Helper()
	undo, err := state.Set(objects).Apply(k)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return undo
}

// ensure makes one object and compares what it says about having made it.
func ensure(t *testing.T, k *kernel.Kernel, o state.Object, want bool) {
	t.Helper()
	created, err := o.Ensure(k)
	if err != nil {
		t.Fatalf("Ensure %s: %v", o, err)
	}
	if created != want {
		t.Errorf("Ensure %s: created %t, want %t", o, created, want)
	}
}

// verifies expects no drift, as another call sees it.
func verifies(t *testing.T, container *testnet.Namespace, o state.Object) {
	t.Helper()
	if err := o.Verify(open(t, container)); err != nil {
		t.Errorf("Verify %s: %v", o, err)
	}
}

// drifts expects drift with a text, as another call sees it.
func drifts(t *testing.T, container *testnet.Namespace, o state.Object, text string) {
	t.Helper()
	err := o.Verify(open(t, container))
	if !errors.Is(err, state.ErrDrift) || !strings.Contains(err.Error(), text) {
		t.Errorf("Verify %s: %v, want drift with %q", o, err, text)
	}
}

// removes removes an object twice, each time as another call: absence is success.
func removes(t *testing.T, container *testnet.Namespace, o state.Object) {
	t.Helper()
	for range 2 {
		if err := o.Remove(open(t, container)); err != nil {
			t.Errorf("Remove %s: %v", o, err)
		}
	}
}

// fails expects an error that wraps another and has a text.
func fails(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %q with %q", err, want, text)
	}
}

// shows expects a command's output to hold each text.
func shows(t *testing.T, output string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(output, text) {
			t.Errorf("%q is missing from\n%s", text, output)
		}
	}
}

// lacks expects a command's output to hold none of the texts.
func lacks(t *testing.T, output string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(output, text) {
			t.Errorf("%q is in\n%s", text, output)
		}
	}
}
