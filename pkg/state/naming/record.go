// Package naming is the names of attachments as objects of a Set: the record that a resolver answers from, and the resolver
// itself, which the first record starts. It needs the container's namespace, and root's directory below /run.
package naming

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Record declares what an attachment is called. Its owner alone identifies it, so that it can be removed when nothing else is
// known.
type Record struct {
	Owner state.Owner
	// Names and Aliases are checked (names.CheckName).
	Names, Aliases []string
	Addresses      []netip.Addr
	// Host, Internal and Servers are as in names.Record.
	Host     []netip.Addr
	Internal bool
	Servers  []netip.Addr
	// Answered is set by Ensure when a resolver answers in the container. Nil: nobody wants to know.
	Answered *bool
}

var (
	_ state.Object = Record{}
	_ state.Rule   = Record{}
)

// Rule makes it one of the objects of which an ADD that may still fail leaves no trace.
func (Record) Rule() {}

// String has no command: it says what the record says.
func (r Record) String() string {
	text := "# names of " + r.Owner.ContainerID + ": " + strings.Join(slices.Concat(r.Names, r.Aliases), ", ")
	for _, a := range r.Addresses {
		text += " " + a.String()
	}
	return text
}

// directory is that of this host.
func directory() (names.Directory, error) {
	cookie, err := kernel.HostCookie()
	return names.OnHost(cookie), err
}

// wanted is the record as it has to be.
func (r Record) wanted(k *kernel.Kernel) (names.Record, error) {
	id, err := k.Container.ID()
	if err != nil {
		return names.Record{}, err
	}
	link, err := k.Container.Link(r.Owner.IfName)
	if err != nil {
		return names.Record{}, err
	}
	return names.Record{
		Version: names.Version, Owner: names.Owner(r.Owner), Names: r.Names, Aliases: r.Aliases, Addresses: r.Addresses,
		MAC: link.Attrs().HardwareAddr.String(), Netns: names.Netns{Path: k.Container.Path(), Dev: id.Dev, Inode: id.Inode, Cookie: id.Cookie}, Host: r.Host, Internal: r.Internal, Servers: r.Servers,
	}, nil
}

// Ensure leaves the record. When it returns, queries of the container are answered, or wait in the sockets that the resolver has been
// handed. A container is of use without names, too: when no resolver can be had, that is a warning.
func (r Record) Ensure(k *kernel.Kernel) (created bool, err error) {
	d, err := directory()
	if err != nil {
		return false, err
	}
	wanted, err := r.wanted(k)
	if err != nil {
		return false, err
	}
	there, err := d.Record(wanted.Owner)
	created = err != nil || !equal(there, wanted)
	put := func() error {
		if !created {
			return nil
		}
		return d.Put(wanted)
	}
	answered, err := announce(k.Container, d, wanted, put)
	if err != nil {
		return false, fmt.Errorf("record of names: %w", err)
	}
	if r.Answered != nil {
		*r.Answered = answered
	}
	return created, nil
}

// Verify compares the record. Whether a resolver runs is no part of it: the next attachment starts one.
func (r Record) Verify(k *kernel.Kernel) error {
	d, err := directory()
	if err != nil {
		return err
	}
	wanted, err := r.wanted(k)
	if err != nil {
		return err
	}
	there, err := d.Record(wanted.Owner)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return state.Driftf("record of names of container %s is missing", r.Owner.ContainerID)
	case errors.Is(err, names.ErrRecord):
		return state.Driftf("record of names of container %s: %v", r.Owner.ContainerID, err)
	case err != nil:
		return err
	case !equal(there, wanted):
		return state.Driftf("record of names of container %s is of others than %s", r.Owner.ContainerID, strings.TrimPrefix(r.String(), "# "))
	}
	return nil
}

// Remove takes the record away, and has the resolver leave a container that is on no other network with names.
func (r Record) Remove(*kernel.Kernel) error {
	d, err := directory()
	if err != nil {
		return err
	}
	return remove(d, names.Owner(r.Owner))
}

func remove(d names.Directory, o names.Owner) error {
	if _, err := d.Record(o); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.Remove(o); err != nil {
		return fmt.Errorf("record of names: %w", err)
	}
	if err := tell(d, o); err != nil && !errors.Is(err, names.ErrNoResolver) {
		slog.Warn("resolver not told of a container that goes: it finds out itself", "container", o.ContainerID, "error", err)
	}
	return nil
}

// equal compares a record with the one that is wanted. The path to a namespace may be another in each call, and the servers that a
// lease brought are not in the result of ADD, which CHECK goes by. Chained plugins may have given the link another MAC.
func equal(a, b names.Record) bool {
	return a.Version == b.Version && a.Owner == b.Owner && a.Internal == b.Internal &&
		a.Netns.Space() == b.Netns.Space() && slices.Equal(a.Names, b.Names) && slices.Equal(a.Aliases, b.Aliases) &&
		slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Host, b.Host) && (len(b.Servers) == 0 || slices.Equal(a.Servers, b.Servers))
}

// Prune removes the records of a network's owners that are not among the valid ones, and what killed processes have left of theirs. It
// goes on past errors.
func Prune(network string, valid []state.Owner) error {
	d, err := directory()
	if err != nil {
		return err
	}
	all, err := d.Records()
	errs := []error{ignoreForeign(err), d.Sweep()}
	for _, r := range all {
		if r.Owner.Network == network && !slices.Contains(valid, state.Owner(r.Owner)) {
			errs = append(errs, remove(d, r.Owner))
		}
	}
	return errors.Join(errs...)
}

// ignoreForeign passes over files that hold no record of ours: they may be another program's, or a later release's.
func ignoreForeign(err error) error {
	if errors.Is(err, names.ErrRecord) {
		return nil
	}
	return err
}

// Records are all that this host holds.
func Records() ([]names.Record, error) {
	d, err := directory()
	if err != nil {
		return nil, err
	}
	all, err := d.Records()
	return all, ignoreForeign(err)
}

// Lookup is what a container of a network is told of a name or an address: the resolver's answer, or else what the records of this
// host say.
func Lookup(network, name string) ([]string, error) {
	d, err := directory()
	if err != nil {
		return nil, err
	}
	found, err := d.Lookup(network, name)
	if !errors.Is(err, names.ErrNoResolver) {
		return found, err
	}
	records, err := Records()
	if err != nil {
		return nil, err
	}
	index := names.NewIndex()
	for i, r := range records {
		index.Set(strconv.Itoa(i), r)
	}
	return index.Find(network, name), nil
}
