package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/nameport"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/state/naming"
)

// checkNames follows a query from each container that has names: it asks for its own, as it would itself.
func checkNames(ctx context.Context, _ *Host) ([]Finding, error) {
	records, err := naming.Records()
	if err != nil || len(records) == 0 {
		return nil, err
	}
	cookie, err := kernel.HostCookie()
	if err != nil {
		return nil, err
	}
	caller, err := names.OnHost(cookie).Call()
	if errors.Is(err, names.ErrNoResolver) {
		return []Finding{errorf("nobody answers names: %d containers ask in vain", len(records)).
			remedy("fairwayd --names-only, which the next container with names starts too")}, nil
	}
	if err != nil {
		return nil, err
	}
	caller.Close()
	var findings []Finding
	for _, r := range records {
		if finding, bad := followQuery(ctx, r); bad {
			findings = append(findings, finding)
		}
	}
	return findings, nil
}

// followQuery asks within a container for its own name.
func followQuery(ctx context.Context, r names.Record) (f Finding, bad bool) {
	id := kernel.NamespaceID{Dev: r.Netns.Dev, Inode: r.Netns.Inode, Cookie: r.Netns.Cookie}
	if !id.At(r.Netns.Path) || len(r.Addresses) == 0 || len(r.All()) == 0 {
		return f, false // what has gone is another check's, and without an address or a name there is nothing to ask for
	}
	name := r.All()[0]
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		err = id.VisitThread(r.Netns.Path, func(int) error {
			at := netip.AddrPortFrom(nameport.Addr, nameport.Port)
			conn, err = new(net.Dialer).DialContext(ctx, network, at.String())
			return err
		})
		return conn, err
	}}
	found, err := resolver.LookupNetIP(ctx, "ip", name+".") // as it stands, without the host's search list
	switch {
	case err != nil:
		return errorf("container %s of network %s does not find its own name %s: %v", r.Owner.ContainerID, r.Owner.Network, name, err).
			remedy("look in the container at `nft list ruleset`, which has to lead 127.0.0.11:53 to a port, and whether lo is up and lets it pass"), true
	case !slices.ContainsFunc(found, func(a netip.Addr) bool { return slices.Contains(r.Addresses, a.Unmap()) }):
		return errorf("container %s of network %s finds %s, and is not there: %v", r.Owner.ContainerID, r.Owner.Network, name, found).
			remedy("see who else has that name: fairway resolve %s --network %s", name, r.Owner.Network), true
	}
	return f, false
}
