package lifecycle

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/lan"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
)

// Leftover is something on the host that gc takes away, beside attachments whose container has gone.
type Leftover struct {
	// Network is empty for what is of none.
	Network string
	// ContainerID and IfName are the owner's; empty: it has none, or they are not known.
	ContainerID, IfName string
	// Object names it, such as "link veth0" or "address 10.5.0.2".
	Object string

	inKernel bool
}

// Leftovers lists what no attachment that is alive owns: links and nftables elements, and addresses where the network's plugins know GC. And what
// networks have left whose files have gone: bridges, and directories of addresses in which nothing is reserved for anybody who may live.
// It changes nothing. Plugins of others may find more.
func (h Host) Leftovers(networks conflist.Networks) ([]Leftover, error) {
	look, err := h.look(networks)
	return look.left, err
}

// look is what one look at the host has found.
type look struct {
	attached []attachment.Attachment
	marks    sweep.Marks
	left     []Leftover
}

// look lists attachments, and what is left over.
func (h Host) look(networks conflist.Networks) (l look, err error) {
	if l.attached, err = h.Runtime.List(); err != nil {
		return l, err
	}
	k, err := kernel.Open("")
	if err != nil {
		return l, err
	}
	defer k.Close()
	if l.marks, err = sweep.ReadMarks(k); err != nil {
		return l, err
	}
	var errs []error
	if l.left, err = h.owned(networks, l); err != nil {
		errs = append(errs, err)
	}
	for _, name := range l.marks.OrphanBridges(func(bridge string) bool { return hasBridge(networks, bridge) }) {
		l.left = append(l.left, Leftover{Object: "bridge " + name})
	}
	for _, name := range orphanDirectories(networks, l.attached) {
		l.left = append(l.left, Leftover{Network: name, Object: directoryOfAddresses})
	}
	return l, errors.Join(errs...)
}

// directoryOfAddresses is an object that a network has left whose file has gone.
const directoryOfAddresses = "directory of addresses"

// owned is what owners have that are not attached.
func (h Host) owned(networks conflist.Networks, l look) (all []Leftover, err error) {
	valid := map[state.Owner]bool{}
	tags := map[string]bool{}
	for _, a := range l.attached {
		valid[a.Owner()], tags[a.Owner().Tag()] = true, true // the stale ones are listed by themselves
	}
	known := map[string]bool{} // a file says what the network is
	for _, n := range networks.All {
		known[n.Name] = n.List != nil
	}
	for _, holding := range l.marks.Holdings {
		fields := strings.Split(holding.Tag, " ")
		if tags[holding.Tag] || len(fields) < 3 || !known[fields[1]] {
			continue
		}
		left := Leftover{Network: fields[1], ContainerID: fields[2], Object: holding.Object, inKernel: true}
		if len(fields) > 3 {
			left.IfName = fields[3]
		}
		all = append(all, left)
	}
	var errs []error
	observer := &liveness.Observer{}
	for _, n := range networks.All {
		if n.List != nil && n.List.CNIVersion >= "1.1.0" { // whose plugins are asked to collect what is left
			addresses, err := leftAddresses(n, valid, observer)
			all, errs = append(all, addresses...), append(errs, err)
		}
	}
	all, err = h.settled(all)
	return all, errors.Join(append(errs, err)...)
}

// settled is those among leftovers that no attachment owns which was made since the first look: it had no record then.
func (h Host) settled(all []Leftover) ([]Leftover, error) {
	if len(all) == 0 {
		return nil, nil
	}
	attached, err := h.Runtime.List()
	made := map[state.Owner]bool{}
	for _, a := range attached {
		made[a.Owner()] = true
	}
	return slices.DeleteFunc(all, func(l Leftover) bool {
		return made[state.Owner{Network: l.Network, ContainerID: l.ContainerID, IfName: l.IfName}]
	}), err
}

func hasBridge(networks conflist.Networks, bridge string) bool {
	return slices.ContainsFunc(networks.All, func(n conflist.Network) bool { return n.Link == bridge })
}

// leftAddresses are what host-local keeps for nobody. An owner of the host's own is none of a container.
func leftAddresses(n conflist.Network, valid map[state.Owner]bool, observer *liveness.Observer) ([]Leftover, error) {
	reserved, err := reservations(n.List, observer)
	var left []Leftover
	for _, r := range reserved {
		owner := state.Owner{Network: n.Name, ContainerID: r.Owner.ContainerID, IfName: r.Owner.IfName}
		if !r.Lives && r.Owner != (hostlocal.Owner{}) && !valid[owner] && owner != lan.HostOwner(n.Name) {
			left = append(left, Leftover{Network: n.Name, ContainerID: owner.ContainerID, IfName: owner.IfName, Object: "address " + r.Addr.String()})
		}
	}
	return left, err
}

// reservations lists what host-local keeps on a network; with another IPAM plugin, nothing.
func reservations(list *libcni.NetworkConfigList, observer *liveness.Observer) ([]hostlocal.Reservation, error) {
	if len(list.Plugins) == 0 {
		return nil, nil
	}
	named, err := libcni.InjectConf(list.Plugins[0], map[string]any{"name": list.Name, "cniVersion": list.CNIVersion})
	if err != nil {
		return nil, err
	}
	c, err := hostlocal.Parse(named.Bytes, "")
	if err != nil {
		return nil, nil // of another IPAM plugin, or a matter of doctor's
	}
	store := hostlocal.NewStore(c)
	store.Gone = ipam.Gone(observer)
	return store.Reservations()
}

// holders are those who have an address on a network and whose namespace lives, whoever attached them and wherever the records of that
// are.
func holders(list *libcni.NetworkConfigList) (owners []state.Owner) {
	reserved, _ := reservations(list, &liveness.Observer{}) // what cannot be read, the plugins' GC cannot read either
	for _, r := range reserved {
		if r.Lives {
			owners = append(owners, state.Owner{Network: list.Name, ContainerID: r.Owner.ContainerID, IfName: r.Owner.IfName})
		}
	}
	return owners
}

// orphanDirectories are those of networks that are in no file and on which nobody is, and in which nothing is reserved but for who is
// certainly gone. Networks of Multus are in no file either.
func orphanDirectories(networks conflist.Networks, attached []attachment.Attachment) (names []string) {
	entries, _ := os.ReadDir(hostlocal.DefaultDataDir) // where there is none, there is nothing
	for _, e := range entries {
		name := e.Name()
		known := slices.ContainsFunc(networks.All, func(n conflist.Network) bool { return n.Name == name }) ||
			slices.ContainsFunc(attached, func(a attachment.Attachment) bool { return a.Network == name && a.Alive() })
		if !e.IsDir() || known || conflist.CheckName(name) != nil {
			continue
		}
		reserved, err := orphanStore(name).Reservations()
		if err == nil && !slices.ContainsFunc(reserved, func(r hostlocal.Reservation) bool { return !r.Void }) {
			names = append(names, name)
		}
	}
	return names
}

func orphanStore(network string) *hostlocal.Store {
	store := hostlocal.NewStore(hostlocal.Config{Network: network, DataDir: hostlocal.DefaultDataDir})
	store.Gone = ipam.Gone(&liveness.Observer{})
	return store
}

// Collect takes away what containers and networks have left, and gives what that was. It goes on past errors.
func (h Host) Collect(ctx context.Context, networks conflist.Networks) (removed []attachment.Attachment, left []Leftover, err error) {
	if err := h.Runtime.SetAsideDamaged(); err != nil {
		return nil, nil, err
	}
	before, err := h.look(networks)
	errs := []error{err}
	var lists []*libcni.NetworkConfigList
	quiet := h.newQuiet(ctx, before)
	for _, n := range networks.All {
		if n.List != nil && driver.Of(n.Driver).Fixed == "" && !quiet.is(n) { // those two hold nothing
			lists = append(lists, n.List)
		}
	}
	runtime := h.Runtime
	runtime.Holders = holders
	runtime.Prune = func(network string, valid []state.Owner) error {
		if !slices.ContainsFunc(before.left, func(l Leftover) bool { return l.Network == network && l.inKernel }) {
			return nil
		}
		return pruneKernel(network, valid)
	}
	removed, err = runtime.CollectOf(ctx, lists, before.attached)
	errs = append(errs, err)
	errs = append(errs, onHost(sweep.PruneShared)) // also of a network that was removed half-way
	if len(before.left) == 0 {
		return removed, nil, errors.Join(errs...)
	}
	errs = append(errs, h.discardOrphans(ctx))
	after, err := h.Leftovers(networks)
	errs = append(errs, err)
	left = slices.DeleteFunc(before.left, func(l Leftover) bool { return slices.Contains(after, l) })
	return removed, left, errors.Join(errs...)
}

// pruneKernel takes away what the kernel has of a network's owners that are not valid.
func pruneKernel(network string, valid []state.Owner) error {
	return onHost(func(k *kernel.Kernel) error { return sweep.Prune(k, network, valid) })
}

// onHost does something with the host's kernel.
func onHost(f func(*kernel.Kernel) error) error {
	k, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer k.Close()
	return f(k)
}

// discardOrphans takes away what networks have left whose files have gone. Nobody makes a network meanwhile.
func (h Host) discardOrphans(ctx context.Context) error {
	lock, err := conflist.Acquire(h.Netconf)
	if err != nil {
		return err
	}
	defer lock.Release()
	networks, err := conflist.Load(h.Netconf)
	if err != nil {
		return err
	}
	attached, err := h.Runtime.List()
	if err != nil {
		return err
	}
	k, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer k.Close()
	marks, err := sweep.ReadMarks(k)
	errs := []error{err}
	for _, bridge := range marks.OrphanBridges(func(bridge string) bool { return hasBridge(networks, bridge) }) {
		errs = append(errs, sweep.DiscardBridge(k, bridge))
	}
	for _, name := range orphanDirectories(networks, attached) {
		errs = append(errs, orphanStore(name).Discard(ctx))
	}
	return errors.Join(errs...)
}
