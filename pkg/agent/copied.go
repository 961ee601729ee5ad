package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/fence"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// A copy of a host's disk has its name, its machine ID and its snapshots, and so looks like the host after a reboot. What tells it is
// the address on the underlay: two machines have two. A host that comes up in another boot without the address that it had gives out
// nothing until etcd knows it, and does not take the name while something answers at that address.

// closeFence keeps a host from giving out addresses that may be a copy of another, until its heartbeat is in etcd.
func (a *Agent) closeFence() (closed bool, err error) {
	had := a.identity.Address
	if !had.IsValid() || a.identity.Boot == a.bootID || a.machine.has(had) {
		return false, nil
	}
	reason := fmt.Sprintf("it was started without the address %s that it had on the underlay, and may be a copy of the host that has it: it goes on when etcd knows it", had)
	slog.Warn("no addresses are given out yet", "reason", reason)
	a.fenced.Boot = "" // what is in memory is not what is written
	return true, a.files.saveFence(fence.Fence{Reason: reason})
}

// notCopied says whether the machine that this host's record is of is another one, which has its agent stopped.
func (a *Agent) notCopied(ctx context.Context, record registry.Host) error {
	if !record.VTEP.IsValid() || a.machine.has(record.VTEP) {
		return nil
	}
	if a.identity.Boot == a.bootID && a.identity.Address == record.VTEP {
		return nil // it has moved since, and this is the boot that etcd knows
	}
	var other string
	var known bool
	a.cache.with(func() {
		if known = a.cache.read != nil; known {
			other = a.cache.read.Newer(a.node(), record.VTEP)
		}
	})
	switch {
	case !known:
		return fmt.Errorf("node %s: %w: it is not known yet whether another host has %s now", a.node(), etcd.ErrUnavailable, record.VTEP)
	case other != "":
		return nil // another host was given the address since
	case a.machine.answers(ctx, record.VTEP):
		return fmt.Errorf("node %s: %w by the machine at %s, of which this one may be a copy: give each host its own name and machine-id, "+
			"or if this one has moved and that is none of fairway's, call `fairway overlay forget %[1]s` on another host", a.node(), registry.ErrNodeTaken, record.VTEP)
	}
	return nil
}

// confirmed remembers as who and where etcd knows this host.
func (a *Agent) confirmed() {
	here := a.cache.place().address
	a.fencing.Lock()
	defer a.fencing.Unlock()
	if !here.IsValid() || a.identity.Boot == a.bootID && a.identity.Address == here {
		return
	}
	a.identity.Boot, a.identity.Address = a.bootID, here
	a.writeIdentity(a.identity.Memory, true)
}

func (realMachine) has(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false // in doubt it is asked for
	}
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == addr {
			return true
		}
	}
	return false
}

// answerWithin is how long a machine has for each way to answer.
const answerWithin = time.Second

// answers tries what a machine answers whatever runs on it: an echo request, a connection to a port that nobody has, and the request for
// its link-layer address, which no firewall drops.
func (realMachine) answers(ctx context.Context, addr netip.Addr) bool {
	const tries = 2
	for range tries {
		if echoes(addr) || refuses(ctx, addr) || isNeighbour(addr) {
			return true
		}
	}
	return false
}

// echoes says whether an address answers an echo request (RFC 792, RFC 4443).
func echoes(addr netip.Addr) bool {
	network, request, reply := "ip4:icmp", []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}, byte(0)
	if addr.Is6() {
		network, request, reply = "ip6:ipv6-icmp", []byte{128, 0, 0, 0, 0, 0, 0, 0}, 129 // the kernel writes the checksum
	}
	conn, err := net.DialTimeout(network, addr.String(), answerWithin)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // nothing is buffered
	if conn.SetDeadline(time.Now().Add(answerWithin)) != nil {
		return false
	}
	if _, err := conn.Write(request); err != nil {
		return false
	}
	for answer := make([]byte, 128); ; {
		n, err := conn.Read(answer)
		if err != nil {
			return false
		}
		if n > 0 && answer[0] == reply {
			return true
		}
	}
}

// refuses says whether an address answers to a connection (discard, which few serve).
func refuses(ctx context.Context, addr netip.Addr) bool {
	dialer := net.Dialer{Timeout: answerWithin}
	conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, 9).String())
	if err == nil {
		_ = conn.Close() // nothing was sent
	}
	return err == nil || errors.Is(err, syscall.ECONNREFUSED)
}

// isNeighbour says whether an address was found on a link a moment ago.
func isNeighbour(addr netip.Addr) bool {
	k, err := kernel.Open("")
	if err != nil {
		return false
	}
	defer k.Close()
	list, err := k.Host.NeighList(0, 0)
	for _, n := range list {
		if ip, ok := netip.AddrFromSlice(n.IP); err == nil && ok && ip.Unmap() == addr && n.State == unix.NUD_REACHABLE {
			return true
		}
	}
	return false
}
