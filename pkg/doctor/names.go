package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

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
	if loIsDown(r.Netns.Path) {
		return errorf("lo of container %s is down: names are asked for at %s, and it finds none", name, nameport.Addr).
			command("nsenter --net=%s ip link set lo up", shell(r.Netns.Path)), true
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var conn net.Conn
	err := id.VisitThread(r.Netns.Path, func(int) (err error) {
		at := netip.AddrPortFrom(nameport.Addr, nameport.Port)
		conn, err = new(net.Dialer).DialContext(ctx, "udp", at.String())
		return err
	})
	var found []netip.Addr
	if err == nil {
		found, err = ask(ctx, conn, name, r.Addresses[0].Is4())
		conn.Close()
	}
	switch {
	case err != nil:
		return errorf("container %s of network %s does not find its own name %s: %v", r.Owner.ContainerID, r.Owner.Network, name, err).
			remedy("look in the container at `nft list ruleset`, which has to lead 127.0.0.11:53 to a port, and whether something there drops what lo carries"), true
	case !slices.ContainsFunc(found, func(a netip.Addr) bool { return slices.Contains(r.Addresses, a) }):
		return errorf("container %s of network %s finds %s, and is not there: %v", r.Owner.ContainerID, r.Owner.Network, name, found).
			remedy("see who else has that name: fairway resolve %s --network %s", name, r.Owner.Network), true
	}
	return f, false
}

// loIsDown says so of a namespace that can be looked into.
func loIsDown(netns string) bool {
	k, err := kernel.Open(netns)
	if err != nil {
		return false
	}
	defer k.Close()
	lo, err := k.Container.Link("lo")
	return err == nil && lo.Attrs().Flags&net.FlagUp == 0
}

// ask asks for the addresses of a name as it stands. The standard library's resolver takes a name of digits alone, or one with a space,
// for none.
func ask(ctx context.Context, conn net.Conn, name string, of4 bool) ([]netip.Addr, error) {
	qname, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, err
	}
	question := dnsmessage.Question{Name: qname, Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET}
	if of4 {
		question.Type = dnsmessage.TypeA
	}
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: uint16(os.Getpid()), RecursionDesired: true}, Questions: []dnsmessage.Question{question}}
	packet, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	if err == nil {
		_, err = conn.Write(packet)
	}
	answer := make([]byte, 1<<16)
	n := 0
	if err == nil {
		n, err = conn.Read(answer)
	}
	var reply dnsmessage.Message
	if err == nil {
		err = reply.Unpack(answer[:n])
	}
	if err == nil && reply.RCode != dnsmessage.RCodeSuccess {
		err = errors.New("the answer is " + strings.TrimPrefix(reply.RCode.String(), "RCode"))
	}
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, resource := range reply.Answers {
		switch body := resource.Body.(type) {
		case *dnsmessage.AResource:
			found = append(found, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			found = append(found, netip.AddrFrom16(body.AAAA))
		}
	}
	return found, nil
}
