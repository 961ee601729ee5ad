package agent

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// What the kernel says of addresses decides which one peers are told: never one that goes or is not there yet, nor one of another family
// than the cluster's, and again the former one when it is back.
func TestUnderlayOfAHost(t *testing.T) {
	testnet.NewHost(t)
	ip := func(line string) {
		t.Helper()
		testnet.Sh(t, "ip", strings.Fields(line)...)
	}
	ip("link add under0 type veth peer name wire")
	ip("link set wire up")
	ip("link set under0 up")
	ip("addr add 192.0.2.11/24 dev under0")
	ip("addr add 2001:db8::1/64 dev under0 nodad")
	ip("addr add 2001:db8::2/64 dev under0 nodad preferred_lft 0")
	k, err := kernel.Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	find := func(family int, present string) string {
		var at netip.Addr
		if present != "" {
			at = netip.MustParseAddr(present)
		}
		u, err := resolveUnderlay(k, "under0", family, at)
		if err != nil {
			return "none"
		}
		return u.address.String()
	}
	want := func(step string, family int, present, want string) {
		t.Helper()
		if got := find(family, present); got != want {
			t.Errorf("%s: it is %s, want %s", step, got, want)
		}
	}
	want("at first", 0, "", "192.0.2.11")
	want("of IPv6, beside a deprecated one", 6, "", "2001:db8::1")
	want("the present one is deprecated", 6, "2001:db8::2", "2001:db8::1")
	ip("addr del 192.0.2.11/24 dev under0")
	want("without IPv4", 4, "192.0.2.11", "none")
	ip("addr add 192.0.2.11/24 dev under0")
	want("with IPv4 again", 4, "192.0.2.11", "192.0.2.11")
	want("with IPv4 again, after a start", 4, "2001:db8::1", "192.0.2.11")
	ip("addr del 2001:db8::1/64 dev under0")
	want("a deprecated one alone", 6, "", "none")
	ip("addr add 2001:db8::3/64 dev under0")
	if strings.Contains(testnet.Sh(t, "ip", "-6", "addr", "show", "dev", "under0"), "tentative") {
		want("a tentative one", 6, "", "none")
	}
	for deadline := time.Now().Add(20 * time.Second); find(6, "") != "2001:db8::3"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after it was tried: %s", find(6, ""))
		}
	}
}

// One network namespace has one agent, whatever its directories: two would undo each other's work.
func TestOneAgentOfAHost(t *testing.T) {
	host := testnet.NewHost(t)
	first, err := lockHost()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockHost(); err == nil || !strings.Contains(err.Error(), "another fairwayd") {
		t.Errorf("a second one: %v", err)
	}
	other := testnet.NewNS(t, "other")
	if err := other.Do(func() error {
		lock, err := lockHost()
		if err == nil {
			err = lock.Close()
		}
		return err
	}); err != nil {
		t.Errorf("on another host: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := host.Do(func() error {
		lock, err := lockHost()
		if err == nil {
			err = lock.Close()
		}
		return err
	}); err != nil {
		t.Errorf("after the first one: %v", err)
	}
}
