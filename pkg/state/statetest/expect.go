// Package statetest is what tests of kernel state share: a host, containers on bridges, and what is expected of an object.
package statetest

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// Open opens the kernel from a test's host for a container, or for none.
func Open(t *testing.T, container *testnet.Namespace) *kernel.Kernel {
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

// NewPair gives a test a host and a container of its own.
func NewPair(t *testing.T) (*kernel.Kernel, *testnet.Namespace) {
	t.Helper()
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	return Open(t, container), container
}

// Owner is an attachment of a container.
func Owner(container string) state.Owner {
	return state.Owner{Network: "net", ContainerID: container, IfName: "eth0"}
}

// Apply applies objects and gives back what takes back what that made.
func Apply(t *testing.T, k *kernel.Kernel, objects ...state.Object) (undo func() error) {
	t.Helper()
	undo, err := state.Set(objects).Apply(k)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return undo
}

// Ensure makes one object and compares what it says about having made it.
func Ensure(t *testing.T, k *kernel.Kernel, o state.Object, want bool) {
	t.Helper()
	created, err := o.Ensure(k)
	if err != nil {
		t.Fatalf("Ensure %s: %v", o, err)
	}
	if created != want {
		t.Errorf("Ensure %s: created %t, want %t", o, created, want)
	}
}

// Verifies expects no drift, as another call sees it.
func Verifies(t *testing.T, container *testnet.Namespace, o state.Object) {
	t.Helper()
	if err := o.Verify(Open(t, container)); err != nil {
		t.Errorf("Verify %s: %v", o, err)
	}
}

// Drifts expects drift with a text, as another call sees it.
func Drifts(t *testing.T, container *testnet.Namespace, o state.Object, text string) {
	t.Helper()
	err := o.Verify(Open(t, container))
	if !errors.Is(err, state.ErrDrift) || !strings.Contains(err.Error(), text) {
		t.Errorf("Verify %s: %v, want drift with %q", o, err, text)
	}
}

// Removes removes an object twice, each time as another call: absence is success.
func Removes(t *testing.T, container *testnet.Namespace, o state.Object) {
	t.Helper()
	for range 2 {
		if err := o.Remove(Open(t, container)); err != nil {
			t.Errorf("Remove %s: %v", o, err)
		}
	}
}

// Fails expects an error that wraps another and has a text.
func Fails(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %q with %q", err, want, text)
	}
}

// Shows expects a command's output to hold each text.
func Shows(t *testing.T, output string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(output, text) {
			t.Errorf("%q is missing from\n%s", text, output)
		}
	}
}

// Lacks expects a command's output to hold none of the texts.
func Lacks(t *testing.T, output string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(output, text) {
			t.Errorf("%q is in\n%s", text, output)
		}
	}
}

func Address(text string) state.Address {
	return state.Address{In: state.Container, Link: "eth0", Prefix: netip.MustParsePrefix(text)}
}

func Hears(t *testing.T, c *testnet.Capture, a state.Announce) {
	t.Helper()
	if !c.Await(t, time.Second, isGratuitousARP(a.Addrs[0])) {
		t.Errorf("no gratuitous ARP of %s", a.Addrs[0])
	}
	if !c.Await(t, time.Second, isUnsolicitedNA(a.Addrs[1])) {
		t.Errorf("no unsolicited neighbour advertisement of %s", a.Addrs[1])
	}
}

// HearsNothing is the opposite of Hears, after a time in which it would have.
func HearsNothing(t *testing.T, c *testnet.Capture, a state.Announce) {
	t.Helper()
	if c.Await(t, 300*time.Millisecond, isGratuitousARP(a.Addrs[0])) {
		t.Errorf("there is gratuitous ARP of %s", a.Addrs[0])
	}
}

func Prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// CaptureLog gives a test what is logged while it runs.
func CaptureLog(t *testing.T) *bytes.Buffer {
	t.Helper()
	var logged bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &logged
}

// isGratuitousARP matches a broadcast by which an address is announced (RFC 5227, 3): sender and target are the same.
func isGratuitousARP(addr netip.Addr) func([]byte) bool {
	ip := addr.AsSlice()
	return func(f []byte) bool {
		return len(f) >= 42 && f[12] == 0x08 && f[13] == 0x06 && bytes.Equal(f[28:32], ip) && bytes.Equal(f[38:42], ip)
	}
}

// isUnsolicitedNA matches a neighbour advertisement to all nodes (RFC 4861, 7.2.6).
func isUnsolicitedNA(addr netip.Addr) func([]byte) bool {
	const ipv6, icmp, advertisement, target = 14, 54, 136, 62
	allNodes := netip.MustParseAddr("ff02::1").AsSlice()
	return func(f []byte) bool {
		return len(f) >= target+16 && f[12] == 0x86 && f[13] == 0xdd && f[icmp] == advertisement &&
			bytes.Equal(f[ipv6+24:ipv6+40], allNodes) && bytes.Equal(f[target:target+16], addr.AsSlice())
	}
}
