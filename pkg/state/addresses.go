package state

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// HostAddresses are the addresses of a link of the host, each for a single host: those it has to have, and no others but the ones
// that IPv6 gives each link.
type HostAddresses struct {
	Link  string
	Index int
	Addrs []netip.Addr
}

// Settle adds what is missing and deletes what is surplus.
func (h HostAddresses) Settle(k *kernel.Kernel) error {
	missing, surplus, err := h.compare(k)
	if err != nil {
		return err
	}
	var requests []kernel.Message
	for _, a := range missing {
		requests = append(requests, a.Add())
	}
	for _, a := range surplus {
		requests = append(requests, a.Delete())
	}
	errs, err := Configure(k, h.Link, requests)
	for i, one := range errs {
		if errors.Is(one, unix.EEXIST) || errors.Is(one, unix.EADDRNOTAVAIL) {
			errs[i] = nil // somebody else was faster
		}
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("addresses of %s: %w", h.Link, AsVanished(err))
	}
	return nil
}

// Verify reports addresses that are missing.
func (h HostAddresses) Verify(k *kernel.Kernel) error {
	missing, _, err := h.compare(k)
	errs := []error{err}
	for _, a := range missing {
		errs = append(errs, Driftf("%s has no address %s", h.Link, a.Prefix))
	}
	return errors.Join(errs...)
}

func (h HostAddresses) compare(k *kernel.Kernel) (missing, surplus []kernel.AddressEntry, err error) {
	found, err := k.Addresses(h.Index)
	if err != nil {
		return nil, nil, err
	}
	for _, addr := range h.Addrs {
		entry := kernel.AddressEntry{Link: h.Index, Prefix: HostPrefix(addr)}
		if !slices.Contains(found, entry) {
			missing = append(missing, entry)
		}
	}
	for _, entry := range found {
		if !entry.Prefix.Addr().IsLinkLocalUnicast() && !slices.Contains(h.Addrs, entry.Prefix.Addr()) {
			surplus = append(surplus, entry)
		}
	}
	return missing, surplus, nil
}
