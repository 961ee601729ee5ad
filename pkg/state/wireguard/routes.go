package wireguard

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

func route(dst netip.Prefix, link int) kernel.RouteEntry {
	return kernel.RouteEntry{Dst: dst, Type: unix.RTN_UNICAST, Protocol: state.RouteProtocol, Link: link}
}

// routes are those through the device that have our protocol number.
func routes(k *kernel.Kernel, link int) (found map[netip.Prefix]bool, err error) {
	all, err := k.Routes(state.RouteProtocol)
	found = make(map[netip.Prefix]bool, len(all))
	for _, r := range all {
		if r.Link == link && r.Type == unix.RTN_UNICAST {
			found[r.Dst] = true
		}
	}
	return found, err
}

func (t Tunnel) ensureRoutes(k *kernel.Kernel, link int) error {
	is, err := routes(k, link)
	if err != nil {
		return err
	}
	want := prefixesOf(t.Peers)
	if !t.Partial {
		if err := t.deleteRoutes(k, link, is, want); err != nil {
			return err
		}
	}
	return t.addRoutes(k, link, want, is)
}

// addRoutes adds those that are wanted and not there. One that somebody else has in the place is an error that wraps ErrConflict.
func (t Tunnel) addRoutes(k *kernel.Kernel, link int, want, is map[netip.Prefix]bool) error {
	var missing []netip.Prefix
	var requests []kernel.Message
	for dst := range want {
		if !is[dst] {
			missing, requests = append(missing, dst), append(requests, route(dst, link).Add(unix.NLM_F_EXCL))
		}
	}
	errs, err := k.Batch(requests)
	for i, one := range errs {
		switch {
		case errors.Is(one, unix.EEXIST):
			if there, err := routes(k, link); err == nil && there[missing[i]] {
				errs[i] = nil // another process was faster
				continue
			}
			errs[i] = fmt.Errorf("route %s dev %s: the host has a route there already, %w: remove it, or choose another subnet", missing[i], t.Name, state.ErrConflict)
		case one != nil:
			errs[i] = fmt.Errorf("ip route add %s dev %s: %w", missing[i], t.Name, state.AsVanished(one))
		}
	}
	return errors.Join(append(errs, err)...)
}

// deleteRoutes deletes those that are there and not wanted.
func (t Tunnel) deleteRoutes(k *kernel.Kernel, link int, is, want map[netip.Prefix]bool) error {
	var requests []kernel.Message
	for dst := range is {
		if !want[dst] {
			requests = append(requests, route(dst, link).Delete())
		}
	}
	errs, err := k.Batch(requests)
	for i, one := range errs {
		if errors.Is(one, unix.ESRCH) || errors.Is(one, unix.ENOENT) || errors.Is(one, unix.ENODEV) {
			errs[i] = nil
		}
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("routes of %s: %w", t.Name, err)
	}
	return nil
}

func (t Tunnel) verifyRoutes(k *kernel.Kernel, link int) error {
	is, err := routes(k, link)
	errs := []error{err}
	want := prefixesOf(t.Peers)
	for dst := range want {
		if !is[dst] {
			errs = append(errs, state.Driftf("route %s through %s is missing", dst, t.Name))
		}
	}
	for dst := range is {
		if !want[dst] && !t.Partial {
			errs = append(errs, state.Driftf("route %s through %s is no peer's", dst, t.Name))
		}
	}
	return errors.Join(errs...)
}
