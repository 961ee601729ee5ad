// Package porthold holds the host's side of published ports by sockets, so that programs that look there, or want the port later, see
// that it is taken: ss, `nerdctl run -p`, a web server that is started next week. Rules alone show it to nobody.
//
// Such a socket hears nothing: packets to a published port are translated before they come to it, and a filter drops what comes
// nevertheless, from sources that are not to come in by the port. It has kernel.HoldingMark, by which plugins tell it from a program's.
// It runs in the host's network namespace and needs CAP_NET_ADMIN.
package porthold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

const (
	// most is how many ports are held; of more, the first. Each costs a descriptor and a few kilobytes of the kernel's.
	most = 4096
	// settle is how long more changes are waited for.
	settle = 20 * time.Millisecond
	// rest is how much longer than a look at the rules the next one waits, so that thousands of ports cost a twentieth of a processor.
	rest = 20
	// again is how long a port that others have, or rules that could not be read, are left.
	again = 5 * time.Second
)

// Run holds what is published on the host that the caller's thread is in, now and later, until the context ends.
func Run(ctx context.Context) error {
	monitor, err := kernel.MonitorRules()
	if err != nil {
		return err
	}
	h := holder{held: map[port]int{}}
	defer func() { release(h.held) }()
	changed := make(chan struct{}, 1)
	changed <- struct{}{} // what is published already
	failed := make(chan error, 1)
	go func() {
		failed <- monitor.Changes(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	var retry <-chan time.Time
	for {
		select {
		case err := <-failed:
			return err
		case <-changed:
		case <-retry:
		}
		begin := time.Now()
		all, err := h.hold()
		if err != nil {
			slog.Warn("published ports are not held", "error", err)
		}
		if retry = nil; !all {
			retry = time.After(again)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settle + rest*time.Since(begin)):
		}
	}
}

// port is one of the host's: a protocol, an address, and the number.
type port struct {
	protocol uint8
	at       netip.AddrPort
}

func (p port) String() string { return fmt.Sprintf("%s/%s", p.at, ports.ProtocolName(p.protocol)) }

// holder has the sockets of ports.
type holder struct{ held map[port]int }

// hold opens what is published and lets go what no longer is. all is false when something is to be tried again.
func (h *holder) hold() (all bool, err error) {
	k, err := kernel.Open("")
	if err != nil {
		return false, err
	}
	defer k.Close()
	published, err := ports.ByOwner(k)
	if err != nil {
		return false, err
	}
	all = true
	wanted, before := each(published), h.held
	h.held = make(map[port]int, len(wanted))
	for _, p := range wanted {
		if fd, has := before[p]; has {
			h.held[p] = fd
			delete(before, p)
		}
	}
	release(before)
	for _, p := range wanted {
		if _, has := h.held[p]; has {
			continue
		}
		fd, err := p.open()
		if err != nil {
			// A runtime of its own holds it, as nerdctl does; or the address is not there yet, or the protocol.
			slog.Debug("a published port is not held", "port", p.String(), "error", err)
			all = all && isUnknown(err)
			continue
		}
		h.held[p] = fd
	}
	return all, nil
}

// isUnknown says that the kernel does not know the protocol or the family, which will not change.
func isUnknown(err error) bool {
	return slices.ContainsFunc([]unix.Errno{unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT, unix.EAFNOSUPPORT}, func(e unix.Errno) bool { return errors.Is(err, e) })
}

func release(held map[port]int) {
	for _, fd := range held {
		_ = unix.Close(fd) // nothing is in it
	}
}

// each is the single ports of all owners, in an order that is the same each time.
func each(published map[string][]ports.Port) (all []port) {
	for _, tag := range slices.Sorted(maps.Keys(published)) {
		for _, p := range published[tag] {
			for n := range int(p.More) + 1 {
				if len(all) == most {
					return all
				}
				all = append(all, port{p.Protocol, netip.AddrPortFrom(p.HostIP, p.HostPort+uint16(n))})
			}
		}
	}
	return all
}

// open is a socket that waits there and hears nothing.
func (p port) open() (fd int, err error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if p.at.Addr().Is6() {
		family = unix.AF_INET6
	}
	if p.protocol == unix.IPPROTO_UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(p.protocol))
	if err != nil {
		return -1, err
	}
	if err := p.wait(fd); err != nil {
		_ = unix.Close(fd) // nothing is in it
		return -1, err
	}
	return fd, nil
}

func (p port) wait(fd int) error {
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	errs := []error{
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, kernel.HoldingMark),
	}
	if p.at.Addr().Is6() {
		errs = append(errs, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := unix.Bind(fd, p.sockaddr()); err != nil {
		return err
	}
	if p.protocol == unix.IPPROTO_UDP {
		return nil
	}
	return unix.Listen(fd, 1)
}

func (p port) sockaddr() unix.Sockaddr {
	if p.at.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(p.at.Port()), Addr: p.at.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(p.at.Port()), Addr: p.at.Addr().As4()}
}
