// Package firewalld declares addresses of containers in a zone of firewalld, by the system's D-Bus. It is a package of its own
// so that no other plugin links a client of D-Bus.
package firewalld

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/admission"
)

// Mode is when containers are put into a zone.
type Mode int

const (
	// WhereItRuns puts them there where firewalld runs.
	WhereItRuns Mode = iota
	// Always makes it an error that firewalld does not run.
	Always
	// Never leaves firewalld alone.
	Never
)

// Source is the addresses of a container as sources of a zone.
type Source struct {
	Owner state.Owner
	Zone  string
	Addrs []netip.Addr
	Mode  Mode
}

var (
	_ state.Rule    = Source{}
	_ state.Readier = Source{}
)

// Rule marks it as one that translates or filters packets.
func (Source) Rule() {}

func (s Source) String() string {
	var lines []string
	for _, addr := range s.Addrs {
		lines = append(lines, fmt.Sprintf("firewall-cmd --zone=%s --add-source=%s", s.Zone, state.HostPrefix(addr)))
	}
	return strings.Join(lines, " && ")
}

// open is firewalld's zones, or nil where they are not asked for.
func (s Source) open() (*zones, error) {
	if s.Mode == Never {
		return nil, nil
	}
	z, err := openZones()
	if err == nil && z == nil && s.Mode == Always {
		err = fmt.Errorf("firewalld is %w: start it, or leave out key backend", state.ErrAbsent)
	}
	return z, err
}

// Ensure puts the addresses into the zone.
func (s Source) Ensure(*kernel.Kernel) (bool, error) {
	z, err := s.open()
	if err != nil || z == nil {
		return false, err
	}
	defer z.close()
	if err := z.add(s.Zone, s.Addrs); err != nil {
		z.remove(s.Zone, s.Addrs)
		return false, err
	}
	return true, nil
}

// Ready says whether firewalld runs, where it has to.
func (s Source) Ready(*kernel.Kernel) error {
	z, err := s.open()
	z.close()
	return err
}

// Verify looks for the addresses in the zone.
func (s Source) Verify(*kernel.Kernel) error {
	z, err := s.open()
	if err != nil {
		return err
	}
	defer z.close()
	return z.verify(s.Zone, s.Addrs)
}

// Remove takes the addresses out that are declared, and those by which the container is still admitted.
func (s Source) Remove(k *kernel.Kernel) error {
	tag := s.Owner.Tag()
	known, err := admission.Addresses(k, func(t string) bool { return t == tag })
	if err != nil {
		return err
	}
	return s.takeOut(append(slices.Clone(s.Addrs), known...))
}

// Prune takes out the addresses by which stale owners are still admitted.
func Prune(k *kernel.Kernel, zone string, stale func(tag string) bool) error {
	known, err := admission.Addresses(k, stale)
	if err != nil {
		return err
	}
	return Source{Zone: zone}.takeOut(known)
}

func (s Source) takeOut(addrs []netip.Addr) error {
	if len(addrs) == 0 {
		return nil
	}
	z, err := openZones()
	if err != nil || z == nil {
		return err
	}
	defer z.close()
	z.remove(s.Zone, addrs)
	return nil
}
