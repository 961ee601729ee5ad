package wireguard

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

func route(dst netip.Prefix, link int) kernel.RouteEntry {
	return kernel.RouteEntry{Dst: dst, Type: unix.RTN_UNICAST, Protocol: state.RouteProtocol, Link: link}
}

// ways are the links that prefixes are routed to, by index.
type ways map[netip.Prefix]int

// routed are the ways that have our protocol number and lead through some links.
func routed(k *kernel.Kernel, links []int) (ways, error) {
	all, err := k.Routes(state.RouteProtocol)
	found := make(ways, len(all))
	for _, r := range all {
		if r.Type == unix.RTN_UNICAST && slices.Contains(links, r.Link) {
			found[r.Dst] = r.Link
		}
	}
	return found, err
}

// ways are those that the tunnel's devices have to have: each prefix by one of them. Without a link, a device has none.
func (t Tunnel) ways(links map[string]int) ways {
	all := make(ways)
	for _, one := range t.devices() {
		for _, p := range one.Peers {
			for _, prefix := range p.Prefixes {
				if index := links[one.Name]; !p.Idle && index != 0 {
					all[prefix] = index
				}
			}
		}
	}
	return all
}

// ensureRoutes has each prefix routed into the device that it is to go through. What leads through the other one is replaced, so that
// no packet finds neither.
func (t Tunnel) ensureRoutes(k *kernel.Kernel, links map[string]int) error {
	is, err := routed(k, slices.Collect(maps.Values(links)))
	if err != nil {
		return err
	}
	want := t.ways(links)
	err = t.addRoutes(k, want, is)
	if !t.Partial {
		err = errors.Join(t.deleteRoutes(k, is, want), err)
	}
	return err
}

// addRoutes adds those that are wanted and not there. One that somebody else has in the place is an error that wraps ErrConflict.
func (t Tunnel) addRoutes(k *kernel.Kernel, want, is ways) error {
	var missing []netip.Prefix
	var requests []kernel.Message
	for dst, link := range want {
		was, there := is[dst]
		if there && was == link {
			continue
		}
		flag := uint16(unix.NLM_F_EXCL)
		if there {
			flag = unix.NLM_F_REPLACE
		}
		missing, requests = append(missing, dst), append(requests, route(dst, link).Add(flag))
	}
	errs, err := k.Batch(requests)
	for i, one := range errs {
		dst := missing[i]
		switch {
		case errors.Is(one, unix.EEXIST):
			if there, err := routed(k, []int{want[dst]}); err == nil && there[dst] == want[dst] {
				errs[i] = nil // another process was faster
				continue
			}
			errs[i] = fmt.Errorf("route %s dev %s: the host has a route there already, %w: remove it, or choose another subnet", dst, t.Name, state.ErrConflict)
		case one != nil:
			errs[i] = fmt.Errorf("ip route add %s dev %s: %w", dst, t.Name, state.AsVanished(one))
		}
	}
	return errors.Join(append(errs, err)...)
}

// deleteRoutes deletes those that are there and not wanted.
func (t Tunnel) deleteRoutes(k *kernel.Kernel, is, want ways) error {
	var requests []kernel.Message
	for dst, link := range is {
		if _, stays := want[dst]; !stays {
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

func (t Tunnel) verifyRoutes(k *kernel.Kernel, links map[string]int) error {
	is, err := routed(k, slices.Collect(maps.Values(links)))
	errs := []error{err}
	want := t.ways(links)
	names := make(map[int]string, len(links))
	for name, index := range links {
		names[index] = name
	}
	for dst, link := range want {
		switch was, there := is[dst]; {
		case !there:
			errs = append(errs, state.Driftf("route %s through %s is missing", dst, names[link]))
		case was != link:
			errs = append(errs, state.Driftf("route %s leads through %s instead of %s", dst, names[was], names[link]))
		}
	}
	for dst, link := range is {
		if _, stays := want[dst]; !stays && !t.Partial {
			errs = append(errs, state.Driftf("route %s through %s is no peer's", dst, names[link]))
		}
	}
	return errors.Join(errs...)
}
