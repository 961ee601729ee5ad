package plugins

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestAnnouncedToWhoRemembers: a neighbour hears of an address that another container had before, and of none that nobody had.
func TestAnnouncedToWhoRemembers(t *testing.T) {
	neighbour, container := testnet.NewNS(t, "n"), testnet.NewNS(t, "c")
	n := bridgeOn(t, neighbour).with("ipam", hostLocal(t.TempDir(), "10.1.0.0/29"))
	n.add(t)
	heard := neighbour.Capture(t, "eth0")
	had := map[netip.Addr]bool{}
	again := 0
	for range 12 {
		c := n.on(container, "eth0")
		addr, _ := netip.AddrFromSlice(c.add(t).IPs[0].Address.IP.To4())
		patience := 300 * time.Millisecond
		if had[addr] {
			again++
			patience = 5 * time.Second
		}
		if got := heard.Await(t, patience, gratuitous(addr)); got != had[addr] {
			t.Errorf("%s: announced %t, had a holder before %t", addr, got, had[addr])
		}
		had[addr] = true
		c.succeed(t, "DEL")
	}
	if again < 6 || len(had) < 4 {
		t.Errorf("%d addresses, %d given again", len(had), again)
	}
}

// gratuitous matches ARP by which an address is announced: sender and target are the same.
func gratuitous(addr netip.Addr) func([]byte) bool {
	ip := addr.AsSlice()
	return func(f []byte) bool {
		return len(f) >= 42 && f[12] == 0x08 && f[13] == 0x06 && bytes.Equal(f[28:32], ip) && bytes.Equal(f[38:42], ip)
	}
}
